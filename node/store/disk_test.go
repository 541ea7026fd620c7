//go:build !race

package store

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"

	"github.com/syndtr/goleveldb/leveldb/storage"
)

var errDisk = errors.New("disk failed")

// disk is a storage whose operation number stop fails: with crash set,
// everything after it fails too, and image shows what a power failure leaves.
type disk struct {
	mu    sync.Mutex
	files map[storage.FileDesc]*diskFile
	meta  storage.FileDesc
	rnd   *rand.Rand
	ops   int
	stop  int // 0: never
	crash bool
}

type diskFile struct {
	data   []byte
	synced int // bytes that survive
}

func newDisk(seed uint64) *disk {
	return &disk{files: map[storage.FileDesc]*diskFile{}, rnd: rand.New(rand.NewPCG(seed, 1))}
}

// arm makes the stop-th operation from now on fail.
func (d *disk) arm(stop int, crash bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ops, d.stop, d.crash = 0, stop, crash
}

// image is the disk after the power came back: what was synced, and of the rest
// an arbitrary part, with garbage behind it now and then.
func (d *disk) image() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &disk{files: map[storage.FileDesc]*diskFile{}, meta: d.meta, rnd: d.rnd}
	for fd, f := range d.files {
		kept := bytes.Clone(f.data[:f.synced+d.rnd.IntN(len(f.data)-f.synced+1)])
		if len(kept) < len(f.data) && d.rnd.IntN(2) == 0 {
			kept = append(kept, make([]byte, len(f.data)-len(kept))...) // blocks of zeros
		}
		n.files[fd] = &diskFile{data: kept, synced: len(kept)}
	}
	return n
}

// failed reports whether d has come to the operation at which it stops.
func (d *disk) failed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stop > 0 && d.ops >= d.stop
}

// stepLocked counts an operation and reports whether it fails.
func (d *disk) stepLocked() error {
	d.ops++
	if d.stop > 0 && (d.ops == d.stop || d.crash && d.ops > d.stop) {
		return errDisk
	}
	return nil
}

func (d *disk) Lock() (storage.Locker, error) { return unlocked{}, nil }
func (d *disk) Log(string)                    {}
func (d *disk) Close() error                  { return nil }

type unlocked struct{}

func (unlocked) Unlock() {}

func (d *disk) SetMeta(fd storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.stepLocked(); err != nil {
		return err
	}
	d.meta = fd
	return nil
}

func (d *disk) GetMeta() (storage.FileDesc, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[d.meta] == nil {
		return storage.FileDesc{}, os.ErrNotExist
	}
	return d.meta, nil
}

func (d *disk) List(ft storage.FileType) (fds []storage.FileDesc, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for fd := range d.files {
		if fd.Type&ft != 0 {
			fds = append(fds, fd)
		}
	}
	return fds, nil
}

func (d *disk) Open(fd storage.FileDesc) (storage.Reader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[fd]
	if f == nil {
		return nil, os.ErrNotExist
	}
	return readFile{bytes.NewReader(f.data)}, nil
}

type readFile struct{ *bytes.Reader }

func (readFile) Close() error { return nil }

func (d *disk) Create(fd storage.FileDesc) (storage.Writer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.stepLocked(); err != nil {
		return nil, err
	}
	f := &diskFile{}
	d.files[fd] = f // its name survives: dirSyncer sees to that
	return &diskWriter{d, f}, nil
}

func (d *disk) Remove(fd storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.stepLocked(); err != nil {
		return err
	}
	if d.rnd.IntN(2) == 0 { // else the name comes back: removing is not synced
		delete(d.files, fd)
	}
	return nil
}

func (d *disk) Rename(from, to storage.FileDesc) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.stepLocked(); err != nil {
		return err
	}
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

type diskWriter struct {
	d *disk
	f *diskFile
}

func (w *diskWriter) Write(p []byte) (int, error) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if err := w.d.stepLocked(); err != nil {
		n := 0
		if w.d.ops == w.d.stop {
			n = w.d.rnd.IntN(len(p) + 1)
		}
		w.f.data = append(w.f.data, p[:n]...)
		return n, err
	}
	w.f.data = append(w.f.data, p...)
	return len(p), nil
}

func (w *diskWriter) Sync() error {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if err := w.d.stepLocked(); err != nil {
		return err
	}
	w.f.synced = len(w.f.data)
	return nil
}

func (w *diskWriter) Close() error { return nil }

var (
	_ storage.Storage = (*disk)(nil)
	_ io.Writer       = (*diskWriter)(nil)
)
