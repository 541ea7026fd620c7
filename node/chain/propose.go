package chain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// parsed is a block with its requests decoded.
type parsed struct {
	block *ledger.Block
	hash  ledger.Hash
	txs   []*ledger.Transaction // txs[i] is Requests[i] decoded, nil for other kinds
	infos []consensus.RequestInfo
	next  *ledger.Config // the config its update sets, or nil
}

func proposalOf(b *ledger.Block) consensus.Proposal {
	return consensus.Proposal{
		Height:    uint64(b.Header.Height),
		ConfigSeq: b.Header.ConfigSeq,
		Header:    b.Header.Encode(),
		Payload:   ledger.EncodeRequests(b.Requests),
		Meta:      b.Meta,
	}
}

// ErrRootMismatch means that executing the same blocks gave this node another
// root than the header names: a non-deterministic contract or damaged state,
// here or there.
var ErrRootMismatch = errors.New("executed root differs")

// Assemble implements consensus.App. The leader takes what fits, in order, and
// forgets what has expired.
func (c *Chain) Assemble(height uint64, meta []byte, reqs [][]byte) (consensus.Proposal, error) {
	prev := c.Tip()
	conf := prev.Config
	h := ledger.Header{
		ChainID:            c.cfg.ChainID,
		Height:             ledger.Height(height),
		Prev:               prev.Hash,
		Time:               max(uint64(c.cfg.Clock().UnixMilli()), prev.Header.Time+1),
		ConfigSeq:          conf.Seq,
		ValidatorsHash:     conf.ValidatorsHash(),
		NextValidatorsHash: conf.ValidatorsHash(),
		EngineMetaHash:     ledger.HashMeta(meta),
	}
	p := c.pick(reqs, h.Time, conf)
	if p.next != nil {
		h.NextValidatorsHash = p.next.ValidatorsHash()
	}
	exec, roots, err := c.executedFor(h.Height, conf)
	if err != nil {
		return consensus.Proposal{}, err
	}
	h.ExecHeight, h.StateRoot, h.ReceiptsRoot, h.ReceiptsSize = exec, roots.State, roots.Receipts, roots.ReceiptsSize
	h.TxRoot = ledger.TxRoot(p.block.Requests)
	p.block.Header, p.block.Meta = h, meta
	p.hash = p.block.Header.Hash()
	c.checked = p
	return proposalOf(p.block), nil
}

// pick chooses the requests of a block at time ms: within the limits, valid at
// that time, a config update alone, at most one seal. What can never fit again
// is forgotten.
func (c *Chain) pick(reqs [][]byte, ms uint64, conf *ledger.Config) *parsed {
	p := &parsed{block: &ledger.Block{Requests: make([][]byte, 0, len(reqs))}}
	var gone []consensus.RequestInfo
	var size uint64
	sealed := false
	for _, r := range reqs {
		info := c.Inspect(r)
		kind := ledger.KindOf(r)
		tx, err := c.verifyRequest(r, conf)
		switch {
		case err != nil, kind == ledger.KindTransaction && tx.Payload.ValidUntil < ms,
			kind == ledger.KindSeal && !c.sealUseful(r):
			gone = append(gone, info)
			continue
		case kind == ledger.KindTransaction && !tx.ValidAt(ms), // not yet
			kind == ledger.KindSeal && sealed,
			size+uint64(len(r)) > conf.Limits.MaxBlockBytes,
			uint64(len(p.infos)) >= conf.Limits.MaxBlockRequests:
			continue // stays in the pool
		}
		if kind == ledger.KindUpdate {
			u, err := ledger.DecodeUpdate(r)
			if err != nil {
				gone = append(gone, info)
				continue
			}
			c.forget(gone)
			return &parsed{
				block: &ledger.Block{Requests: [][]byte{r}}, txs: []*ledger.Transaction{nil},
				infos: []consensus.RequestInfo{info}, next: u.Config,
			}
		}
		sealed = sealed || kind == ledger.KindSeal
		size += uint64(len(r))
		p.block.Requests = append(p.block.Requests, r)
		p.txs = append(p.txs, tx)
		p.infos = append(p.infos, info)
	}
	c.forget(gone)
	return p
}

