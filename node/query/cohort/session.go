package cohort

import (
	"errors"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
)

// PlanOf reads a plan as a template and the ledger state it. Errors: ErrPlan.
func PlanOf(p *record.CohortPlan) (Plan, error) {
	out := Plan{Epsilon: p.EpsilonMicro, K: p.K}
	for i := range p.Statistics {
		s, err := statisticOf(&p.Statistics[i])
		if err != nil {
			return Plan{}, fmt.Errorf("%w: statistic %d: %w", ErrPlan, i, err)
		}
		out.Statistics = append(out.Statistics, s)
	}
	return out, out.Check()
}

func statisticOf(v *record.CohortStatistic) (s Statistic, err error) {
	s.Column = v.Column
	switch v.Kind {
	case record.StatisticSum:
		s.Kind = Sum
	case record.StatisticMean:
		s.Kind = Mean
	case record.StatisticHistogram:
		s.Kind = Histogram
		s.Cuts, err = v.CutValues()
		return s, err
	default:
		return s, fmt.Errorf("no such kind: %.20q", string(v.Kind))
	}
	s.Granule = int64(v.Granule)
	s.Low, s.High, err = v.Limits()
	return s, err
}

// SessionOf is the session that a permitted request froze. Errors: ErrSession, ErrPlan.
func SessionOf(chain record.Hash, c *record.Cohort) (*Session, error) {
	if c.Decision != record.Permit {
		return nil, fmt.Errorf("%w: the request was denied", ErrSession)
	}
	plan, err := PlanOf(&c.Plan)
	if err != nil {
		return nil, err
	}
	s := &Session{ChainID: chain, RequestID: record.NewRequestID(c.CohortID), Lender: c.Consumer, Plan: plan}
	for i := range c.Seats {
		x := &c.Seats[i]
		s.Seats = append(s.Seats, Seat{Bank: x.Bank, ProductID: x.ProductID, CodeHash: x.CodeHash, Epoch: x.Epoch, KeyID: x.KeyID, Key: x.Key})
	}
	return s, s.Check()
}

// Pack puts a bank's two shares into one answer; Unpack takes them apart.
func Pack(count, figures []byte) []byte {
	out := append([]byte{byte(len(count) >> 8), byte(len(count))}, count...)
	return append(out, figures...)
}

// Unpack takes an answer's two shares apart. What they claim is for Combine. Errors:
// ErrFormat.
func Unpack(b []byte) (count, figures []byte, err error) {
	if len(b) < 2 {
		return nil, nil, fmt.Errorf("%w: two shares of %d bytes", ErrFormat, len(b))
	}
	n := int(b[0])<<8 | int(b[1])
	if b = b[2:]; n == 0 || n >= len(b) {
		return nil, nil, fmt.Errorf("%w: a share of %d bytes among %d", ErrFormat, n, len(b))
	}
	return b[:n], b[n:], nil
}

// IsBlame returns the faults that ended a session, with those that ErrGarbled leaves
// unnamed as one without a bank.
func IsBlame(err error) ([]Fault, bool) {
	var blame *Blame
	switch {
	case errors.As(err, &blame):
		return blame.Faults, true
	case errors.Is(err, ErrGarbled):
		return []Fault{{Kind: Garbled}}, true
	}
	return nil, false
}
