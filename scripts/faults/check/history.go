// Package check judges what clients of a network were told against what its nodes
// hold afterwards.
//
// It owns the history of the clients' acts and the judgement: lost, executed
// twice, forked, answered late, not linearizable. It promises that it knows
// nothing of how the network was disturbed, and that an outcome nobody was told
// (a client that gave up, a node that died) counts neither as done nor as not
// done. It reads no node: Read, in package main, does.
package check

import (
	"fmt"
	"sync"
	"time"
)

// Kinds of acts.
const (
	Create    = "Create"
	Authorise = "Authorise"
	Revoke    = "Revoke"
	Request   = "Request"
	Other     = "Other" // no consent's: it only must not get lost
)

// Position is a place in the order of the ledger.
type Position struct{ Height, Index uint64 }

// Act is one transaction of a client: when it was begun, what the client was told,
// and when. Times count from the start of the history.
type Act struct {
	ID      string // of the transaction
	What    string
	Consent string
	MaxUses uint64 // of a Create
	Request string // id of a Request's access request
	Via     string // the node that was asked

	Begun time.Duration
	Known time.Duration // 0: the client was never told
	Never bool          // the client was told that it cannot have happened

	Where    Position
	Code     string
	Decision string // of a Request with code OK
	Doubtful bool   // the node that told Code and Decision was wrong about them: see Doubt
}

// History is what clients did and were told. Any goroutine may add to it.
type History struct {
	began time.Time

	mu   sync.Mutex // guards acts and what they hold
	acts []*Act
}

// NewHistory begins a history now.
func NewHistory() *History { return &History{began: time.Now()} }

// Now is the time on the history's clock.
func (h *History) Now() time.Duration { return time.Since(h.began) }

// At turns a moment into a time on the history's clock.
func (h *History) At(t time.Time) time.Duration { return t.Sub(h.began) }

// Begin notes that an act is about to be sent.
func (h *History) Begin(a *Act) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.Begun = h.Now()
	h.acts = append(h.acts, a)
}

// Told notes what the client was told.
func (h *History) Told(a *Act, at Position, code, decision string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.Known, a.Where, a.Code, a.Decision = h.Now(), at, code, decision
}

// Denied notes that the client was told that the act cannot have happened.
func (h *History) Denied(a *Act) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a.Known, a.Never = h.Now(), true
}

// Doubt marks the acts of which a node told its clients a code since a time. It is
// for a node that executes otherwise than the others and halted over it: before it
// halts it may tell its own clients its own result, which no quorum has certified.
// That the act is where it said remains to be true.
func (h *History) Doubt(via, code string, since time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.acts {
		if a.acked() && a.Via == via && a.Code == code && a.Known >= since {
			a.Doubtful = true
		}
	}
}

// Acts returns a copy of the history.
func (h *History) Acts() []Act {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]Act, len(h.acts))
	for i, a := range h.acts {
		out[i] = *a
	}
	return out
}

// Acked counts the acts that were acknowledged, of one node's clients or, with
// "", of all, since a time.
func (h *History) Acked(via string, since time.Duration) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, a := range h.acts {
		if a.acked() && a.Known >= since && (via == "" || a.Via == via) {
			n++
		}
	}
	return n
}

// AckedOf lists the acknowledged acts that were begun since a time.
func (h *History) AckedOf(since time.Duration) []Act {
	var out []Act
	for _, a := range h.Acts() {
		if a.acked() && a.Begun >= since {
			out = append(out, a)
		}
	}
	return out
}

// Served returns when a node's client first was acknowledged an act that it began
// after a time; false while there is none.
func (h *History) Served(via string, since time.Duration) (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, found := time.Duration(0), false
	for _, a := range h.acts {
		if a.acked() && a.Via == via && a.Begun >= since && (!found || a.Known < first) {
			first, found = a.Known, true
		}
	}
	return first, found
}

// Pause is the longest time between from and to in which no client of the nodes
// that choose says was acknowledged anything.
func (h *History) Pause(from, to time.Duration, choose func(via string) bool) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	var times []time.Duration
	for _, a := range h.acts {
		if a.acked() && a.Known > from && a.Known < to && choose(a.Via) {
			times = append(times, a.Known)
		}
	}
	return longestGap(times, from, to)
}

func (a *Act) acked() bool { return a.Known > 0 && !a.Never }

func (a *Act) String() string {
	s := a.What + " " + short(a.ID)
	if a.Consent != "" {
		s += " of consent " + short(a.Consent)
	}
	return s + " via " + a.Via
}

func short(id string) string {
	if len(id) > 14 {
		return id[:14] + "…"
	}
	return id
}

func (p Position) String() string { return fmt.Sprintf("height %d index %d", p.Height, p.Index) }
