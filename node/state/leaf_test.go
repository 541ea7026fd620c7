package state

import (
	"errors"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// Every prefix of the log is the log of its time, flushed or not, and grows by the
// leaves behind it.
func TestEveryPrefixOfTheLogCanGrowAgain(t *testing.T) {
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	s := script{seed: 11, keys: 30}
	var at []Roots
	for h := range ledger.Height(60) {
		at = append(at, s.run(t, db, h))
		if h == 40 {
			mustFlush(t, db)
		}
	}
	v := db.View()
	for h, r := range at {
		tree, err := v.LogUpTo(r.ReceiptsSize)
		if err != nil {
			t.Fatal(err)
		}
		if root, err := ledger.LogRoot(tree); err != nil || root != r.Receipts {
			t.Fatalf("height %d: the first %d leaves have root %s, %v", h, r.ReceiptsSize, root, err)
		}
		for p := r.ReceiptsSize; p < v.roots.ReceiptsSize; p++ {
			leaf, writes, err := v.Leaf(p)
			if err != nil {
				t.Fatal(err)
			}
			if ledger.HashWrites(writes) != leaf.Writes {
				t.Fatalf("leaf %d does not commit to its writes", p)
			}
			hash := leaf.LeafHash()
			if err := tree.Append(hash[:], nil); err != nil {
				t.Fatal(err)
			}
		}
		if root, err := ledger.LogRoot(tree); err != nil || root != v.roots.Receipts {
			t.Fatalf("from height %d on: grown to root %s, %v, want %s", h, root, err, v.roots.Receipts)
		}
	}
	if _, err := v.LogUpTo(v.roots.ReceiptsSize + 1); !errors.Is(err, ErrNotExecuted) {
		t.Errorf("a longer log than there is: %v", err)
	}
	if _, _, err := v.Leaf(v.roots.ReceiptsSize); !errors.Is(err, ErrNotFound) {
		t.Errorf("a leaf beyond the end: %v", err)
	}
}
