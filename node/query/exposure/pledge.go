package exposure

import (
	"crypto/sha256"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
)

// PledgeSize is the length of an encoded pledge.
const PledgeSize = PointSize + ProofSize

// Opening is what opens a commitment: a bank's secret, or of a sum, what the
// shares add up to. It does not print itself.
type Opening struct{ Value, Blinding Scalar }

// commitment is the point that o opens.
func (o Opening) commitment() Point { return pedersen(o.Value, o.Blinding) }

// Pledge commits a bank to its figure for one context.
type Pledge struct {
	Point Point
	Proof []byte // of InRange, bound to the context
}

// MakePledge commits to a figure, in the template's unit, with a fresh blinding
// factor and proves that it is in range. It takes a fraction of a second, whatever
// the figure: prepare pledges before anybody asks. Errors: ErrRange, ErrProof.
func MakePledge(k *ProvingKey, c *PledgeContext, figure uint64) (Opening, Pledge, error) {
	if figure>>ValueBits != 0 {
		return Opening{}, Pledge{}, ErrRange
	}
	o := Opening{Value: scalarOf(figure), Blinding: RandomScalar()}
	p, err := pledgeOf(k, c, o)
	return o, p, err
}

func pledgeOf(k *ProvingKey, c *PledgeContext, o Opening) (Pledge, error) {
	if k.Statement != InRange {
		return Pledge{}, fmt.Errorf("%w: a key for %s cannot prove %s", ErrKey, k.Statement, InRange)
	}
	point, context := o.commitment(), contextElement(c.bytes())
	proof, err := k.prove(&rangeCircuit{
		CX: number(&point.p.X), CY: number(&point.p.Y), Context: number(&context), Value: o.Value.big(), Blinding: o.Blinding.big(),
	})
	if err != nil {
		return Pledge{}, err
	}
	return Pledge{Point: point, Proof: proof}, nil
}

// Bytes is the pledge's encoding.
func (p Pledge) Bytes() []byte { return append(p.Point.Bytes(), p.Proof...) }

// DecodePledge reads a pledge's form; whether its proof holds is Verify's to say.
func DecodePledge(b []byte) (Pledge, error) {
	if len(b) != PledgeSize {
		return Pledge{}, fmt.Errorf("%w: a pledge of %d bytes, want %d", ErrFormat, len(b), PledgeSize)
	}
	point, err := DecodePoint(b[:PointSize])
	if err != nil {
		return Pledge{}, err
	}
	if _, err := decodeProof(b[PointSize:]); err != nil {
		return Pledge{}, err
	}
	return Pledge{Point: point, Proof: append([]byte(nil), b[PointSize:]...)}, nil
}

// Hash is what the ledger holds of a pledge. The blinding factor hides the figure
// in it as in the commitment itself.
func (p Pledge) Hash(c *PledgeContext) Hash {
	return sha256.Sum256(join(domainPledge, c.bytes(), p.Bytes()))
}

// Verify checks that the pledge is for this context and in range.
func (p Pledge) Verify(k *VerifyingKey, c *PledgeContext) error {
	if k.Statement != InRange {
		return fmt.Errorf("%w: a key for %s cannot check %s", ErrKey, k.Statement, InRange)
	}
	return k.verify(p.Proof, publicOf(p.Point, contextElement(c.bytes())))
}

// zeroOne is b as a field element.
func zeroOne(b bool) fr.Element {
	var e fr.Element
	if b {
		e.SetOne()
	}
	return e
}
