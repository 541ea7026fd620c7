package check

import (
	"fmt"
	"slices"
	"time"
)

// Executed is one transaction as a node has executed it.
type Executed struct {
	ID       string
	At       Position
	Time     uint64 // of its block
	Code     string
	Decision string // of an access request with code OK
	Request  string // its id
	Receipts []string
}

// Ledger is what one node holds after everything.
type Ledger struct {
	Node   string
	Hashes []string // of the blocks by height; genesis first
	Root   string   // of its state
	Order  []Executed
}

// Answers is what the lenders' nodes hold, and what a census two seconds after
// each acknowledged revocation found.
type Answers struct {
	Held map[string]bool // requests that have an answer
	// Late lists requests whose answer had not come two seconds after the
	// revocation of their consent was acknowledged, and is there now.
	Late []string
}

// Verdict is the judgement. Problems says in words what the numbers count, and
// what no number does.
type Verdict struct {
	Acked       int
	Lost        int
	Duplicated  int
	Forks       int
	LateAnswers int
	Problems    []string
}

// Passed reports that nothing is wrong.
func (v *Verdict) Passed() bool {
	return v.Lost == 0 && v.Duplicated == 0 && v.Forks == 0 && v.LateAnswers == 0 && len(v.Problems) == 0
}

// manyProblems bounds what is said of one kind.
const manyProblems = 5

func (v *Verdict) note(count *int, format string, args ...any) {
	*count++
	if *count <= manyProblems {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// codeDuplicate is how the ledger marks a transaction that it executed before.
const codeDuplicate = "DUPLICATE"

// Judge holds a history against the ledgers of all nodes and the answers that
// were given.
func Judge(acts []Act, ledgers []Ledger, answers Answers) *Verdict {
	v := &Verdict{}
	for i := range acts {
		if acts[i].acked() {
			v.Acked++
		}
	}
	if len(ledgers) == 0 {
		v.Problems = append(v.Problems, "no node's ledger was read")
		return v
	}
	v.forks(ledgers)
	for i := range ledgers {
		v.acknowledged(acts, &ledgers[i])
		v.once(&ledgers[i])
	}
	v.answers(acts, &ledgers[0], answers)
	if err := Linearizable(acts, ledgers[0].Order); err != nil {
		v.Problems = append(v.Problems, err.Error())
	}
	return v
}

func (v *Verdict) forks(ledgers []Ledger) {
	first := &ledgers[0]
	for i := range ledgers[1:] {
		l := &ledgers[1+i]
		for h := range min(len(first.Hashes), len(l.Hashes)) {
			if first.Hashes[h] != l.Hashes[h] {
				v.note(&v.Forks, "fork at height %d: %s has %s, %s has %s", h, first.Node, short(first.Hashes[h]), l.Node, short(l.Hashes[h]))
				break // what is built on it differs too
			}
		}
		switch {
		case len(first.Hashes) != len(l.Hashes):
			v.Problems = append(v.Problems, fmt.Sprintf("%s has %d blocks, %s %d", first.Node, len(first.Hashes), l.Node, len(l.Hashes)))
		case first.Root != l.Root:
			v.note(&v.Forks, "%s and %s have executed the same blocks to different state roots", first.Node, l.Node)
		}
	}
}

// acknowledged: what a client was told stands there, and what it was told cannot
// have happened does not.
func (v *Verdict) acknowledged(acts []Act, l *Ledger) {
	at := make(map[string]*Executed, len(l.Order))
	for i := range l.Order {
		if e := &l.Order[i]; e.Code != codeDuplicate && at[e.ID] == nil {
			at[e.ID] = e
		}
	}
	wrong := 0
	for i := range acts {
		a := &acts[i]
		e := at[a.ID]
		switch {
		case a.Never && e != nil:
			v.note(&wrong, "%s: %s: the client was told that it cannot have happened, it stands at %v", l.Node, a, e.At)
		case !a.acked():
		case e == nil:
			v.note(&v.Lost, "%s: %s was acknowledged at %v and is on no block", l.Node, a, a.Where)
		case a.Doubtful && e.At == a.Where:
		case e.At != a.Where || e.Code != a.Code || e.Decision != a.Decision:
			v.note(&v.Lost, "%s: %s was acknowledged as %s %s at %v, the ledger has %s %s at %v", l.Node, a, a.Code, a.Decision, a.Where, e.Code, e.Decision, e.At)
		}
	}
}

// once: no transaction took effect twice, no request has two receipts.
func (v *Verdict) once(l *Ledger) {
	executed, receipts := make(map[string]Position), make(map[string]Position)
	var before uint64
	for i := range l.Order {
		e := &l.Order[i]
		if e.Time < before {
			v.Problems = append(v.Problems, fmt.Sprintf("%s: %v has an earlier time than the block before", l.Node, e.At))
		}
		before = e.Time
		first, twice := executed[e.ID]
		switch {
		case e.Code == codeDuplicate && !twice:
			v.Problems = append(v.Problems, fmt.Sprintf("%s: transaction %s is called a duplicate at %v and was not executed before", l.Node, short(e.ID), e.At))
		case e.Code == codeDuplicate:
		case twice:
			v.note(&v.Duplicated, "%s: transaction %s was executed at %v and again at %v", l.Node, short(e.ID), first, e.At)
		default:
			executed[e.ID] = e.At
		}
		for _, r := range e.Receipts {
			if first, twice := receipts[r]; twice {
				v.note(&v.Duplicated, "%s: request %s has a receipt at %v and another at %v", l.Node, short(r), first, e.At)
			}
			receipts[r] = e.At
		}
	}
}

// answers: none for a request that was denied or is on no ledger, none late.
func (v *Verdict) answers(acts []Act, l *Ledger, answers Answers) {
	permitted := make(map[string]bool)
	byID := make(map[string]*Act, len(acts))
	for i := range acts {
		byID[acts[i].ID] = &acts[i]
	}
	for i := range l.Order {
		e := &l.Order[i]
		if a := byID[e.ID]; a != nil && a.What == Request && e.Decision == permit {
			permitted[a.Request] = true
		}
	}
	for i := range acts {
		if a := &acts[i]; a.What == Request && answers.Held[a.Request] && !permitted[a.Request] {
			v.note(&v.LateAnswers, "%s has an answer and no PERMIT", a)
		}
	}
	for _, r := range answers.Late {
		v.note(&v.LateAnswers, "the answer to %s left more than two seconds after its consent's revocation was acknowledged", short(r))
	}
}

func longestGap(times []time.Duration, from, to time.Duration) time.Duration {
	slices.Sort(times)
	last, longest := from, time.Duration(0)
	for _, t := range append(times, to) {
		longest = max(longest, t-last)
		last = t
	}
	return longest
}

// Unanswered lists requests that a ledger permits and that have no receipt.
func Unanswered(order []Executed) []string {
	receipts := make(map[string]bool)
	for i := range order {
		for _, r := range order[i].Receipts {
			receipts[r] = true
		}
	}
	v := &Verdict{}
	n := 0
	for i := range order {
		if e := &order[i]; e.Decision == permit && !receipts[e.Request] {
			v.note(&n, "request %s is permitted at %v and has no receipt", short(e.Request), e.At)
		}
	}
	return v.Problems
}
