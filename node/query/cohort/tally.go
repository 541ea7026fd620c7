package cohort

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"slices"
)

// Value is a customer's value of a statistic's column.
type Value struct {
	N    int64
	Null bool
}

// Tally adds up one bank's customers. It is exact: what leaves of it goes through
// MakeCount and MakeFigures, and it does not print itself. It keeps sixteen bytes
// for each customer, to know who was counted. Use it from one goroutine.
type Tally struct {
	plan  *Plan
	key   [32]byte
	seen  map[[16]byte]struct{}
	count int64
	cells []int64
}

// NewTally begins an empty tally. The plan must have been checked.
func NewTally(p *Plan) *Tally {
	t := &Tally{plan: p, seen: map[[16]byte]struct{}{}, cells: make([]int64, p.cells())}
	rand.Read(t.key[:]) // does not fail: see crypto/rand
	return t
}

// Format implements fmt.Formatter: every verb shows a mark.
func (*Tally) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[tally]") }

// LogValue implements slog.LogValuer in the same way.
func (*Tally) LogValue() slog.Value { return slog.StringValue("[tally]") }

// Add counts a customer who matches the condition, with one value for each statistic
// of the plan. Only a customer's first row counts, so that nobody moves the result
// further than a row can. A customer with a null in one of the values is not of the
// cohort. Errors: a wrong number of values, or more customers than the protocol holds.
func (t *Tally) Add(customer string, values []Value) error {
	if len(values) != len(t.plan.Statistics) {
		return fmt.Errorf("cohort: %d values for %d statistics", len(values), len(t.plan.Statistics))
	}
	digest := sha256.Sum256(append(t.key[:], customer...)) // of fixed length first: no two customers collide
	who := [16]byte(digest[:16])
	if _, again := t.seen[who]; again {
		return nil
	}
	t.seen[who] = struct{}{}
	if slices.ContainsFunc(values, func(v Value) bool { return v.Null }) {
		return nil
	}
	if t.count == maxRows {
		return fmt.Errorf("cohort: more than %d customers", int64(maxRows))
	}
	t.count++
	at := 0
	for i := range t.plan.Statistics {
		s := &t.plan.Statistics[i]
		switch s.Kind {
		case Histogram:
			bucket, exact := slices.BinarySearch(s.Cuts, values[i].N)
			if exact {
				bucket++ // a cut belongs to what is above it
			}
			t.cells[at+bucket]++
		default:
			t.cells[at] += s.unit(values[i].N)
		}
		at += s.cells()
	}
	return nil
}
