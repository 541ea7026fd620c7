package node

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// follower hands every executed outcome to handle, in ledger order, each at
// least once: those of live blocks from memory, the ones before (after a
// restart, or when it fell behind) from the state.
type follower struct {
	db     *state.DB
	next   uint64        // position in the receipt log; owned by run
	done   atomic.Uint64 // next, for others to read
	handle func(ctx context.Context, o *state.Outcome, executedAt time.Time) error
	now    func() time.Time

	mu      sync.Mutex
	pending []executed
	missed  bool          // pending overflowed: the state has the rest
	wake    chan struct{} // capacity 1
}

type executed struct {
	result *executor.Result
	at     time.Time
}

// maxPending bounds the blocks that wait in memory.
const maxPending = 256

func newFollower(db *state.DB, next uint64, handle func(context.Context, *state.Outcome, time.Time) error, now func() time.Time) *follower {
	f := &follower{db: db, next: next, handle: handle, now: now, missed: true, wake: make(chan struct{}, 1)}
	f.done.Store(next)
	return f
}

// add takes a block that was just executed. It never blocks: the executor calls
// it.
func (f *follower) add(res *executor.Result, at time.Time) {
	f.mu.Lock()
	if len(f.pending) >= maxPending {
		f.missed = true
	} else {
		f.pending = append(f.pending, executed{res, at})
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends, or until handle or the state fails.
func (f *follower) run(ctx context.Context) error {
	for {
		f.mu.Lock()
		pending, missed := f.pending, f.missed
		f.pending, f.missed = nil, false
		f.mu.Unlock()
		for _, e := range pending {
			if err := f.block(ctx, e); err != nil {
				return ignoreEnd(ctx, err)
			}
		}
		if missed {
			if err := f.upTo(ctx, f.db.View().Roots().ReceiptsSize); err != nil {
				return ignoreEnd(ctx, err)
			}
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (f *follower) block(ctx context.Context, e executed) error {
	for _, o := range e.result.Outcomes {
		if o.Position < f.next {
			continue
		}
		if err := f.upTo(ctx, o.Position); err != nil {
			return err
		}
		if err := f.handle(ctx, o, e.at); err != nil {
			return err
		}
		f.next = o.Position + 1
		f.done.Store(f.next)
	}
	return nil
}

// upTo reads from the state what lies before a position.
func (f *follower) upTo(ctx context.Context, position uint64) error {
	for f.next < position {
		o, err := f.db.View().OutcomeAt(f.next)
		if err != nil && !errors.Is(err, state.ErrPruned) { // what is pruned has been over for years
			return fmt.Errorf("follow the ledger at position %d: %w", f.next, err)
		}
		if o != nil {
			if err := f.handle(ctx, o, f.now()); err != nil {
				return err
			}
		}
		f.next++
		f.done.Store(f.next)
	}
	return nil
}

// firstPosition returns the position in the receipt log of the first outcome at
// or above height h; the size of the log if there is none.
func firstPosition(view *state.View, h ledger.Height) (uint64, error) {
	size := view.Roots().ReceiptsSize
	var failed error
	i := sort.Search(int(size), func(i int) bool {
		o, err := view.ReceiptAt(uint64(i))
		if err != nil {
			failed = errors.Join(failed, err)
			return true
		}
		return o.Height >= h
	})
	return uint64(i), failed
}
