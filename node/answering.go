package node

import (
	"context"
	"crypto/hpke"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/state"
)

// Identifiers of outbox items: what it is, then the request or consent.
const (
	answerItem  = "answer/"
	receiptItem = "receipt/"
	partItem    = "part/"
	countItem   = "count/" // then the cohort and the bank it goes to
	toLedger    = "ledger" // recipient of receipts
)

// departures hands what the answerer committed to the outbox: the sealed answer,
// and its receipt once the answer has left.
type departures struct {
	box *outbox.Outbox
}

func (d departures) items(x query.Departure) ([]outbox.Item, error) {
	spec, err := record.Encode(&x.Receipt)
	if err != nil {
		return nil, fmt.Errorf("receipt of request %s: %w", x.RequestID, err)
	}
	receipt := outbox.Item{
		ID: receiptItem + string(x.RequestID), Kind: outbox.Receipt, Recipient: toLedger,
		ConsentID: string(x.ConsentID), Payload: spec, NotBefore: x.NotBefore,
	}
	if x.Sealed == nil {
		return []outbox.Item{receipt}, nil
	}
	sealed := outbox.Item{
		ID: answerItem + string(x.RequestID), Kind: outbox.Answer, Recipient: string(x.Lender), ConsentID: string(x.ConsentID),
		Payload: x.Sealed, NotBefore: x.NotBefore, Grid: x.Grid, Deadline: x.Deadline,
	}
	receipt.After = sealed.ID
	return []outbox.Item{sealed, receipt}, nil
}

// Put implements query.Departures.
func (d departures) Put(tx *sql.Tx, x query.Departure) error {
	items, err := d.items(x)
	if err != nil {
		return err
	}
	return d.box.Put(tx, items...)
}

// Committed implements query.Departures.
func (d departures) Committed(x query.Departure) {
	if items, err := d.items(x); err == nil { // Put made the same items
		d.box.Committed(items...)
	}
}

// ended gives a request whose answer will never leave its receipt.
func (n *Node) ended(tx *sql.Tx, it outbox.Item, why outbox.Ending) ([]outbox.Item, error) {
	id, ok := strings.CutPrefix(it.ID, answerItem)
	if !ok || n.answerer == nil {
		return nil, nil // a sealed part or a receipt leaves nothing behind
	}
	if it.MayHaveLeft {
		return nil, nil // its receipt, ANSWERED, goes out: the lender may have it
	}
	outcome := record.Withheld
	if why != outbox.Withheld {
		outcome = record.Overdue
	}
	spec, err := n.answerer.Ended(tx, record.RequestID(id), outcome)
	if err != nil {
		return nil, err
	}
	payload, err := record.Encode(&spec)
	if err != nil {
		return nil, fmt.Errorf("receipt of request %s: %w", id, err)
	}
	return []outbox.Item{{ID: receiptItem + id, Kind: outbox.Receipt, Recipient: toLedger, ConsentID: it.ConsentID, Payload: payload}}, nil
}

// permits delivers permits to the answerer, many at once, and keeps the height up
// to which all were taken care of.
type permits struct {
	answerer *query.Answerer
	handle   func(context.Context, query.Permit) error // HandlePermit of the answerer, or what a restore puts before it
	log      *slog.Logger
	slots    *semaphore.Weighted
	running  sync.WaitGroup

	mu     sync.Mutex
	open   map[uint64]int // permits under way, by height
	seen   uint64         // height up to which permits were started
	saved  uint64         // last checkpoint
	saveAt time.Time      // when the next one is due
}

const (
	maxPermits      = 64 // under way at once
	checkpointEvery = 2 * time.Second
)

func newPermits(a *query.Answerer, from uint64, log *slog.Logger) *permits {
	return &permits{answerer: a, handle: a.HandlePermit, log: log, slots: semaphore.NewWeighted(maxPermits), open: make(map[uint64]int), seen: from, saved: from}
}

