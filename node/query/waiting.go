package query

import (
	"bytes"
	"container/heap"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
)

// waiter is a request that waits, in memory: the permit itself stays on disk.
type waiter struct {
	id       record.RequestID
	consent  record.ConsentID
	needs    result
	deadline time.Time
	decides  time.Time // when to try again at the latest, while it is still to come: Cohorts.Decides
	next     time.Time // when to try again; the deadline while only the part is missing
	backoff  time.Duration
	index    int  // in the heap, -1 while it is being worked on
	hurried  bool // its part arrived while it was being worked on
}

// waitList orders waiters by their next attempt. It is guarded by Answerer.mu.
type waitList struct {
	due       waitHeap
	byRequest map[record.RequestID]*waiter
	byConsent map[record.ConsentID]map[*waiter]struct{}
}

func newWaitList() waitList {
	return waitList{byRequest: map[record.RequestID]*waiter{}, byConsent: map[record.ConsentID]map[*waiter]struct{}{}}
}

func (l *waitList) add(w *waiter) {
	l.byRequest[w.id] = w
	if l.byConsent[w.consent] == nil {
		l.byConsent[w.consent] = map[*waiter]struct{}{}
	}
	l.byConsent[w.consent][w] = struct{}{}
	heap.Push(&l.due, w)
}

// remove forgets a waiter that is not in the heap.
func (l *waitList) remove(w *waiter) {
	delete(l.byRequest, w.id)
	delete(l.byConsent[w.consent], w)
	if len(l.byConsent[w.consent]) == 0 {
		delete(l.byConsent, w.consent)
	}
}

// hurryConsent makes the requests of a consent due now.
func (l *waitList) hurryConsent(id record.ConsentID) {
	for w := range l.byConsent[id] {
		w.hurried = true
		if w.index >= 0 {
			w.next = time.Time{}
			heap.Fix(&l.due, w.index)
		}
	}
}

// hurry makes one request due now.
func (l *waitList) hurry(id record.RequestID) {
	w := l.byRequest[id]
	if w == nil {
		return
	}
	w.hurried = true
	if w.index >= 0 {
		w.next = time.Time{}
		heap.Fix(&l.due, w.index)
	}
}

