package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// SegmentBytes is how much of the encrypted file one hash of a seal covers.
const SegmentBytes = 8 << 20

// MaxSeal bounds a list of hashes: 8 TiB of backup.
const MaxSeal = 96 << 20

// Seal is the list of hashes of an encrypted backup. It is no secret and needs no
// key: it tells a whole copy from a damaged one, not an honest one from a forged one.
// Nor does opening it: whoever knows a recipient can encrypt to it. Where a backup
// may have been exchanged, the SHA-256 that was noted when it was made tells.
type Seal struct {
	About    About    `json:"about"`
	Height   uint64   `json:"height"` // newest block in it, or at the time if it holds none
	Bytes    int64    `json:"bytes"`
	SHA256   string   `json:"sha256"`   // of the whole file
	Segments []string `json:"segments"` // SHA-256 of each SegmentBytes
}

// ParseSeal reads a list of hashes.
func ParseSeal(b []byte) (*Seal, error) {
	if len(b) > MaxSeal {
		return nil, fmt.Errorf("list of hashes: more than %d bytes", MaxSeal)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var s Seal
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("list of hashes: %w", err)
	}
	if err := s.About.check(); err != nil {
		return nil, fmt.Errorf("list of hashes: %w", err)
	}
	if want := (s.Bytes + SegmentBytes - 1) / SegmentBytes; s.Bytes <= 0 || s.Bytes > 1<<50 || int64(len(s.Segments)) != want {
		return nil, fmt.Errorf("list of hashes: %d bytes make %d segments, it has %d", s.Bytes, want, len(s.Segments))
	}
	for _, x := range append([]string{s.SHA256}, s.Segments...) {
		if h, err := hex.DecodeString(x); err != nil || len(h) != sha256.Size {
			return nil, errors.New("list of hashes: one is not 64 hex digits")
		}
	}
	return &s, nil
}

// Encode returns the list as a file holds it.
func (s *Seal) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", " ")
	return append(b, '\n'), err
}

// Check reads an encrypted backup and compares it with its list. The error names
// the first bytes that differ. progress, if not nil, hears how many bytes were read.
func (s *Seal) Check(ctx context.Context, r io.Reader, progress func(done int64)) error {
	whole := sha256.New()
	at := int64(0)
	for i, want := range s.Segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(SegmentBytes, s.Bytes-at)
		sum := sha256.New()
		got, err := io.Copy(io.MultiWriter(whole, sum), io.LimitReader(r, n))
		if err != nil {
			return fmt.Errorf("read the backup at byte %d: %w", at+got, err)
		}
		if got < n {
			return damaged("it ends after %d bytes, %d were written", at+got, s.Bytes)
		}
		if hex.EncodeToString(sum.Sum(nil)) != want {
			return damaged("segment %d (bytes %d to %d) is not what was written", i, at, at+n-1)
		}
		at += n
		if progress != nil {
			progress(at)
		}
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(r, 1)); err != nil || n != 0 {
		return errors.Join(err, damaged("more than the %d bytes that were written", s.Bytes))
	}
	if hex.EncodeToString(whole.Sum(nil)) != s.SHA256 {
		return damaged("the list of hashes contradicts itself")
	}
	return nil
}

// segments hashes what is written through it.
type segments struct {
	w     io.Writer
	whole hash.Hash
	part  hash.Hash
	n     int64
	sums  []string
}

func newSegments(w io.Writer) *segments {
	return &segments{w: w, whole: sha256.New(), part: sha256.New()}
}

func (s *segments) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.whole.Write(b[:n])
	for rest := b[:n]; len(rest) > 0; {
		k := min(int64(len(rest)), SegmentBytes-s.n%SegmentBytes)
		s.part.Write(rest[:k])
		rest = rest[k:]
		if s.n += k; s.n%SegmentBytes == 0 {
			s.cut()
		}
	}
	return n, err
}

func (s *segments) cut() {
	s.sums = append(s.sums, hex.EncodeToString(s.part.Sum(nil)))
	s.part.Reset()
}

func (s *segments) seal() *Seal {
	if s.n%SegmentBytes != 0 {
		s.cut()
	}
	return &Seal{Bytes: s.n, SHA256: hex.EncodeToString(s.whole.Sum(nil)), Segments: s.sums}
}
