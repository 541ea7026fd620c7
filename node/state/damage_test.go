package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/assent-network/assent/node/ledger"
)

// flushed returns a state with some blocks on disk.
func flushed(t *testing.T, d *disk) *DB {
	t.Helper()
	db := mustCreate(t, testConfig(), d)
	s := script{seed: 21, keys: 40, batches: true}
	for h := range ledger.Height(40) {
		s.run(t, db, h)
		if h%10 == 9 {
			mustFlush(t, db)
		}
	}
	return db
}

// firstKey returns the first key under a prefix that pick accepts.
func firstKey(t *testing.T, db *DB, prefix string, pick func(key string) bool) []byte {
	t.Helper()
	it := db.ldb.NewIterator(util.BytesPrefix([]byte(prefix)), nil)
	defer it.Release()
	for it.Next() {
		if pick == nil || pick(string(it.Key())) {
			return append([]byte{}, it.Key()...)
		}
	}
	t.Fatalf("no row under %q", prefix)
	return nil
}

// Verify finds every kind of damage and says where it is.
func TestVerifyFindsDamage(t *testing.T) {
	keeping := func(k ledger.Keeping) func(string) bool {
		return func(key string) bool { return ledger.KeepingOf(key[1:]) == k }
	}
	for name, tc := range map[string]struct {
		prefix string
		pick   func(string) bool
		value  func(old []byte) []byte // nil result: the row is deleted
		want   string
	}{
		"record changed":     {"r", keeping(ledger.KeepRecord), func([]byte) []byte { return []byte("other") }, "trie"},
		"record lost":        {"r", keeping(ledger.KeepRecord), func([]byte) []byte { return nil }, "trie"},
		"index row changed":  {"r", keeping(ledger.KeepIndex), func([]byte) []byte { return []byte("other") }, "index rows"},
		"index row lost":     {"r", keeping(ledger.KeepIndex), func([]byte) []byte { return nil }, "index rows"},
		"log row astray":     {"r", keeping(ledger.KeepLog), func(b []byte) []byte { b[7]++; return b }, "log rows"},
		"log row lost":       {"r", keeping(ledger.KeepLog), func([]byte) []byte { return nil }, "log rows"},
		"root node changed":  {"t", nil, func(b []byte) []byte { b[9]++; return b }, "path"},
		"node lost":          {"t", func(k string) bool { return len(k) > 1 }, func([]byte) []byte { return nil }, "path"},
		"outcome lost":       {"l", func(k string) bool { return k[8] == 5 }, func([]byte) []byte { return nil }, "receipt log"},
		"outcome unreadable": {"l", nil, func(b []byte) []byte { return b[:len(b)-1] }, "outcome row 0"},
		"tile changed":       {"n", nil, func(b []byte) []byte { b[3]++; return b }, "tile 0"},
		"tile lost":          {"n", nil, func([]byte) []byte { return nil }, "tile 0"},
		"index astray":       {"x", nil, func(b []byte) []byte { b[23]++; return b }, "transaction"},
		"index lost":         {"x", nil, func([]byte) []byte { return nil }, "transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			db := flushed(t, newDisk())
			defer mustClose(t, db)
			mustVerify(t, db)
			key := firstKey(t, db, tc.prefix, tc.pick)
			old, err := db.ldb.Get(key, nil)
			if err != nil {
				t.Fatal(err)
			}
			if v := tc.value(old); v == nil {
				err = db.ldb.Delete(key, nil)
			} else {
				err = db.ldb.Put(key, v, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = db.Verify(t.Context(), nil)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "rebuilt from the block store") {
				t.Fatalf("Verify says %v", err)
			}
		})
	}
}

