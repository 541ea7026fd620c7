package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
)

// Download collects the chunks of a snapshot in order, in a directory of its own.
// One goroutine only.
type Download struct {
	dir  string
	m    *Manifest
	file *os.File
	next int
	end  int64
}

// OpenDownload begins a download in dir, or goes on with one of the same content.
// Chunks that are there are checked again.
func OpenDownload(dir string, m *Manifest) (*Download, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("download snapshot: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, dataFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("download snapshot: %w", err)
	}
	d := &Download{dir: dir, m: m, file: f}
	var buf []byte
	for ; d.next < len(m.Chunks); d.next++ {
		c := &m.Chunks[d.next]
		if uint64(cap(buf)) < c.Size {
			buf = make([]byte, c.Size)
		}
		buf = buf[:c.Size]
		if _, err := f.ReadAt(buf, d.end); err != nil || ledger.Sum(buf) != c.Hash {
			break
		}
		d.end += int64(c.Size)
	}
	return d, nil
}

// Next returns the chunk that Add wants.
func (d *Download) Next() uint64 { return uint64(d.next) }

// Add takes the next chunk. ErrBad: it is not the one that the manifest names.
func (d *Download) Add(b []byte) error {
	if d.next == len(d.m.Chunks) {
		return errors.New("download snapshot: all chunks are here")
	}
	c := &d.m.Chunks[d.next]
	if h := ledger.Sum(b); uint64(len(b)) != c.Size || h != c.Hash {
		return fmt.Errorf("%w: chunk %d of %d has %d bytes and hash %s, the manifest says %d and %s", ErrBad, d.next, len(d.m.Chunks), len(b), h, c.Size, c.Hash)
	}
	if _, err := d.file.WriteAt(b, d.end); err != nil {
		return fmt.Errorf("download snapshot: %w", err)
	}
	d.next++
	d.end += int64(len(b))
	return nil
}

// Finish makes the directory one that OpenFile opens.
func (d *Download) Finish() error {
	if d.next < len(d.m.Chunks) {
		return fmt.Errorf("download snapshot: chunk %d of %d is missing", d.next, len(d.m.Chunks))
	}
	if err := errors.Join(d.file.Truncate(d.end), d.file.Sync(), durable.WriteFile(filepath.Join(d.dir, manifestFile), d.m.Encode()), durable.SyncDir(d.dir)); err != nil {
		return fmt.Errorf("download snapshot: %w", err)
	}
	return nil
}

// Close closes the files.
func (d *Download) Close() error {
	if err := d.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("download snapshot: %w", err)
	}
	return nil
}
