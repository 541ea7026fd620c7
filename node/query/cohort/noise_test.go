package cohort

import (
	"fmt"
	"math"
	"testing"
)

// chiSquare compares counts with a distribution, in bins of at least ten expected,
// and returns how many standard deviations the statistic is above its mean. Beyond
// five it is not this distribution.
func chiSquare(counts map[int64]int, samples int, pmf func(int64) float64, from, to int64) float64 {
	var stat, expected, seen float64
	bins := -1
	left, leftSeen := 1.0, float64(samples)
	flush := func(e, o float64) {
		stat += (o - e) * (o - e) / e
		bins++
	}
	for x := from; x <= to; x++ {
		expected += float64(samples) * pmf(x)
		seen += float64(counts[x])
		left -= pmf(x)
		leftSeen -= float64(counts[x])
		if expected >= 10 && left*float64(samples) >= 10 {
			flush(expected, seen)
			expected, seen = 0, 0
		}
	}
	flush(expected+left*float64(samples), seen+leftSeen)
	return (stat - float64(bins)) / math.Sqrt(2*float64(bins))
}

func twoSided(r rate) func(int64) float64 {
	a := math.Exp(-float64(r.num) / float64(r.den))
	return func(x int64) float64 { return (1 - a) / (1 + a) * math.Pow(a, math.Abs(float64(x))) }
}

var rates = []rate{{1, 1}, {1, 4}, {3, 2}, {1_500_000, 7_000_000}, {3, 1}}

// Any two banks together add exactly the noise that epsilon wants. One alone, and
// three, add something else, which the test can tell.
func TestTwoBanksTogetherAddTwoSidedGeometricNoise(t *testing.T) {
	const samples = 8_000
	for _, r := range rates {
		for banks, fits := range map[int]bool{1: false, Honest: true, 3: false} {
			n := newNoiser(seeded("two-sided", r, banks))
			counts := map[int64]int{}
			for range samples {
				var x int64
				for range banks {
					x += n.share(r)
				}
				counts[x]++
			}
			z := chiSquare(counts, samples, twoSided(r), -400, 400)
			if fits != (z < 5) {
				t.Errorf("rate %d/%d: %d banks are %.1f deviations from it", r.num, r.den, banks, z)
			}
		}
	}
}

func TestOneBankAddsASharedPart(t *testing.T) {
	const samples = 8_000
	for _, r := range rates {
		a := math.Exp(-float64(r.num) / float64(r.den))
		negative := func(size float64) func(int64) float64 { // binomial of a size
			return func(k int64) float64 {
				if k < 0 {
					return 0
				}
				over, _ := math.Lgamma(float64(k) + size)
				fact, _ := math.Lgamma(float64(k) + 1)
				under, _ := math.Lgamma(size)
				return math.Exp(over - fact - under + float64(k)*math.Log(a) + size*math.Log1p(-a))
			}
		}
		for name, k := range map[string]struct {
			draw func(*Noiser) uint64
			size float64
		}{
			"geometric": {func(n *Noiser) uint64 { return n.geometric(r) }, 1},
			"half":      {func(n *Noiser) uint64 { return n.polya(r, 2) }, 0.5},
			"fifth":     {func(n *Noiser) uint64 { return n.polya(r, 5) }, 0.2},
		} {
			n := newNoiser(seeded(name, r))
			counts := map[int64]int{}
			for range samples {
				counts[int64(k.draw(n))]++
			}
			if z := chiSquare(counts, samples, negative(k.size), 0, 600); z > 5 {
				t.Errorf("rate %d/%d: %s is %.1f deviations off", r.num, r.den, name, z)
			}
		}
	}
}

// Mean and variance of noise that is large: as the plan's deviation says.
func TestLargeNoiseHasItsVariance(t *testing.T) {
	p := Plan{Epsilon: 200_000, K: 20, Statistics: []Statistic{{Kind: Sum, Column: "c", High: 40, Granule: 1}}}
	must(t, p.Check())
	n := newNoiser(seeded("large"))
	const samples = 300
	for _, banks := range []int{2, 3} {
		s := Session{Plan: p, Seats: make([]Seat, banks)}
		var sum, squares float64
		for range samples {
			var x float64
			for range banks {
				x += float64(n.share(p.rate(1)))
			}
			sum += x
			squares += x * x
		}
		sigma := s.deviation(1)
		if mean := sum / samples; math.Abs(mean) > 5*sigma/math.Sqrt(samples) {
			t.Errorf("%d banks: the noise has the mean %f, deviation %f", banks, mean, sigma)
		}
		// The kurtosis of such noise is at most six.
		if got := math.Sqrt(squares / samples); math.Abs(got-sigma) > 5*sigma*math.Sqrt(5.0/4/samples) {
			t.Errorf("%d banks: deviation %f, said is %f", banks, got, sigma)
		}
	}
}

func TestDrawsHaveTheirProbabilities(t *testing.T) {
	const samples = 40_000
	n := newNoiser(seeded("draws"))
	for _, x := range [][2]uint64{{0, 1}, {1, 3}, {1, 2}, {1, 1}, {1 << 40, 1<<40 + 1}} {
		yes := 0
		for range samples {
			if n.decays(x[0], x[1]) {
				yes++
			}
		}
		want := math.Exp(-float64(x[0]) / float64(x[1]))
		if dev := math.Sqrt(want * (1 - want) / samples); math.Abs(float64(yes)/samples-want) > 5*dev {
			t.Errorf("e^-(%d/%d): %d of %d", x[0], x[1], yes, samples)
		}
	}
	for _, limit := range []uint64{1, 2, 3, 7, 1000, 1<<63 + 1} {
		var low int
		for range samples {
			x := n.below(limit)
			if x >= limit {
				t.Fatalf("%d is not below %d", x, limit)
			}
			if x < (limit+1)/2 {
				low++
			}
		}
		want := float64((limit+1)/2) / float64(limit)
		if dev := math.Sqrt(want*(1-want)/samples) + 1e-12; math.Abs(float64(low)/samples-want) > 5*dev {
			t.Errorf("below %d: %d of %d in the lower half", limit, low, samples)
		}
	}
}

func BenchmarkNoise(b *testing.B) {
	for _, units := range []uint64{1, 1000, 1 << 20} {
		b.Run(fmt.Sprint(units), func(b *testing.B) {
			n := NewNoiser()
			for b.Loop() {
				n.share(rate{500_000, 1_000_000 * units})
			}
		})
	}
}

// Interval95 holds the figure without its noise in about 95 of 100 answers, however
// many banks add noise, never in fewer; and one of half the width does not.
func TestInterval95HoldsTheFigure(t *testing.T) {
	const samples, figure = 8_000, 1000
	for _, banks := range []int{MinBanks, 5, 12} {
		w := newWorld(t, banks, Plan{Epsilon: 500_000, K: 20})
		n, deviation := newNoiser(seeded("interval", banks)), w.session.deviation(0)
		within, half := 0, 0
		for range samples {
			told := float64(figure)
			for range banks {
				told += float64(n.share(w.session.Plan.rate(0)))
			}
			low, high := Interval95(told, deviation)
			if low <= figure && figure <= high {
				within++
			}
			if low, high = Interval95(told, deviation/2); low <= figure && figure <= high {
				half++
			}
		}
		if part := float64(within) / samples; part < 0.945 || part > 0.98 {
			t.Errorf("%d banks: in %.3f of the answers", banks, part)
		}
		if part := float64(half) / samples; part > 0.9 {
			t.Errorf("%d banks: half of it holds %.3f of the answers", banks, part)
		}
	}
}
