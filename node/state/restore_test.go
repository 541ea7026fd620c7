package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// copied is a state as it is carried from one node to another.
type copied struct {
	target Target
	rows   [][2][]byte
	items  [][]byte
}

func copyOf(t testing.TB, f *Frozen, s script) *copied {
	t.Helper()
	c := &copied{target: Target{
		Height: f.Height(), Time: f.Time(), Roots: f.Roots(),
		TimeOf: func(h ledger.Height) (uint64, error) { return s.time(h), nil },
	}}
	if err := f.Rows(func(k, v []byte) error {
		c.rows = append(c.rows, [2][]byte{bytes.Clone(k), bytes.Clone(v)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.Receipts(func(item []byte) error { c.items = append(c.items, bytes.Clone(item)); return nil }); err != nil {
		t.Fatal(err)
	}
	return c
}

// restore makes a state of c in a directory of its own.
func (c *copied) restore(t testing.TB, dir string) error {
	t.Helper()
	cfg := Config{Dir: dir, ChainID: testConfig().ChainID}
	r, err := NewRestore(cfg, t.TempDir(), c.target)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, row := range c.rows {
		if err := r.Row(row[0], row[1]); err != nil {
			return err
		}
	}
	for _, item := range c.items {
		if err := r.Receipt(item); err != nil {
			return err
		}
	}
	return r.Finish(t.Context(), nil)
}

// A restored state has the roots, rows and receipts of the one it was copied
// from, wherever that one's flushes were, and goes on as that one does.
func TestRestoredStateGoesOnAlike(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 5))
			s := script{seed: seed, keys: []int{3, 20, 400}[seed%3], batches: seed%2 == 1}
			db := mustCreate(t, testConfig(), newDisk())
			defer mustClose(t, db)
			end := ledger.Height(rnd.IntN(60))
			for h := range end + 1 {
				s.run(t, db, h)
				if rnd.IntN(8) == 0 {
					mustFlush(t, db)
				}
			}
			at := end
			f, err := db.Freeze(end - min(end, ledger.Height(rnd.IntN(3))))
			if errors.Is(err, ErrNotFrozen) { // flushed since
				f, err = db.Freeze(end)
			}
			if err != nil {
				t.Fatal(err)
			}
			at = f.Height()
			for h := end + 1; h < end+4; h++ { // what comes later does not show
				s.run(t, db, h)
			}
			dir := filepath.Join(t.TempDir(), "state")
			if err := copyOf(t, f, s).restore(t, dir); err != nil {
				t.Fatal(err)
			}
			cfg := testConfig()
			cfg.Dir = dir
			got, err := Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, got)
			if got.BeganAt() != at || got.View().Height() != at {
				t.Fatalf("began at %d, is at %d, want %d", got.BeganAt(), got.View().Height(), at)
			}
			mustVerify(t, got)
			for h := at + 1; h < end+4; h++ {
				want, _ := db.RootsAt(h)
				if r := s.run(t, got, h); r != want {
					t.Fatalf("roots after %d are %v, want %v", h, r, want)
				}
			}
			mustFlush(t, got)
			mustVerify(t, got)
			sameRows(t, got, db)
			sameOutcomes(t, got, db, at)
		})
	}
}

