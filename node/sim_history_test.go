//go:build simulation

package node

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// act is one transaction of a simulation's client: when it was begun, what the
// client was told, and when.
type act struct {
	id       ledger.Hash
	what     string // Create, Authorise, Revoke or Request
	consent  record.ConsentID
	terms    *record.ConsentTerms // of a Create
	begun    time.Time
	known    time.Time // zero: the client was never told
	never    bool      // the client was told that it cannot have happened
	where    position
	code     record.Code
	decision record.Code // of a Request with code OK
}

// position is a place in the order of the ledger.
type position struct {
	height ledger.Height
	index  uint64
}

func (p position) less(o position) bool {
	return p.height < o.height || p.height == o.height && p.index < o.index
}

// history is what clients did and were told.
type history struct {
	mu   sync.Mutex
	acts map[ledger.Hash]*act
}

func newHistory() *history { return &history{acts: make(map[ledger.Hash]*act)} }

func (h *history) begin(a *act) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.begun = time.Now()
	h.acts[a.id] = a
}

func (h *history) told(a *act, at position, code, decision record.Code) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.known, a.where, a.code, a.decision = time.Now(), at, code, decision
}

func (h *history) denied(a *act) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.known, a.never = time.Now(), true
}

// counts says how much of the history is known, for people.
func (h *history) counts() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := make(map[string]int)
	for _, a := range h.acts {
		switch {
		case a.never:
			n["never sent"]++
		case a.known.IsZero():
			n["unknown"]++
		case a.code != record.OK:
			n["refused"]++
		case a.decision != "":
			n[string(a.decision)]++
		default:
			n[a.what]++
		}
	}
	return fmt.Sprint(n)
}

// judge holds the history against the ledger that all nodes agree on: what a
// client was told stands there; nothing was executed twice; nothing that a client
// was told had failed was executed; the order of the ledger is an order in which
// clients can have seen things happen; and the ledger's decisions are those of the
// consents taken one act at a time. Together: linearizable.
func (h *history) judge(view *state.View) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	executed := make(map[ledger.Hash]*state.Outcome)
	var order []*state.Outcome
	for i := range view.Roots().ReceiptsSize {
		o, err := view.OutcomeAt(i)
		if err != nil {
			return err
		}
		if record.Code(o.Code) == record.CodeDuplicate {
			if executed[o.TxID] == nil {
				return fmt.Errorf("transaction %s is called a duplicate at height %d and was not executed before", o.TxID, o.Height)
			}
			continue
		}
		if first := executed[o.TxID]; first != nil {
			return fmt.Errorf("transaction %s was executed at height %d and again at %d", o.TxID, first.Height, o.Height)
		}
		executed[o.TxID] = o
		order = append(order, o)
	}
	if err := h.acknowledged(executed); err != nil {
		return err
	}
	if err := h.realTime(order); err != nil {
		return err
	}
	return h.replay(order)
}

func (h *history) acknowledged(executed map[ledger.Hash]*state.Outcome) error {
	for id, a := range h.acts {
		o := executed[id]
		switch {
		case a.never && o != nil:
			return fmt.Errorf("%s %s: the client was told that it cannot have happened, it stands at height %d", a.what, id, o.Height)
		case a.known.IsZero(), a.never:
		case o == nil:
			return fmt.Errorf("%s %s was acknowledged at height %d and is on no ledger", a.what, id, a.where.height)
		case a.where != position{o.Height, o.Index} || string(a.code) != o.Code:
			return fmt.Errorf("%s %s was acknowledged as %s at %v, the ledger has %s at height %d index %d", a.what, id, a.code, a.where, o.Code, o.Height, o.Index)
		}
	}
	return nil
}

// realTime: what was acknowledged before something else began stands before it.
func (h *history) realTime(order []*state.Outcome) error {
	var latest *act // of those before, the one that began last
	for _, o := range order {
		a := h.acts[o.TxID]
		if a == nil {
			continue
		}
		if latest != nil && !a.known.IsZero() && a.known.Before(latest.begun) {
			return fmt.Errorf("%s %s was acknowledged %s before %s %s began, and stands behind it at height %d",
				a.what, a.id, latest.begun.Sub(a.known), latest.what, latest.id, o.Height)
		}
		if latest == nil || a.begun.After(latest.begun) {
			latest = a
		}
	}
	return nil
}

