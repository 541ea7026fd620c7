package bft

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hyperledger-labs/SmartBFT/pkg/api"
	"github.com/hyperledger-labs/SmartBFT/pkg/metrics"
	"github.com/hyperledger-labs/SmartBFT/pkg/metrics/disabled"
	"github.com/hyperledger-labs/SmartBFT/pkg/wal"
)

// walBuffer is allocated by the library for every record; a longer record grows
// its own.
const walBuffer = 8 << 10

// walSuffix ends the names of the library's log files.
const walSuffix = ".wal"

// log is the write-ahead log of one engine: the library's file log with a
// synced directory.
type log struct {
	dir string

	mu      sync.Mutex // guards file and synced; held while a record is written
	file    *wal.WriteAheadLogFile
	created *fileCounter
	synced  uint64 // value of created when the directory was last synced
}

// openLog opens or creates the log in dir and returns the records since its
// last truncation.
func openLog(dir string, logger api.Logger) (*log, [][]byte, error) {
	if err := createDir(dir); err != nil {
		return nil, nil, fmt.Errorf("create write-ahead log directory %s: %w", dir, err)
	}
	l := &log{dir: dir, created: &fileCounter{}}
	records, err := l.open(logger)
	if err != nil {
		return nil, nil, fmt.Errorf("open write-ahead log in %s: %w", dir, err)
	}
	if err := syncDir(dir); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("sync write-ahead log directory %s: %w", dir, err), l.close())
	}
	l.synced = l.created.n.Load()
	return l, records, nil
}

// open follows the library's InitializeAndReadAll, and repairs one thing more:
// a crash just after a file was created, before its first record.
func (l *log) open(logger api.Logger) ([][]byte, error) {
	opts := &wal.Options{BufferSizeBytes: walBuffer, Metrics: wal.NewMetrics(l.created)}
	if err := checkEnd(l.dir); err != nil {
		return nil, err
	}
	file, err := wal.Open(logger, l.dir, opts)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		if err := wal.Repair(logger, l.dir); err != nil {
			return nil, fmt.Errorf("repair: %w", err)
		}
		file, err = wal.Open(logger, l.dir, opts)
	}
	if errors.Is(err, fs.ErrNotExist) {
		l.file, err = wal.Create(logger, l.dir, opts)
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	records, err := file.ReadAll()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		// The last record is torn: it was not synced, so nothing that follows
		// from it has left this replica.
		if err := wal.Repair(logger, l.dir); err != nil {
			return nil, errors.Join(fmt.Errorf("repair: %w", err), file.Close())
		}
		records, err = file.ReadAll()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l.file = file
	return records, nil
}

// write appends one record; it is on disk when write returns.
func (l *log) write(entry []byte, truncateTo bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return errors.New("append to write-ahead log: already closed")
	}
	if err := l.file.Append(entry, truncateTo); err != nil {
		return notKept(l.dir, err)
	}
	// A new file is reachable after a crash only once its directory is synced.
	if n := l.created.n.Load(); n != l.synced {
		if err := syncDir(l.dir); err != nil {
			return notKept(l.dir, err)
		}
		l.synced = n
	}
	return nil
}

// notKept says that a record may not be on the disk: it must not be acted on.
func notKept(dir string, err error) error {
	return fmt.Errorf("append to write-ahead log in %s: %w: no vote has left this replica for it; see to the disk, then start the node again", dir, err)
}

func (l *log) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// logFiles counts the log files in dir; an absent directory has none.
func logFiles(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), walSuffix) {
			n++
		}
	}
	return n, nil
}

// createDir makes dir and its missing parents durable.
func createDir(dir string) error {
	dir = filepath.Clean(dir)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := createDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fileCounter learns from the log's only metric that it has created a file.
type fileCounter struct {
	disabled.Provider
	n atomic.Uint64
}

func (c *fileCounter) NewGauge(metrics.GaugeOpts) metrics.Gauge { return c }
func (c *fileCounter) With(...string) metrics.Gauge             { return c }
func (c *fileCounter) Add(float64)                              {}
func (c *fileCounter) Set(float64)                              { c.n.Add(1) }
