//go:build linux

package outbox

import (
	"database/sql"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A commit that fails, here because the file may not grow, leaves nothing behind: the
// others of its batch commit once, and whoever repeats what failed has it once.
func TestWhatACommitCouldNotWriteCanBeRepeated(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ) // the write fails instead
	t.Cleanup(func() { signal.Reset(syscall.SIGXFSZ) })
	path := filepath.Join(t.TempDir(), "private.db")
	p := private(t, path)
	must(t, p.Do(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(`CREATE TABLE t (n INTEGER, x BLOB)`); return err }))
	log, err := os.Stat(path + "-wal")
	must(t, err)

	const callers = 6 // of which two write more than there is room for
	insert := func(i int) error {
		size := 100
		if i < 2 {
			size = 1 << 20
		}
		return p.Do(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO t VALUES (?, zeroblob(?))`, i, size)
			return err
		})
	}
	together := func() (errs [callers]error) {
		var wg sync.WaitGroup
		p.turn.Lock() // so that all of them are of one batch
		for i := range callers {
			wg.Go(func() { errs[i] = insert(i) })
		}
		for n := 0; n < callers; runtime.Gosched() {
			p.mu.Lock()
			n = len(p.queue)
			p.mu.Unlock()
		}
		p.turn.Unlock()
		wg.Wait()
		return errs
	}

	var before syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	limit := syscall.Rlimit{Cur: uint64(log.Size()) + 256<<10, Max: before.Max}
	must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	restore := sync.OnceFunc(func() { must(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before)) })
	t.Cleanup(restore)
	for i, err := range together() {
		if (err != nil) != (i < 2) || err != nil && !strings.Contains(err.Error(), "commit private.db") {
			t.Errorf("caller %d: error %v", i, err)
		}
	}
	restore()
	for i := range 2 {
		must(t, insert(i))
	}
	for _, when := range []string{"at once", "after opening anew"} {
		for i := range callers {
			var n int
			must(t, p.Reader().QueryRow(`SELECT count(*) FROM t WHERE n = ?`, i).Scan(&n))
			if n != 1 {
				t.Errorf("%s: what caller %d wrote is there %d times", when, i, n)
			}
		}
		must(t, p.Close())
		p = private(t, path)
	}
}
