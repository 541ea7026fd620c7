package store

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// smallOptions make goleveldb flush and compact within a few blocks.
func smallOptions() *opt.Options {
	o := options()
	o.WriteBuffer = 4 << 10
	o.CompactionTableSize = 4 << 10
	o.CompactionTotalSize = 16 << 10
	return o
}

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

// TestAcknowledgedBlocksSurviveACrash stops the disk at every write in turn,
// opens what a power failure leaves and goes on from there.
func TestAcknowledgedBlocksSurviveACrash(t *testing.T) {
	c := crashChain(16)
	for stop := 1; ; stop++ {
		d := newDisk(uint64(stop))
		if err := writeGenesis(d, smallOptions(), c.Genesis); err != nil {
			t.Fatal(err)
		}
		d.arm(stop, true)
		acked := ledger.Height(0)
		s, err := open(d, smallOptions(), c.ChainID())
		if err == nil {
			acked, err = fill(s, c)
			s.Close()
		}
		if err != nil && !strings.Contains(err.Error(), errDisk.Error()) { // goleveldb does not wrap all
			t.Fatalf("stop at write %d: %v", stop, err)
		}
		done := !d.failed()

		if s, err = open(d.image(), smallOptions(), c.ChainID()); err != nil {
			t.Fatalf("stop at write %d, %d acknowledged: reopen: %v", stop, acked, err)
		}
		if tip := s.Tip().Height; tip < acked || tip > acked+1 {
			t.Fatalf("stop at write %d: tip is %d, %d was acknowledged", stop, tip, acked)
		}
		if _, err := fill(s, c); err != nil {
			t.Fatalf("stop at write %d: go on: %v", stop, err)
		}
		checkStored(t, s, c)
		if err := s.Close(); err != nil {
			t.Fatalf("stop at write %d: close: %v", stop, err)
		}
		if done {
			t.Logf("%d writes", stop)
			return
		}
	}
}

// TestFailedStoreTakesNoMoreBlocks fails one write and checks that a store which
// could not write says so from then on, and that a restart finds every
// acknowledged block.
func TestFailedStoreTakesNoMoreBlocks(t *testing.T) {
	c := crashChain(8)
	failures := 0
	for stop := 1; ; stop++ {
		d := newDisk(uint64(stop))
		if err := writeGenesis(d, smallOptions(), c.Genesis); err != nil {
			t.Fatal(err)
		}
		d.arm(stop, false)
		s, err := open(d, smallOptions(), c.ChainID())
		if err != nil {
			if !strings.Contains(err.Error(), errDisk.Error()) {
				t.Fatalf("fail write %d: %v", stop, err)
			}
			continue
		}
		acked, err := fill(s, c)
		if err != nil {
			failures++
			again := s.Append(c.Blocks[acked+1], c.Certs[acked+1])
			if again == nil || !strings.Contains(again.Error(), "restart the node") {
				t.Fatalf("fail write %d: append after a failure: %v", stop, again)
			}
		}
		s.Close()
		if s, err = open(d.image(), smallOptions(), c.ChainID()); err != nil {
			t.Fatalf("fail write %d: reopen: %v", stop, err)
		}
		if tip := s.Tip().Height; tip < acked {
			t.Fatalf("fail write %d: tip is %d, %d was acknowledged", stop, tip, acked)
		}
		checkStored(t, s, c)
		s.Close()
		if !d.failed() {
			break
		}
	}
	if failures == 0 {
		t.Fatal("no write failed")
	}
}
