//go:build !race

// goleveldb's way to give up a failed compaction (send on a channel that may be
// closed, and recover) is a race to the detector.

package store

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
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
			if again == nil || !strings.Contains(again.Error(), "start the node again") {
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
