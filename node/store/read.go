package store

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/assent-network/assent/node/ledger"
	"github.com/syndtr/goleveldb/leveldb"
)

// entry is what is kept in memory of a block; immutable.
type entry struct {
	header ledger.Header
	hash   ledger.Hash
	cert   *ledger.Certificate // nil for genesis
}

// recent holds the entries of the newest heights, at height modulo its size.
type recent [256]atomic.Pointer[entry]

func (r *recent) put(e *entry) { r[uint64(e.header.Height)%uint64(len(r))].Store(e) }

func (r *recent) get(h ledger.Height) *entry {
	if e := r[uint64(h)%uint64(len(r))].Load(); e != nil && e.header.Height == h {
		return e
	}
	return nil
}

// get reads one row of a height at or below the tip.
func (s *Store) get(h ledger.Height, row byte) ([]byte, error) {
	b, err := s.db.Get(keyOf(h, row), nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		if at := s.base.Load().Height; row == rowBody && h < at {
			return nil, fmt.Errorf("read block %d: %w: bodies begin with block %d", h, ErrPruned, at)
		}
		return nil, damaged(fmt.Errorf("row %d is missing", row), fmt.Sprintf("read block %d", h))
	}
	if err != nil {
		return nil, damaged(err, fmt.Sprintf("read block %d", h))
	}
	return b, nil
}

func (s *Store) checkHeight(h ledger.Height) error {
	if tip := s.tip.Load(); h > tip.Height {
		return fmt.Errorf("read block %d: %w at %d", h, ErrAbove, tip.Height)
	}
	return nil
}

// entry reads header and certificate, from memory if they are recent.
func (s *Store) entry(h ledger.Height) (*entry, error) {
	if err := s.checkHeight(h); err != nil {
		return nil, err
	}
	if e := s.recent.get(h); e != nil {
		return e, nil
	}
	return s.readEntry(h)
}

func (s *Store) readEntry(h ledger.Height) (*entry, error) {
	row, err := s.get(h, rowHeader)
	if err != nil {
		return nil, err
	}
	header, hash, err := decodeHeader(row, h)
	if err != nil {
		return nil, err
	}
	e := &entry{header: *header, hash: hash}
	if h == 0 {
		return e, nil
	}
	if row, err = s.get(h, rowCertificate); err != nil {
		return nil, err
	}
	if e.cert, err = ledger.DecodeCertificate(row); err != nil {
		return nil, damaged(err, fmt.Sprintf("read block %d", h))
	}
	if e.cert.Header != hash {
		return nil, damaged(fmt.Errorf("header has hash %s, its certificate is for %s", hash, e.cert.Header), fmt.Sprintf("read block %d", h))
	}
	return e, nil
}

func decodeHeader(row []byte, h ledger.Height) (*ledger.Header, ledger.Hash, error) {
	step := fmt.Sprintf("read block %d", h)
	if len(row) < 32 {
		return nil, ledger.Hash{}, damaged(fmt.Errorf("header row has %d bytes", len(row)), step)
	}
	hash := ledger.Hash(row[:32])
	if got := ledger.Sum(row[32:]); got != hash {
		return nil, ledger.Hash{}, damaged(fmt.Errorf("header has hash %s, %s was written", got, hash), step)
	}
	header, err := ledger.DecodeHeader(row[32:])
	if err != nil {
		return nil, ledger.Hash{}, damaged(err, step)
	}
	if header.Height != h {
		return nil, ledger.Hash{}, damaged(fmt.Errorf("header is of height %d", header.Height), step)
	}
	return header, hash, nil
}

// Header returns the header at h and its hash. Above the tip it is ErrAbove.
func (s *Store) Header(h ledger.Height) (*ledger.Header, ledger.Hash, error) {
	e, err := s.entry(h)
	if err != nil {
		return nil, ledger.Hash{}, err
	}
	header := e.header
	return &header, e.hash, nil
}

// Certificate returns the certificate stored with the block at h; it must not
// be changed. Genesis has none: that is an error.
func (s *Store) Certificate(h ledger.Height) (*ledger.Certificate, error) {
	if h == 0 {
		return nil, errors.New("genesis has no certificate: its hash follows from the genesis config")
	}
	e, err := s.entry(h)
	if err != nil {
		return nil, err
	}
	return e.cert, nil
}

// Certified returns header and certificate at h, which must not be 0.
func (s *Store) Certified(h ledger.Height) (*ledger.CertifiedHeader, error) {
	cert, err := s.Certificate(h)
	if err != nil {
		return nil, err
	}
	e, err := s.entry(h)
	if err != nil {
		return nil, err
	}
	return &ledger.CertifiedHeader{Header: e.header, Certificate: *cert}, nil
}

// Encoded returns the bytes of the block and of its certificate (nil for
// genesis) as ledger.DecodeBlock and ledger.DecodeCertificate read them.
func (s *Store) Encoded(h ledger.Height) (block, cert []byte, err error) {
	if err := s.checkHeight(h); err != nil {
		return nil, nil, err
	}
	header, err := s.get(h, rowHeader)
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := decodeHeader(header, h); err != nil {
		return nil, nil, err
	}
	body, err := s.get(h, rowBody)
	if err != nil {
		return nil, nil, err
	}
	if h > 0 {
		if cert, err = s.get(h, rowCertificate); err != nil {
			return nil, nil, err
		}
	}
	return joinBlock(header[32:], body), cert, nil
}

// Block returns the block at h, its body checked against its header.
func (s *Store) Block(h ledger.Height) (*ledger.Block, error) {
	enc, _, err := s.Encoded(h)
	if err != nil {
		return nil, err
	}
	b, err := ledger.DecodeBlock(enc)
	if err != nil {
		return nil, damaged(err, fmt.Sprintf("read block %d", h))
	}
	return b, nil
}

// Blocks yields the blocks from first to last, or to the tip where that is
// lower, and ends with the first error.
func (s *Store) Blocks(first, last ledger.Height) iter.Seq2[*ledger.Block, error] {
	return func(yield func(*ledger.Block, error) bool) {
		for h := first; h <= min(last, s.tip.Load().Height); h++ {
			b, err := s.Block(h)
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}
