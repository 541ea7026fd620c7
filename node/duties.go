package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/state"
)

// duties is what a node does by itself about consents that end: it records that
// one ran out, destroys what must go, and signs for it with its own key. What is
// still to do stands in the ledger's own indexes, so that a restart finds it there
// and doing it twice is refused; here are only hints that it is time to look.
//
// The node that speaks for its member does them (see speaks), one after another,
// at most dutyRate in a second, never in the way of a request.
type duties struct {
	wake chan struct{} // capacity 1

	mu      sync.Mutex
	expired hints // consents that were seen to have run out
	deleted hints // consents whose lender, this member, confirmed the deletion of its answers
	erasing hints // consents of this member whose erasure went on
}

// hints is a small set. What finds no room is found by the next sweep.
type hints map[record.ConsentID]struct{}

const maxHints = 1024

func (h *hints) add(id record.ConsentID) {
	if *h == nil {
		*h = make(hints)
	}
	if len(*h) < maxHints {
		(*h)[id] = struct{}{}
	}
}

// wakeUp says that there may be something to do. It never blocks.
func (d *duties) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *duties) hint(to *hints, id record.ConsentID) {
	d.mu.Lock()
	to.add(id)
	d.mu.Unlock()
	d.wakeUp()
}

// ranOut says that a consent's time is over and the ledger has not been told.
func (d *duties) ranOut(id record.ConsentID) { d.hint(&d.expired, id) }

// take empties the hints.
func (d *duties) take() (expired, deleted, erasing hints) {
	d.mu.Lock()
	defer d.mu.Unlock()
	expired, deleted, erasing = d.expired, d.deleted, d.erasing
	d.expired, d.deleted, d.erasing = nil, nil, nil
	return expired, deleted, erasing
}

const (
	dutyRate   = 50 // transactions a second
	dutyBurst  = 10
	dutyPage   = 64                     // index rows looked at in one round, for each list
	dutyGap    = 100 * time.Millisecond // events gather for this long
	dutyRetry  = 250 * time.Millisecond // first pause after something could not be done; doubles
	dutyIdle   = 30 * time.Second       // between looks when nothing happens, and the longest pause
	sweepEvery = 5 * time.Second        // between looks for consents that ran out
	sweepPage  = 200                    // consents looked at then: at most 40 a second
	dutyWait   = 2 * time.Second        // for what is under way to end
	dutySubmit = 5 * time.Second        // for the outcome of one transaction
)

// dutyRun is owned by runDuties.
type dutyRun struct {
	*Node
	limit *rate.Limiter

	terminations, erasures, sweep string // where the next look at an index begins; "": at its start
	sweepStatus                   int
	sweepAt                       time.Time
	emptied                       hints // lender's erasures that wait for nothing but the deletion receipt
	failures                      int

	hinted  struct{ expired, deleted, erasing hints } // of this round, as what follows
	view    *state.View
	settled bool // what view permits is taken care of
	later   bool // something could not be done in this round
}

// runDuties works until ctx ends. Its error is a state that cannot be read.
func (n *Node) runDuties(ctx context.Context) error {
	d := &dutyRun{Node: n, limit: rate.NewLimiter(dutyRate, dutyBurst)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	hurried := false // the timer runs for dutyGap: more events do not put it off
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.duties.wake:
			if !hurried {
				hurried = true
				timer.Reset(dutyGap)
			}
			continue
		case <-timer.C:
		}
		hurried = false
		pause, err := d.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("see to ended consents: %w", err)
		}
		timer.Reset(pause)
	}
}

// round does what is due and returns when to look again.
func (d *dutyRun) round(ctx context.Context) (time.Duration, error) {
	if !d.caughtUp.Load() {
		return time.Second, nil
	}
	// Hints first: the view then knows of what they speak.
	d.hinted.expired, d.hinted.deleted, d.hinted.erasing = d.duties.take()
	d.view, d.settled, d.later = d.state.View(), false, false
	if err := d.discardDeleted(ctx); err != nil {
		return 0, err
	}
	if !d.speaks() {
		return dutyIdle, nil
	}
	again := false
	for _, step := range []func(context.Context) (bool, error){d.expire, d.acknowledge, d.erase} {
		more, err := step(ctx)
		if err != nil {
			return 0, err
		}
		again = again || more
	}
	switch {
	case d.later:
		d.failures = min(d.failures+1, 8)
		return min(dutyRetry<<(d.failures-1), dutyIdle), nil
	case again:
		d.failures = 0
		return dutyGap, nil
	}
	d.failures = 0
	if d.answerer != nil {
		return max(time.Until(d.sweepAt), dutyGap), nil
	}
	return dutyIdle, nil
}

// speaks reports whether this is the node that takes sealed parts and answers for
// its member: what is to be destroyed is here.
func (n *Node) speaks() bool {
	peer, ok := n.dir.answering(n.member)
	return ok && peer == n.host.ID()
}

// due reads a page of an index of consents and moves on from.
func (d *dutyRun) due(prefix string, from *string, page int) (ids []record.ConsentID, more bool, err error) {
	start := max(prefix, *from)
	rows, err := d.view.Range(start, prefixEnd(prefix), page)
	if err != nil {
		return nil, false, err
	}
	for _, row := range rows {
		ids = append(ids, record.ConsentID(record.LastSegment(row.Key)))
	}
	if more = len(rows) == page; more {
		*from = rows[len(rows)-1].Key + "\x00"
	} else {
		*from = ""
	}
	return ids, more, nil
}

// submit puts one function of the consent contract on the ledger. What it wants
// may have been done by somebody else; what could not be done is tried again.
func (d *dutyRun) submit(ctx context.Context, function string, id record.ConsentID) {
	if err := d.limit.Wait(ctx); err != nil {
		return // the node stops
	}
	ctx, cancel := context.WithTimeout(ctx, dutySubmit)
	defer cancel()
	code, err := d.submitOwn(ctx, "duty/"+function+"/"+string(id), record.ContractConsent, function, []byte(id))
	switch {
	case err != nil:
		d.later = true
		d.log.Info("a node's own transaction is not ordered yet, will try again", "function", function, "consent", id, "reason", err)
	case code == record.OK:
		d.log.Info("this node saw to an ended consent", "function", function, "consent", id)
	case code == record.CodeAlreadyExists, code == record.CodeDuplicate, code == record.CodeWrongState, code == record.CodeNotFound:
		d.log.Debug("a node's own transaction was not needed", "function", function, "consent", id, "code", code)
	default:
		d.later = true
		d.log.Error("the ledger refuses a transaction of this node: check that its transaction key is registered (assent member node)", "function", function, "consent", id, "code", code)
	}
}

// waitUntil polls a condition for a moment: nobody announces it.
func waitUntil(ctx context.Context, cond func() bool) bool {
	limit := time.NewTimer(dutyWait)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit.C:
			return cond()
		case <-ctx.Done():
			return false
		}
	}
	return true
}
