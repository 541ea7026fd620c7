package exposure

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/twistededwards"
)

// The group is the prime-order subgroup of the twisted Edwards curve over BN254's
// scalar field (-x² + y² = 1 + d·x²·y², cofactor 8), so that a circuit can compute
// in it. All of this stays off the ledger and out of contracts.

// Sizes of encodings, in bytes.
const (
	ScalarSize = 32 // big endian, less than the group's order
	PointSize  = 64 // x then y, each big endian and less than the field's modulus
)

// scalarBits is the length of the group's order, rounded up to whole windows.
const scalarBits = 252

var curve = sync.OnceValue(twistededwards.GetEdwardsCurve)

// order is the number of elements of the group. Not to be written to.
func order() *big.Int { c := curve(); return new(big.Int).Set(&c.Order) }

// Point is an element of the group. The zero value is no point.
type Point struct{ p twistededwards.PointAffine }

// identity is the neutral element. It is never accepted from outside.
func identity() Point {
	var p twistededwards.PointAffine
	p.Y.SetOne()
	return Point{p}
}

func (p Point) add(q Point) Point {
	var out Point
	out.p.Add(&p.p, &q.p)
	return out
}

func (p Point) neg() Point {
	var out Point
	out.p.Neg(&p.p)
	return out
}

// Equal reports whether two points are the same.
func (p Point) Equal(q Point) bool { return p.p.Equal(&q.p) }

// Bytes is the point's encoding.
func (p Point) Bytes() []byte {
	x, y := p.p.X.Bytes(), p.p.Y.Bytes()
	return append(x[:], y[:]...)
}

// DecodePoint reads a point. It must be on the curve, in the group and not the
// identity, and written with reduced coordinates; otherwise ErrPoint.
func DecodePoint(b []byte) (Point, error) {
	var out Point
	if len(b) != PointSize {
		return Point{}, fmt.Errorf("%w: %d bytes, want %d", ErrPoint, len(b), PointSize)
	}
	if out.p.X.SetBytesCanonical(b[:32]) != nil || out.p.Y.SetBytesCanonical(b[32:]) != nil {
		return Point{}, fmt.Errorf("%w: a coordinate is not reduced", ErrPoint)
	}
	if !out.p.IsOnCurve() {
		return Point{}, fmt.Errorf("%w: not on the curve", ErrPoint)
	}
	if out.p.IsZero() {
		return Point{}, fmt.Errorf("%w: the identity", ErrPoint)
	}
	var clear twistededwards.PointAffine
	if clear.ScalarMultiplication(&out.p, order()); !clear.IsZero() {
		return Point{}, fmt.Errorf("%w: outside the prime-order group", ErrPoint)
	}
	return out, nil
}

// Scalar is a number modulo the group's order: a figure, a blinding factor, a mask
// or a masked share. It does not print itself. The zero value is 0.
type Scalar struct{ v *big.Int }

func (s Scalar) big() *big.Int {
	if s.v == nil {
		return new(big.Int)
	}
	return s.v
}

func reduced(v *big.Int) Scalar { return Scalar{new(big.Int).Mod(v, order())} }

func scalarOf(v uint64) Scalar { return Scalar{new(big.Int).SetUint64(v)} }

func (s Scalar) add(t Scalar) Scalar { return reduced(new(big.Int).Add(s.big(), t.big())) }
func (s Scalar) neg() Scalar         { return reduced(new(big.Int).Neg(s.big())) }

// Equal reports whether two scalars are the same.
func (s Scalar) Equal(t Scalar) bool { return s.big().Cmp(t.big()) == 0 }

// Bytes is the scalar's encoding.
func (s Scalar) Bytes() []byte { return s.big().FillBytes(make([]byte, ScalarSize)) }

// Format implements fmt.Formatter: every verb shows a mark.
func (Scalar) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[scalar]") }

// LogValue implements slog.LogValuer in the same way.
func (Scalar) LogValue() slog.Value { return slog.StringValue("[scalar]") }

