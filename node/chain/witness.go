package chain

import (
	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// Witness remembers what validators say about the last heights; *evidence.Watch is
// one, and says what each method expects.
type Witness interface {
	Proposed(by uint64, header, meta []byte)
	Voted(by, view, height uint64, digest string, signature []byte)
	Decided(header *ledger.Header, hash ledger.Hash, meta []byte, cert *ledger.Certificate)
}

// Proposed implements consensus.Witness.
func (c *Chain) Proposed(by consensus.ReplicaID, p consensus.Proposal) {
	if w := c.cfg.Witness; w != nil {
		w.Proposed(uint64(by), p.Header, p.Meta)
	}
}

// Voted implements consensus.Witness.
func (c *Chain) Voted(view, height uint64, digest string, v consensus.Vote) {
	if w := c.cfg.Witness; w != nil {
		w.Voted(uint64(v.Replica), view, height, digest, v.Signature)
	}
}
