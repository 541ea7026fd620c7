package chain

import (
	"testing"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// FuzzProposal reads a proposal as a leader sends it, and a request as a client or
// another node does: whatever comes, an error or a block that is what it says.
func FuzzProposal(f *testing.F) {
	h := ledger.Header{Height: 1, Time: 1}
	f.Add(h.Encode(), []byte{0xc0}, []byte{}, uint64(1), uint64(0))
	tx := ledger.NewTransaction(ledger.Payload{Org: "bank", Key: ledger.Address{7}, Contract: "c", Function: "f", ValidUntil: 1})
	f.Add(tx.Encode(), tx.Encode(), []byte{1}, uint64(0), uint64(0))
	conf := newWorld(f).config
	f.Fuzz(func(t *testing.T, header, payload, meta []byte, height, seq uint64) {
		c := &Chain{}
		b, err := c.parse(consensus.Proposal{Header: header, Payload: payload, Meta: meta, Height: height, ConfigSeq: seq})
		if err == nil && (uint64(b.Header.Height) != height || b.Header.ConfigSeq != seq || b.CheckBody() != nil) {
			t.Fatalf("taken as block %d of config %d", b.Header.Height, b.Header.ConfigSeq)
		}
		if tx, err := c.decodeTransaction(payload, nil, conf); err == nil && (conf.Member(tx.Payload.Org) == nil || uint64(len(payload)) > conf.Limits.MaxRequestBytes) {
			t.Fatalf("a transaction of %q with %d bytes was taken", tx.Payload.Org, len(payload))
		}
	})
}
