package outbox

import (
	"container/heap"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// settlement is a fact about an item that needs no haste to reach the disk: if a
// crash loses it, the item is sent again, and the receiver knows its id.
type settlement struct {
	id   string
	left bool // still waiting, but may have left; otherwise acknowledged
}

// Run sends what is due until ctx ends, then waits for the attempts it started
// and writes the acknowledgements it holds.
func (o *Outbox) Run(ctx context.Context) error {
	var running sync.WaitGroup
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		due, next := o.takeDue(o.cfg.Clock())
		for _, e := range due {
			running.Go(func() { o.attempt(ctx, e) })
		}
		if batch := o.takeSettled(o.cfg.Clock(), false); batch != nil {
			running.Go(func() { o.settle(batch) })
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(next.Sub(o.cfg.Clock()))
		}
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-timer.C:
		}
	}
	running.Wait()
	if batch := o.takeSettled(o.cfg.Clock(), true); batch != nil {
		o.settle(batch)
	}
	return nil
}

// takeDue pops what may be sent now and says when to look again.
func (o *Outbox) takeDue(now time.Time) (due []*entry, next time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, l := range o.lanes {
		o.lookAgainLocked(l, now)
		for len(l.due) > 0 && l.inFlight < o.cfg.PerRecipient && !l.due[0].next.After(now) {
			due = append(due, heap.Pop(&l.due).(*entry))
			l.inFlight++
		}
		// A full lane is looked at again when one of its sends returns.
		if len(l.due) > 0 && l.inFlight < o.cfg.PerRecipient {
			sooner(l.due[0].next)
		}
	}
	if len(o.settled) > 0 && !o.settling {
		sooner(o.settleAt)
	}
	return due, next
}

// attempt tries one item once. The lane counts it as in flight until landed.
func (o *Outbox) attempt(ctx context.Context, e *entry) {
	it := &e.item
	if o.overdue(it) {
		o.end(ctx, e, Overdue)
		return
	}
	if it.Payload == nil {
		payload, err := o.readPayload(ctx, it.ID)
		if errors.Is(err, sql.ErrNoRows) {
			o.landed(e, func() { o.removeLocked(e) })
			return
		}
		if err != nil {
			o.cfg.Logger.Warn("outbox: read payload; trying again", "kind", it.Kind.String(), "item", it.ID, "err", err)
			o.retry(e, o.nextBackoff(e))
			return
		}
		it.Payload = payload
	}
	if it.Kind == Answer {
		switch v, err := o.cfg.Guard(ctx, *it); {
		case err == nil && v == Withhold:
			o.end(ctx, e, Withheld)
			return
		case err != nil || v != Send:
			if err != nil && ctx.Err() == nil {
				o.cfg.Logger.Warn("outbox: guard cannot tell whether the answer may leave; it stays", "item", it.ID, "err", err)
			}
			o.retry(e, o.cfg.GuardRetry)
			return
		}
	}
	it.Attempts++
	o.conclude(ctx, e, o.send(ctx, *it))
}

// overdue reports whether an item's time is over. An answer must not leave late, by
// any clock; a sealed part must not be destroyed early.
func (o *Outbox) overdue(it *Item) bool {
	if it.Deadline.IsZero() || o.cfg.Clock().Before(it.Deadline) {
		return false
	}
	return it.Kind != SealedPart || !o.cfg.LedgerTime().Before(it.Deadline)
}

func (o *Outbox) send(ctx context.Context, it Item) error {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.SendTimeout[it.Kind])
	defer cancel()
	return o.cfg.Send(ctx, it)
}

// conclude acts on the result of a send.
func (o *Outbox) conclude(ctx context.Context, e *entry, err error) {
	switch {
	case err == nil:
		o.landed(e, func() {
			o.releaseFollowersLocked(e)
			o.removeLocked(e)
			o.settleLocked(settlement{id: e.item.ID})
		})
	case errors.Is(err, ErrRejected):
		o.cfg.Logger.Warn("outbox: rejected for good", "kind", e.item.Kind.String(), "item", e.item.ID, "recipient", e.item.Recipient, "err", err)
		// Whoever rejects has read: a lender must not get an answer and, by refusing
		// it, a ledger without its receipt.
		o.mu.Lock()
		if !e.item.MayHaveLeft {
			e.item.MayHaveLeft = true
			o.releaseFollowersLocked(e)
		}
		o.mu.Unlock()
		o.end(ctx, e, Rejected)
	default:
		if ctx.Err() == nil {
			o.cfg.Logger.Debug("outbox: not delivered; trying again", "kind", e.item.Kind.String(), "item", e.item.ID,
				"recipient", e.item.Recipient, "attempt", e.item.Attempts, "err", err)
		}
		pause := o.nextBackoff(e)
		o.landed(e, func() {
			o.forgetPayloadLocked(e)
			if !errors.Is(err, ErrNotSent) && !e.item.MayHaveLeft {
				e.item.MayHaveLeft = true
				o.settleLocked(settlement{id: e.item.ID, left: true})
				o.releaseFollowersLocked(e)
			}
			o.rescheduleLocked(e, pause)
		})
	}
}

