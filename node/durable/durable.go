// Package durable writes small files and directory entries so that a loss of power
// leaves the old or the new, never something in between.
//
// It owns the order of the calls: write, sync, rename, sync the directory. What is
// written, and what a caller does with a file that is left from before a crash, is
// the caller's.
package durable

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile puts b under path, readable by its owner only, in place of what was
// there. When it returns nil, file and entry are on the disk. What a crash leaves
// of an unfinished call is a file whose name begins with ".new-".
func WriteFile(path string, b []byte) error {
	fresh, err := WriteBeside(path, b)
	if err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return SyncDir(filepath.Dir(path))
}

// Output puts b under path as a person asked for it: with perm less the umask, or the
// permissions of the file that was there. Like WriteFile it leaves the old or the new;
// but what is no regular file, such as a link or a device, stays and is written through.
func Output(path string, b []byte, perm fs.FileMode) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return through(path, b)
	case err == nil:
		perm = info.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	fresh := filepath.Join(filepath.Dir(path), ".new-"+rand.Text())
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_WRONLY, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return SyncDir(filepath.Dir(path))
}

func through(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if info, serr := f.Stat(); err == nil && serr == nil && info.Mode().IsRegular() {
		err = f.Sync() // behind a link; a pipe or a device has no disk
	}
	return errors.Join(err, f.Close())
}

// WriteBeside writes b, synced, to a new file in the directory of path and returns
// its name, for a caller who has another way than a rename of putting it in place.
func WriteBeside(path string, b []byte) (fresh string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// SyncDir puts the entries of a directory on the disk: files made, renamed and
// removed there.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
