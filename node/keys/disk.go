package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const suffix = ".key.json"

func (s *Store) path(name string) string { return filepath.Join(s.dir, name+suffix) }

// load reads and checks the file of a key.
func (s *Store) load(name string) (*keyFile, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	b, err := readPrivate(s.path(name), maxFileBytes)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read key %q: %w in %s: list the keys there, or create it with \"assentd keys create\"", name, ErrNoKey, s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read key %q: %w", name, err)
	}
	f, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("read key %q: %w", name, err)
	}
	return f, nil
}

// readPrivate reads a file that nobody else may read, at most limit bytes.
func readPrivate(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat() // of the opened file: a later exchange of the path cannot fool it
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if p := fi.Mode().Perm(); p&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o, run: chmod 600 %s", ErrTooOpen, path, p, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, nil
}

// writeNew puts b under path, whole and synced, and fails with os.ErrExist if
// there is a file already: a link, unlike a rename, never replaces one.
func writeNew(path string, b []byte) error {
	tmp, err := writeTemp(filepath.Dir(path), b)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := os.Link(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// replace exchanges the file under path for b: readers see the old or the new.
func replace(path string, b []byte) error {
	tmp, err := writeTemp(filepath.Dir(path), b)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeTemp(dir string, b []byte) (path string, err error) {
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
