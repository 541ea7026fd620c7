package bft

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// writtenLog makes a log of some records and returns its last file and what was in it.
func writtenLog(t testing.TB, sizes ...int) (dir string, records [][]byte) {
	t.Helper()
	dir = t.TempDir()
	l, _, err := openLog(dir, &libLogger{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for i, n := range sizes {
		entry := make([]byte, n)
		for j := range entry {
			entry[j] = byte(rng.Uint32())
		}
		copy(entry, fmt.Sprintf("record %d", i))
		if err := l.write(entry, i == 0); err != nil {
			t.Fatal(err)
		}
		records = append(records, entry)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	return dir, records
}

// reread opens a log whose last file is b.
func reread(t testing.TB, b []byte) ([][]byte, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "0000000000000001.wal"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	l, records, err := openLog(dir, &libLogger{log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = l.close()
	}
	return records, err
}

func lastLog(t testing.TB, dir string) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+walSuffix))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	slices.Sort(names)
	b, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// No single wrong bit makes the log forget a record that was synced.
func TestNoFlippedBitForgetsAVote(t *testing.T) {
	dir, records := writtenLog(t, 40, 7, 300, 64, 33)
	whole := lastLog(t, dir)
	if got, err := reread(t, whole); err != nil || len(got) != len(records) {
		t.Fatalf("%d records, %v", len(got), err)
	}
	refused := 0
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if _, bad := tornOrDamaged(b); bad {
			refused++
			continue
		}
		// The only wrong bits that pass are those that nobody reads.
		got, err := reread(t, b)
		if err == nil && !slices.EqualFunc(got, records, bytes.Equal) {
			t.Errorf("bit %d of byte %d: %d records of %d, unnoticed", bit%8, bit/8, len(got), len(records))
		}
	}
	t.Logf("%d of %d wrong bits are refused at the look at the end", refused, 8*len(whole))
	b := bytes.Clone(whole)
	b[len(b)/2] ^= 4
	if _, err := reread(t, b); !errors.Is(err, ErrLogMismatch) {
		t.Errorf("open: %v, want %v", err, ErrLogMismatch)
	}
}

// What a crash in the midst of a write leaves is no damage: the records before it
// are read, and the log goes on.
func TestTornEndIsNoDamage(t *testing.T) {
	dir, records := writtenLog(t, 40, 7, 300, 64, 900)
	whole := lastLog(t, dir)
	last := len(whole) - 904
	for cut := last - recordHead + 1; cut < len(whole); cut += 7 {
		for _, tail := range []string{"missing", "zero"} {
			b := bytes.Clone(whole[:cut])
			if tail == "zero" { // the file had grown, its content had not come
				b = append(b, make([]byte, len(whole)-cut)...)
			}
			if at, bad := tornOrDamaged(b); bad {
				t.Fatalf("cut at %d, the rest is %s: damage at %d", cut, tail, at)
			}
			got, err := reread(t, b)
			if err != nil || len(got) < len(records)-1 {
				t.Fatalf("cut at %d, the rest is %s: %d records, %v", cut, tail, len(got), err)
			}
		}
	}
}

// A file that had grown, whose last record had not come or only its head, is torn
// whatever the checksum before it is; only one with content behind zeros is not.
func TestZerosInThePlaceOfTheLastRecord(t *testing.T) {
	dir, records := writtenLog(t, 40, 7, 300, 64, 900)
	whole := lastLog(t, dir)
	at := lastRecord(t, whole)
	for head := range recordHead + 1 {
		b := append(bytes.Clone(whole[:at+head]), make([]byte, len(whole)-at-head)...)
		if got, err := reread(t, b); err != nil || len(got) != len(records)-1 {
			t.Errorf("%d bytes of the last record's head came: %d records, %v", head, len(got), err)
		}
		for bit := range 32 {
			if !torn(b, at, 1<<bit) {
				t.Errorf("%d bytes of the head came after checksum %#x: taken for damage", head, uint32(1)<<bit)
			}
		}
	}
	b := bytes.Clone(whole)
	clear(b[at : at+512])
	if _, bad := tornOrDamaged(b); !bad {
		t.Error("content behind a sector of zeros is taken for a torn end")
	}
}

// lastRecord returns where the last record of a whole file begins.
func lastRecord(t *testing.T, b []byte) (last int) {
	t.Helper()
	crc, at, _ := anchor(b)
	for at < len(b) {
		sum, end, ok := record(b, at, crc)
		if !ok {
			t.Fatalf("no record at %d", at)
		}
		crc, last, at = sum, at, end
	}
	return last
}

// A log that was cut where a record ends, or within one, cannot be told from a
// crash: what is left is read.
func TestCutLogIsRead(t *testing.T) {
	dir, _ := writtenLog(t, 40, 7, 300)
	whole := lastLog(t, dir)
	for cut := range whole {
		if _, err := reread(t, whole[:cut]); err != nil && !errors.Is(err, ErrLogMismatch) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

func FuzzLogFile(f *testing.F) {
	dir, _ := writtenLog(f, 40, 7, 300)
	whole := lastLog(f, dir)
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if at, _ := tornOrDamaged(b); at > len(b) {
			t.Fatalf("a record at %d of %d bytes", at, len(b))
		}
	})
}
