package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// listed is a line of list.json.
type listed struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Writer writes a backup. It is not safe for concurrent use.
type Writer struct {
	out    *segments
	sealed io.WriteCloser
	tar    *tar.Writer
	about  About
	order  order
	list   []listed
}

// NewWriter begins a backup that the given recipients can open.
func NewWriter(w io.Writer, to []age.Recipient, about About) (*Writer, error) {
	if len(to) == 0 {
		return nil, errors.New("write backup: no recipient: a backup is always encrypted")
	}
	about.Format = Format
	x := &Writer{out: newSegments(w), about: about}
	var err error
	if x.sealed, err = age.Encrypt(x.out, to...); err != nil {
		return nil, fmt.Errorf("write backup: encrypt: %w", err)
	}
	x.tar = tar.NewWriter(x.sealed)
	b, err := json.MarshalIndent(&about, "", "  ")
	if err != nil {
		return nil, err
	}
	return x, x.AddBytes(AboutName, b)
}

// AddBytes adds an entry.
func (w *Writer) AddBytes(name string, b []byte) error {
	return w.Add(name, int64(len(b)), bytes.NewReader(b))
}

// Add adds an entry of exactly size bytes, as it is read.
func (w *Writer) Add(name string, size int64, r io.Reader) error {
	if err := w.order.next(name, size); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: size}); err != nil {
		return fmt.Errorf("write backup: %s: %w", name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w.tar, sum), r)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes, want %d", n, size)
	}
	if err != nil {
		return fmt.Errorf("write backup: %s: %w", name, err)
	}
	w.list = append(w.list, listed{name, size, hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// Close ends the archive and returns its seal. What it writes to is not closed.
func (w *Writer) Close(height uint64) (*Seal, error) {
	b, err := json.Marshal(w.list)
	if err != nil {
		return nil, err
	}
	if err := w.AddBytes(ListName, b); err != nil {
		return nil, err
	}
	if err := errors.Join(w.tar.Close(), w.sealed.Close()); err != nil {
		return nil, fmt.Errorf("write backup: %w", err)
	}
	s := w.out.seal()
	s.About, s.Height = w.about, height
	return s, nil
}