// Rows that nothing accounts for are found as well.
func TestVerifyFindsSurplus(t *testing.T) {
	for _, key := range []string{"ra/k-new", "ra/ix/new", "ra/log/new", "t\x0f\x0e\x0d", "n\x00\x00\x00\x00\x00\x00\x00\x00\x77", "x" + strings.Repeat("z", 32)} {
		db := flushed(t, newDisk())
		if err := db.ldb.Put([]byte(key), []byte("surplus"), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Verify(t.Context(), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%q: Verify says %v", key, err)
		}
		mustClose(t, db)
	}
}

func TestVerifyReportsAndStops(t *testing.T) {
	db := flushed(t, newDisk())
	defer mustClose(t, db)
	stages := map[string]bool{}
	r, err := db.Verify(t.Context(), func(p Progress) { stages[p.Stage] = true })
	if err != nil {
		t.Fatal(err)
	}
	v := db.View()
	if r.Height != v.Height() || r.Roots != v.Roots() || r.Records == 0 || r.LogRows == 0 || r.IxRows == 0 || r.TrieNodes == 0 || r.Transactions != v.Roots().ReceiptsSize {
		t.Fatalf("report %+v", r)
	}
	if len(stages) != 3 {
		t.Fatalf("stages %v", stages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Verify(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("Verify went on: %v", err)
	}
}

// A damaged trie node stops execution and proofs with its path; nothing wrong
// is ever computed from it.
func TestDamagedNodeStopsExecution(t *testing.T) {
	d := newDisk()
	db := flushed(t, d)
	key := firstKey(t, db, "t", nil)
	blob, err := db.ldb.Get(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	blob[len(blob)-1] ^= 1
	if err := db.ldb.Put(key, blob, nil); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	db = mustOpen(t, testConfig(), d)
	defer mustClose(t, db)
	h, _, _ := db.Executed()
	if _, err := db.ProveState(h, "a/k1"); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "path") {
		t.Fatalf("proof: %v", err)
	}
	b, err := db.Begin(h+1, 1e9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Apply(&Tx{Code: "OK", Writes: []ledger.Write{{Key: "a/k1", Value: []byte{1}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seal(); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "path") {
		t.Fatalf("seal: %v", err)
	}
	if err := b.Commit(); err == nil {
		t.Fatal("committed on a damaged trie")
	}
}

// A receipt log that does not give its root is refused on opening.
func TestDamagedLogIsRefusedOnOpening(t *testing.T) {
	for _, prefix := range []string{"n", "l"} {
		d := newDisk()
		db := flushed(t, d)
		last := firstKey(t, db, prefix, func(k string) bool {
			if prefix == "n" {
				return true
			}
			n, err := parseNumbered(prefixOutcome, []byte(k))
			return err == nil && n+1 == db.View().Roots().ReceiptsSize
		})
		b, err := db.ldb.Get(last, nil)
		if err != nil {
			t.Fatal(err)
		}
		b[9] ^= 1
		if err := db.ldb.Put(last, b, nil); err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
		if db, err := open(fill(t, testConfig()), d); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: opened: %v", prefix, err)
			if err == nil {
				mustClose(t, db)
			}
		}
	}
}

// A flush that got lost between others is noticed: without it the state would
// be a mixture.
func TestLostFlushIsNoticed(t *testing.T) {
	d := newDisk()
	db := mustCreate(t, testConfig(), d)
	var ends []int
	journal := func() *file {
		d.mu.Lock()
		defer d.mu.Unlock()
		for fd, f := range d.files {
			if fd.Type == storage.TypeJournal {
				return f
			}
		}
		t.Fatal("no journal")
		return nil
	}
	for h := range ledger.Height(9) {
		b, err := db.Begin(h, uint64(h))
		if err != nil {
			t.Fatal(err)
		}
		large := bytes.Repeat([]byte{byte(h)}, 50_000) // damage costs the journal up to 32 KiB more
		if _, err := b.Apply(&Tx{TxID: ledger.Hash{byte(h)}, Code: "OK", Writes: []ledger.Write{{Key: "a/large", Value: large}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Seal(); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if h%3 == 2 {
			mustFlush(t, db)
			ends = append(ends, len(journal().data))
		}
	}
	mustClose(t, db)
	middle := (ends[0] + ends[1]) / 2
	damaged := d.image(func(f *file) int { return len(f.data) })
	for fd, f := range damaged.files {
		if fd.Type == storage.TypeJournal {
			f.data[middle] ^= 1
		}
	}
	if db, err := open(fill(t, testConfig()), damaged); !errors.Is(err, ErrCorrupt) || !strings.Contains(fmt.Sprint(err), "missing") {
		t.Errorf("opened with a flush missing: %v", err)
		if err == nil {
			mustClose(t, db)
		}
	}
}
