package state

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

// disk is a storage in memory that can be photographed at any moment, as a
// crash would leave it.
type disk struct {
	mu      sync.Mutex
	files   map[storage.FileDesc]*file
	meta    storage.FileDesc
	locked  bool
	onWrite func(d *disk, last *file, size int) // under mu, after each write; may be nil
}

type file struct {
	data   []byte
	synced int
}

func newDisk() *disk { return &disk{files: map[storage.FileDesc]*file{}} }

// image returns what a crash now would leave. keep tells how many bytes of a
// file survive.
func (d *disk) image(keep func(f *file) int) *disk {
	c := &disk{files: map[storage.FileDesc]*file{}, meta: d.meta}
	for fd, f := range d.files {
		n := keep(f)
		c.files[fd] = &file{data: bytes.Clone(f.data[:n]), synced: n}
	}
	return c
}

func (d *disk) Lock() (storage.Locker, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked {
		return nil, errors.New("disk is in use")
	}
	d.locked = true
	return unlocker{d}, nil
}

type unlocker struct{ d *disk }

func (u unlocker) Unlock() {
	u.d.mu.Lock()
	defer u.d.mu.Unlock()
	u.d.locked = false
}

func (d *disk) Log(string) {}

func (d *disk) SetMeta(fd storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.meta = fd
	return nil
}

func (d *disk) GetMeta() (storage.FileDesc, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.meta.Zero() || d.files[d.meta] == nil {
		return storage.FileDesc{}, os.ErrNotExist
	}
	return d.meta, nil
}

func (d *disk) List(t storage.FileType) ([]storage.FileDesc, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fds := slices.Collect(maps.Keys(d.files))
	return slices.DeleteFunc(fds, func(fd storage.FileDesc) bool { return fd.Type&t == 0 }), nil
}

func (d *disk) Open(fd storage.FileDesc) (storage.Reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[fd]
	if f == nil {
		return nil, os.ErrNotExist
	}
	return reader{bytes.NewReader(f.data)}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

func (d *disk) Create(fd storage.FileDesc) (storage.Writer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := new(file)
	d.files[fd] = f
	return &fileWriter{d, f}, nil
}

type fileWriter struct {
	d *disk
	f *file
}

func (w *fileWriter) Write(p []byte) (int, error) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.f.data = append(w.f.data, p...)
	if w.d.onWrite != nil {
		w.d.onWrite(w.d, w.f, len(p))
	}
	return len(p), nil
}

func (w *fileWriter) Sync() error {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	w.f.synced = len(w.f.data)
	return nil
}

func (w *fileWriter) Close() error { return nil }

func (d *disk) Remove(fd storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[fd] == nil {
		return os.ErrNotExist
	}
	delete(d.files, fd)
	return nil
}

func (d *disk) Rename(from, to storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[from] == nil {
		return os.ErrNotExist
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *disk) Close() error { return nil }

var _ io.Closer = (*disk)(nil)