func (o *Outbox) retry(e *entry, pause time.Duration) {
	o.landed(e, func() { o.rescheduleLocked(e, pause) })
}

// landed ends an attempt: it frees the lane's slot and runs then under the lock.
func (o *Outbox) landed(e *entry, then func()) {
	o.mu.Lock()
	o.lanes[e.item.Recipient].inFlight--
	then()
	o.mu.Unlock()
	o.poke()
}

// nextBackoff doubles up to RetryMax and spreads by ±25 %, so that a returning
// recipient is not met by everybody in the same moment.
func (o *Outbox) nextBackoff(e *entry) time.Duration {
	e.backoff = min(max(2*e.backoff, o.cfg.RetryMin), o.cfg.RetryMax)
	return e.backoff*3/4 + rand.N(e.backoff/2+1)
}

// end deletes an item that will not be delivered, with what was held back behind
// it, and puts what follows from it, in one transaction.
func (o *Outbox) end(ctx context.Context, e *entry, why Ending) {
	it := e.item
	var next []Item
	err := o.cfg.Store.Do(context.WithoutCancel(ctx), func(tx *sql.Tx) (err error) {
		if next, err = o.cfg.Ended(tx, it, why); err != nil {
			return err
		}
		if !it.MayHaveLeft { // otherwise they were released already
			if _, err := tx.Stmt(o.sql.dropFollowers).Exec(it.ID); err != nil {
				return err
			}
		}
		if _, err := tx.Stmt(o.sql.remove).Exec(it.ID); err != nil {
			return err
		}
		for _, n := range next {
			if err := o.sql.insert(tx, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		o.cfg.Logger.Error("outbox: cannot record the end of an item; trying again", "kind", it.Kind.String(), "item", it.ID, "ending", why.String(), "err", err)
		o.retry(e, o.nextBackoff(e))
		return
	}
	o.landed(e, func() {
		for _, f := range e.followers {
			o.removeLocked(f)
		}
		o.removeLocked(e)
		for _, n := range next {
			o.addLocked(n)
		}
	})
	o.cfg.Over(it, why)
	if why == Withheld {
		// The deleted pages are overwritten; older copies of them stand in the log.
		if err := o.cfg.Store.Checkpoint(context.WithoutCancel(ctx)); err != nil {
			o.cfg.Logger.Warn("outbox: a withheld answer's bytes may remain in the log until it is emptied", "err", err)
		}
	}
}

func (o *Outbox) settleLocked(s settlement) {
	if len(o.settled) == 0 {
		o.settleAt = o.cfg.Clock().Add(o.cfg.Linger)
	}
	o.settled = append(o.settled, s)
}

// takeSettled hands out what is to be written, when it is time; one write at once.
func (o *Outbox) takeSettled(now time.Time, all bool) []settlement {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.settled) == 0 || o.settling || !all && now.Before(o.settleAt) {
		return nil
	}
	batch := o.settled
	o.settled, o.settling = nil, true
	return batch
}

func (o *Outbox) settle(batch []settlement) {
	err := o.cfg.Store.Do(context.Background(), func(tx *sql.Tx) error {
		remove, left, release := tx.Stmt(o.sql.remove), tx.Stmt(o.sql.left), tx.Stmt(o.sql.release)
		for _, s := range batch {
			stmt := remove
			if s.left {
				stmt = left
			}
			if _, err := stmt.Exec(s.id); err != nil {
				return err
			}
			if _, err := release.Exec(s.id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		// Harmless but for repeated sends after a restart: the receiver knows the ids.
		o.cfg.Logger.Error("outbox: cannot write acknowledgements", "items", len(batch), "err", err)
	}
	o.mu.Lock()
	o.settling = false
	o.mu.Unlock()
	o.poke()
}