// start begins to work on a permit; it waits for a free slot.
func (p *permits) start(ctx context.Context, permit query.Permit) error {
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	p.mu.Lock()
	p.open[permit.Height]++
	p.mu.Unlock()
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		defer p.slots.Release(1)
		if !p.work(ctx, permit) {
			return // the checkpoint stays below it
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.open[permit.Height]--; p.open[permit.Height] == 0 {
			delete(p.open, permit.Height)
		}
	}()
	return nil
}

// work repeats until the permit is taken care of, and reports whether it is: not if
// the node stops first. While this node's own database refuses, the checkpoint stays
// below the permit, and a restart finds it again.
func (p *permits) work(ctx context.Context, permit query.Permit) bool {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := p.handle(ctx, permit)
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		p.log.Warn("a permitted request cannot be worked on yet, will try again", "request", permit.Request.RequestID, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

// passed says that all permits up to a height were started, and saves the
// checkpoint when that is due. Saving late costs repeated deliveries after a
// crash and nothing else.
func (p *permits) passed(ctx context.Context, height uint64, now time.Time) error {
	p.mu.Lock()
	p.seen = max(p.seen, height)
	if now.Before(p.saveAt) {
		p.mu.Unlock()
		return nil
	}
	p.saveAt = now.Add(checkpointEvery)
	p.mu.Unlock()
	return p.save(ctx)
}

func (p *permits) save(ctx context.Context) error {
	p.mu.Lock()
	upTo := p.seen
	for h := range p.open {
		upTo = min(upTo, h-1)
	}
	if upTo <= p.saved {
		p.mu.Unlock()
		return nil
	}
	p.saved = upTo
	p.mu.Unlock()
	return p.answerer.SaveCheckpoint(ctx, upTo)
}

// settled reports whether every permit up to a height that was started is taken
// care of: it has its outcome, or it waits on disk.
func (p *permits) settled(height uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for h := range p.open {
		if h <= height {
			return false
		}
	}
	return true
}

// permitOf gathers the ledger records that a permitted request refers to. They
// are read at the newest state: consent and template may have ended since, which
// the guard sees; what they say never changes under their id.
func (n *Node) permitOf(r *record.Request, o *state.Outcome, executedAt time.Time) (query.Permit, error) {
	view := n.state.View()
	p := query.Permit{Request: *r, Height: uint64(o.Height), ExecutedAt: executedAt}
	if r.ConsentID != "" { // statistics have none
		consent, err := loadRecord[record.Consent](view, record.ConsentKey(r.ConsentID))
		if err != nil {
			return p, err
		}
		p.Consent = *consent
	}
	template, err := loadRecord[record.Template](view, record.TemplateKey(r.TemplateID))
	if err != nil {
		return p, err
	}
	product, err := loadRecord[record.Product](view, record.ProductKey(r.ProductID))
	if err != nil {
		return p, err
	}
	p.Template, p.Product = *template, *product
	// Fixed since before the epoch was opened.
	p.Anchor, err = loadRecord[record.Anchor](view, record.AnchorKey(r.TemplateID, r.Epoch, r.Params))
	if errors.Is(err, errNoRecord) {
		p.Anchor, err = nil, nil
	}
	return p, err
}

var errNoRecord = errors.New("no such record")

// loadRecord reads a record that the ledger holds.
func loadRecord[T any, P interface {
	*T
	record.Record
}](view *state.View, key string) (*T, error) {
	b, ok, err := view.Get(key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if !ok {
		return nil, fmt.Errorf("read %s: %w", key, errNoRecord)
	}
	r, err := record.Load[T, P](b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return r, nil
}

// dataKeys are the private halves of the member's data keys, by key id.
type dataKeys map[string]hpke.PrivateKey

func (d dataKeys) find(keyID string) (hpke.PrivateKey, bool) {
	k, ok := d[keyID]
	return k, ok
}
