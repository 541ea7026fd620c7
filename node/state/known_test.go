package state

import (
	"fmt"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// A transaction is known while its block is at most ten minutes old in block
// time, before and after flushing and opening again.
func TestKnownWindow(t *testing.T) {
	const begin = 5_000_000
	id := func(n int) ledger.Hash { return ledger.Sum(fmt.Appendf(nil, "tx %d", n)) }
	for name, between := range map[string]func(t *testing.T, db *DB, d *disk) *DB{
		"in memory": func(_ *testing.T, db *DB, _ *disk) *DB { return db },
		"flushed":   func(t *testing.T, db *DB, _ *disk) *DB { mustFlush(t, db); return db },
		"reopened": func(t *testing.T, db *DB, d *disk) *DB {
			mustFlush(t, db)
			mustClose(t, db)
			return mustOpen(t, testConfig(), d)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk()
			db := mustCreate(t, testConfig(), d)
			add := func(h ledger.Height, time uint64, ids ...ledger.Hash) {
				t.Helper()
				b, err := db.Begin(h, time)
				if err != nil {
					t.Fatal(err)
				}
				for i, id := range ids {
					if _, err := b.Apply(&Tx{TxID: id, Index: uint64(i), Code: "OK"}); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := b.Seal(); err != nil {
					t.Fatal(err)
				}
				if err := b.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			add(0, begin, id(0), id(1))
			add(1, begin+1000, id(2))
			db = between(t, db, d)
			for i, tc := range []struct {
				time uint64
				want [4]bool
			}{
				{begin + 2000, [4]bool{true, true, true, false}},
				{begin + ledger.KnownWindowMillis, [4]bool{true, true, true, false}},
				{begin + ledger.KnownWindowMillis + 1, [4]bool{false, false, true, false}},
				{begin + ledger.KnownWindowMillis + 1001, [4]bool{}},
			} {
				h := ledger.Height(2 + i)
				b, err := db.Begin(h, tc.time)
				if err != nil {
					t.Fatal(err)
				}
				for n, want := range tc.want {
					if got, err := b.Known(id(n)); err != nil || got != want {
						t.Errorf("at %d: transaction %d known = %v, %v; want %v", tc.time, n, got, err, want)
					}
				}
				if _, err := b.Seal(); err != nil {
					t.Fatal(err)
				}
				if err := b.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			o, err := db.View().Find(id(2))
			if err != nil || o.Height != 1 || o.Position != 2 || o.Time != begin+1000 {
				t.Fatalf("found %+v, %v", o, err)
			}
			mustClose(t, db)
		})
	}
}

// The filter never denies what it holds, and is wrong about others rarely.
func TestFilter(t *testing.T) {
	var f knownFilter
	id := func(n int) ledger.Hash { return ledger.Sum(fmt.Appendf(nil, "%d", n)) }
	const n = filterIDs + 5000 // more than one part
	for i := range n {
		f.add(id(i), uint64(i))
	}
	if len(f.parts) != 2 {
		t.Fatalf("%d parts", len(f.parts))
	}
	for i := range n {
		if !f.mayHold(id(i), 0) {
			t.Fatalf("id %d is denied", i)
		}
	}
	wrong := 0
	for i := range 10_000 {
		if f.mayHold(id(n+i), 0) {
			wrong++
		}
	}
	if wrong > 300 {
		t.Errorf("%d of 10,000 others are taken for known", wrong)
	}
	f.forget(filterIDs + 1)
	if len(f.parts) != 1 || f.since != filterIDs+1 {
		t.Errorf("%d parts since %d after forgetting", len(f.parts), f.since)
	}
	if !f.mayHold(id(1<<30), filterIDs) {
		t.Error("the filter denies what stood in blocks it has forgotten")
	}
}

func TestCacheKeepsItsBudget(t *testing.T) {
	c := newCache(10_000, func(b []byte) int { return len(b) })
	c.put("hot", []byte("used all the time"))
	for i := range 1000 {
		key := fmt.Sprint(i)
		c.put(key, make([]byte, 100))
		if _, ok := c.get("hot"); !ok {
			t.Fatal("what is used all the time is gone")
		}
		if c.used > c.budget || len(c.index) != len(c.entries) {
			t.Fatalf("%d bytes of %d in %d entries, %d in the index", c.used, c.budget, len(c.entries), len(c.index))
		}
		used := 0
		for n := range c.entries {
			e := &c.entries[n]
			used += c.bytes(e)
			if c.index[e.key] != n {
				t.Fatalf("entry %d is indexed at %d", n, c.index[e.key])
			}
		}
		if used != c.used {
			t.Fatalf("counts %d bytes, holds %d", c.used, used)
		}
	}
	c.put("hot", []byte("new"))
	if v, ok := c.get("hot"); !ok || string(v) != "new" {
		t.Fatalf("got %q", v)
	}
	c.put("huge", make([]byte, 20_000))
	if _, ok := c.get("huge"); ok || c.used > c.budget {
		t.Fatalf("%d bytes after one entry larger than the budget", c.used)
	}
}

// Of twice as many values as fit, used at random, nearly half are found.
func TestCacheHits(t *testing.T) {
	for _, tc := range []struct{ values, atLeast int }{{40, 950}, {90, 400}} {
		c := newCache(10_000, func(b []byte) int { return len(b) }) // 45 of them
		hits, seed := 0, uint32(1)
		for range 1000 {
			seed = seed*1664525 + 1013904223
			key := fmt.Sprint(int(seed>>8) % tc.values)
			if _, ok := c.get(key); ok {
				hits++
				continue
			}
			c.put(key, make([]byte, 100))
		}
		if hits < tc.atLeast {
			t.Errorf("%d of 1000 hits with %d values, want %d", hits, tc.values, tc.atLeast)
		}
	}
}