// DecodeScalar reads a scalar; ErrScalar unless it is reduced.
func DecodeScalar(b []byte) (Scalar, error) {
	if len(b) != ScalarSize {
		return Scalar{}, fmt.Errorf("%w: %d bytes, want %d", ErrScalar, len(b), ScalarSize)
	}
	v := new(big.Int).SetBytes(b)
	if v.Cmp(order()) >= 0 {
		return Scalar{}, fmt.Errorf("%w: not less than the group's order", ErrScalar)
	}
	return Scalar{v}, nil
}

// RandomScalar draws one uniformly.
func RandomScalar() Scalar {
	v, err := rand.Int(rand.Reader, order())
	if err != nil { // crypto/rand does not fail; a program without randomness must stop
		panic(fmt.Sprintf("exposure: no randomness: %v", err))
	}
	return Scalar{v}
}

// wideScalar reduces 64 uniform bytes; the bias is below 2^-250.
func wideScalar(b [64]byte) Scalar { return reduced(new(big.Int).SetBytes(b[:])) }

// Generators of the commitments: figures are multiples of G, blinding factors of H.
// Nobody knows a logarithm of one to the other, because both are hashed to the
// curve from their names (see hashToGroup).
var (
	generatorG = sync.OnceValue(func() *base { return newBase(hashToGroup("G")) })
	generatorH = sync.OnceValue(func() *base { return newBase(hashToGroup("H")) })
)

const domainGenerator = "assent exposure generator 1"

// number is a field element as an integer.
func number(e *fr.Element) *big.Int { return e.BigInt(new(big.Int)) }

// hashToGroup is try-and-increment: y = SHA-512(domain ‖ 0 ‖ name ‖ counter as 4
// bytes) mod p for the first counter whose y has an x on the curve and whose point,
// with the lexicographically smaller x, is not of small order; the result is eight
// times that point.
func hashToGroup(name string) Point {
	c := curve()
	for counter := uint32(0); ; counter++ {
		seed := append([]byte(domainGenerator+"\x00"+name), binary.BigEndian.AppendUint32(nil, counter)...)
		digest := sha512.Sum512(seed)
		var one, y2, num, den, x fr.Element
		var p twistededwards.PointAffine
		one.SetOne()
		p.Y.SetBytes(digest[:])
		y2.Square(&p.Y)
		num.Sub(&one, &y2)
		den.Mul(&c.D, &y2)
		den.Sub(&c.A, &den)
		num.Div(&num, &den)
		if x.Sqrt(&num) == nil {
			continue
		}
		if x.LexicographicallyLargest() {
			x.Neg(&x)
		}
		p.X = x
		p.Double(&p).Double(&p).Double(&p)
		if !p.IsZero() {
			return Point{p}
		}
	}
}

// windowBits of the tables of fixed bases.
const windowBits = 4

// base is a generator with its table: rows[w][d-1] = d·2^(4w)·P.
type base struct {
	point Point
	rows  [scalarBits / windowBits][1<<windowBits - 1]twistededwards.PointAffine
}

func newBase(p Point) *base {
	b := &base{point: p}
	step := p.p
	for w := range b.rows {
		b.rows[w][0] = step
		for d := 1; d < len(b.rows[w]); d++ {
			b.rows[w][d].Add(&b.rows[w][d-1], &step)
		}
		step.Add(&b.rows[w][len(b.rows[w])-1], &step)
	}
	return b
}

// addMul adds s times the generator to acc.
func (b *base) addMul(acc *twistededwards.PointExtended, s Scalar) {
	bytes := s.Bytes()
	for w := range b.rows {
		digit := bytes[ScalarSize-1-w/2] >> (windowBits * (w % 2)) & (1<<windowBits - 1)
		if digit != 0 {
			acc.MixedAdd(acc, &b.rows[w][digit-1])
		}
	}
}

// pedersen is v·G + r·H.
func pedersen(v, r Scalar) Point {
	var acc twistededwards.PointExtended
	start := identity()
	acc.FromAffine(&start.p)
	generatorG().addMul(&acc, v)
	generatorH().addMul(&acc, r)
	var out Point
	out.p.FromExtended(&acc)
	return out
}