func sameRows(t *testing.T, got, want *DB) {
	t.Helper()
	a, err := got.View().Range("", "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.View().Range("", "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != len(b) {
		t.Fatalf("%d rows, want %d", len(a), len(b))
	}
	for i := range a {
		if a[i].Key != b[i].Key || !bytes.Equal(a[i].Value, b[i].Value) {
			t.Fatalf("row %q is %q, want %q: %q", a[i].Key, a[i].Value, b[i].Key, b[i].Value)
		}
	}
}

// sameOutcomes compares all but what no root commits to.
func sameOutcomes(t *testing.T, got, want *DB, began ledger.Height) {
	t.Helper()
	for i := range want.View().Roots().ReceiptsSize {
		a, err := got.View().OutcomeAt(i)
		if err != nil {
			t.Fatal(err)
		}
		b, err := want.View().OutcomeAt(i)
		if err != nil {
			t.Fatal(err)
		}
		if a.Receipt() != b.Receipt() || a.Time != b.Time {
			t.Fatalf("receipt %d is %+v, want %+v", i, a, b)
		}
		if carried := b.Height <= began; carried && (len(a.Payload) > 0 || a.Message != "" || a.NoPayload != (b.Code == codeOK)) {
			t.Fatalf("receipt %d claims to know what no root commits to: %+v", i, a)
		} else if !carried && !bytes.Equal(a.Payload, b.Payload) {
			t.Fatalf("receipt %d paid %q, want %q", i, a.Payload, b.Payload)
		}
		x, errX := got.View().Find(a.TxID)
		y, errY := want.View().Find(a.TxID)
		if errX != nil || errY != nil || x.Position != y.Position {
			t.Fatalf("transaction %s stands at %v, %v; want %v, %v", a.TxID, x, errX, y, errY)
		}
	}
}

// Whatever is changed in what was carried is refused, and the directory cannot be
// opened.
func TestForgedStateIsRefused(t *testing.T) {
	s := script{seed: 3, keys: 30, batches: true}
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	for h := range ledger.Height(40) {
		s.run(t, db, h)
	}
	f, err := db.Freeze(39)
	if err != nil {
		t.Fatal(err)
	}
	isRow := func(keep ledger.Keeping) func(c *copied) int {
		return func(c *copied) int {
			for i := range c.rows {
				if ledger.KeepingOf(string(c.rows[i][0])) == keep {
					return i
				}
			}
			t.Fatal("no such row")
			return 0
		}
	}
	record, index, alone := isRow(ledger.KeepRecord), isRow(ledger.KeepIndex), isRow(ledger.KeepLog)
	change := func(f func(*carried)) func(*copied) {
		return func(c *copied) {
			for i := range c.items {
				var x carried
				if err := rlp.DecodeBytes(c.items[i], &x); err != nil {
					t.Fatal(err)
				}
				if len(x.Logs) > 0 && len(x.Events) > 0 {
					f(&x)
					c.items[i] = encodeRow(&x)
					return
				}
			}
			t.Fatal("no receipt with logs and events")
		}
	}
	for name, forge := range map[string]func(*copied){
		"record flipped":          func(c *copied) { c.rows[record(c)][1][0] ^= 1 },
		"record left out":         func(c *copied) { i := record(c); c.rows = append(c.rows[:i], c.rows[i+1:]...) },
		"record made up":          func(c *copied) { c.rows = append(c.rows, [2][]byte{[]byte("zz/new"), []byte("x")}) },
		"record emptied":          func(c *copied) { c.rows[record(c)][1] = nil },
		"index row flipped":       func(c *copied) { c.rows[index(c)][1][0] ^= 1 },
		"index row left out":      func(c *copied) { i := index(c); c.rows = append(c.rows[:i], c.rows[i+1:]...) },
		"index row made up":       func(c *copied) { c.rows = append(c.rows, [2][]byte{[]byte("zz/ix/new"), []byte("x")}) },
		"log row flipped":         func(c *copied) { c.rows[alone(c)][1][0] ^= 1 },
		"log row's value flipped": func(c *copied) { c.rows[alone(c)][1][timeBytes] ^= 1 },
		"log row without value":   func(c *copied) { i := alone(c); c.rows[i][1] = c.rows[i][1][:timeBytes] },
		"log row left out":        func(c *copied) { i := alone(c); c.rows = append(c.rows[:i], c.rows[i+1:]...) },
		"log row made up":         func(c *copied) { c.rows = append(c.rows, [2][]byte{[]byte("zz/log/new"), []byte("x")}) },
		"key without contract":    func(c *copied) { c.rows = append(c.rows, [2][]byte{[]byte("zz"), []byte("x")}) },
		"rows swapped":            func(c *copied) { c.rows[0], c.rows[1] = c.rows[1], c.rows[0] },
		"row twice":               func(c *copied) { c.rows = append(c.rows[:1:1], c.rows...) },
		"receipt left out":        func(c *copied) { c.items = append(c.items[:5:5], c.items[6:]...) },
		"last receipt left out":   func(c *copied) { c.items = c.items[:len(c.items)-1] },
		"receipt twice":           func(c *copied) { c.items = append(c.items, c.items[len(c.items)-1]) },
		"receipts swapped":        func(c *copied) { c.items[4], c.items[5] = c.items[5], c.items[4] },
		"receipt cut":             func(c *copied) { c.items[4] = c.items[4][:10] },
		"receipt is garbage":      func(c *copied) { c.items[4] = []byte("garbage") },
		"another id":              change(func(x *carried) { x.TxID[0] ^= 1 }),
		"another height":          change(func(x *carried) { x.Height = 39 }),
		"height above":            change(func(x *carried) { x.Height = 40 }),
		"another code":            change(func(x *carried) { x.Code = "PERMIT" }),
		"another log value":       change(func(x *carried) { x.Logs[0][0] ^= 1 }),
		"log value too many":      change(func(x *carried) { x.Logs = append(x.Logs, []byte("x")) }),
		"log value missing":       change(func(x *carried) { x.Logs = x.Logs[1:] }),
		"log hash and value":      change(func(x *carried) { x.Writes[len(x.Writes)-1].Hash = make([]byte, 32) }),
		"event gone":              change(func(x *carried) { x.Events = nil }),
		"event refers nowhere":    change(func(x *carried) { x.Events[0].Log = 99 }),
		"write gone":              change(func(x *carried) { x.Writes = x.Writes[1:] }),
		"pruned and whole":        change(func(x *carried) { x.EventsHash = make([]byte, 32) }),
		"pruned to a lie":         change(func(x *carried) { x.Logs, x.Events, x.EventsHash = nil, nil, make([]byte, 32) }),
		"another state root":      func(c *copied) { c.target.Roots.State[0] ^= 1 },
		"another receipts root":   func(c *copied) { c.target.Roots.Receipts[0] ^= 1 },
		"another size":            func(c *copied) { c.target.Roots.ReceiptsSize-- },
	} {
		t.Run(name, func(t *testing.T) {
			c := copyOf(t, f, s)
			forge(c)
			dir := filepath.Join(t.TempDir(), "state")
			if err := c.restore(t, dir); !errors.Is(err, ErrForged) {
				t.Fatalf("restored with %v", err)
			}
			cfg := testConfig()
			cfg.Dir = dir
			if db, err := Open(t.Context(), cfg); err == nil {
				t.Fatalf("the unfinished state opens at height %d", db.View().Height())
			}
		})
	}
}

// An empty state can be carried like any other.
func TestEmptyStateIsRestored(t *testing.T) {
	s := script{seed: 1, keys: 1}
	c := &copied{target: Target{Height: 0, Time: s.time(0), Roots: EmptyRoots}}
	dir := filepath.Join(t.TempDir(), "state")
	if err := c.restore(t, dir); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.Dir = dir
	db, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, db)
	if h, r, ok := db.Executed(); !ok || h != 0 || r != EmptyRoots {
		t.Fatalf("executed %d, %v, %v", h, r, ok)
	}
	mustVerify(t, db)
}

// The state after a seal is that before it, flushed or not.
func TestFreezeAfterASeal(t *testing.T) {
	s := script{seed: 4, keys: 20}
	db := mustCreate(t, testConfig(), newDisk())
	defer mustClose(t, db)
	for h := range ledger.Height(10) {
		s.run(t, db, h)
	}
	b, err := db.Begin(10, s.time(10))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, db)
	f, err := db.Freeze(9)
	if err != nil || f.Height() != 9 || f.Time() != s.time(9) {
		t.Fatalf("froze %+v, %v", f, err)
	}
	if err := copyOf(t, f, s).restore(t, filepath.Join(t.TempDir(), "state")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Freeze(11); !errors.Is(err, ErrNotExecuted) {
		t.Fatalf("froze a height to come: %v", err)
	}
	if _, err := db.Freeze(3); !errors.Is(err, ErrNotFrozen) {
		t.Fatalf("froze an old height: %v", err)
	}
}
