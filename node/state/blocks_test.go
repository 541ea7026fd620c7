package state

import (
	"fmt"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

func TestBlocksSurviveReopenAndProveRecords(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), ChainID: ledger.Hash{1}}
	db, err := Create(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for h := range ledger.Height(300) {
		b, err := db.Begin(h, uint64(1000+h))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			id := ledger.Sum([]byte(fmt.Sprint(h, i)))
			if _, err := b.Apply(&Tx{TxID: id, Index: uint64(i), Code: "OK", Writes: []ledger.Write{{Key: fmt.Sprintf("c/k%d", (int(h)*7+i)%50), Value: id[:]}, {Key: "c/log/" + id.Hex(), Value: id[:]}}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Seal(); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		r, _ := db.RootsAt(h)
		for _, k := range []string{"c/k3", "c/k44", "d/zz"} {
			p, err := db.ProveState(h, k)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Verify(r.State); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.FlushIfDue(uint64(h) + 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	want := db.View().Roots()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if db.View().Roots() != want {
		t.Fatal("roots differ")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
