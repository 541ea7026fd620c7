package store

import (
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// crashChain has blocks of different sizes, and config changes.
func crashChain(blocks int) *ledgertest.Chain {
	c := ledgertest.NewChain(ledgertest.Config(4))
	for i := 1; i <= blocks; i++ {
		if i%7 == 0 {
			c.Reconfigure(func(c *ledger.Config) { c.Limits.ClockToleranceMs++ })
			continue
		}
		c.Extend(c.Transaction(make([]byte, 100*i)))
	}
	return c
}

// fill appends what is missing of c and returns the height that is
// acknowledged.
func fill(s *Store, c *ledgertest.Chain) (ledger.Height, error) {
	for h := s.Tip().Height + 1; int(h) < len(c.Blocks); h++ {
		if err := s.Append(c.Blocks[h], c.Certs[h]); err != nil {
			return h - 1, err
		}
	}
	return s.Tip().Height, nil
}

// checkStored checks that s holds a beginning of c, and all of it in order.
func checkStored(t *testing.T, s *Store, c *ledgertest.Chain) {
	t.Helper()
	tip := s.Tip().Height
	if int(tip) >= len(c.Blocks) {
		t.Fatalf("tip is %d, only %d blocks were made", tip, len(c.Blocks))
	}
	for h := range tip + 1 {
		got, err := s.Block(h)
		if err != nil {
			t.Fatal(err)
		}
		if got.Header != c.Blocks[h].Header {
			t.Fatalf("block %d is %s, want %s", h, got.Header.Hash(), c.Blocks[h].Header.Hash())
		}
	}
	if err := s.Verify(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
