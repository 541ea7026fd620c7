// Package query answers permitted access requests where the data live: it finds
// the subject behind a consent, runs the approved template over that subject's
// row, and commits one answer.
//
// It promises that there is exactly one answer for a request, whatever crashes and
// however often the PERMIT is delivered; that an answer is frozen for its subject,
// template, parameters and epoch, so that asking again tells nothing new; that
// what one subject's answers can tell, over all lenders, stays within each
// column's leak account; and that a subject who is unknown, not bound to the
// consent or without a usable row is answered with the same work, in the same
// shape, size and time as any other. Debit, freeze, the row that makes the request
// unique, the sealed answer and its departure are one transaction in private.db.
//
// It leaves to others whether the request was permitted (the ledger), how a row is
// read (vault), how an answer is sealed (answer) and delivered (its Departures).
// DESIGN.md is the threat model, kind by kind.
package query

import (
	"context"
	"crypto/hpke"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/epoch"
	"github.com/assent-network/assent/node/vault"
)

// Permit is one permitted request with the ledger records it refers to, as they
// stood when it was executed.
type Permit struct {
	Request  record.Request
	Consent  record.Consent
	Template record.Template
	Product  record.Product
	Anchor   *record.Anchor // of the request's template, epoch and parameters; nil: nothing was anchored
	// Exposure is the set that the request is part of; nil: it asks by itself. Opener is
	// then the public key of who opens the shares, if that is not the lender.
	Exposure *record.Exposure
	Opener   record.Blob
	// Cohort is the permitted request for statistics of which the request is one bank's
	// part; it has no consent. Nil: there is a consent.
	Cohort *record.Cohort
	Height uint64 // of the block that carries the request
	// ExecutedAt is when this node executed that block: the answer's release grid
	// counts from it. Zero means the block's own time.
	ExecutedAt time.Time
}

// Departure is what leaves for one request: a sealed answer with its receipt, or
// a receipt alone.
type Departure struct {
	RequestID record.RequestID
	ConsentID record.ConsentID
	Lender    record.OrgID // who opens it: of a share it may be an aggregator
	Sealed    []byte       // answer.Sealed, encoded; nil when there is nothing to open
	Receipt   record.ReceiptSpec
	NotBefore time.Time     // first grid point at which it may leave
	Grid      time.Duration // every later attempt at NotBefore + k·Grid
	Deadline  time.Time
}

// Departures delivers durably; node/outbox behind an adapter.
type Departures interface {
	// Put records d in the caller's transaction.
	Put(tx *sql.Tx, d Departure) error
	// Committed says that the transaction with d is on disk.
	Committed(d Departure)
}

// Store is private.db; node/outbox's Private is one.
type Store interface {
	// Do runs fn in a transaction that is on disk when Do returns nil. fn may run
	// more than once; only its last run counts.
	Do(ctx context.Context, fn func(*sql.Tx) error) error
	// Prepare prepares a statement for use in Do through tx.Stmt.
	Prepare(query string) (*sql.Stmt, error)
	Reader() *sql.DB
}

// Config of an Answerer. Zero values of limits mean the documented default.
type Config struct {
	Store      Store
	Departures Departures
	Engine     Engine
	ChainID    record.Hash
	Member     record.OrgID // the provider this node answers for

	// Vault returns the connector mapped for a product.
	Vault func(record.ProductID) (vault.Connector, bool)
	// DataKey returns the private half of one of the member's data keys.
	DataKey func(keyID string) (hpke.PrivateKey, bool)
	// TagKey, 32 secret bytes, turns subject identifiers into the tags under which
	// private.db knows them. Losing it loses bindings, frozen answers and account.
	TagKey []byte

	// Shares makes this member's shares of totals. Nil: requests for them are refused.
	Shares Shares

	// Cohorts makes this member's part in statistics. Nil: requests for it are refused.
	Cohorts Cohorts

	// Epochs keeps the answers that were anchored. Nil: none, so a request in an
	// epoch that has an anchor is not answered here.
	Epochs *epoch.Store

	// Grid of departures: 10 ms. FirstSlot is the earliest grid point used, 1: all
	// answers that take less than a grid step leave at the same distance.
	Grid      time.Duration
	FirstSlot int
	// Concurrency bounds requests being worked on: 16.
	Concurrency int
	// RetryMin and RetryMax bound the back-off while the vault is down: 50 ms, 5 s.
	RetryMin, RetryMax time.Duration
	// MaxWaiting bounds requests that wait for a sealed part or the vault: 100,000.
	MaxWaiting int
	// MaxPartsPerSender bounds the sealed parts kept from one member: 500,000.
	MaxPartsPerSender int

	// Counted hears once of every outcome that is on disk; leak: a leak account
	// refused. Nil: nobody counts.
	Counted func(outcome record.ReceiptOutcome, leak bool)

	Clock  func() time.Time // default time.Now
	Logger *slog.Logger
}

