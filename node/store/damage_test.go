package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// flip inverts one byte of a file.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 0xff
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "blocks")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// largest returns the largest file that matches pattern.
func largest(t *testing.T, dir, pattern string) (string, int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	best, size := "", -1
	for _, n := range names {
		if info, err := os.Stat(n); err == nil && int(info.Size()) > size {
			best, size = n, int(info.Size())
		}
	}
	if best == "" {
		t.Fatalf("no file %s", pattern)
	}
	return best, size
}

// TestDamageIsNeverServed flips bytes all over the files. Afterwards a store
// may refuse to open or to read, or have lost its newest block (a torn end of
// the journal looks the same), but whatever it returns is what was written.
func TestDamageIsNeverServed(t *testing.T) {
	chain := crashChain(40)
	for _, tt := range []struct {
		name, pattern string
		opens         int           // after the blocks were written; each turns the journal into a table
		lose          ledger.Height // how many blocks may go unnoticed
	}{
		// goleveldb drops the rest of a damaged 32 KiB block of its journal; at
		// the end that is where a torn write would be.
		{"journal", "*.log", 0, 6},
		{"table", "*.ldb", 1, 0},
		{"manifest", "MANIFEST-*", 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, dir := stored(t, chain)
			for range tt.opens {
				s = reopen(t, s, dir)
			}
			s.Close()
			_, size := largest(t, dir, tt.pattern)
			noticed, tip := 0, chain.Tip().Header.Height
			const places = 40
			for i := range places {
				dir := copyDir(t, dir)
				file, _ := largest(t, dir, tt.pattern)
				flip(t, file, size*i/places)
				s, err := Open(dir, chain.ChainID())
				if err != nil {
					if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrMissing) {
						t.Errorf("flip at %d: open: %v", size*i/places, err)
					}
					noticed++
					continue
				}
				if s.Tip().Height+tt.lose < tip {
					t.Errorf("flip at %d: tip fell to %d unnoticed", size*i/places, s.Tip().Height)
				}
				if damagedReads(t, s, chain) {
					noticed++
				}
				s.Close()
			}
			t.Logf("%d of %d flips were noticed", noticed, places)
			if noticed < places/3 {
				t.Errorf("%d of %d flips were noticed", noticed, places)
			}
		})
	}
}

// damagedReads compares every block that s returns with c and reports whether
// any read failed.
func damagedReads(t *testing.T, s *Store, c *ledgertest.Chain) (failed bool) {
	t.Helper()
	for h := range s.Tip().Height + 1 {
		b, err := s.Block(h)
		if err != nil {
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "block") {
				t.Errorf("read block %d: %v", h, err)
			}
			failed = true
			continue
		}
		if b.Header != c.Blocks[h].Header || ledger.TxRoot(b.Requests) != b.Header.TxRoot {
			t.Errorf("block %d is not what was written", h)
		}
	}
	return failed
}

// TestGapIsFoundWhenTheStoreIsOpened: a lost record in the middle of the journal
// must not wait until somebody reads that block.
func TestGapIsFoundWhenTheStoreIsOpened(t *testing.T) {
	c := crashChain(10)
	for _, key := range [][]byte{keyOf(0, rowBody), keyOf(5, rowHeader), keyOf(5, rowBody), keyOf(5, rowCertificate), keyOf(9, rowHeader), keyOf(10, rowBody), keyOf(0, rowHeader)} {
		s, dir := stored(t, c)
		if err := s.db.Delete(key, synced); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if _, err := Open(dir, c.ChainID()); !errors.Is(err, ErrDamaged) {
			t.Errorf("without %x: %v", key, err)
		}
	}
	for _, c := range []*ledgertest.Chain{crashChain(7), crashChain(10), crashChain(14)} {
		s, dir := stored(t, c)
		if err := s.db.Delete(keyOfConfig(1), synced); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if _, err := Open(dir, c.ChainID()); !errors.Is(err, ErrDamaged) {
			t.Errorf("without a config height, at %d: %v", c.Tip().Header.Height, err)
		}
	}
}

func TestNewFileIsNamedOnDiskBeforeItIsUsed(t *testing.T) {
	dir := t.TempDir()
	fd := storage.FileDesc{Type: storage.TypeJournal, Num: 1}
	w, err := dirSyncer{storage.NewMemStorage(), dir}.Create(fd)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if _, err := (dirSyncer{storage.NewMemStorage(), filepath.Join(dir, "absent")}).Create(fd); err == nil {
		t.Error("a file whose directory cannot be synced was created")
	}
}

func TestTornJournalTailIsNoDamage(t *testing.T) {
	c := crashChain(10)
	s, dir := stored(t, c)
	s.Close()
	for _, cut := range []int{1, 7, 100, 500} {
		dir := copyDir(t, dir)
		file, size := largest(t, dir, "*.log")
		if err := os.Truncate(file, int64(size-cut)); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, c.ChainID())
		if err != nil {
			t.Fatalf("cut %d bytes: %v", cut, err)
		}
		if s.Tip().Height != 9 {
			t.Errorf("cut %d bytes: tip is %d", cut, s.Tip().Height)
		}
		if _, err := fill(s, c); err != nil {
			t.Errorf("cut %d bytes: %v", cut, err)
		}
		checkStored(t, s, c)
		s.Close()
	}
}
