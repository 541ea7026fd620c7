// Package outbox delivers what must not be lost: sealed consent parts, sealed
// answers and receipts, until the recipient acknowledged them, their deadline
// passed or they were withheld; across restarts, partitions and slow recipients.
//
// It promises that an item committed by Put is attempted until one of those three
// ends, that nothing is sent before its release time or off its grid, that Guard
// is asked before every single send of an answer, that a withheld answer is
// overwritten in the same transaction that records what follows from it, and that
// one slow recipient delays no other. An idle outbox uses no CPU. Delivery is at
// least once: the receiver makes it once, by the item's id (Inbox does so for
// answers).
//
// It leaves to others what an item says, how it travels (Send), whether a consent
// still stands (Guard) and what a receipt looks like (Ended). private.db is opened
// here because every node has an outbox; see Private.
package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Kind of an item.
type Kind uint8

// The kinds.
const (
	SealedPart Kind = iota + 1 // lender's node → provider's node
	Answer                     // provider's node → lender's node; guarded
	Receipt                    // provider's node → ledger
	Count                      // bank's node → another bank's node: a masked count of a cohort
)

// String names the kind for logs.
func (k Kind) String() string {
	switch k {
	case SealedPart:
		return "sealed part"
	case Answer:
		return "answer"
	case Receipt:
		return "receipt"
	case Count:
		return "count"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Item is one thing to deliver.
type Item struct {
	ID        string // unique; the receiver's idempotency key
	Kind      Kind
	Recipient string // what Send understands: a member, a node, "ledger"
	ConsentID string // "" if none
	Payload   []byte
	// NotBefore is the first moment at which the item may leave, a minute ahead at
	// most; zero: at once.
	NotBefore time.Time
	// Grid, if set, allows every attempt only at NotBefore + k·Grid.
	Grid time.Duration
	// Deadline ends the attempts; zero: none.
	Deadline time.Time
	// After holds the item back until the named one was acknowledged, rejected or
	// may have left. If that one ends before, this item is dropped with it.
	After string

	// Set by the outbox for Guard, Send and Ended.
	Attempts int // sends tried since this process started
	// MayHaveLeft reports that the recipient may have the item: a send was tried
	// whose outcome is not known, or the recipient read and rejected it. Its
	// followers were released, so Ended has no receipt to add. The flag is written
	// to disk within the linger time of acknowledgements; what a crash in that
	// moment loses is this flag, never the item.
	MayHaveLeft bool
}

// Format shows which item it is, and nothing of what is in it.
func (it Item) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s %s", it.Kind, it.ID) }

// LogValue shows the same to slog.
func (it Item) LogValue() slog.Value { return slog.StringValue(it.Kind.String() + " " + it.ID) }

// Verdict is Guard's word on one send.
type Verdict uint8

// The verdicts.
const (
	Send     Verdict = iota + 1 // it may leave now
	Wait                        // not known: ask again soon
	Withhold                    // it must never leave: destroy it
)

// Ending says why an item ended undelivered.
type Ending uint8

// The endings.
const (
	Withheld Ending = iota + 1
	Overdue
	Rejected // the recipient will never take it
)

// String names the ending for logs.
func (e Ending) String() string {
	switch e {
	case Withheld:
		return "withheld"
	case Overdue:
		return "overdue"
	case Rejected:
		return "rejected"
	}
	return fmt.Sprintf("ending(%d)", uint8(e))
}

// Errors.
var (
	// ErrNotSent is what Send wraps when it knows that nothing left the node, for
	// example because there is no connection.
	ErrNotSent = errors.New("outbox: nothing was sent")
	// ErrRejected is what Send wraps when the recipient will never take the item.
	ErrRejected = errors.New("outbox: the recipient rejects it for good")
	// ErrFull refuses an item because too many are waiting; try again later.
	ErrFull = errors.New("outbox: full")
)

// Store is private.db as the outbox uses it; *Private is one.
type Store interface {
	Do(ctx context.Context, fn func(*sql.Tx) error) error
	Prepare(query string) (*sql.Stmt, error)
	Reader() *sql.DB
	Checkpoint(ctx context.Context) error
}

// Config of an outbox. Zero values of limits mean the documented default.
type Config struct {
	Store Store

	// Send delivers one item and returns nil once the recipient has it durably.
	// It must honour ctx. It is called from many goroutines.
	Send func(ctx context.Context, it Item) error
	// Guard is asked before every send of an answer and must be quick. An error
	// counts as Wait.
	Guard func(ctx context.Context, it Item) (Verdict, error)
	// Ended hears, inside the transaction that deletes it, that an item ended
	// undelivered, and returns what to enqueue in its place. It may run twice.
	Ended func(tx *sql.Tx, it Item, why Ending) ([]Item, error)

	// Over hears once that an item has ended undelivered, after that is on disk.
	Over func(it Item, why Ending)

	// SendTimeout of one attempt, by kind: answers 1 s, so that none is still in
	// the pipe long after its guard spoke; everything else 5 s.
	SendTimeout map[Kind]time.Duration
	// RetryMin and RetryMax bound the back-off between attempts: 100 ms, 30 s.
	RetryMin, RetryMax time.Duration
	// GuardRetry is the pause after Wait: 100 ms.
	GuardRetry time.Duration
	// Linger is how long acknowledgements gather before they are written: 50 ms.
	Linger time.Duration
	// PerRecipient bounds concurrent sends to one recipient: 16.
	PerRecipient int
	// MaxItems bounds waiting items, MaxPerRecipient those to one recipient:
	// 200,000 and 50,000. MaxPayload bounds one payload: 64 KiB.
	MaxItems, MaxPerRecipient, MaxPayload int

	Clock func() time.Time // default time.Now
	// LedgerTime is the time of the newest executed block; default Clock. A sealed
	// part ends when both have passed its deadline: whoever put it was told that it is
	// safe and will not put it again, so a clock that runs ahead must not destroy it.
	LedgerTime func() time.Time
	Logger     *slog.Logger
}

// memoryForPayloads bounds the payloads kept in memory between commit and send;
// beyond it an attempt reads its payload from disk.
const memoryForPayloads = 16 << 20

func (c *Config) check() error {
	var errs []error
	if c.Store == nil || c.Send == nil {
		errs = append(errs, errors.New("outbox: Store and Send are required"))
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.LedgerTime == nil {
		c.LedgerTime = c.Clock
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Ended == nil {
		c.Ended = func(*sql.Tx, Item, Ending) ([]Item, error) { return nil, nil }
	}
	if c.Over == nil {
		c.Over = func(Item, Ending) {}
	}
	setDefault(&c.RetryMin, 100*time.Millisecond)
	setDefault(&c.RetryMax, 30*time.Second)
	setDefault(&c.GuardRetry, 100*time.Millisecond)
	setDefault(&c.Linger, 50*time.Millisecond)
	setDefault(&c.PerRecipient, 16)
	setDefault(&c.MaxItems, 200_000)
	setDefault(&c.MaxPerRecipient, 50_000)
	setDefault(&c.MaxPayload, 64<<10)
	timeouts := map[Kind]time.Duration{SealedPart: 5 * time.Second, Answer: time.Second, Receipt: 5 * time.Second, Count: 5 * time.Second}
	for k, d := range c.SendTimeout {
		timeouts[k] = d
	}
	c.SendTimeout = timeouts
	if c.RetryMax < c.RetryMin {
		errs = append(errs, errors.New("outbox: RetryMax is below RetryMin"))
	}
	return errors.Join(errs...)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Outbox delivers items. Its methods are safe for concurrent use.
type Outbox struct {
	cfg Config
	sql statements

	wake chan struct{} // capacity 1: something changed that Run must look at

	mu       sync.Mutex          // guards everything below; never held during I/O
	entries  map[string]*entry   // every waiting item by id
	lanes    map[string]*lane    // by recipient
	answers  map[string][]*entry // by consent
	payloads int                 // bytes of payloads in memory
	settled  []settlement        // acknowledgements not yet on disk
	settleAt time.Time           // when to write them
	settling bool                // a write is under way
}

// Open loads what is waiting in the store and starts nothing; see Run.
func Open(ctx context.Context, cfg Config) (*Outbox, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	o := &Outbox{cfg: cfg, wake: make(chan struct{}, 1), entries: map[string]*entry{}, lanes: map[string]*lane{}, answers: map[string][]*entry{}}
	if err := o.createTables(ctx); err != nil {
		return nil, err
	}
	if err := o.load(ctx); err != nil {
		return nil, err
	}
	return o, nil
}

// Put records items in the caller's transaction. After the commit the caller
// must call Committed with the same items; if the process dies in between, the
// next start finds them. An id that is already waiting is left as it is.
func (o *Outbox) Put(tx *sql.Tx, items ...Item) error {
	for _, it := range items {
		if err := o.admit(it); err != nil {
			return fmt.Errorf("put %s %s: %w", it.Kind, it.ID, err)
		}
		if err := o.sql.insert(tx, it); err != nil {
			return fmt.Errorf("put %s %s: %w", it.Kind, it.ID, err)
		}
	}
	return nil
}

func (o *Outbox) admit(it Item) error {
	switch {
	case it.ID == "" || len(it.ID) > 256 || it.Recipient == "" || len(it.Recipient) > 256 || len(it.After) > 256 || len(it.ConsentID) > 256:
		return errors.New("id and recipient must have 1 to 256 bytes, consent id and follower at most 256")
	case it.Kind < SealedPart || it.Kind > Count:
		return fmt.Errorf("unknown %s", it.Kind)
	case len(it.Payload) > o.cfg.MaxPayload:
		return fmt.Errorf("payload of %d bytes, at most %d", len(it.Payload), o.cfg.MaxPayload)
	case it.Kind == Answer && o.cfg.Guard == nil:
		return errors.New("an answer needs a guard; none is configured")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.entries) >= o.cfg.MaxItems {
		return fmt.Errorf("%d items waiting: %w", len(o.entries), ErrFull)
	}
	// Receipts all go to the ledger and must not be lost to a cap per recipient.
	if l := o.lanes[it.Recipient]; l != nil && it.Kind != Receipt && l.waiting >= o.cfg.MaxPerRecipient {
		return fmt.Errorf("%d items waiting for %s: %w", l.waiting, it.Recipient, ErrFull)
	}
	return nil
}

// Committed tells the outbox that the transaction with these items is on disk.
func (o *Outbox) Committed(items ...Item) {
	o.mu.Lock()
	for _, it := range items {
		o.addLocked(it)
	}
	o.mu.Unlock()
	o.poke()
}

// Enqueue puts items in a transaction of their own.
func (o *Outbox) Enqueue(ctx context.Context, items ...Item) error {
	if err := o.cfg.Store.Do(ctx, func(tx *sql.Tx) error { return o.Put(tx, items...) }); err != nil {
		return err
	}
	o.Committed(items...)
	return nil
}

// Expedite makes everything waiting for a recipient due now (on its grid), for
// example because it has just connected.
func (o *Outbox) Expedite(recipient string) {
	o.mu.Lock()
	if l := o.lanes[recipient]; l != nil {
		for _, e := range slices.Clone(l.due) {
			o.hurryLocked(e)
		}
	}
	o.mu.Unlock()
	o.poke()
}

// Recheck makes every answer of a consent due now, so that Guard is asked at once
// after a revocation instead of at the next attempt.
func (o *Outbox) Recheck(consentID string) {
	o.mu.Lock()
	for _, e := range o.answers[consentID] {
		o.hurryLocked(e)
	}
	o.mu.Unlock()
	o.poke()
}

// RecheckAll does so for the answers of every consent, after a change that may
// concern any of them.
func (o *Outbox) RecheckAll() {
	o.mu.Lock()
	for _, same := range o.answers {
		for _, e := range same {
			o.hurryLocked(e)
		}
	}
	o.mu.Unlock()
	o.poke()
}

// Answers is how many answers of a consent wait or are on their way.
func (o *Outbox) Answers(consentID string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.answers[consentID])
}

// Waits reports whether an item waits or is on its way.
func (o *Outbox) Waits(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.entries[id]
	return ok
}

// LaneStatus is what waits for one recipient.
type LaneStatus struct {
	Recipient string
	Waiting   int // in flight and held back included
	InFlight  int
	Oldest    time.Time // when this process took the oldest; zero: none waits
}

// Status lists the recipients for which something waits, in no order.
func (o *Outbox) Status() []LaneStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]LaneStatus, 0, len(o.lanes))
	at := make(map[string]int, len(o.lanes))
	for r, l := range o.lanes {
		out = append(out, LaneStatus{Recipient: r, Waiting: l.waiting, InFlight: l.inFlight})
		at[r] = len(out) - 1
	}
	for _, e := range o.entries {
		if i, ok := at[e.item.Recipient]; ok && (out[i].Oldest.IsZero() || e.taken.Before(out[i].Oldest)) {
			out[i].Oldest = e.taken
		}
	}
	return out
}

func (o *Outbox) poke() {
	select {
	case o.wake <- struct{}{}:
	default: // a look is already due
	}
}
