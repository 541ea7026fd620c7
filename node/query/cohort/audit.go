package cohort

import "fmt"

// Audit names who garbled a session that ErrGarbled ended. An authority, not the
// lender, is shown both rounds' shares and every bank's seeds of this session, by
// seat and other seat, and takes the masks off. A bank whose numbers then lie beyond
// what all customers of the world could give it did not add the masks that it
// committed to. The authority thereby sees each bank's numbers under that bank's own
// part of the noise alone, which is less than the plan's epsilon promises; it sees
// nothing of other sessions. Errors: those of Session.Check, or ErrSession for
// shares that Combine would have blamed.
func Audit(s *Session, counts, figures []Delivery, seeds [][]Seed) ([]Fault, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	var out []Fault
	blamed := map[int]bool{}
	blame := func(seat int, kind FaultKind) {
		if !blamed[seat] {
			blamed[seat] = true
			out = append(out, Fault{Bank: s.Seats[seat].Bank, Kind: kind})
		}
	}
	for _, round := range []struct {
		number     Round
		deliveries []Delivery
	}{{CountRound, counts}, {FiguresRound, figures}} {
		if len(round.deliveries) == 0 && round.number == FiguresRound {
			continue // the first round was garbled already
		}
		shares, _, faults := gather(s, round.number, round.deliveries)
		if faults = append(faults, disputes(s, shares)...); len(faults) > 0 {
			return nil, fmt.Errorf("%w: to be settled before: %w", ErrSession, &Blame{faults})
		}
		limits := s.limits(round.number)
		for i, h := range shares {
			for j := range shares {
				if i != j && (i >= len(seeds) || j >= len(seeds[i]) || seeds[i][j].hash() != h.seed(j)) {
					blame(i, SeedWithheld)
				}
			}
			if blamed[i] {
				continue
			}
			values := append([]uint64(nil), h.Values...)
			for j := range shares {
				if i == j {
					continue
				}
				for k, m := range seeds[i][j].masks(place(round.number), len(values)) {
					values[k] -= signed(m, i, j)
				}
			}
			for k, v := range values {
				if int64(v) > limits[k] || int64(v) < -limits[k] {
					blame(i, WrongShare)
				}
			}
		}
	}
	return out, nil
}
