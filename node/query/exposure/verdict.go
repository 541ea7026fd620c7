package exposure

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

// Verdict is an aggregator's answer to a threshold question: one bit, the pledges
// in the order of the seats, and the proof that the bit is true of their sum.
type Verdict struct {
	Session Hash
	Reached bool // total ≥ threshold
	Pledges []Pledge
	Proof   []byte
}

const verdictVersion = 1

// MaxVerdict is the length of the longest verdict.
const MaxVerdict = 1 + 32 + 2 + ProofSize + MaxBanks*PledgeSize

// MakeVerdict answers a session's threshold question from its checked total. The
// aggregator has seen the total by then; the verdict does not tell it.
func MakeVerdict(k *ProvingKey, s *Session, sum *Sum) (Verdict, error) {
	if s.Threshold == 0 || k.Statement != Threshold {
		return Verdict{}, fmt.Errorf("%w: no threshold is asked, or this is no key for it", ErrSession)
	}
	return verdictOf(k, s, sum, sum.Opening.Value.big().Cmp(new(big.Int).SetUint64(s.Threshold)) >= 0)
}

func verdictOf(k *ProvingKey, s *Session, sum *Sum, reached bool) (Verdict, error) {
	v := Verdict{Session: s.Digest(), Reached: reached, Pledges: sum.Pledges}
	context, bit := verdictContext(v.Session), zeroOne(reached)
	proof, err := k.prove(&thresholdCircuit{
		CX: number(&sum.Point.p.X), CY: number(&sum.Point.p.Y), Threshold: new(big.Int).SetUint64(s.Threshold),
		Reached: number(&bit), Context: number(&context), Total: sum.Opening.Value.big(), Blinding: sum.Opening.Blinding.big(),
	})
	v.Proof = proof
	return v, err
}

func verdictContext(session Hash) fr.Element {
	return contextElement(join("assent exposure verdict 1", session[:]))
}

// CheckVerdict is the lender's check: each pledge is the one on the ledger and in
// range, and the proof holds of their sum. Errors: ErrSession, a *Blame of banks
// whose pledge is not theirs or out of range, or ErrProof: then the aggregator lies.
func CheckVerdict(inRange, threshold *VerifyingKey, s *Session, v *Verdict) error {
	if err := s.Check(); err != nil {
		return err
	}
	if s.Threshold == 0 || threshold.Statement != Threshold || inRange.Statement != InRange {
		return fmt.Errorf("%w: no threshold is asked, or these are not the keys for it", ErrSession)
	}
	if v.Session != s.Digest() {
		return fmt.Errorf("%w: the verdict is of another session", ErrProof)
	}
	if len(v.Pledges) != len(s.Seats) {
		return fmt.Errorf("%w: a verdict over %d pledges for %d banks", ErrProof, len(v.Pledges), len(s.Seats))
	}
	sum := identity()
	var faults []Fault
	for i, p := range v.Pledges {
		c := s.pledgeContext(i)
		if p.Hash(c) != s.Seats[i].Pledge {
			return fmt.Errorf("%w: the aggregator shows another pledge of %s than the ledger", ErrProof, s.Seats[i].Bank)
		}
		if err := p.Verify(inRange, c); err != nil {
			faults = append(faults, Fault{Bank: s.Seats[i].Bank, Kind: OutOfRange, Detail: strings.TrimPrefix(err.Error(), "exposure: ")})
		}
		sum = sum.add(p.Point)
	}
	if len(faults) != 0 {
		return &Blame{faults}
	}
	var t fr.Element
	t.SetUint64(s.Threshold)
	if err := threshold.verify(v.Proof, publicOf(sum, t, zeroOne(v.Reached), verdictContext(v.Session))); err != nil {
		return errors.Join(fmt.Errorf("the aggregator %s gave a false verdict", s.Recipient), err)
	}
	return nil
}

// Bytes is the verdict's encoding.
func (v *Verdict) Bytes() []byte {
	out := append([]byte{verdictVersion}, v.Session[:]...)
	bit := byte(0)
	if v.Reached {
		bit = 1
	}
	out = append(append(out, bit, byte(len(v.Pledges))), v.Proof...)
	for _, p := range v.Pledges {
		out = append(out, p.Bytes()...)
	}
	return out
}

// DecodeVerdict reads a verdict's form.
func DecodeVerdict(b []byte) (Verdict, error) {
	const head = 35 + ProofSize
	if len(b) < head || len(b) > MaxVerdict || b[0] != verdictVersion || b[33] > 1 {
		return Verdict{}, fmt.Errorf("%w: no verdict of version %d in %d bytes", ErrFormat, verdictVersion, len(b))
	}
	n := int(b[34])
	if n < MinBanks || n > MaxBanks || len(b) != head+n*PledgeSize {
		return Verdict{}, fmt.Errorf("%w: a verdict over %d banks in %d bytes", ErrFormat, n, len(b))
	}
	if _, err := decodeProof(b[35:head]); err != nil {
		return Verdict{}, err
	}
	v := Verdict{Session: Hash(b[1:33]), Reached: b[33] == 1, Proof: append([]byte(nil), b[35:head]...)}
	for i := range n {
		p, err := DecodePledge(b[head+i*PledgeSize : head+(i+1)*PledgeSize])
		if err != nil {
			return Verdict{}, fmt.Errorf("pledge %d: %w", i, err)
		}
		v.Pledges = append(v.Pledges, p)
	}
	return v, nil
}
