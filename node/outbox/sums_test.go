package outbox

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// filled makes a database with n rows, each written by a transaction of its own, and
// returns its path. Closed properly or left as a crash would leave it.
func filled(t *testing.T, n int, crash bool) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "private.db")
	p, err := OpenPrivate(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := p.Do(t.Context(), func(tx *sql.Tx) error {
			if _, err := tx.Exec(`CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, x TEXT)`); err != nil {
				return err
			}
			_, err := tx.Exec(`INSERT INTO t VALUES (?, ?)`, i, fmt.Sprintf("row %d", i))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(t.TempDir(), "private.db")
	if crash {
		for _, s := range []string{"", "-wal"} {
			b, err := os.ReadFile(path + s)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(image+s, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if crash {
		return image
	}
	return path
}

func rowsIn(t *testing.T, path string) (n int, err error) {
	t.Helper()
	p, err := OpenPrivate(t.Context(), path)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	err = p.Reader().QueryRow(`SELECT count(*) FROM t`).Scan(&n)
	return n, err
}

// After a clean stop every wrong bit of the database is found, in content too.
func TestEveryWrongBitAfterACleanStopIsFound(t *testing.T) {
	path := filled(t, 20, false)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(path + sumsSuffix)
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	at := bytes.LastIndex(whole, []byte("row 7")) * 8 // the content of a row
	for i := range 40 {
		if i > 0 {
			at = rng.IntN(8 * len(whole))
		}
		b := bytes.Clone(whole)
		b[at/8] ^= 1 << (at % 8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := CheckFile(t.Context(), path); !errors.Is(err, ErrDamaged) {
			t.Errorf("bit %d: check: %v", at, err)
		}
		if _, err := OpenPrivate(t.Context(), path); !errors.Is(err, ErrDamaged) {
			t.Errorf("bit %d: open: %v", at, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	// Damaged hashes are no damage of the database.
	if err := os.WriteFile(path+sumsSuffix, append(sums[:len(sums)-9], 'x'), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := rowsIn(t, path); err != nil || n != 20 {
		t.Errorf("%d rows, %v", n, err)
	}
	if _, err := os.Stat(path + sumsSuffix); err != nil {
		t.Errorf("closed without hashes: %v", err)
	}
}

// A crash leaves no hashes; a torn end of SQLite's log loses nothing that was synced,
// and damage before its last transaction is refused instead of forgotten.
func TestDamageInTheLogIsNotTakenForATornEnd(t *testing.T) {
	const n = 30
	path := filled(t, n, true)
	log, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	db, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	again := func(b []byte) (int, error) {
		t.Helper()
		fresh := filepath.Join(t.TempDir(), "private.db")
		for name, content := range map[string][]byte{"": db, "-wal": b} {
			if err := os.WriteFile(fresh+name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return rowsIn(t, fresh)
	}
	if got, err := again(log); err != nil || got != n {
		t.Fatalf("%d rows after a crash, %v", got, err)
	}
	frame := walFrame + 4096
	last := len(log) - 2*frame // a transaction here has one or two frames
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 40 {
		at := rng.IntN(len(log))
		b := bytes.Clone(log)
		b[at] ^= 1 << rng.IntN(8)
		got, err := again(b)
		if err == nil && got < n && at < last {
			t.Errorf("byte %d of %d: %d rows of %d, unnoticed", at, len(log), got, n)
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("byte %d: %v", at, err)
		}
	}
	for cut := len(log) - frame + 1; cut < len(log); cut += 997 {
		if got, err := again(log[:cut]); err != nil || got < n-1 {
			t.Errorf("a torn end at %d: %d rows, %v", cut, got, err)
		}
	}
}

// A power cut leaves any part of the transaction that was being written, in any
// order: what is missing of it holds zeros, or frames of before the log began anew.
// Nothing of it was synced, so the database opens with what came before.
func TestATransactionTornByAPowerCutIsNoDamage(t *testing.T) {
	const n = 5
	path := filled(t, n, true)
	p, err := OpenPrivate(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Do(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO t VALUES (99, ?)`, string(bytes.Repeat([]byte("x"), 5*4096)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	db, err := os.ReadFile(path)
	if err := errors.Join(err, p.Close()); err != nil {
		t.Fatal(err)
	}
	begin, frame := int(fi.Size()), walFrame+4096
	if len(log)-begin < 5*frame {
		t.Fatalf("the last transaction has %d bytes", len(log)-begin)
	}
	before := bytes.Clone(log[walHead : walHead+frame]) // as of an earlier round of the log
	for i := range 8 {
		before[8+i] ^= 0xff
	}
	for name, lost := range map[string][]byte{"zeros": make([]byte, frame), "a frame of before": before} {
		for at := begin; at < len(log)-frame; at += frame {
			b := bytes.Clone(log)
			copy(b[at:], lost)
			fresh := filepath.Join(t.TempDir(), "private.db")
			for suffix, content := range map[string][]byte{"": db, "-wal": b} {
				if err := os.WriteFile(fresh+suffix, content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := rowsIn(t, fresh); err != nil || got != n {
				t.Errorf("%s instead of frame %d of the last transaction: %d rows, %v", name, (at-begin)/frame, got, err)
			}
		}
	}
}

func FuzzJournal(f *testing.F) {
	head := make([]byte, walHead+walFrame+512)
	copy(head, []byte{0x37, 0x7f, 0x06, 0x82, 0, 0x2d, 0xe2, 0x18, 0, 0, 2, 0})
	f.Add(head)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, _ := journalDamage(b); at > len(b) {
			t.Fatalf("damage at %d of %d", at, len(b))
		}
	})
}

func FuzzSums(f *testing.F) {
	f.Add([]byte(sumsHead + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if sums, ok := parseSums(b); ok && len(sums) > len(b) {
			t.Fatal("more hashes than bytes")
		}
	})
}
