package state

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/syndtr/goleveldb/leveldb"
)

// bulk writes rows as tables, a few dozen MiB at a time.
type bulk struct {
	ldb   *leveldb.DB // nil: nothing is written
	tr    *leveldb.Transaction
	bytes int
}

const bulkCommit = 64 << 20

func (w *bulk) put(key, value []byte) (err error) {
	if w.ldb == nil {
		return nil
	}
	if w.tr == nil {
		if w.tr, err = w.ldb.OpenTransaction(); err != nil {
			return storageError("open transaction", err)
		}
	}
	if err := w.tr.Put(key, value, nil); err != nil {
		return storageError("write to transaction", err)
	}
	if w.bytes += len(key) + len(value); w.bytes < bulkCommit {
		return nil
	}
	return w.commit()
}

func (w *bulk) commit() error {
	if w.tr == nil {
		return nil
	}
	tr := w.tr
	w.tr, w.bytes = nil, 0
	if err := tr.Commit(); err != nil {
		tr.Discard()
		return storageError("commit transaction", err)
	}
	return nil
}

func (w *bulk) discard() {
	if w.tr != nil {
		w.tr.Discard()
		w.tr = nil
	}
}

// rowFile keeps rows on disk, in the order in which they come.
type rowFile struct {
	file  *os.File
	buf   []byte
	end   int64
	count uint64
}

func (f *rowFile) open(dir string) error {
	file, err := os.CreateTemp(dir, "rows-")
	if err != nil {
		return fmt.Errorf("keep rows aside: %w", err)
	}
	f.file = file
	return os.Remove(file.Name())
}

func (f *rowFile) add(key, value []byte) error {
	for _, part := range [][]byte{key, value} {
		f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(len(part)))
		f.buf = append(f.buf, part...)
	}
	f.count++
	if len(f.buf) < 1<<20 {
		return nil
	}
	return f.write()
}

func (f *rowFile) write() error {
	if _, err := f.file.WriteAt(f.buf, f.end); err != nil {
		return fmt.Errorf("keep rows aside: %w", err)
	}
	f.end += int64(len(f.buf))
	f.buf = f.buf[:0]
	return nil
}

func (f *rowFile) each(yield func(key, value []byte) error) error {
	if err := f.write(); err != nil {
		return err
	}
	in := bufio.NewReaderSize(io.NewSectionReader(f.file, 0, f.end), 1<<20)
	var parts [2][]byte
	for range f.count {
		for i := range parts {
			var n [4]byte
			if _, err := io.ReadFull(in, n[:]); err != nil {
				return fmt.Errorf("read rows put aside: %w", err)
			}
			parts[i] = slices.Grow(parts[i][:0], int(binary.BigEndian.Uint32(n[:])))[:binary.BigEndian.Uint32(n[:])]
			if _, err := io.ReadFull(in, parts[i]); err != nil {
				return fmt.Errorf("read rows put aside: %w", err)
			}
		}
		if err := yield(parts[0], parts[1]); err != nil {
			return err
		}
	}
	return nil
}

func (f *rowFile) close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
