package store

import (
	"errors"
	"fmt"

	"github.com/assent-network/assent/node/ledger"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// journalSpan is how many bytes of rows the journals can hold: two tables in
// memory, each one block over its size, which was 2 MiB once: four times writeBuffer.
const journalSpan = 8*writeBuffer + 12<<20

// loadTip finds the highest block and looks for gaps as far down as journals
// reach: goleveldb skips a damaged journal record, and those after it would
// stand on nothing.
func (s *Store) loadTip() error {
	it := s.db.NewIterator(rangeOf(prefixHeight), &opt.ReadOptions{DontFillCache: true})
	defer it.Release()
	if !it.Last() {
		if err := it.Error(); err != nil {
			return damaged(err, "find the tip")
		}
		return damaged(errors.New("no block is stored"), "find the tip")
	}
	height, _, ok := splitKey(it.Key())
	if !ok {
		return damaged(fmt.Errorf("unexpected key %x", it.Key()), "find the tip")
	}
	h, row, span := height, byte(rowCertificate), 0
	if h == 0 {
		row = rowBody
	}
	for ok := true; ok && span < journalSpan; ok = it.Prev() {
		gotHeight, gotRow, _ := splitKey(it.Key())
		if row == rowBody && gotHeight == h && gotRow == rowHeader && h < s.base.Load().Height && h > 0 {
			row = rowHeader // its body is not kept
		}
		if gotHeight != h || gotRow != row {
			return damaged(fmt.Errorf("row %d is missing, yet block %d is stored", row, height), fmt.Sprintf("read block %d", h))
		}
		span += len(it.Value()) + len(it.Key())
		switch {
		case row > rowHeader:
			row--
		case h == 0:
			row = 0 // nothing is expected below
		case h == 1:
			h, row = 0, rowBody
		default:
			h, row = h-1, rowCertificate
		}
	}
	if err := it.Error(); err != nil {
		return damaged(err, fmt.Sprintf("read block %d", h))
	}
	if span < journalSpan && row != 0 {
		return damaged(fmt.Errorf("row %d is missing, yet block %d is stored", row, height), fmt.Sprintf("read block %d", h))
	}
	e, err := s.readEntry(height)
	if err != nil {
		return err
	}
	config, err := s.configs.after(s, height)
	if err != nil {
		return err
	}
	s.recent.put(e)
	s.tip.Store(&Tip{Height: height, Hash: e.hash, Header: e.header, Config: config})
	return s.checkTip()
}

// checkTip compares the tip's body and the listed configs with its header.
func (s *Store) checkTip() error {
	tip := s.tip.Load()
	b, err := s.Block(tip.Height)
	var u *ledger.Update
	switch {
	case errors.Is(err, ErrPruned): // of a config block it would be kept
	case err != nil:
		return err
	default:
		if u, err = b.Update(); err != nil {
			return damaged(err, fmt.Sprintf("read block %d", tip.Height))
		}
	}
	seq := tip.Header.ConfigSeq
	if u != nil {
		seq = u.Config.Seq
	}
	if vh := tip.Config.ValidatorsHash(); seq != tip.Config.Seq || vh != tip.Header.NextValidatorsHash {
		return damaged(fmt.Errorf("config %d with validators %s is in force after block %d, the newest that is listed is %d with %s",
			seq, tip.Header.NextValidatorsHash, tip.Height, tip.Config.Seq, vh), "read the config heights")
	}
	return nil
}
