package chain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// replay hands the executor what the store has and the state lacks: the same
// way that live blocks take.
func (c *Chain) replay(ctx context.Context) error {
	next := ledger.Height(0)
	if h, _, ok := c.cfg.State.Executed(); ok {
		next = h + 1
	}
	tip := c.Tip()
	if next > tip.Height+1 {
		return fmt.Errorf("state was executed up to height %d, the block store ends at %d: the block store lost blocks; restore both from the same backup, or start with empty folders and catch up", next-1, tip.Height)
	}
	for h := next; h <= tip.Height; h++ {
		b, err := c.cfg.Store.Block(h)
		if err != nil {
			return err
		}
		p, err := decodeBlock(b)
		if err != nil {
			return err
		}
		select {
		case c.queue <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.WaitExecuted(ctx, tip.Height)
}

// executeLoop owns the executor. It ends when the queue is closed or execution
// has failed.
func (c *Chain) executeLoop() {
	defer c.endExecution()
	flush := time.NewTimer(time.Hour)
	defer flush.Stop()
	for {
		select {
		case p, ok := <-c.queue:
			if !ok {
				return
			}
			if err := c.execute(p); err != nil {
				err = fmt.Errorf("execute block %d: %w", p.block.Header.Height, err)
				c.log.Error("execution stopped: the node halts", "height", p.block.Header.Height, "error", err)
				c.fail(err)
				return
			}
		case <-flush.C:
		}
		wait, err := c.cfg.State.FlushIfDue(uint64(c.cfg.Clock().UnixMilli()))
		if err != nil {
			c.fail(fmt.Errorf("flush state: %w", err))
			return
		}
		if wait > 0 {
			flush.Reset(time.Duration(wait) * time.Millisecond)
		} else {
			flush.Stop()
		}
	}
}

func (c *Chain) execute(p *parsed) error {
	h := &p.block.Header
	if h.Height > 0 {
		// Going on would follow a fork or make one.
		if err := c.compareRoots(h); err != nil {
			return c.differs(h, err)
		}
	}
	watchdog := time.AfterFunc(c.cfg.ContractLimit, func() { c.hang(h.Height) })
	res, err := c.cfg.Executor.Execute(p.block, p.txs)
	watchdog.Stop()
	if err != nil {
		return err
	}
	c.cfg.State.SetCertified(h.ExecHeight)
	c.verified.drop(p.block.Requests)
	c.recent.add(h.Time, p.txs)
	c.shares.dropAll(p.txs) // one that was forwarded between append and now
	c.forgetExpired(h.Time)
	c.waiters.executed(res, h.Time)
	if c.cfg.OnExecuted != nil {
		c.cfg.OnExecuted(res)
	}
	if needsSeal(p.block) {
		c.wakeSeal(h.Height)
	}
	return nil
}

// Differs is the error of Run when a quorum certified other results than this
// node computed. It is raised at once, with heights alone; which transaction it is
// takes another node's receipts to find out.
type Differs struct {
	Height ledger.Height // of the certified header that says so
	Own    state.Roots   // this node's after the header's ExecHeight
	err    error
}

func (d *Differs) Error() string {
	return fmt.Sprintf("ALARM: a quorum certified another result than this node computed: run `assentd verify`, compare program versions, and catch up into an empty folder: %v", d.err)
}

func (d *Differs) Unwrap() error { return d.err }

// differs makes the alarm of a certified header h that compareRoots has refused.
func (c *Chain) differs(h *ledger.Header, err error) error {
	own, ok := c.cfg.State.RootsAt(h.ExecHeight)
	if !ok {
		return fmt.Errorf("ALARM: a certified result cannot be held against this node's: run `assentd verify`: %w", err)
	}
	return &Differs{Height: h.Height, Own: own, err: err}
}

// Ended returns a channel that is closed when nothing more is executed: Failure says
// why. Run has not returned before.
func (c *Chain) Ended() <-chan struct{} { return c.done }

// Failure returns why the chain stopped, nil while it has not failed.
func (c *Chain) Failure() error { return c.failed() }

// expiryPause is the least block time between two looks for expired requests.
const expiryPause = 1000 // ms

// forgetExpired drops from the pool what block time has passed. The leader leaves
// such requests out; a follower that kept one would blame it.
func (c *Chain) forgetExpired(blockTime uint64) {
	if blockTime < c.nextExpiry {
		return
	}
	c.nextExpiry = blockTime + expiryPause
	infos := c.shares.expired(blockTime)
	for _, tx := range c.verified.expired(blockTime) { // also what only a proposal held
		infos = append(infos, infoOf(tx.ID()))
	}
	c.forget(infos)
}

// hang is called when a block has been executing for longer than any block can.
// Nothing can end the contract but ending the process, so Run returns without
// waiting for it.
func (c *Chain) hang(h ledger.Height) {
	err := &Hangs{Height: h, Limit: c.cfg.ContractLimit, Call: c.cfg.Executor.Running(), Key: c.cfg.Executor.Touched()}
	c.log.Error("execution hangs: the node halts", "height", h, "error", err)
	c.fail(err)
	c.endExecution()
}

// endExecution frees whoever waits for blocks to be executed: none will be.
func (c *Chain) endExecution() { c.doneOnce.Do(func() { close(c.done) }) }

// Hangs is the error of Run when a contract does not return.
type Hangs struct {
	Height ledger.Height
	Limit  time.Duration
	Call   *executor.Call // nil: execution hangs outside a contract
	Key    string         // that the call used last, as ledger.ShownKey shows it; "" for none
}

func (e *Hangs) Error() string {
	if e.Call == nil {
		return fmt.Sprintf("ALARM: block %d has been executing for %s: it does not end", e.Height, e.Limit)
	}
	text := fmt.Sprintf("ALARM: block %d has been executing for %s: %s.%s of transaction %s does not return", e.Height, e.Limit, e.Call.Contract, e.Call.Function, e.Call.TxID)
	if e.Key != "" {
		text += "; the last key it used is " + e.Key
	}
	return text
}

// Outcome is what became of a transaction.
type Outcome = state.Outcome

// Errors of waiting for an outcome.
var (
	// ErrExpired: block time has passed validUntil and the transaction is in no
	// block; it never will be.
	ErrExpired = errors.New("transaction expired before it was ordered: sign it anew")
	// ErrStopped: the node stops.
	ErrStopped = errors.New("node stops")
)

// waiters are the callers that wait for transactions or heights.
type waiters struct {
	height atomic.Pointer[heightMark]

	mu   sync.Mutex
	byTx map[ledger.Hash][]*waiter
}

type heightMark struct {
	height ledger.Height
	any    bool          // false before genesis was executed
	next   chan struct{} // closed when a further block was executed
}

type waiter struct {
	until uint64 // validUntil of the transaction
	index int    // of it, among those of one Watch
	out   chan Settled
}

func newWaiters() *waiters {
	w := &waiters{byTx: make(map[ledger.Hash][]*waiter)}
	w.height.Store(&heightMark{next: make(chan struct{})})
	return w
}

// executed wakes who waits for a transaction of the block, for its height, or
// for a transaction that can no longer come.
func (w *waiters) executed(res *executor.Result, blockTime uint64) {
	old := w.height.Load()
	w.height.Store(&heightMark{height: res.Height, any: true, next: make(chan struct{})})
	close(old.next)

	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.byTx) == 0 {
		return
	}
	for i := range res.Outcomes {
		o := res.Outcomes[i]
		for _, x := range w.byTx[o.TxID] {
			x.out <- Settled{Index: x.index, Outcome: o} // never blocks: room for every waiter, each sent to once
		}
		delete(w.byTx, o.TxID)
	}
	for id, list := range w.byTx {
		keep := list[:0]
		for _, x := range list {
			if blockTime > x.until {
				x.out <- Settled{Index: x.index, Err: ErrExpired}
				continue
			}
			keep = append(keep, x)
		}
		if len(keep) == 0 {
			delete(w.byTx, id)
		} else {
			w.byTx[id] = keep
		}
	}
}

// WaitExecuted returns when height h has been executed here.
func (c *Chain) WaitExecuted(ctx context.Context, h ledger.Height) error {
	if e, _, ok := c.cfg.State.Executed(); ok && e >= h {
		return nil
	}
	for {
		m := c.waiters.height.Load()
		if m.any && m.height >= h {
			return nil
		}
		if e, _, ok := c.cfg.State.Executed(); ok && e >= h {
			return nil
		}
		select {
		case <-m.next:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.done:
			return ErrStopped
		}
	}
}

// Executed returns a channel that is closed when a further block was executed.
func (c *Chain) Executed() <-chan struct{} { return c.waiters.height.Load().next }
