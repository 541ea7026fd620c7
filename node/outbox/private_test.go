package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func private(t testing.TB, path string) *Private {
	t.Helper()
	p, err := OpenPrivate(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestPrivateIsDurableAndOverwrites(t *testing.T) {
	dir := t.TempDir()
	p := private(t, filepath.Join(dir, "private.db"))
	must(t, p.Do(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(`CREATE TABLE made (x)`); return err }))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "secure_delete": "1"} {
		var got string
		if err := p.write.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, want %q: %v", pragma, got, want, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v: %v", filepath.Base(f), info.Mode(), err)
		}
	}
	if len(files) < 2 {
		t.Errorf("no log beside the database: %v", files)
	}
	if _, err := p.Reader().Exec(`CREATE TABLE t (x)`); err == nil {
		t.Error("the reader can write")
	}
}

func TestManyCallersOneCommitEach(t *testing.T) {
	p := private(t, filepath.Join(t.TempDir(), "private.db"))
	must(t, p.Do(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`CREATE TABLE t (n INTEGER PRIMARY KEY)`)
		return err
	}))
	boom := errors.New("boom")
	var wg sync.WaitGroup
	var failed atomic.Int64
	for i := range 300 {
		wg.Go(func() {
			err := p.Do(context.Background(), func(tx *sql.Tx) error {
				if _, err := tx.Exec(`INSERT INTO t VALUES (?)`, i); err != nil {
					return err
				}
				if i%10 == 3 {
					return boom
				}
				return nil
			})
			if i%10 == 3 {
				if !errors.Is(err, boom) {
					t.Errorf("%d: error %v", i, err)
				}
				failed.Add(1)
			} else if err != nil {
				t.Errorf("%d: %v", i, err)
			} else {
				var n int
				if err := p.Reader().QueryRow(`SELECT count(*) FROM t WHERE n = ?`, i).Scan(&n); err != nil || n != 1 {
					t.Errorf("%d: done, but %d rows are seen: %v", i, n, err)
				}
			}
		})
	}
	wg.Wait()
	var n int
	must(t, p.Reader().QueryRow(`SELECT count(*) FROM t`).Scan(&n))
	if n != 300-int(failed.Load()) || failed.Load() != 30 {
		t.Errorf("%d rows, %d failed", n, failed.Load())
	}
}

func TestDeletedBytesAreGoneFromTheFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "private.db")
	p := private(t, path)
	secret := strings.Repeat("never-to-leave!", 200)
	must(t, p.Do(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`CREATE TABLE t (x TEXT); INSERT INTO t VALUES (?)`, secret)
		return err
	}))
	if !onDisk(t, path, secret[:60]) {
		t.Fatal("the test sees nothing: the bytes are not on disk to begin with")
	}
	must(t, p.Do(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(`DELETE FROM t`); return err }))
	must(t, p.Checkpoint(t.Context()))
	if onDisk(t, path, "never-to-leave") {
		t.Error("deleted bytes are still in the files")
	}
}

func onDisk(t *testing.T, path, text string) bool {
	t.Helper()
	files, err := filepath.Glob(path + "*")
	must(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(t, err)
		if strings.Contains(string(b), text) {
			return true
		}
	}
	return false
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			p := private(b, filepath.Join(b.TempDir(), "private.db"))
			must(b, p.Do(b.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(`CREATE TABLE t (n BLOB)`); return err }))
			stmt, err := p.Prepare(`INSERT INTO t VALUES (?)`)
			must(b, err)
			defer stmt.Close()
			blob := make([]byte, 1024)
			b.SetParallelism(callers / 2)
			if callers == 1 {
				for b.Loop() {
					must(b, p.Do(context.Background(), func(tx *sql.Tx) error { _, err := tx.Stmt(stmt).Exec(blob); return err }))
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					must(b, p.Do(context.Background(), func(tx *sql.Tx) error { _, err := tx.Stmt(stmt).Exec(blob); return err }))
				}
			})
		})
	}
}
