// Package durable writes small files and directory entries so that a loss of power
// leaves the old or the new, never something in between.
//
// It owns the order of the calls: write, sync, rename, sync the directory. What is
// written, and what a caller does with a file that is left from before a crash, is
// the caller's.
package durable

import (
	"errors"
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
