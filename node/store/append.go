package store

import (
	"encoding/binary"
	"fmt"

	"github.com/assent-network/assent/node/ledger"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

var synced = &opt.WriteOptions{Sync: true}

// Append stores b with its certificate directly above the tip; both are on disk
// when it returns nil. The caller has checked body and certificate.
//
// A block that is stored already is a success (the first certificate stays). Another
// block at a stored height, or one that does not continue the tip, is ErrFork,
// a block further up an error too: none of them changes anything. After any
// other error what is on disk is unknown, and every later Append fails: stop the
// node, a restart reads what is there.
func (s *Store) Append(b *ledger.Block, cert *ledger.Certificate) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, hash := b.Header.Height, b.Header.Hash()
	if s.failure != nil {
		return fmt.Errorf("append block %d: %w", h, s.failure)
	}
	tip := s.tip.Load()
	if h <= tip.Height {
		return s.appendAgainLocked(h, hash)
	}
	if h > tip.Height+1 {
		return fmt.Errorf("append block %d: the tip is at %d: fetch the blocks between first", h, tip.Height)
	}
	if b.Header.Prev != tip.Hash {
		return fmt.Errorf("append block %d %s: %w: it is built on %s, block %d is %s", h, hash, ErrFork, b.Header.Prev, tip.Height, tip.Hash)
	}
	next, err := follow(b, cert, hash, tip)
	if err != nil {
		return fmt.Errorf("append block %d: %w", h, err)
	}
	var batch leveldb.Batch
	putBlock(&batch, b, cert)
	if next != tip.Config {
		batch.Put(keyOfConfig(next.Seq), binary.BigEndian.AppendUint64(nil, uint64(h)))
	}
	if err := s.db.Write(&batch, synced); err != nil {
		s.failure = fmt.Errorf("block store failed at height %d: %w: see to the disk, then start the node again", h, err)
		return fmt.Errorf("append block %d: %w", h, s.failure)
	}
	if next != tip.Config {
		s.configs.add(next, h)
	}
	s.recent.put(&entry{header: b.Header, hash: hash, cert: cert})
	s.tip.Store(&Tip{Height: h, Hash: hash, Header: b.Header, Config: next})
	s.grown.wake()
	return nil
}

// follow makes the checks that keep this store readable, and returns the config
// in force after b.
func follow(b *ledger.Block, cert *ledger.Certificate, hash ledger.Hash, tip *Tip) (*ledger.Config, error) {
	if cert == nil || cert.Header != hash {
		return nil, fmt.Errorf("certificate is not for this block %s", hash)
	}
	if err := b.Header.Follows(&tip.Header, tip.Config); err != nil {
		return nil, err
	}
	u, err := b.Update()
	if err != nil || u == nil {
		return tip.Config, err
	}
	if err := u.Verify(b.Header.ChainID, tip.Config); err != nil {
		return nil, err
	}
	return u.Config, nil
}

func (s *Store) appendAgainLocked(h ledger.Height, hash ledger.Hash) error {
	e, err := s.entry(h)
	if err != nil {
		return fmt.Errorf("append block %d again: %w", h, err)
	}
	if e.hash != hash {
		return fmt.Errorf("append block %d: %w: stored is %s, given is %s", h, ErrFork, e.hash, hash)
	}
	return nil
}

// putBlock adds the rows of a block; cert is nil for genesis alone.
func putBlock(batch *leveldb.Batch, b *ledger.Block, cert *ledger.Certificate) {
	header, body := splitBlock(b.Encode())
	hash := ledger.Sum(header)
	h := b.Header.Height
	batch.Put(keyOf(h, rowHeader), append(hash[:], header...))
	batch.Put(keyOf(h, rowBody), body)
	if cert != nil {
		batch.Put(keyOf(h, rowCertificate), cert.Encode())
	}
}
