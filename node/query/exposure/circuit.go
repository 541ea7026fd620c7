package exposure

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bn254/twistededwards"
	"github.com/consensys/gnark/frontend"
)

// The two statements. In both, Context is bound to the proof by entering a
// constraint, though nothing is computed from it.

// rangeCircuit: somebody knows Value in [0, 2^ValueBits) and Blinding with
// C = Value·G + Blinding·H.
type rangeCircuit struct {
	CX, CY, Context frontend.Variable `gnark:",public"`

	Value, Blinding frontend.Variable
}

// Define implements frontend.Circuit.
func (c *rangeCircuit) Define(api frontend.API) error {
	opens(api, c.Value, ValueBits, c.Blinding, c.CX, c.CY)
	bind(api, c.Context)
	return nil
}

// thresholdCircuit: somebody knows Total in [0, 2^TotalBits) and Blinding with
// C = Total·G + Blinding·H, and Reached says whether Total ≥ Threshold.
type thresholdCircuit struct {
	CX, CY, Threshold, Reached, Context frontend.Variable `gnark:",public"`

	Total, Blinding frontend.Variable
}

// Define implements frontend.Circuit.
func (c *thresholdCircuit) Define(api frontend.API) error {
	opens(api, c.Total, TotalBits, c.Blinding, c.CX, c.CY)
	api.AssertIsBoolean(c.Reached)
	// Reached: Total - Threshold is not negative; else Threshold - 1 - Total is
	// not. What is negative is a huge number of the field and has no TotalBits bits.
	above := api.Sub(c.Total, c.Threshold)
	below := api.Sub(c.Threshold, 1, c.Total)
	api.ToBinary(api.Select(c.Reached, above, below), TotalBits)
	bind(api, c.Context)
	return nil
}

func bind(api frontend.API, context frontend.Variable) { api.Mul(context, context) }

// opens asserts (x, y) = value·G + blinding·H with value of the given length.
// Blinding is reduced nowhere: any representative of it opens the same point.
func opens(api frontend.API, value frontend.Variable, bits int, blinding, x, y frontend.Variable) {
	g := addFixed(api, nil, api.ToBinary(value, bits), generatorG().point)
	sum := addFixed(api, g, api.ToBinary(blinding, scalarBits), generatorH().point)
	api.AssertIsEqual(sum.x, x)
	api.AssertIsEqual(sum.y, y)
}

// wirePoint is a point of the curve in a circuit.
type wirePoint struct{ x, y frontend.Variable }

// addFixed adds bits·p to acc, two bits at a time; nil is the identity. The number
// of bits is even.
func addFixed(api frontend.API, acc *wirePoint, bits []frontend.Variable, p Point) *wirePoint {
	step := p.p
	for i := 0; i < len(bits); i += 2 {
		var twice, thrice, next twistededwards.PointAffine
		twice.Double(&step)
		thrice.Add(&twice, &step)
		next.Double(&twice)
		picked := pick(api, bits[i], bits[i+1], &step, &twice, &thrice)
		if acc == nil {
			acc = picked
		} else {
			acc = addPoints(api, acc, picked)
		}
		step = next
	}
	return acc
}

// pick is the identity, p1, p2 or p3 by two bits, low one first: linear in b0, b1
// and their product.
func pick(api frontend.API, b0, b1 frontend.Variable, p1, p2, p3 *twistededwards.PointAffine) *wirePoint {
	both := api.Mul(b0, b1)
	mix := func(v0, v1, v2, v3 *big.Int) frontend.Variable {
		d1, d2 := new(big.Int).Sub(v1, v0), new(big.Int).Sub(v2, v0)
		d3 := new(big.Int).Sub(v3, v2)
		d3.Sub(d3, v1).Add(d3, v0)
		return api.Add(v0, api.Mul(b0, d1), api.Mul(b1, d2), api.Mul(both, d3))
	}
	return &wirePoint{
		x: mix(new(big.Int), number(&p1.X), number(&p2.X), number(&p3.X)),
		y: mix(big.NewInt(1), number(&p1.Y), number(&p2.Y), number(&p3.Y)),
	}
}

// addPoints is the complete addition of the curve (a = -1 is a square, d is not, so
// no denominator is zero).
func addPoints(api frontend.API, p, q *wirePoint) *wirePoint {
	c := curve()
	v0 := api.Mul(p.x, q.y)
	v1 := api.Mul(p.y, q.x)
	v2 := api.Mul(number(&c.D), v0, v1)
	u := api.Mul(api.Add(p.x, p.y), api.Add(q.x, q.y)) // x1x2 + y1y2 + v0 + v1
	return &wirePoint{
		x: api.DivUnchecked(api.Add(v0, v1), api.Add(1, v2)),
		y: api.DivUnchecked(api.Sub(u, v0, v1), api.Sub(1, v2)),
	}
}