// modelConsent is a consent as a few lines of arithmetic see it.
type modelConsent struct {
	terms  *record.ConsentTerms
	status record.Status
	uses   uint64
	day    uint64
	today  uint64
}

// replay takes the acts in the ledger's order and expects the ledger's outcomes.
func (h *history) replay(order []*state.Outcome) error {
	consents := make(map[record.ConsentID]*modelConsent)
	var last uint64
	for _, o := range order {
		if o.Time < last {
			return fmt.Errorf("height %d has an earlier time than the block before", o.Height)
		}
		last = o.Time
		a := h.acts[o.TxID]
		if a == nil {
			continue
		}
		code, decision := a.step(consents, int64(o.Time))
		if o.Code != string(code) {
			return fmt.Errorf("%s %s of %s at height %d is %s, the model says %s", a.what, a.id, a.consent, o.Height, o.Code, code)
		}
		if a.what != "Request" || code != record.OK {
			continue
		}
		d, err := record.Load[record.Decision](o.Payload)
		if err != nil {
			return err
		}
		if d.Code != decision || (d.Decision == record.Permit) != (decision == record.CodePermit) {
			return fmt.Errorf("request %s of %s at height %d is decided %s, the model says %s", a.id, a.consent, o.Height, d.Code, decision)
		}
		if !a.known.IsZero() && a.decision != d.Code {
			return fmt.Errorf("request %s of %s: the client was told %s, the ledger says %s", a.id, a.consent, a.decision, d.Code)
		}
	}
	return nil
}

func (a *act) step(consents map[record.ConsentID]*modelConsent, now int64) (code, decision record.Code) {
	c := consents[a.consent]
	if a.what == "Create" {
		if c != nil {
			return record.CodeAlreadyExists, ""
		}
		consents[a.consent] = &modelConsent{terms: a.terms, status: record.AwaitingAuthorisation}
		return record.OK, ""
	}
	if c == nil {
		return record.CodeConsentUnknown, ""
	}
	move := func(from, to record.Status) (record.Code, record.Code) {
		if c.status != from {
			return record.CodeWrongState, ""
		}
		c.status = to
		return record.OK, ""
	}
	switch a.what {
	case "Authorise":
		return move(record.AwaitingAuthorisation, record.Authorised)
	case "Revoke":
		return move(record.Authorised, record.Revoked)
	}
	return record.OK, c.request(now)
}

func (c *modelConsent) request(now int64) record.Code {
	day := uint64(now / (24 * time.Hour).Milliseconds())
	if day != c.day {
		c.day, c.today = day, 0
	}
	switch {
	case c.status == record.AwaitingAuthorisation:
		return record.CodeConsentNotAuthorised
	case c.status == record.Revoked:
		return record.CodeConsentRevoked
	case now < c.terms.ValidFrom:
		return record.CodeNotYetValid
	case c.uses >= c.terms.AccessLimits.MaxUses:
		return record.CodeUsesExhausted
	case c.today >= c.terms.AccessLimits.FrequencyPerDay:
		return record.CodeFrequencyExceeded
	}
	c.uses++
	c.today++
	return record.CodePermit
}

// revocations returns when each consent's revocation was acknowledged.
func (h *history) revocations() map[record.ConsentID]time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[record.ConsentID]time.Time)
	for _, a := range h.acts {
		if a.what == "Revoke" && a.code == record.OK && !a.known.IsZero() {
			out[a.consent] = a.known
		}
	}
	return out
}

// permits lists the requests that clients were told are permitted, oldest first.
func (h *history) permits() []*act {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*act
	for _, a := range h.acts {
		if a.decision == record.CodePermit {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *act) int { return a.begun.Compare(b.begun) })
	return out
}
