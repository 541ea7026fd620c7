package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/assent-network/assent/node/ledger"
)

// configs knows at which heights the config changed.
type configs struct {
	mu      sync.Mutex
	heights []ledger.Height // by sequence; heights[0] is 0, genesis
	newest  *ledger.Config  // of the highest sequence, once read
}

func (c *configs) add(next *ledger.Config, h ledger.Height) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heights = append(c.heights, h)
	c.newest = next
}

func (s *Store) loadConfigs() error {
	s.configs.heights = []ledger.Height{0}
	it := s.db.NewIterator(rangeOf(prefixConfig), nil)
	defer it.Release()
	for it.Next() {
		seq := uint64(len(s.configs.heights))
		if len(it.Key()) != 9 || binary.BigEndian.Uint64(it.Key()[1:]) != seq || len(it.Value()) != 8 {
			return damaged(fmt.Errorf("row %x found where config %d is expected", it.Key(), seq), "read the config heights")
		}
		s.configs.heights = append(s.configs.heights, ledger.Height(binary.BigEndian.Uint64(it.Value())))
	}
	if err := it.Error(); err != nil {
		return damaged(err, "read the config heights")
	}
	return nil
}

// after returns the config in force after the tip, while the store is loaded.
func (c *configs) after(s *Store, tip ledger.Height) (*ledger.Config, error) {
	seq := len(c.heights) - 1
	if c.heights[seq] > tip {
		return nil, damaged(fmt.Errorf("config %d was set at height %d, but the highest block is %d", seq, c.heights[seq], tip), "read the config heights")
	}
	config, err := s.readConfig(uint64(seq), c.heights[seq])
	c.newest = config
	return config, err
}

// readConfig reads config seq from the block that brought it.
func (s *Store) readConfig(seq uint64, h ledger.Height) (*ledger.Config, error) {
	if seq == 0 {
		return s.genesis, nil
	}
	u, _, err := s.readUpdate(seq, h)
	if err != nil {
		return nil, err
	}
	return u.Config, nil
}

func (s *Store) readUpdate(seq uint64, h ledger.Height) (*ledger.Update, []byte, error) {
	step := fmt.Sprintf("read config %d from block %d", seq, h)
	body, err := s.get(h, rowBody)
	if err != nil {
		return nil, nil, err
	}
	header, err := s.get(h, rowHeader)
	if err != nil {
		return nil, nil, err
	}
	if _, _, err := decodeHeader(header, h); err != nil {
		return nil, nil, err
	}
	b, err := ledger.DecodeBlock(joinBlock(header[32:], body))
	if err != nil {
		return nil, nil, damaged(err, step)
	}
	u, err := b.Update()
	if err != nil {
		return nil, nil, damaged(err, step)
	}
	if u == nil || u.Config.Seq != seq {
		return nil, nil, damaged(fmt.Errorf("the block does not hold it"), step)
	}
	return u, b.Requests[0], nil
}

// ConfigHeights returns where the config changed: at index seq the height of
// the block that brought config seq, so that it was in force from the next
// height on. Index 0 is genesis, height 0.
func (s *Store) ConfigHeights() []ledger.Height {
	s.configs.mu.Lock()
	defer s.configs.mu.Unlock()
	return slices.Clone(s.configs.heights)
}

// Config returns the config with sequence seq. It must not be changed.
func (s *Store) Config(seq uint64) (*ledger.Config, error) {
	s.configs.mu.Lock()
	known, newest := s.configs.heights, s.configs.newest
	s.configs.mu.Unlock()
	switch {
	case seq >= uint64(len(known)):
		return nil, fmt.Errorf("read config %d: the newest is %d", seq, len(known)-1)
	case newest != nil && newest.Seq == seq:
		return newest, nil
	}
	return s.readConfig(seq, known[seq])
}

// ConfigAt returns the config in force at height h, under which its validators
// voted; h may be one above the tip. It must not be changed.
func (s *Store) ConfigAt(h ledger.Height) (*ledger.Config, error) {
	if tip := s.tip.Load(); h > tip.Height+1 {
		return nil, fmt.Errorf("config at height %d: %w at %d", h, ErrAbove, tip.Height)
	}
	s.configs.mu.Lock()
	i, _ := slices.BinarySearch(s.configs.heights[1:], h) // changes strictly below h
	s.configs.mu.Unlock()
	return s.Config(uint64(i))
}

// ConfigProof returns what a light client needs to go from config seq−1 to seq.
func (s *Store) ConfigProof(seq uint64) (*ledger.ConfigProof, error) {
	s.configs.mu.Lock()
	known := s.configs.heights
	s.configs.mu.Unlock()
	if seq == 0 || seq >= uint64(len(known)) {
		return nil, fmt.Errorf("proof of config %d: there are proofs from 1 to %d", seq, len(known)-1)
	}
	_, update, err := s.readUpdate(seq, known[seq])
	if err != nil {
		return nil, err
	}
	ch, err := s.Certified(known[seq])
	if err != nil {
		return nil, err
	}
	return &ledger.ConfigProof{Header: *ch, Update: update}, nil
}
