package chain

import (
	"context"

	"github.com/assent-network/assent/node/ledger"
)

// Expect registers interest in a transaction before it is submitted, so that
// its outcome cannot be missed. The caller must call stop.
func (c *Chain) Expect(id ledger.Hash, validUntil uint64) (wait func(context.Context) (*Outcome, error), stop func()) {
	w := c.Watch(1)
	w.Add(0, id, validUntil)
	wait = func(ctx context.Context) (*Outcome, error) {
		s, err := w.Next(ctx)
		if err != nil {
			return nil, err
		}
		return s[0].Outcome, s[0].Err
	}
	return wait, w.Stop
}

// Watch waits for the outcomes of several transactions. Add may be called
// concurrently, Next by one goroutine at a time. Whoever makes one must call
// Stop.
type Watch struct {
	c   *Chain
	out chan Settled // has room for all, so that the executor never waits
	of  []watched    // by index; each written once
}

type watched struct {
	id     ledger.Hash
	waiter *waiter
}

// Settled is what became of one transaction of a Watch.
type Settled struct {
	Index   int
	Outcome *Outcome // nil with an error
	Err     error    // ErrExpired
}

// Watch returns a watch for at most n transactions.
func (c *Chain) Watch(n int) *Watch {
	return &Watch{c: c, out: make(chan Settled, n), of: make([]watched, n)}
}

// Add registers interest in a transaction under an index below n, once, before
// it is submitted, so that its outcome cannot be missed.
func (w *Watch) Add(index int, id ledger.Hash, validUntil uint64) {
	x := &waiter{until: validUntil, index: index, out: w.out}
	w.of[index] = watched{id, x}
	ws := w.c.waiters
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.byTx[id] = append(ws.byTx[id], x)
}

// Next waits until something is known and returns all that is, in the order of
// execution. Errors: ErrStopped, or that of ctx.
func (w *Watch) Next(ctx context.Context) ([]Settled, error) {
	var all []Settled
	select {
	case r := <-w.out:
		all = append(all, r)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.c.done:
		return nil, ErrStopped
	}
	for {
		select {
		case r := <-w.out:
			all = append(all, r)
		default:
			return all, nil
		}
	}
}

// Stop ends the interest in what is not settled.
func (w *Watch) Stop() {
	ws := w.c.waiters
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, x := range w.of {
		if x.waiter == nil {
			continue
		}
		list := ws.byTx[x.id]
		for i := range list {
			if list[i] == x.waiter {
				list = append(list[:i:i], list[i+1:]...)
				break
			}
		}
		if len(list) == 0 {
			delete(ws.byTx, x.id)
		} else {
			ws.byTx[x.id] = list
		}
	}
}
