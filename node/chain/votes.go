package chain

import (
	"errors"
	"fmt"
	"sync"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

var errNoVoteKey = errors.New("this node is no validator")

// SignVote implements consensus.App: it signs the header's hash and the view.
func (c *Chain) SignVote(p consensus.Proposal, view uint64) ([]byte, error) {
	r := c.role.Load()
	if r == nil {
		return nil, errNoVoteKey
	}
	if err := c.failed(); err != nil {
		return nil, err
	}
	sig, err := r.vote.Sign(ledger.VoteDigest(ledger.Sum(p.Header), view))
	if err != nil {
		return nil, fmt.Errorf("vote at height %d: %w", p.Height, err)
	}
	return sig[:], nil
}

// VerifyVote implements consensus.App. The header names the config whose
// validators may vote for it.
func (c *Chain) VerifyVote(p consensus.Proposal, view uint64, v consensus.Vote) error {
	if len(v.Signature) != len(ledger.Signature{}) {
		return fmt.Errorf("vote of validator %d has %d bytes", v.Replica, len(v.Signature))
	}
	key := voteKey{ledger.Sum(p.Header), view, v.Replica, ledger.Signature(v.Signature)}
	if c.votes.has(key) {
		return nil
	}
	conf, err := c.cfg.Store.Config(p.ConfigSeq)
	if err != nil {
		return fmt.Errorf("vote of validator %d: %w", v.Replica, err)
	}
	val := conf.Validator(uint64(v.Replica))
	if val == nil {
		return fmt.Errorf("vote of %d, no validator of config %d", v.Replica, conf.Seq)
	}
	if err := ledger.VerifySignature(ledger.VoteDigest(key.header, key.view), key.sig, val.VoteKey); err != nil {
		return fmt.Errorf("vote of validator %d at height %d: %w", v.Replica, p.Height, err)
	}
	c.votes.add(key)
	return nil
}

// Sign implements consensus.App for the engine's own messages.
func (c *Chain) Sign(msg []byte) ([]byte, error) {
	r := c.role.Load()
	if r == nil {
		return nil, errNoVoteKey
	}
	sig, err := r.vote.Sign(ledger.EngineDigest(c.cfg.ChainID, msg))
	if err != nil {
		return nil, fmt.Errorf("sign engine message: %w", err)
	}
	return sig[:], nil
}

// Verify implements consensus.App for the engine's own messages.
func (c *Chain) Verify(by consensus.ReplicaID, msg, signature []byte) error {
	val := c.Config().Validator(uint64(by))
	if val == nil {
		return fmt.Errorf("engine message of %d, no validator of config %d", by, c.Config().Seq)
	}
	if len(signature) != len(ledger.Signature{}) {
		return fmt.Errorf("engine message of validator %d: signature of %d bytes", by, len(signature))
	}
	return ledger.VerifySignature(ledger.EngineDigest(c.cfg.ChainID, msg), ledger.Signature(signature), val.VoteKey)
}

type voteKey struct {
	header  ledger.Hash
	view    uint64
	replica consensus.ReplicaID
	sig     ledger.Signature
}

// voteCache remembers the checked votes of the last blocks: two generations,
// the older dropped when the younger is full.
type voteCache struct {
	mu         sync.Mutex
	young, old map[voteKey]struct{}
}

const voteGeneration = 1024

func newVoteCache() *voteCache { return &voteCache{young: make(map[voteKey]struct{})} }

func (v *voteCache) has(k voteKey) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.young[k]
	if !ok {
		_, ok = v.old[k]
	}
	return ok
}

func (v *voteCache) add(k voteKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= voteGeneration {
		v.old, v.young = v.young, make(map[voteKey]struct{}, voteGeneration)
	}
	v.young[k] = struct{}{}
}
