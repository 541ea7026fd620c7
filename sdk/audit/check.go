package audit

import (
	"errors"
	"fmt"

	"github.com/transparency-dev/merkle/compact"

	"github.com/assent-network/assent/node/ledger"
)

// chain is the check of consecutive blocks, which Write and Verify share: what
// would not be accepted is not written.
type chain struct {
	scope Scope
	log   *compact.Range
	roots map[ledger.Height]sized // of heights that no header has named yet
	tip   *ledger.Header
	told  ledger.Height // highest height whose outcomes came
	named ledger.Height // highest height whose roots a header named
	bare  bool          // a block came without outcomes
}

type sized struct {
	root ledger.Hash
	size uint64
}

func newChain(s Scope, f Frontier) (*chain, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	hashes := make([][]byte, len(f.Hashes))
	for i := range f.Hashes {
		hashes[i] = f.Hashes[i][:]
	}
	log, err := ledger.ResumeLog(f.Size, hashes)
	if err != nil {
		return nil, fmt.Errorf("log of receipts below height %d: %w", s.From, err)
	}
	c := &chain{scope: s, log: log, roots: map[ledger.Height]sized{}, told: s.From - 1}
	return c, c.keep(s.From - 1)
}

func (c *chain) keep(h ledger.Height) error {
	root, err := ledger.LogRoot(c.log)
	if err != nil {
		return err
	}
	c.roots[h] = sized{root, c.log.End()}
	if len(c.roots) > rememberLag {
		return fmt.Errorf("no header certifies the receipts of %d blocks up to height %d", rememberLag, h)
	}
	return nil
}

// add checks a block, and returns what it holds.
func (c *chain) add(b *Block) (*ledger.Header, []entry, error) {
	h, err := ledger.DecodeHeader(b.Header)
	if err != nil {
		return nil, nil, err
	}
	want := c.scope.From
	if c.tip != nil {
		want = c.tip.Height + 1
	}
	switch {
	case h.ChainID != c.scope.ChainID:
		return nil, nil, fmt.Errorf("block %d: %w", h.Height, ledger.ErrWrongChain)
	case h.Height != want:
		return nil, nil, fmt.Errorf("block %d stands where block %d must: a block was removed, added or moved", h.Height, want)
	case c.tip != nil && h.Prev != c.tip.Hash():
		return nil, nil, fmt.Errorf("block %d is not built on the block %d of this export: one of the two was altered", h.Height, c.tip.Height)
	}
	if ledger.TxRoot(b.Requests) != h.TxRoot {
		return nil, nil, fmt.Errorf("block %d: its requests are not those that its header commits to: one was removed, added, altered or moved", h.Height)
	}
	if err := c.certifies(h); err != nil {
		return nil, nil, err
	}
	entries, err := c.outcomes(h, b)
	if err != nil {
		return nil, nil, fmt.Errorf("block %d: %w", h.Height, err)
	}
	c.tip = h
	return h, entries, nil
}

// certifies holds the receipts so far against the roots that h names.
func (c *chain) certifies(h *ledger.Header) error {
	e := h.ExecHeight
	if e < c.scope.From-1 || h.Height == 0 {
		return nil // of before the period
	}
	got, ok := c.roots[e]
	if !ok {
		return fmt.Errorf("block %d certifies the receipts up to height %d, which are not all here", h.Height, e)
	}
	if got.root != h.ReceiptsRoot || got.size != h.ReceiptsSize {
		return fmt.Errorf("block %d certifies other receipts up to height %d than are here (%d, here %d): one was removed, added, altered or moved", h.Height, e, h.ReceiptsSize, got.size)
	}
	c.named = e
	for old := range c.roots {
		if old < e {
			delete(c.roots, old)
		}
	}
	return nil
}

// entry is one request with what became of it.
type entry struct {
	receipt ledger.Receipt
	tx      *ledger.Transaction // nil for a change of the config
	events  []Event
}

func (c *chain) outcomes(h *ledger.Header, b *Block) ([]entry, error) {
	if b.Outcomes == nil && h.Height > c.scope.To {
		c.bare = true
		return nil, nil
	}
	if c.bare {
		return nil, errors.New("outcomes follow a block without them")
	}
	var out []entry
	for i, req := range b.Requests {
		kind := ledger.KindOf(req)
		if kind == ledger.KindSeal {
			continue
		}
		if len(out) == len(b.Outcomes) {
			return nil, fmt.Errorf("request %d has no receipt: one was removed", i)
		}
		e, err := outcome(h, uint64(i), req, &b.Outcomes[len(out)])
		if err != nil {
			return nil, fmt.Errorf("request %d: %w", i, err)
		}
		leaf := e.receipt.LeafHash()
		if err := c.log.Append(leaf[:], nil); err != nil {
			return nil, err
		}
		out = append(out, *e)
	}
	if len(out) != len(b.Outcomes) {
		return nil, fmt.Errorf("%d receipts for %d requests: one was added", len(b.Outcomes), len(out))
	}
	c.told = h.Height
	return out, c.keep(h.Height)
}

func outcome(h *ledger.Header, index uint64, req []byte, o *Outcome) (*entry, error) {
	r, err := ledger.DecodeReceipt(o.Receipt)
	if err != nil {
		return nil, err
	}
	id, err := ledger.RequestID(req)
	if err != nil {
		return nil, err
	}
	if r.TxID != id || r.Height != h.Height || r.Index != index {
		return nil, errors.New("its receipt is of another request")
	}
	events := make([]ledger.Event, len(o.Events))
	for i, e := range o.Events {
		events[i] = ledger.Event(e)
	}
	if ledger.HashEvents(events) != r.Events {
		return nil, errors.New("its events are not those that its receipt commits to: one was removed, added, altered or moved")
	}
	e := &entry{receipt: *r, events: o.Events}
	if ledger.KindOf(req) == ledger.KindTransaction {
		if e.tx, err = ledger.DecodeTransaction(req); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// done checks that the last block certifies the whole period.
func (c *chain) done() error {
	switch {
	case c.tip == nil:
		return errors.New("it holds no block")
	case c.named < c.scope.To:
		return fmt.Errorf("its last block %d certifies the receipts up to height %d only, of %d: blocks are missing at the end", c.tip.Height, c.named, c.scope.To)
	case c.told > c.named:
		return fmt.Errorf("it holds receipts of height %d, which no header of it certifies", c.told)
	}
	return nil
}
