package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/assent-network/assent/node/durable"
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
	tmp, err := durable.WriteBeside(path, b)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := os.Link(tmp, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}
