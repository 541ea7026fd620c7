package state

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// itemBytes is about what a request of a batch takes.
const itemBytes = 700

func itemKey(i int) string { return fmt.Sprintf("a/log/request/%064d", i) }

func itemValue(i int) []byte {
	return append(bytes.Repeat([]byte{'v'}, itemBytes), fmt.Sprint(i)...)
}

// withBatch returns a state whose only transaction wrote n log rows, on disk.
func withBatch(t testing.TB, n int) *DB {
	t.Helper()
	db := mustCreate(t, testConfig(), newDisk())
	b, err := db.Begin(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	tx := &Tx{TxID: ledger.Hash{1}, Code: "OK"}
	for i := range n {
		tx.Writes = append(tx.Writes, ledger.Write{Key: itemKey(i), Value: itemValue(i)})
	}
	if _, err := b.Apply(tx); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Seal(); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, db)
	mustVerify(t, db)
	return db
}

// What it takes to read one item of a batch does not depend on how many the batch
// has. Allocated bytes stand for the work: time would depend on the machine.
func TestReadingAnItemDoesNotDependOnItsBatch(t *testing.T) {
	for _, n := range []int{1, maxSharedLogs, maxSharedLogs + 1, 100, 1000} {
		db := withBatch(t, n)
		v := db.View()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range n {
			got, ok, err := v.Get(itemKey(i))
			if err != nil || !ok || !bytes.Equal(got, itemValue(i)) {
				t.Fatalf("item %d of %d reads as %.40q, %v, %v", i, n, got, ok, err)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / uint64(n); each > 64<<10 {
			t.Errorf("reading one of %d items takes %d bytes", n, each)
		}
		mustClose(t, db)
	}
}

// A value that stands alone is held against its receipt.
func TestVerifyFindsAChangedItem(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"changed":            func(b []byte) []byte { b[len(b)-1]++; return b },
		"cut":                func(b []byte) []byte { return b[:1] },
		"made a reference":   func([]byte) []byte { return logRef{}.row(nil) },
		"of an unknown kind": func(b []byte) []byte { b[0] = 9; return b },
		"empty":              func([]byte) []byte { return []byte{} },
	} {
		db := withBatch(t, maxSharedLogs+1)
		key := keyRow(itemKey(2))
		old, err := db.ldb.Get(key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.ldb.Put(key, change(old), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Verify(t.Context(), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: Verify says %v", name, err)
		}
		mustClose(t, db)
	}
}

// BenchmarkBatchItem reads the items of a batch that is on disk, one after another.
func BenchmarkBatchItem(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("of=%d", n), func(b *testing.B) {
			db := withBatch(b, n)
			defer mustClose(b, db)
			v, i := db.View(), 0
			b.ReportAllocs()
			for b.Loop() {
				if _, ok, err := v.Get(itemKey(i % n)); err != nil || !ok {
					b.Fatal(ok, err)
				}
				i++
			}
		})
	}
}