// suspend records that a request waits. Its row is on disk when it returns.
func (a *Answerer) suspend(ctx context.Context, p *Permit, needs result) error {
	a.mu.Lock()
	full := len(a.waiting.byRequest) >= a.cfg.MaxWaiting
	a.mu.Unlock()
	if full {
		return ErrBusy
	}
	row, err := storePermit(p)
	if err != nil {
		return err
	}
	err = a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO query_waiting VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING`,
			string(p.Request.RequestID), string(p.Consent.ConsentID), int(needs), p.Request.Deadline, row)
		return err
	})
	if err != nil {
		return err
	}
	w := &waiter{id: p.Request.RequestID, consent: p.Consent.ConsentID, needs: needs, deadline: deadline(p), decides: a.decides(p)}
	w.next = a.after(w)
	if needs == needsPart {
		w.next = a.cfg.Clock() // once more: the part may have arrived since it was looked for
	}
	a.mu.Lock()
	if _, ok := a.waiting.byRequest[w.id]; !ok {
		a.waiting.add(w)
	}
	a.mu.Unlock()
	a.poke()
	return nil
}

// after is when to try a waiter again.
func (a *Answerer) after(w *waiter) time.Time {
	if w.needs == needsPart {
		return w.deadline // its arrival wakes the request
	}
	w.backoff = min(max(2*w.backoff, a.cfg.RetryMin), a.cfg.RetryMax)
	now := a.cfg.Clock()
	next := now.Add(w.backoff*3/4 + rand.N(w.backoff/2+1))
	if now.Before(w.decides) && next.After(w.decides) {
		next = w.decides
	}
	if next.After(w.deadline) {
		return w.deadline
	}
	return next
}

// load reads the waiting list.
func (a *Answerer) load(ctx context.Context) error {
	rows, err := a.cfg.Store.Reader().QueryContext(ctx, `SELECT request_id, consent_id, needs, deadline FROM query_waiting`)
	if err != nil {
		return fmt.Errorf("load waiting requests: %w", err)
	}
	defer rows.Close()
	a.mu.Lock()
	for rows.Next() {
		w := &waiter{}
		var due int64
		if err = rows.Scan(&w.id, &w.consent, &w.needs, &due); err != nil {
			break
		}
		w.deadline = time.UnixMilli(due)
		w.next = a.cfg.Clock() // the part may have been stored just before the crash
		a.waiting.add(w)
	}
	a.mu.Unlock()
	if err = errors.Join(err, rows.Err()); err != nil {
		return fmt.Errorf("load waiting requests: %w", err)
	}
	return a.countParts(ctx)
}

func (a *Answerer) countParts(ctx context.Context) error {
	rows, err := a.cfg.Store.Reader().QueryContext(ctx, `SELECT sender, count(*) FROM query_parts GROUP BY sender`)
	if err != nil {
		return fmt.Errorf("count sealed parts: %w", err)
	}
	defer rows.Close()
	parts := map[record.OrgID]int{}
	for rows.Next() {
		var sender record.OrgID
		var n int
		if err := rows.Scan(&sender, &n); err != nil {
			return fmt.Errorf("count sealed parts: %w", err)
		}
		parts[sender] = n
	}
	a.mu.Lock()
	a.parts = parts
	a.mu.Unlock()
	return rows.Err()
}

// Waiting is how many requests wait for a sealed part or the vault.
func (a *Answerer) Waiting() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting.byRequest)
}

func (a *Answerer) poke() {
	select {
	case a.wake <- struct{}{}:
	default: // a look is already due
	}
}

// Run works on waiting requests until ctx ends, then waits for those it started.
// Permits may be handled before and after it runs.
func (a *Answerer) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		due, next := a.takeDue(a.cfg.Clock())
		for _, w := range due {
			running.Go(func() { a.resume(ctx, w) })
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(next.Sub(a.cfg.Clock()))
		}
		select {
		case <-ctx.Done():
		case <-a.wake:
		case <-timer.C:
		}
	}
	return nil
}

// takeDue pops what is due, but no more than can be worked on at once: each that
// lands wakes Run again.
func (a *Answerer) takeDue(now time.Time) (due []*waiter, next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.waiting.due) > 0 && a.resuming < a.cfg.Concurrency {
		if w := a.waiting.due[0]; w.next.After(now) {
			return due, w.next
		}
		w := heap.Pop(&a.waiting.due).(*waiter)
		w.hurried = false
		a.resuming++
		due = append(due, w)
	}
	return due, time.Time{}
}

// resume tries a waiting request again.
func (a *Answerer) resume(ctx context.Context, w *waiter) {
	state, err := a.retry(ctx, w)
	if err != nil && ctx.Err() == nil {
		a.cfg.Logger.Error("query: cannot go on with a waiting request; trying again", "request", string(w.id), "err", err)
	}
	a.mu.Lock()
	defer a.poke()
	defer a.mu.Unlock()
	a.resuming--
	if err == nil && state == finished {
		a.waiting.remove(w)
		return
	}
	if err != nil {
		state = needsData // a pause, then once more
	}
	w.needs = state
	w.next = a.after(w)
	if w.hurried {
		w.next = time.Time{}
	}
	if err != nil && !w.next.After(a.cfg.Clock()) {
		w.next = a.cfg.Clock().Add(a.cfg.RetryMin) // past the deadline with a failing disk: do not spin
	}
	heap.Push(&a.waiting.due, w)
}

func (a *Answerer) retry(ctx context.Context, w *waiter) (result, error) {
	var row []byte
	err := a.cfg.Store.Reader().QueryRowContext(ctx, `SELECT permit FROM query_waiting WHERE request_id = ?`, string(w.id)).Scan(&row)
	if errors.Is(err, sql.ErrNoRows) {
		return finished, nil // another delivery of the permit was quicker
	}
	if err != nil {
		return 0, err
	}
	var stored storedPermit
	if err := json.Unmarshal(row, &stored); err != nil {
		return 0, err
	}
	p, err := stored.permit()
	if err != nil {
		return 0, err
	}
	w.decides = a.decides(p)
	return a.work(ctx, p)
}

// storedPermit is a Permit on disk: its records in their canonical JSON, byte for
// byte.
type storedPermit struct {
	Request, Consent, Template, Product json.RawMessage
	Anchor                              json.RawMessage `json:",omitempty"`
	Exposure                            json.RawMessage `json:",omitempty"`
	Cohort                              json.RawMessage `json:",omitempty"` // instead of a consent
	Opener                              []byte          `json:",omitempty"`
	Height                              uint64
	ExecutedAt                          time.Time
}

func storePermit(p *Permit) ([]byte, error) {
	s := storedPermit{Height: p.Height, ExecutedAt: p.ExecutedAt.Round(0), Opener: p.Opener}
	for _, r := range []struct {
		to   *json.RawMessage
		from record.Record
	}{{&s.Request, &p.Request}, {&s.Consent, &p.Consent}, {&s.Template, &p.Template}, {&s.Product, &p.Product}} {
		var err error
		if r.to == &s.Consent && p.Cohort != nil {
			if s.Cohort, err = record.Encode(p.Cohort); err != nil {
				return nil, err
			}
			s.Consent = json.RawMessage("null")
			continue
		}
		if *r.to, err = record.Encode(r.from); err != nil {
			return nil, err
		}
	}
	if p.Anchor != nil {
		var err error
		if s.Anchor, err = record.Encode(p.Anchor); err != nil {
			return nil, err
		}
	}
	if p.Exposure != nil {
		var err error
		if s.Exposure, err = record.Encode(p.Exposure); err != nil {
			return nil, err
		}
	}
	var row bytes.Buffer
	enc := json.NewEncoder(&row)
	enc.SetEscapeHTML(false) // or "<" in a template's source would not be canonical any more
	err := enc.Encode(&s)
	return row.Bytes(), err
}

func (s *storedPermit) permit() (*Permit, error) {
	p := &Permit{Height: s.Height, ExecutedAt: s.ExecutedAt, Opener: s.Opener}
	err := errors.Join(record.Decode(s.Request, &p.Request), record.Decode(s.Template, &p.Template), record.Decode(s.Product, &p.Product))
	if err == nil && s.Cohort != nil {
		p.Cohort, err = record.Load[record.Cohort](s.Cohort)
	} else if err == nil {
		err = record.Decode(s.Consent, &p.Consent)
	}
	if err == nil && s.Anchor != nil {
		p.Anchor, err = record.Load[record.Anchor](s.Anchor)
	}
	if err == nil && s.Exposure != nil {
		p.Exposure, err = record.Load[record.Exposure](s.Exposure)
	}
	return p, err
}

// waitHeap orders waiters by next attempt.
type waitHeap []*waiter

func (h waitHeap) Len() int           { return len(h) }
func (h waitHeap) Less(i, j int) bool { return h[i].next.Before(h[j].next) }
func (h waitHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is heap.Interface's.
func (h *waitHeap) Push(x any) {
	w := x.(*waiter)
	w.index = len(*h)
	*h = append(*h, w)
}

// Pop is heap.Interface's.
func (h *waitHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.index = -1
	return w
}