func (c *Chain) forget(infos []consensus.RequestInfo) {
	c.shares.drop(infos...)
	if e := c.engine.Load(); e != nil && len(infos) > 0 {
		e.Forget(infos)
	}
}

// executedFor returns the execution result that a header of height h names: the
// newest there is, at most MaxExecLag behind.
func (c *Chain) executedFor(h ledger.Height, conf *ledger.Config) (ledger.Height, state.Roots, error) {
	least := c.Tip().Header.ExecHeight // a new leader may have executed less than the old one
	if lag := ledger.Height(conf.Limits.MaxExecLag); h > lag {
		least = max(least, h-lag)
	}
	if err := c.waitExecuted(least); err != nil {
		return 0, state.Roots{}, err
	}
	exec, roots, _ := c.cfg.State.Executed()
	return exec, roots, nil
}

func (c *Chain) waitExecuted(h ledger.Height) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.RootWait)
	defer cancel()
	if err := c.WaitExecuted(ctx, h); err != nil {
		return fmt.Errorf("wait for the executor to reach height %d: %w", h, err)
	}
	return nil
}

// CheckLive implements consensus.App: everything an honest validator wants
// before it votes, its own proposals included.
func (c *Chain) CheckLive(p consensus.Proposal) ([]consensus.RequestInfo, error) {
	if err := c.failed(); err != nil {
		return nil, err
	}
	if ch := c.checked; ch != nil && ch.hash == ledger.Sum(p.Header) && c.Tip().Hash == ch.block.Header.Prev {
		return ch.infos, nil // just assembled or checked here
	}
	conf := c.Config()
	b, err := c.parse(p)
	if err != nil {
		return nil, err
	}
	pb, err := c.checkRequests(b, conf)
	if err != nil {
		return nil, fmt.Errorf("proposal at height %d: %w", b.Header.Height, err)
	}
	if err := c.checkHeader(&b.Header, conf, pb.next); err != nil {
		return nil, fmt.Errorf("proposal at height %d: %w", b.Header.Height, err)
	}
	if err := c.checkClock(&b.Header, conf); err != nil {
		return nil, fmt.Errorf("proposal at height %d: %w", b.Header.Height, err)
	}
	if err := c.checkRoots(&b.Header); err != nil {
		return nil, fmt.Errorf("proposal at height %d: %w", b.Header.Height, err)
	}
	pb.hash = ledger.Sum(p.Header)
	c.checked = pb
	return pb.infos, nil
}

// parse rebuilds the block of a proposal and checks that its parts belong
// together.
func (c *Chain) parse(p consensus.Proposal) (*ledger.Block, error) {
	h, err := ledger.DecodeHeader(p.Header)
	if err != nil {
		return nil, err
	}
	reqs, err := ledger.DecodeRequests(p.Payload)
	if err != nil {
		return nil, err
	}
	if h.Height != ledger.Height(p.Height) || h.ConfigSeq != p.ConfigSeq {
		return nil, fmt.Errorf("header says height %d config %d, the engine height %d config %d", h.Height, h.ConfigSeq, p.Height, p.ConfigSeq)
	}
	b := &ledger.Block{Header: *h, Requests: reqs, Meta: p.Meta}
	return b, b.CheckBody()
}

// checkHeader checks what follows from the chain alone.
func (c *Chain) checkHeader(h *ledger.Header, conf, next *ledger.Config) error {
	prev := c.Tip()
	nextHash := conf.ValidatorsHash()
	if next != nil {
		nextHash = next.ValidatorsHash()
	}
	lag := ledger.Height(conf.Limits.MaxExecLag)
	switch {
	case h.ChainID != c.cfg.ChainID:
		return ledger.ErrWrongChain
	case h.Height != prev.Header.Height+1 || h.Prev != prev.Hash:
		return fmt.Errorf("it follows %s, the newest block here is %d %s", h.Prev, prev.Header.Height, prev.Hash)
	case h.Time <= prev.Header.Time:
		return fmt.Errorf("time %d is not after the previous block's %d", h.Time, prev.Header.Time)
	case h.ConfigSeq != conf.Seq || h.ValidatorsHash != conf.ValidatorsHash() || h.NextValidatorsHash != nextHash:
		return fmt.Errorf("config %d or a validators hash does not follow from config %d", h.ConfigSeq, conf.Seq)
	case h.ExecHeight >= h.Height || h.ExecHeight < prev.Header.ExecHeight || h.Height-h.ExecHeight > lag:
		return fmt.Errorf("executed height %d: must not fall below %d nor lag more than %d", h.ExecHeight, prev.Header.ExecHeight, lag)
	}
	return nil
}

