package cohort

import (
	"bytes"
	"errors"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// FaultKind says what is wrong with a bank's contribution.
type FaultKind string

// The kinds of faults.
const (
	Missing      FaultKind = "MISSING"       // nothing came
	Late         FaultKind = "LATE"          // it came after the deadline
	Malformed    FaultKind = "MALFORMED"     // no share of this session's size
	Replayed     FaultKind = "REPLAYED"      // made for another session, round or seat
	Conflicting  FaultKind = "CONFLICTING"   // two different shares
	MaskDispute  FaultKind = "MASK_DISPUTED" // two banks state different seeds of their masks
	ViewDispute  FaultKind = "VIEW_DISPUTED" // another bank got a different first share from this one, or says so
	WrongShare   FaultKind = "WRONG_SHARE"   // Audit: without its masks it is no figure that a bank can have
	Garbled      FaultKind = "GARBLED"       // one of the banks, which only Audit names: the sum is no possible figure
	SeedWithheld FaultKind = "SEED_WITHHELD" // Audit: the bank does not open the seed that it committed to
)

// Fault is what one bank did wrong. Detail holds no figure.
type Fault struct {
	Bank   record.OrgID
	Kind   FaultKind
	With   record.OrgID // MASK_DISPUTED, VIEW_DISPUTED: the other bank
	Detail string
}

// String is "bank: KIND (detail)".
func (f Fault) String() string {
	s := string(f.Bank) + ": " + string(f.Kind)
	if f.With != "" {
		s += " with " + string(f.With)
	}
	if f.Detail != "" {
		s += " (" + f.Detail + ")"
	}
	return s
}

// Blame is why there is no answer: every fault found, by seat. The session is lost,
// and what it debited with it.
type Blame struct{ Faults []Fault }

// Error lists the faults.
func (b *Blame) Error() string {
	lines := make([]string, len(b.Faults))
	for i, f := range b.Faults {
		lines[i] = f.String()
	}
	return "cohort: no answer: " + strings.Join(lines, "; ")
}

// ErrGarbled means that each share is in order and the sum is no figure that the
// banks can have: one of them did not add the masks that it committed to. Audit
// names it.
var ErrGarbled = errors.New("cohort: the shares add up to no possible figure")

// Delivery is one share as it came from a bank, as its channel authenticated it.
type Delivery struct {
	Bank  record.OrgID
	Late  bool // it came after the session's deadline
	Share []byte
}

// Decision is what a bank makes of the first round.
type Decision struct {
	Released bool  // the cohort is large enough
	Count    int64 // of the cohort, noised
	session  Hash
	views    []Hash
}

// Decide adds up the first round's shares, a bank's own among them, and says whether
// the second may follow. Errors: those of Session.Check, ErrGarbled, or a *Blame that
// names every bank at fault.
func Decide(s *Session, deliveries []Delivery) (*Decision, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	shares, views, faults := gather(s, CountRound, deliveries)
	if faults = append(faults, disputes(s, shares)...); len(faults) > 0 {
		return nil, &Blame{faults}
	}
	total, err := s.add(CountRound, shares)
	if err != nil {
		return nil, err
	}
	return &Decision{Released: total[0] >= s.Plan.Threshold(len(s.Seats)), Count: total[0], session: s.Digest(), views: views}, nil
}

// Combine checks all shares of both rounds and adds them up: the answer. Errors:
// those of Decide, and ErrTooFew where the banks should not have gone on. Deliveries
// of banks that are not in the session are ignored.
func Combine(s *Session, counts, figures []Delivery) (*Result, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	first, views, faults := gather(s, CountRound, counts)
	second, _, more := gather(s, FiguresRound, figures)
	faults = append(append(faults, more...), disputes(s, first)...)
	faults = append(append(faults, disputes(s, second)...), sameSeeds(s, first, second)...)
	if faults = append(faults, viewed(s, views, second)...); len(faults) > 0 {
		return nil, &Blame{faults}
	}
	count, err := s.add(CountRound, first)
	if err != nil {
		return nil, err
	}
	cells, err := s.add(FiguresRound, second)
	if err != nil {
		return nil, err
	}
	if count[0] < s.Plan.Threshold(len(s.Seats)) {
		return nil, ErrTooFew
	}
	return s.result(count[0], cells), nil
}

// gather finds each seat's share, nil where it is at fault, and the digests of what
// came.
func gather(s *Session, round Round, deliveries []Delivery) ([]*Share, []Hash, []Fault) {
	shares, views := make([]*Share, len(s.Seats)), make([]Hash, len(s.Seats))
	session := s.Digest()
	var faults []Fault
	for i := range s.Seats {
		bank := s.Seats[i].Bank
		var got *Delivery
		conflict := false
		for d := range deliveries {
			switch {
			case deliveries[d].Bank != bank:
			case got == nil:
				got = &deliveries[d]
			case !bytes.Equal(got.Share, deliveries[d].Share):
				conflict = true
			}
		}
		kind, detail := Missing, ""
		switch {
		case got == nil:
		case conflict:
			kind = Conflicting
		case got.Late:
			kind = Late
		default:
			views[i] = digest(got.Share)
			shares[i], kind, detail = s.take(session, round, i, got.Share)
		}
		if kind != "" {
			faults = append(faults, Fault{Bank: bank, Kind: kind, Detail: detail})
		}
	}
	return shares, views, faults
}

// take reads a seat's share, or says what is wrong with it by itself.
func (s *Session) take(session Hash, round Round, seat int, b []byte) (*Share, FaultKind, string) {
	h, err := DecodeShare(b)
	if err != nil {
		return nil, Malformed, strings.TrimPrefix(err.Error(), "cohort: ")
	}
	if h.Session != session || h.Round != round || h.Seat != seat {
		return nil, Replayed, "made for another session, round or seat"
	}
	if len(h.Seeds) != len(s.Seats)-1 || len(h.Values) != s.numbers(round) {
		return nil, Malformed, "for another number of banks or figures"
	}
	return &h, "", ""
}

// numbers is how many a round has.
func (s *Session) numbers(r Round) int {
	if r == CountRound {
		return 1
	}
	return s.Plan.cells()
}

// disputes finds pairs that state different seeds: their masks do not cancel.
func disputes(s *Session, shares []*Share) []Fault {
	var out []Fault
	for i, h := range shares {
		for j := i + 1; j < len(shares); j++ {
			if h == nil || shares[j] == nil || h.seed(j) == shares[j].seed(i) {
				continue
			}
			out = append(out, Fault{Bank: s.Seats[i].Bank, Kind: MaskDispute, With: s.Seats[j].Bank},
				Fault{Bank: s.Seats[j].Bank, Kind: MaskDispute, With: s.Seats[i].Bank})
		}
	}
	return out
}

// sameSeeds finds banks that state other seeds in the second round than in the first.
func sameSeeds(s *Session, first, second []*Share) []Fault {
	var out []Fault
	for i := range first {
		if first[i] == nil || second[i] == nil {
			continue
		}
		for k := range first[i].Seeds {
			if first[i].Seeds[k] != second[i].Seeds[k] {
				out = append(out, Fault{Bank: s.Seats[i].Bank, Kind: Conflicting, Detail: "other seeds than in the first round"})
				break
			}
		}
	}
	return out
}

// viewed finds banks whose first share another bank got otherwise than the lender.
func viewed(s *Session, views []Hash, second []*Share) []Fault {
	var out []Fault
	for viewer, h := range second {
		if h == nil {
			continue
		}
		for seat := range views {
			if views[seat] != (Hash{}) && h.Views[seat] != views[seat] {
				out = append(out, Fault{Bank: s.Seats[seat].Bank, Kind: ViewDispute, With: s.Seats[viewer].Bank})
			}
		}
	}
	return out
}

// add is the sum of all seats' numbers, in which the masks cancel.
func (s *Session) add(round Round, shares []*Share) ([]int64, error) {
	out := make([]int64, s.numbers(round))
	for i := range out {
		var v uint64
		for _, h := range shares {
			v += h.Values[i]
		}
		out[i] = int64(v)
	}
	limits := s.limits(round)
	for i, v := range out {
		if limit := int64(len(s.Seats)) * limits[i]; v > limit || v < -limit {
			return nil, ErrGarbled
		}
	}
	return out, nil
}

// limits is how far from zero each of one bank's numbers can be: every customer at
// the limit, and noise that no run of this universe draws.
func (s *Session) limits(round Round) []int64 {
	const noise = 1 << 40
	if round == CountRound {
		return []int64{maxRows + noise}
	}
	var out []int64
	for i := range s.Plan.Statistics {
		st := &s.Plan.Statistics[i]
		for range st.cells() {
			out = append(out, maxRows*int64(st.units())+noise)
		}
	}
	return out
}
