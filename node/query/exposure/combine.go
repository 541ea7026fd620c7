package exposure

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// FaultKind says what is wrong with a bank's contribution.
type FaultKind string

// The kinds of faults.
const (
	Missing     FaultKind = "MISSING"       // nothing came
	Late        FaultKind = "LATE"          // it came after the deadline
	Malformed   FaultKind = "MALFORMED"     // no share: bounds, points, scalars
	Replayed    FaultKind = "REPLAYED"      // made for another session or seat
	Conflicting FaultKind = "CONFLICTING"   // two different shares
	Unpledged   FaultKind = "UNPLEDGED"     // not the pledge whose hash stands on the ledger
	OutOfRange  FaultKind = "OUT_OF_RANGE"  // the pledge's proof does not hold
	WrongShare  FaultKind = "WRONG_SHARE"   // share is not pledge plus masks
	MaskDispute FaultKind = "MASK_DISPUTED" // two banks state different masks: see Settle
)

// Fault is what one bank did wrong. Detail holds no figure.
type Fault struct {
	Bank   record.OrgID
	Kind   FaultKind
	With   record.OrgID // MASK_DISPUTED: the other bank of the pair
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

// Blame is why there is no total: every fault found, by seat. The session is lost;
// asking the same set again is allowed and tells nothing new.
type Blame struct{ Faults []Fault }

// Error lists the faults.
func (b *Blame) Error() string {
	lines := make([]string, len(b.Faults))
	for i, f := range b.Faults {
		lines[i] = f.String()
	}
	return "exposure: no total: " + strings.Join(lines, "; ")
}

// Delivery is what came from one bank, as its channel authenticated it.
type Delivery struct {
	Bank  record.OrgID
	Late  bool // it came after the session's deadline
	Share []byte
}

// Sum is a checked total: what it is, and how the sum of the pledges opens.
type Sum struct {
	Opening Opening
	Point   Point // sum of the pledges
	Pledges []Pledge
}

// Total is the sum of the figures.
func (s *Sum) Total() uint64 { return s.Opening.Value.big().Uint64() }

// Combine checks all shares of a session and adds them up. Errors: ErrSession, or
// a *Blame that names every bank at fault; then nothing is added up. Deliveries of
// banks that are not in the session are ignored: they are nobody's share.
func Combine(k *VerifyingKey, s *Session, deliveries []Delivery) (*Sum, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	shares, faults := gather(k, s, deliveries)
	faults = append(faults, disputes(s, shares)...)
	if len(faults) != 0 {
		return nil, &Blame{faults}
	}
	sum := &Sum{Point: identity()}
	for _, h := range shares {
		sum.Opening.Value = sum.Opening.Value.add(h.Value)
		sum.Opening.Blinding = sum.Opening.Blinding.add(h.Blinding)
		sum.Point = sum.Point.add(h.Pledge.Point)
		sum.Pledges = append(sum.Pledges, h.Pledge)
	}
	// Both follow from what was checked above, share by share; the lender's own
	// equation is cheap enough to be checked all the same.
	if !sum.Opening.commitment().Equal(sum.Point) || sum.Opening.Value.big().BitLen() > TotalBits {
		return nil, fmt.Errorf("%w: the shares hold one by one and do not add up", ErrProof)
	}
	return sum, nil
}

// gather finds each seat's share, nil where it is at fault.
func gather(k *VerifyingKey, s *Session, deliveries []Delivery) ([]*Share, []Fault) {
	shares := make([]*Share, len(s.Seats))
	digest, known := s.Digest(), make(points, len(s.Seats)*len(s.Seats)/2)
	var faults []Fault
	for i := range s.Seats {
		bank := s.Seats[i].Bank
		blame := func(kind FaultKind, detail string) {
			faults = append(faults, Fault{Bank: bank, Kind: kind, Detail: detail})
		}
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
		if got == nil {
			blame(Missing, "")
			continue
		}
		if conflict {
			blame(Conflicting, "")
			continue
		}
		if got.Late {
			blame(Late, "")
			continue
		}
		if kind, detail := checkShare(k, s, i, digest, got.Share, known, &shares[i]); kind != "" {
			shares[i] = nil
			blame(kind, detail)
		}
	}
	return shares, faults
}

// checkShare decodes a seat's share into *out and says what is wrong with it by
// itself; "" if nothing.
func checkShare(k *VerifyingKey, s *Session, seat int, digest Hash, b []byte, known points, out **Share) (FaultKind, string) {
	h, err := decodeShare(b, known)
	if err != nil {
		return Malformed, strings.TrimPrefix(err.Error(), "exposure: ")
	}
	if h.Session != digest || h.Seat != seat {
		return Replayed, "made for another session or seat"
	}
	if len(h.Masks) != len(s.Seats)-1 {
		return Malformed, "for another number of banks"
	}
	c := s.pledgeContext(seat)
	if h.Pledge.Hash(c) != s.Seats[seat].Pledge {
		return Unpledged, ""
	}
	if err := h.Pledge.Verify(k, c); err != nil {
		return OutOfRange, "the range proof of the pledge does not hold"
	}
	if !h.adds() {
		return WrongShare, ""
	}
	*out = &h
	return "", ""
}

// disputes finds pairs that state different masks. Each share holds by itself, so
// one of the two lied about the pair's mask: only the pair's secret tells which.
func disputes(s *Session, shares []*Share) []Fault {
	var out []Fault
	for i, h := range shares {
		for j := i + 1; j < len(shares); j++ {
			if h == nil || shares[j] == nil || h.mask(j).Equal(shares[j].mask(i)) {
				continue
			}
			out = append(out,
				Fault{Bank: s.Seats[i].Bank, Kind: MaskDispute, With: s.Seats[j].Bank},
				Fault{Bank: s.Seats[j].Bank, Kind: MaskDispute, With: s.Seats[i].Bank})
		}
	}
	return out
}
