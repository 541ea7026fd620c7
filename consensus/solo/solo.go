// Package solo is the ordering engine of a development network: one replica,
// no messages, no votes but its own.
//
// It owns a pool and one goroutine, which makes the same calls to the
// application in the same order as any other engine: Assemble, CheckLive,
// SignVote, Deliver. It promises what package consensus promises for a
// membership of one, which tolerates no fault.
//
// It leaves durability to the application's Deliver: it keeps no log of its
// own, because nobody can hold a vote of a replica that is alone.
package solo

import (
	"container/list"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/consensus"
)

// Config is what an engine needs; Self, App and Membership are required.
type Config struct {
	Self consensus.ReplicaID
	// Membership must hold Self alone.
	Membership consensus.Membership
	// Last is the last decision in the block store; zero at genesis.
	Last consensus.Decision
	App  consensus.App

	// BatchMaxCount is the most requests in a proposal (2000), BatchMaxBytes
	// the most bytes of requests (2 MiB).
	BatchMaxCount, BatchMaxBytes int
	// BatchInterval is how long requests gather before they are proposed
	// although the batch is not full (2 ms). Negative: not at all.
	BatchInterval time.Duration
	// PoolSize is the most requests waiting (20000), RequestMaxBytes the
	// longest request (256 KiB).
	PoolSize, RequestMaxBytes int
	Logger                    *slog.Logger
}

