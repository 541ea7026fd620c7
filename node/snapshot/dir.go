package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
)

// ErrBad: a snapshot's bytes are not what its manifest or its header says. Take
// another.
var ErrBad = errors.New("bad snapshot")

// ErrNone: there is no such snapshot.
var ErrNone = errors.New("there is no such snapshot here")

const (
	manifestFile = "manifest"
	dataFile     = "chunks"
	unfinished   = ".new"
)

// Dir is a directory of snapshots, one folder each, named by height. Its methods
// may be called from any goroutine, and by several processes.
type Dir struct{ root string }

// Open returns the snapshots below root, which need not exist.
func Open(root string) *Dir { return &Dir{root: filepath.Clean(root)} }

// finish makes what stands in fresh a snapshot of the directory.
func (d *Dir) finish(fresh string, m *Manifest) error {
	if err := durable.WriteFile(filepath.Join(fresh, manifestFile), m.Encode()); err != nil {
		return err
	}
	if err := durable.SyncDir(fresh); err != nil {
		return err
	}
	path := d.path(m.Height())
	if err := d.Remove(m.Height()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return durable.SyncDir(d.root)
}

func (d *Dir) path(h ledger.Height) string {
	return filepath.Join(d.root, strconv.FormatUint(uint64(h), 10))
}

// List returns the manifests of the snapshots here, newest first. One that cannot
// be read is left out: verify tells.
func (d *Dir) List() ([]*Manifest, error) {
	heights, err := d.Heights()
	if err != nil {
		return nil, err
	}
	var out []*Manifest
	for _, h := range heights {
		if m, err := d.Manifest(h); err == nil {
			out = append(out, m)
		}
	}
	return out, nil
}

// Heights returns the heights of the snapshots here, newest first, readable or
// not.
func (d *Dir) Heights() ([]ledger.Height, error) {
	entries, err := os.ReadDir(d.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var out []ledger.Height
	for _, e := range entries {
		if h, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && e.IsDir() {
			out = append(out, ledger.Height(h))
		}
	}
	slices.SortFunc(out, func(a, b ledger.Height) int { return cmp.Compare(b, a) })
	return out, nil
}

// Manifest reads the manifest of the snapshot of a height. Errors: ErrNone,
// ErrBad.
func (d *Dir) Manifest(h ledger.Height) (*Manifest, error) {
	b, err := os.ReadFile(filepath.Join(d.path(h), manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("snapshot of height %d: %w", h, ErrNone)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot of height %d: %w", h, err)
	}
	m, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("snapshot of height %d: %w: %w", h, ErrBad, err)
	}
	if m.Height() != h {
		return nil, fmt.Errorf("snapshot of height %d: %w: its manifest is of height %d", h, ErrBad, m.Height())
	}
	return m, nil
}

// Keep removes all but the newest n snapshots, and what an interrupted Write
// left behind. No Write may be under way.
func (d *Dir) Keep(n int) error {
	heights, err := d.Heights()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range heights[min(max(n, 0), len(heights)):] {
		errs = append(errs, d.Remove(h))
	}
	entries, err := os.ReadDir(d.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinished) {
			errs = append(errs, os.RemoveAll(filepath.Join(d.root, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove old snapshots: %w", err)
	}
	return nil
}

// Remove removes the snapshot of a height, if there is one. After a crash it is
// there whole or not at all.
func (d *Dir) Remove(h ledger.Height) error {
	gone, err := d.retire(h)
	if err != nil {
		return err
	}
	return os.RemoveAll(gone)
}

// retire takes a snapshot's folder out of the list, in one step, and returns where
// it is now. Keep removes what a crash leaves there.
func (d *Dir) retire(h ledger.Height) (string, error) {
	gone := d.path(h) + ".gone" + unfinished
	if err := os.RemoveAll(gone); err != nil { // of a crash
		return "", err
	}
	if err := os.Rename(d.path(h), gone); errors.Is(err, fs.ErrNotExist) {
		return gone, nil
	} else if err != nil {
		return "", err
	}
	return gone, durable.SyncDir(d.root)
}

// File reads the chunks of a snapshot. Its methods may be called from any
// goroutine.
type File struct {
	Manifest *Manifest
	file     *os.File
	offsets  []int64 // of each chunk, and the end
}

// File opens the chunks of the snapshot of a height. The caller closes it.
func (d *Dir) File(h ledger.Height) (*File, error) {
	m, err := d.Manifest(h)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(d.path(h), dataFile))
	if err != nil {
		return nil, fmt.Errorf("snapshot of height %d: %w", h, err)
	}
	return &File{Manifest: m, file: f, offsets: offsetsOf(m)}, nil
}

// OpenFile opens a finished download in a directory of its own.
func OpenFile(dir string) (*File, error) {
	b, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	m, err := Decode(b)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w: %w", ErrBad, err)
	}
	f, err := os.Open(filepath.Join(dir, dataFile))
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	return &File{Manifest: m, file: f, offsets: offsetsOf(m)}, nil
}

// Adopt moves a finished download into the directory of snapshots.
func (d *Dir) Adopt(from string) (*Manifest, error) {
	f, err := OpenFile(from)
	if err != nil {
		return nil, err
	}
	m := f.Manifest
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("keep snapshot: %w", err)
	}
	if err := os.MkdirAll(d.root, 0o700); err != nil {
		return nil, fmt.Errorf("keep snapshot: %w", err)
	}
	path := d.path(m.Height())
	if err := d.Remove(m.Height()); err != nil {
		return nil, fmt.Errorf("keep snapshot: %w", err)
	}
	if err := os.Rename(from, path); err != nil {
		return nil, fmt.Errorf("keep snapshot: %w", err)
	}
	return m, durable.SyncDir(d.root)
}

func offsetsOf(m *Manifest) []int64 {
	out := make([]int64, len(m.Chunks)+1)
	for i := range m.Chunks {
		out[i+1] = out[i] + int64(m.Chunks[i].Size)
	}
	return out
}

// Dir returns the folder in which the snapshot is.
func (f *File) Dir() string { return filepath.Dir(f.file.Name()) }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// Read returns up to limit bytes of a chunk's frame from an offset on.
func (f *File) Read(chunk uint64, offset, limit uint64) ([]byte, error) {
	if chunk >= uint64(len(f.Manifest.Chunks)) || offset >= f.Manifest.Chunks[chunk].Size {
		return nil, fmt.Errorf("chunk %d has no byte %d", chunk, offset)
	}
	b := make([]byte, min(limit, f.Manifest.Chunks[chunk].Size-offset))
	if _, err := f.file.ReadAt(b, f.offsets[chunk]+int64(offset)); err != nil {
		return nil, fmt.Errorf("%w: read chunk %d: %w", ErrBad, chunk, err)
	}
	return b, nil
}
