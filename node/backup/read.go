package backup

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	"filippo.io/age"
)

// Reader reads a backup, entry by entry. What it has handed out counts only when
// Next has returned io.EOF: then everything was there and is what was written.
type Reader struct {
	tar   *tar.Reader
	about About
	order order
	list  []listed
	open  *listed // entry being read
	sum   hash.Hash
	done  bool
}

// NewReader opens a backup with one of the identities.
func NewReader(r io.Reader, with []age.Identity) (*Reader, error) {
	plain, err := age.Decrypt(r, with...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, errors.New("open backup: it was made for other recipients: give the identity of one of those")
	}
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", damaged("its head cannot be read: %w", err))
	}
	return newReader(plain)
}

// newReader reads what was decrypted.
func newReader(plain io.Reader) (*Reader, error) {
	x := &Reader{tar: tar.NewReader(bufio.NewReaderSize(plain, 1<<16))}
	name, _, err := x.Next()
	if err != nil {
		return nil, err
	}
	if name != AboutName {
		return nil, fmt.Errorf("open backup: %w", damaged("it begins with %q", name))
	}
	b, err := io.ReadAll(x)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &x.about); err != nil {
		return nil, fmt.Errorf("open backup: %w", damaged("%s: %w", AboutName, err))
	}
	if err := x.about.check(); err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	return x, nil
}

// About says whose backup it is.
func (r *Reader) About() About { return r.about }

// Next goes on to the next entry and returns its name and size, io.EOF after the
// last. What was not read of the entry before is read now: its hash counts.
func (r *Reader) Next() (name string, size int64, err error) {
	if r.done {
		return "", 0, io.EOF
	}
	if err := r.finish(); err != nil {
		return "", 0, err
	}
	h, err := r.tar.Next()
	if err != nil {
		return "", 0, fmt.Errorf("read backup: %w", damaged("it ends after %q: %w", r.order.name, unexpected(err)))
	}
	if h.Typeflag != tar.TypeReg {
		return "", 0, fmt.Errorf("read backup: %w", damaged("entry %.100q is no file", h.Name))
	}
	if err := r.order.next(h.Name, h.Size); err != nil {
		return "", 0, fmt.Errorf("read backup: %w", damaged("%w", err))
	}
	if len(r.list) >= maxEntries {
		return "", 0, fmt.Errorf("read backup: %w", damaged("more than %d entries", maxEntries))
	}
	if h.Name == ListName {
		if err := r.check(); err != nil {
			return "", 0, fmt.Errorf("read backup: %w", err)
		}
		r.done = true
		return "", 0, io.EOF
	}
	r.open, r.sum = &listed{Name: h.Name, Size: h.Size}, sha256.New()
	return h.Name, h.Size, nil
}

// Read reads the entry that Next returned.
func (r *Reader) Read(p []byte) (int, error) {
	if r.open == nil {
		return 0, io.EOF
	}
	n, err := r.tar.Read(p)
	r.sum.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("read backup: %w", damaged("%s: %w", r.open.Name, err))
	}
	return n, err
}

func (r *Reader) finish() error {
	if r.open == nil {
		return nil
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	r.open.SHA256 = hex.EncodeToString(r.sum.Sum(nil))
	r.list = append(r.list, *r.open)
	r.open = nil
	return nil
}

// check compares what was read with the list at the end, after which there is
// nothing more.
func (r *Reader) check() error {
	var want []listed
	if err := json.NewDecoder(r.tar).Decode(&want); err != nil {
		return damaged("%s: %w", ListName, err)
	}
	if !slices.Equal(want, r.list) {
		for i := range min(len(want), len(r.list)) {
			if want[i] != r.list[i] {
				return damaged("entry %s is not what was written", r.list[i].Name)
			}
		}
		return damaged("it holds %d entries, %d were written", len(r.list), len(want))
	}
	if _, err := r.tar.Next(); !errors.Is(err, io.EOF) {
		return damaged("something follows its end: %v", err)
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
