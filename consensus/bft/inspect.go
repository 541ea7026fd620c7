package bft

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/assent-network/assent/consensus"
)

// Inspect reports why a stopped replica could not resume from the write-ahead log
// in dir after the last decision, as Open would, and changes nothing: it reads a
// copy. lastAlone is Config.LastAlone. Only the height and the votes of last
// matter.
func Inspect(dir string, self consensus.ReplicaID, last consensus.Decision, lastAlone bool) (err error) {
	files, err := logFiles(dir)
	if err != nil {
		return fmt.Errorf("list write-ahead log: %w", err)
	}
	if files == 0 {
		return fmt.Errorf("%w: there is no write-ahead log in %s: without it this replica may vote twice", ErrLogMismatch, dir)
	}
	tmp, err := os.MkdirTemp("", "assent-log-")
	if err != nil {
		return fmt.Errorf("copy write-ahead log: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, os.DirFS(dir)); err != nil {
		return fmt.Errorf("copy write-ahead log: %w", err)
	}
	l, records, err := openLog(tmp, &libLogger{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	t, err := readTail(records)
	if err == nil {
		err = t.check(self, last, lastAlone)
	}
	if closed := l.close(); err == nil {
		err = closed
	}
	return err
}
