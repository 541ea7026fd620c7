package store

import (
	"errors"
	"fmt"

	"github.com/assent-network/assent/node/ledger"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/util"
)

// base says which bodies are kept: all from Height on, and below it those of
// config blocks alone.
type base struct {
	Height ledger.Height
	Swept  ledger.Height // bodies below it are gone already; those up to Height are on their way
	// Bodies in [From, Next) came by Fill. When Next meets Height, Height becomes From.
	From, Next ledger.Height
	// The space of bodies below it has been given back to the file system.
	Freed ledger.Height `rlp:"optional"`
}

func (b *base) encode() []byte {
	row, err := rlp.EncodeToBytes(b)
	if err != nil {
		panic(fmt.Sprintf("store: encode base: %v", err)) // our own type
	}
	return row
}

func (s *Store) loadBase() error {
	b := new(base)
	row, err := s.db.Get(keyBase, nil)
	switch {
	case errors.Is(err, leveldb.ErrNotFound):
	case err != nil:
		return damaged(err, "read the base row")
	default:
		if err := rlp.DecodeBytes(row, b); err != nil {
			return damaged(err, "read the base row")
		}
	}
	s.base.Store(b)
	return nil
}

// Base returns the height from which on all bodies are kept; 0: all are.
func (s *Store) Base() ledger.Height { return s.base.Load().Height }

// Swept returns below which height the bodies that Prune deletes are gone.
func (s *Store) Swept() ledger.Height { return s.base.Load().Swept }

