package join

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// thin leaves every certificate one vote too few.
func (h *history) thin() {
	for _, c := range h.chain.Certs {
		if c != nil {
			c.Votes = c.Votes[:ledger.Quorum(len(h.chain.Genesis.Validators))-1]
		}
	}
}

// A peer offers the newest snapshot, on a chain that fewer than a quorum have signed:
// one of its own making, or blocks of the true one under certificates that are none.
// Nothing of it is stored, the peer is named, and another's is taken.
func TestAChainWithoutAQuorumIsRefused(t *testing.T) {
	other := func() *history {
		h := newHistory(t, 0, nil)
		for i := range 60 {
			h.extend(h.chain.Transaction(fmt.Appendf(nil, "another %d", i)))
		}
		h.thin()
		h.write(50)
		return h
	}
	for name, liar := range map[string]func(h *history) func(context.Context, []byte) ([]byte, error){
		"a chain of its own": func(*history) func(context.Context, []byte) ([]byte, error) {
			f := other()
			return f.serve(f.snapshots).answer
		},
		"blocks without certificates": func(h *history) func(context.Context, []byte) ([]byte, error) {
			f := newHistory(t, 50, nil)
			f.thin()
			honest, thin := h.serve(h.snapshots), f.serve(f.snapshots)
			return func(ctx context.Context, req []byte) ([]byte, error) {
				if bytes.Contains(req, []byte("sync/blocks/")) {
					return thin.answer(ctx, req)
				}
				return honest.answer(ctx, req)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, 50, nil, 20, 40)
			h.t = t
			w := newWire()
			w.put("liar", liar(h))
			n := h.joinDespite(w, 40)
			s := n.openStore()
			for at := ledger.Height(1); at <= s.Tip().Height; at++ {
				ch, err := s.Certified(at)
				if err == nil {
					err = ledgertest.Config(4).VerifyCertificate(&ch.Header, &ch.Certificate)
				}
				if err != nil {
					t.Errorf("block %d is stored: %v", at, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
