package cohort

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"io"
	"math/bits"
)

// Noise in exact arithmetic: integers and fair bits only, so that no rounding gives
// anything away. Two-sided geometric noise of rate γ, P(x) ∝ e^(-γ|x|), is the
// difference of two geometric variables, and a geometric variable is the sum of h
// independent ones with the negative binomial distribution of size 1/h (Pólya's).
// Each bank adds the difference of two of these: any h = Honest banks together add
// exactly two-sided geometric noise, and the others' only comes on top.
//
// A geometric variable is sampled as Canonne, Kamath and Steinke do (The Discrete
// Gaussian for Differential Privacy, 2020, algorithms 1 and 2). A share of size 1/h
// of it follows from Pólya's urn: given that the sum is g, a share is what an urn
// yields in g draws that holds 1/h of the weight at first and to which each draw
// adds one of the drawn kind. Every probability on the way is a fraction.

// Noiser draws noise.
type Noiser struct{ r *bufio.Reader }

// NewNoiser draws from the system's randomness.
func NewNoiser() *Noiser { return newNoiser(rand.Reader) }

func newNoiser(r io.Reader) *Noiser { return &Noiser{bufio.NewReaderSize(r, 4096)} }

// word is 64 random bits.
func (n *Noiser) word() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(n.r, b[:]); err != nil {
		// crypto/rand does not fail. Going on without randomness would tell figures.
		panic("cohort: no randomness: " + err.Error())
	}
	return binary.BigEndian.Uint64(b[:])
}

// below is uniform in [0, limit): the high word of a product, with what is not
// uniform thrown away (Lemire).
func (n *Noiser) below(limit uint64) uint64 {
	for {
		hi, lo := bits.Mul64(n.word(), limit)
		if lo >= limit || lo >= -limit%limit {
			return hi
		}
	}
}

// yes is true with probability num/den, num ≤ den.
func (n *Noiser) yes(num, den uint64) bool { return n.below(den) < num }

// decays is true with probability e^-(num/den), num ≤ den: the series of e^-x tells
// how often a run of events of probabilities x/1, x/2, x/3 … ends at an odd place.
func (n *Noiser) decays(num, den uint64) bool {
	for k := uint64(1); ; k++ {
		if !n.yes(num, den) || n.below(k) != 0 {
			return k%2 == 1
		}
	}
}

// geometric is g with probability (1 - e^-r)·e^(-r·g).
func (n *Noiser) geometric(r rate) uint64 {
	var u uint64
	for {
		if u = n.below(r.den); n.decays(u, r.den) {
			break
		}
	}
	v := uint64(0)
	for n.decays(1, 1) {
		v++
	}
	// v is above 2,000 with a probability below e^-2000, and den below 2^41.
	return (u + r.den*v) / r.num
}

// polya is a share of size 1/h of a geometric variable.
func (n *Noiser) polya(r rate, h uint64) uint64 {
	g := n.geometric(r)
	s := uint64(0)
	for i := range g {
		if n.yes(1+h*s, h*(1+i)) {
			s++
		}
	}
	return s
}

// share is what one bank adds to one number.
func (n *Noiser) share(r rate) int64 {
	return int64(n.polya(r, Honest)) - int64(n.polya(r, Honest))
}