func (c Config) withDefaults() Config {
	def := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	def(&c.BatchMaxCount, 2000)
	def(&c.BatchMaxBytes, 2<<20)
	def(&c.PoolSize, 20_000)
	def(&c.RequestMaxBytes, 256<<10)
	if c.BatchInterval == 0 {
		c.BatchInterval = 2 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) check() error {
	var errs []error
	if c.App == nil {
		errs = append(errs, errors.New("App is missing"))
	}
	if err := c.Membership.Check(); err != nil {
		errs = append(errs, err)
	} else if len(c.Membership.Replicas) != 1 || !c.Membership.Contains(c.Self) {
		errs = append(errs, fmt.Errorf("membership %v is not replica %d alone", c.Membership.Replicas, c.Self))
	}
	if c.BatchMaxCount < 1 || c.PoolSize < 1 || c.RequestMaxBytes < 1 || c.BatchMaxBytes < c.RequestMaxBytes {
		errs = append(errs, errors.New("sizes must be positive and BatchMaxBytes at least RequestMaxBytes"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("consensus/solo: bad configuration: %w", err)
	}
	return nil
}

// rememberedIDs is how many forgotten requests are refused when they come
// again.
const rememberedIDs = 1000

// Engine implements consensus.Engine.
type Engine struct {
	cfg   Config
	voted atomic.Uint64
	state atomic.Int32 // stateNew …

	height uint64 // of the last decision; owned by Run

	mu        sync.Mutex // guards the pool below; never held while the App is called
	queue     *list.List // of pooled
	byID      map[consensus.RequestInfo]*list.Element
	forgotten map[consensus.RequestInfo]bool
	order     []consensus.RequestInfo // of forgotten, oldest first
	wake      chan struct{}           // holds one token while there may be work
}

const (
	stateNew int32 = iota
	stateRunning
	stateEnded
)

type pooled struct {
	info consensus.RequestInfo
	req  []byte
}

var _ consensus.Engine = (*Engine)(nil)

// New makes an engine; it starts nothing.
func New(cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	e := &Engine{
		cfg:       cfg,
		height:    cfg.Last.Proposal.Height,
		queue:     list.New(),
		byID:      make(map[consensus.RequestInfo]*list.Element),
		forgotten: make(map[consensus.RequestInfo]bool),
		wake:      make(chan struct{}, 1),
	}
	e.voted.Store(e.height)
	return e, nil
}

// Run implements consensus.Engine; it works on the caller's goroutine.
func (e *Engine) Run(ctx context.Context) error {
	if !e.state.CompareAndSwap(stateNew, stateRunning) {
		return errors.New("consensus/solo: engine was already run")
	}
	defer e.state.Store(stateEnded)
	for {
		batch, err := e.nextBatch(ctx)
		if err != nil {
			return nil // ctx ended
		}
		if err := e.decide(batch); err != nil {
			return fmt.Errorf("consensus/solo: height %d: %w", e.height+1, err)
		}
	}
}

// nextBatch waits for requests.
func (e *Engine) nextBatch(ctx context.Context) ([][]byte, error) {
	for {
		if n := e.Status().Pool; n > 0 {
			if n < e.cfg.BatchMaxCount && e.cfg.BatchInterval > 0 {
				gather := time.NewTimer(e.cfg.BatchInterval)
				select {
				case <-gather.C:
				case <-ctx.Done():
				}
				gather.Stop()
			}
			if batch := e.take(); len(batch) > 0 {
				return batch, ctx.Err()
			}
		}
		select {
		case <-e.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take reads the next batch; the requests stay pooled until delivered.
func (e *Engine) take() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	var batch [][]byte
	size := 0
	for el := e.queue.Front(); el != nil && len(batch) < e.cfg.BatchMaxCount; el = el.Next() {
		req := el.Value.(pooled).req
		if size += len(req); size > e.cfg.BatchMaxBytes {
			break
		}
		batch = append(batch, req)
	}
	return batch
}

// decide makes one decision.
func (e *Engine) decide(batch [][]byte) error {
	height := e.height + 1
	p, err := e.cfg.App.Assemble(height, metaFor(height), batch)
	if err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	p.Height, p.Meta = height, metaFor(height)
	infos, err := e.cfg.App.CheckLive(p)
	if err != nil {
		// Nobody else could make a better proposal.
		return fmt.Errorf("own proposal is refused: %w", err)
	}
	e.voted.Store(height)
	sig, err := e.cfg.App.SignVote(p, 0)
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	changed, err := e.cfg.App.Deliver(consensus.Decision{
		Proposal: p,
		Votes:    []consensus.Vote{{Replica: e.cfg.Self, Signature: sig}},
	})
	if err != nil {
		return fmt.Errorf("deliver: %w", err)
	}
	e.height = height
	e.Forget(infos)
	if changed != nil {
		return e.adopt(*changed)
	}
	return nil
}

// adopt checks that a change of membership leaves this engine usable.
func (e *Engine) adopt(m consensus.Membership) error {
	if !m.Contains(e.cfg.Self) {
		return consensus.ErrRemoved
	}
	if len(m.Replicas) > 1 {
		return fmt.Errorf("membership now has %d replicas: %w", len(m.Replicas), consensus.ErrOutgrown)
	}
	for _, req := range e.all() {
		if info, err := e.cfg.App.CheckRequest(req); err != nil {
			e.Forget([]consensus.RequestInfo{info})
		}
	}
	return nil
}

func (e *Engine) all() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	reqs := make([][]byte, 0, e.queue.Len())
	for el := e.queue.Front(); el != nil; el = el.Next() {
		reqs = append(reqs, el.Value.(pooled).req)
	}
	return reqs
}

// metaFor is this engine's metadata: the height and how many decisions came
// before it, in the form of engine bft's metadata in its view 0 (protobuf fields
// 2 and 3). So a network that grows goes on under that engine from a decision
// made here.
func metaFor(height uint64) []byte {
	meta := binary.AppendUvarint([]byte{2 << 3}, height)
	if height > 1 {
		meta = binary.AppendUvarint(append(meta, 3<<3), height-1)
	}
	return meta
}

// Submit implements consensus.Engine.
func (e *Engine) Submit(_ context.Context, req []byte) error {
	if e.state.Load() != stateRunning {
		return consensus.ErrNotRunning
	}
	if len(req) > e.cfg.RequestMaxBytes {
		return fmt.Errorf("%w: %d bytes, limit %d", consensus.ErrTooLarge, len(req), e.cfg.RequestMaxBytes)
	}
	info := e.cfg.App.Inspect(req)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byID[info] != nil || e.forgotten[info] {
		return nil
	}
	if e.queue.Len() >= e.cfg.PoolSize {
		return consensus.ErrBusy
	}
	e.byID[info] = e.queue.PushBack(pooled{info: info, req: append([]byte(nil), req...)})
	select {
	case e.wake <- struct{}{}:
	default:
	}
	return nil
}

// Accept implements consensus.Engine; there is nobody to forward anything.
func (e *Engine) Accept(ctx context.Context, req []byte) error { return e.Submit(ctx, req) }

// Step implements consensus.Engine; there are no messages.
func (e *Engine) Step(consensus.ReplicaID, []byte) {}

// Forget implements consensus.Engine.
func (e *Engine) Forget(reqs []consensus.RequestInfo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, info := range reqs {
		if el := e.byID[info]; el != nil {
			e.queue.Remove(el)
			delete(e.byID, info)
		}
		if !e.forgotten[info] {
			e.forgotten[info] = true
			e.order = append(e.order, info)
		}
	}
	if n := len(e.order) - rememberedIDs; n > 0 {
		for _, info := range e.order[:n] {
			delete(e.forgotten, info)
		}
		e.order = append([]consensus.RequestInfo(nil), e.order[n:]...)
	}
}

// Status implements consensus.Engine.
func (e *Engine) Status() consensus.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return consensus.Status{
		Running:     e.state.Load() == stateRunning,
		Leader:      e.cfg.Self,
		VotedHeight: e.voted.Load(),
		Pool:        e.queue.Len(),
	}
}
