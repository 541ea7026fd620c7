package state

import (
	"errors"
	"fmt"
	"os"
)

// A spill sorts more entries than fit into memory: they go to a file in shares
// by the first bits of a hash, and one share at a time is read back. Entries of
// a share keep the order in which they came.
type spill struct {
	file  *os.File
	size  int // of an entry; it begins with a hash
	buf   []byte
	limit int // bytes of buf before it is written
	runs  []spillRun
	end   int64
}

const (
	spillShares = 1 << 12
	spillBuffer = 8 << 20
)

// spillRun is what was written at once: share i stands at [at+from[i], at+from[i+1]).
type spillRun struct {
	at   int64
	from [spillShares + 1]uint32
}

// newSpill makes a spill in a file that has no name any more.
func newSpill(dir string, size int) (*spill, error) {
	f, err := os.CreateTemp(dir, "sort-")
	if err != nil {
		return nil, fmt.Errorf("sort on disk: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("sort on disk: %w", err), f.Close())
	}
	return &spill{file: f, size: size, limit: spillBuffer / size * size}, nil
}

func shareOf(entry []byte) int { return int(entry[0])<<4 | int(entry[1])>>4 }

// add takes an entry: parts together have its size.
func (s *spill) add(parts ...[]byte) error {
	for _, p := range parts {
		s.buf = append(s.buf, p...)
	}
	if len(s.buf) < s.limit {
		return nil
	}
	return s.write()
}

func (s *spill) write() error {
	run := spillRun{at: s.end}
	for i := 0; i < len(s.buf); i += s.size {
		run.from[shareOf(s.buf[i:])+1] += uint32(s.size)
	}
	for i := range spillShares {
		run.from[i+1] += run.from[i]
	}
	next := run.from
	sorted := make([]byte, len(s.buf))
	for i := 0; i < len(s.buf); i += s.size {
		e := s.buf[i : i+s.size]
		n := &next[shareOf(e)]
		copy(sorted[*n:], e)
		*n += uint32(s.size)
	}
	if _, err := s.file.WriteAt(sorted, s.end); err != nil {
		return fmt.Errorf("sort on disk: %w", err)
	}
	s.end += int64(len(sorted))
	s.runs = append(s.runs, run)
	s.buf = s.buf[:0]
	return nil
}

// share returns the entries of a share, one after the other, in b's place.
func (s *spill) share(i int, b []byte) ([]byte, error) {
	if len(s.buf) > 0 {
		if err := s.write(); err != nil {
			return nil, err
		}
	}
	b = b[:0]
	for r := range s.runs {
		run := &s.runs[r]
		n := int(run.from[i+1] - run.from[i])
		b = append(b, make([]byte, n)...)
		if _, err := s.file.ReadAt(b[len(b)-n:], run.at+int64(run.from[i])); err != nil {
			return nil, fmt.Errorf("sort on disk: %w", err)
		}
	}
	return b, nil
}

func (s *spill) close() error { return s.file.Close() }