// FirstSince returns the first height up to top whose block is not older than a
// time in milliseconds; top, at least 1, if none is. It reads headers only.
func (s *Store) FirstSince(top ledger.Height, time uint64) (ledger.Height, error) {
	low, high := ledger.Height(1), max(top, 1)
	for low < high {
		mid := low + (high-low)/2
		h, _, err := s.Header(mid)
		if err != nil {
			return 0, err
		}
		if h.Time < time {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// Unswept reports whether a Prune was interrupted.
func (s *Store) Unswept() bool {
	at := s.base.Load()
	return at.Next == 0 && (at.Swept < at.Height || at.Freed < at.Swept)
}

// AppendHeaders stores headers with their certificates directly above the tip,
// without bodies, in one synced write: for a node that begins with a snapshot.
// The caller has checked the certificates, and that no block among them brought a
// config, whose body would be needed. Errors are those of Append; after one that
// is not a failed write nothing has changed.
func (s *Store) AppendHeaders(chs []*ledger.CertifiedHeader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return fmt.Errorf("append headers: %w", s.failure)
	}
	tip := *s.tip.Load()
	var batch leveldb.Batch
	var entries []*entry
	for _, ch := range chs {
		h, hash := ch.Header.Height, ch.Header.Hash()
		switch {
		case h != tip.Height+1:
			return fmt.Errorf("append header %d: the tip is at %d", h, tip.Height)
		case ch.Header.Prev != tip.Hash:
			return fmt.Errorf("append header %d %s: %w: it is built on %s, block %d is %s", h, hash, ErrFork, ch.Header.Prev, tip.Height, tip.Hash)
		case ch.Certificate.Header != hash:
			return fmt.Errorf("append header %d: certificate is not for it", h)
		}
		if err := ch.Header.Follows(&tip.Header, tip.Config); err != nil {
			return fmt.Errorf("append header %d: %w", h, err)
		}
		batch.Put(keyOf(h, rowHeader), append(hash[:], ch.Header.Encode()...))
		batch.Put(keyOf(h, rowCertificate), ch.Certificate.Encode())
		entries = append(entries, &entry{header: ch.Header, hash: hash, cert: &ch.Certificate})
		tip = Tip{Height: h, Hash: hash, Header: ch.Header, Config: tip.Config}
	}
	if len(entries) == 0 {
		return nil
	}
	next := &base{Height: tip.Height + 1, Swept: s.base.Load().Swept, Freed: s.base.Load().Freed}
	batch.Put(keyBase, next.encode())
	if err := s.db.Write(&batch, synced); err != nil {
		s.failure = fmt.Errorf("block store failed at height %d: %w: see to the disk, then start the node again", tip.Height, err)
		return fmt.Errorf("append headers: %w", s.failure)
	}
	s.base.Store(next)
	for _, e := range entries {
		s.recent.put(e)
	}
	s.tip.Store(&tip)
	s.grown.wake()
	return nil
}

// Fill gives bodies to headers below the base, in ascending order and up to it;
// when it is reached, it goes down to the first that was filled. Blocks that do
// not follow those before begin anew. A block that is not the one whose header is
// stored is ErrFork, and then nothing has changed.
func (s *Store) Fill(blocks []*ledger.Block) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return fmt.Errorf("fill blocks: %w", s.failure)
	}
	at := *s.base.Load()
	var batch leveldb.Batch
	for _, b := range blocks {
		h := b.Header.Height
		if h == 0 || h >= at.Height {
			return fmt.Errorf("fill block %d: bodies are kept from %d on", h, at.Height)
		}
		e, err := s.entry(h)
		if err != nil {
			return fmt.Errorf("fill block %d: %w", h, err)
		}
		if hash := b.Header.Hash(); hash != e.hash {
			return fmt.Errorf("fill block %d: %w: stored is %s, given is %s", h, ErrFork, e.hash, hash)
		}
		if err := b.CheckBody(); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
		if h != at.Next || at.Next == 0 {
			at.From = h
		}
		at.Next = h + 1
		_, body := splitBlock(b.Encode())
		batch.Put(keyOf(h, rowBody), body)
		if at.Next == at.Height {
			at = base{Height: at.From, Swept: min(at.Swept, at.From), Freed: min(at.Freed, at.From)}
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	batch.Put(keyBase, at.encode())
	if err := s.db.Write(&batch, synced); err != nil {
		s.failure = fmt.Errorf("block store failed: %w: see to the disk, then start the node again", err)
		return fmt.Errorf("fill blocks: %w", s.failure)
	}
	s.base.Store(&at)
	return nil
}

// Filled returns the next height that Fill wants, and false when a fill has to
// begin at from.
func (s *Store) Filled(from ledger.Height) (ledger.Height, bool) {
	at := s.base.Load()
	return at.Next, at.Next > 0 && at.From == from
}

// pruneBatch is how many bodies Prune deletes at a time, so that appends need not
// wait.
const pruneBatch = 256

// freePiece is for how many heights at a time their space is given back: some
// dozen MiB are then written again.
const freePiece = 4096

// Prune deletes the bodies below a height, at most the tip's, but those of config
// blocks, and gives their space back. Headers and certificates stay. It returns how
// many it deleted. After a crash the next Prune goes on. more, unless it is nil, is
// asked between batches whether to go on, and may take its time.
func (s *Store) Prune(below ledger.Height, more func() bool) (pruned int, err error) {
	s.mu.Lock()
	at := *s.base.Load()
	err = s.failure
	if below > s.tip.Load().Height {
		err = errors.Join(err, fmt.Errorf("the tip is at %d", s.tip.Load().Height))
	}
	if err == nil && below > at.Height {
		at.Height, at.From, at.Next = below, 0, 0
		err = s.writeBaseLocked(&at)
	}
	s.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("prune below %d: %w", below, err)
	}
	keep := map[ledger.Height]bool{0: true}
	for _, h := range s.ConfigHeights() {
		keep[h] = true
	}
	for h := at.Swept; h < at.Height && (more == nil || more()); {
		var batch leveldb.Batch
		for ; h < at.Height && batch.Len() < pruneBatch; h++ {
			if !keep[h] {
				batch.Delete(keyOf(h, rowBody))
			}
		}
		if err := s.sweep(&batch, h); err != nil {
			return pruned, fmt.Errorf("prune below %d: %w", below, err)
		}
		pruned += batch.Len() - 1
	}
	if err := s.free(more); err != nil {
		return pruned, fmt.Errorf("free the space of blocks below %d: %w", below, err)
	}
	return pruned, nil
}

// free rewrites the tables of swept heights without what was deleted.
func (s *Store) free(more func() bool) error {
	for at := s.base.Load(); at.Freed < at.Swept && (more == nil || more()); at = s.base.Load() {
		to := min(at.Freed+freePiece, at.Swept)
		if err := s.db.CompactRange(util.Range{Start: keyOf(at.Freed, 0), Limit: keyOf(to, 0)}); err != nil {
			return err
		}
		s.mu.Lock()
		next := *s.base.Load()
		next.Freed = min(to, next.Swept)
		err := s.writeBaseLocked(&next)
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep deletes bodies below h.
func (s *Store) sweep(batch *leveldb.Batch, h ledger.Height) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	next := *s.base.Load()
	next.Swept = h
	batch.Put(keyBase, next.encode())
	if err := s.db.Write(batch, nil); err != nil {
		return err
	}
	s.base.Store(&next)
	return nil
}

func (s *Store) writeBaseLocked(b *base) error {
	if err := s.db.Put(keyBase, b.encode(), synced); err != nil {
		return err
	}
	s.base.Store(b)
	return nil
}