func (c *Config) check() error {
	var errs []error
	if c.Store == nil || c.Departures == nil || c.Engine == nil || c.Vault == nil || c.DataKey == nil {
		errs = append(errs, errors.New("query: Store, Departures, Engine, Vault and DataKey are required"))
	}
	if c.ChainID == (record.Hash{}) {
		errs = append(errs, errors.New("query: ChainID is zero"))
	}
	if err := c.Member.Check(); err != nil {
		errs = append(errs, fmt.Errorf("query: member: %w", err))
	}
	if len(c.TagKey) != 32 {
		errs = append(errs, fmt.Errorf("query: the tag key has %d bytes, want 32", len(c.TagKey)))
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Counted == nil {
		c.Counted = func(record.ReceiptOutcome, bool) {}
	}
	setDefault(&c.Grid, 10*time.Millisecond)
	setDefault(&c.FirstSlot, 1)
	setDefault(&c.Concurrency, 16)
	setDefault(&c.RetryMin, 50*time.Millisecond)
	setDefault(&c.RetryMax, 5*time.Second)
	setDefault(&c.MaxWaiting, 100_000)
	setDefault(&c.MaxPartsPerSender, 500_000)
	return errors.Join(errs...)
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Errors.
var (
	// ErrNotOurs: the permit is for another provider, or no permit.
	ErrNotOurs = errors.New("query: not a permit for this provider")
	// ErrBusy: too many requests wait; deliver the permit again later.
	ErrBusy = errors.New("query: too many requests are waiting")
)

// Answerer answers permitted requests of one provider. Its methods are safe for
// concurrent use.
type Answerer struct {
	cfg   Config
	sql   statements
	slots chan struct{} // one per request being worked on

	wake chan struct{} // capacity 1: the waiting list changed

	building sync.Mutex // held while anchored answers are built

	mu       sync.Mutex // guards everything below
	waiting  waitList
	resuming int                  // waiting requests that Run is working on
	parts    map[record.OrgID]int // sealed parts kept, by sender
}

// Open prepares the tables, loads what waits and starts nothing; see Run.
func Open(ctx context.Context, cfg Config) (*Answerer, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	a := &Answerer{cfg: cfg, slots: make(chan struct{}, cfg.Concurrency), wake: make(chan struct{}, 1),
		waiting: newWaitList(), parts: map[record.OrgID]int{}}
	if err := a.createTables(ctx); err != nil {
		return nil, err
	}
	if err := a.load(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// HandlePermit sees to one permitted request. Nil means that the request is taken
// care of durably: answered, refused, overdue, or recorded as waiting for its
// sealed part or the vault, so that the caller may advance its checkpoint past it.
// Delivering a permit again changes nothing. The caller may run many at once.
//
// What stands in the way of an answer for good (a wrong endorsement, a template
// that cannot run) is an answer too, and what stands in the way for now makes the
// request wait. Errors mean that not even that could be recorded: private.db failed,
// ErrBusy, or ctx ended. Deliver the permit again.
func (a *Answerer) HandlePermit(ctx context.Context, p Permit) error {
	if p.Request.Decision != record.Permit || p.Request.Provider != a.cfg.Member {
		return fmt.Errorf("request %s: %w", p.Request.RequestID, ErrNotOurs)
	}
	if p.ExecutedAt.IsZero() {
		p.ExecutedAt = time.UnixMilli(p.Request.RequestedAt)
	}
	known, err := a.known(ctx, p.Request.RequestID)
	if err != nil || known {
		return err
	}
	result, err := a.work(ctx, &p)
	if err == nil && result == finished {
		return nil
	}
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("answer request %s: %w", p.Request.RequestID, err)
		}
		a.cfg.Logger.Error("query: cannot answer now; the request waits", "request", string(p.Request.RequestID), "err", err)
		result = needsData
	}
	if stop := a.suspend(ctx, &p, result); stop != nil {
		return fmt.Errorf("keep request %s: %w", p.Request.RequestID, errors.Join(stop, err))
	}
	return nil
}

// result is how far work came with a request.
type result uint8

const (
	finished  result = iota + 1 // its one outcome is on disk
	needsPart                   // the sealed part has not arrived
	needsData                   // the vault cannot be read now
)

// work takes a request as far as it goes now.
func (a *Answerer) work(ctx context.Context, p *Permit) (result, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if !a.cfg.Clock().Before(deadline(p)) {
		return finished, a.commitOverdue(ctx, p)
	}
	if p.Exposure != nil {
		return a.workShare(ctx, p)
	}
	if p.Cohort != nil {
		return a.workCohort(ctx, p)
	}
	who, missing, err := a.identify(ctx, p)
	if err != nil || missing != 0 {
		return missing, err
	}
	f, ok, err := a.find(ctx, p, who)
	if err != nil {
		return 0, err
	}
	if !ok {
		return needsData, nil
	}
	return finished, a.commitAnswer(ctx, p, who, f)
}

func deadline(p *Permit) time.Time { return time.UnixMilli(p.Request.Deadline) }