// checkClock holds for live proposals only.
func (c *Chain) checkClock(h *ledger.Header, conf *ledger.Config) error {
	now := c.cfg.Clock()
	diff := now.Sub(time.UnixMilli(int64(h.Time))).Abs()
	if tol := time.Duration(conf.Limits.ClockToleranceMs) * time.Millisecond; diff > tol {
		return fmt.Errorf("its time is %s away from this node's clock, %s are allowed: check the clocks (NTP) of leader and node", diff, tol)
	}
	return nil
}

// checkRoots compares a header's roots with this node's own.
func (c *Chain) checkRoots(h *ledger.Header) error {
	if err := c.waitExecuted(h.ExecHeight); err != nil {
		return err
	}
	return c.compareRoots(h)
}

// compareRoots holds a header's roots against what this node computed.
func (c *Chain) compareRoots(h *ledger.Header) error {
	own, ok := c.cfg.State.RootsAt(h.ExecHeight)
	if !ok {
		return fmt.Errorf("roots of executed height %d are gone", h.ExecHeight)
	}
	if own != (state.Roots{State: h.StateRoot, Receipts: h.ReceiptsRoot, ReceiptsSize: h.ReceiptsSize}) {
		return fmt.Errorf("%w at height %d: header has state %s receipts %s (%d), this node has state %s receipts %s (%d)", ErrRootMismatch, h.ExecHeight,
			h.StateRoot, h.ReceiptsRoot, h.ReceiptsSize, own.State, own.Receipts, own.ReceiptsSize)
	}
	return nil
}

// checkRequests verifies every request under conf, the unknown ones in
// parallel.
func (c *Chain) checkRequests(b *ledger.Block, conf *ledger.Config) (*parsed, error) {
	n := len(b.Requests)
	if uint64(n) > conf.Limits.MaxBlockRequests {
		return nil, fmt.Errorf("%d requests, the limit is %d", n, conf.Limits.MaxBlockRequests)
	}
	p := &parsed{block: b, txs: make([]*ledger.Transaction, n), infos: make([]consensus.RequestInfo, n)}
	var size, seals uint64
	for i, r := range b.Requests {
		p.infos[i] = c.Inspect(r)
		size += uint64(len(r))
		switch ledger.KindOf(r) {
		case ledger.KindSeal:
			seals++
		case ledger.KindUpdate:
			u, err := ledger.DecodeUpdate(r)
			if err != nil || n != 1 {
				return nil, fmt.Errorf("request %d: a config update stands alone in its block: %w", i, err)
			}
			p.next = u.Config
		}
	}
	if size > conf.Limits.MaxBlockBytes || seals > 1 {
		return nil, fmt.Errorf("%d bytes with %d seals: the limits are %d bytes and one seal", size, seals, conf.Limits.MaxBlockBytes)
	}
	var g errgroup.Group
	g.SetLimit(4)
	const chunk = 32
	for from := 0; from < n; from += chunk {
		g.Go(func() error {
			for i := from; i < min(from+chunk, n); i++ {
				tx, err := c.verifyRequest(b.Requests[i], conf)
				if err != nil {
					return fmt.Errorf("request %d: %w", i, err)
				}
				if tx != nil && !tx.ValidAt(b.Header.Time) {
					return fmt.Errorf("request %d: transaction %s is not valid at block time %d", i, tx.ID(), b.Header.Time)
				}
				p.txs[i] = tx
			}
			return nil
		})
	}
	return p, g.Wait()
}

// Requests implements consensus.App.
func (c *Chain) Requests(p consensus.Proposal) []consensus.RequestInfo {
	reqs, err := ledger.DecodeRequests(p.Payload)
	if err != nil {
		return nil
	}
	infos := make([]consensus.RequestInfo, len(reqs))
	for i, r := range reqs {
		infos[i] = c.Inspect(r)
	}
	return infos
}

// ConfigSeq implements consensus.App.
func (c *Chain) ConfigSeq() uint64 { return c.Config().Seq }
