package cohort

import (
	"fmt"
	"math/big"
)

// Bounds of a plan. They keep every sum far from 2^63 and every sample short.
const (
	MaxStatistics = 8
	MaxCuts       = 63
	MaxEpsilon    = 10_000_000 // millionths: more hides nobody
	MaxK          = 1_000_000
	// MaxUnits bounds how far one customer can move a sum, in granules.
	MaxUnits = 1 << 20
	// maxScale bounds the scale of the noise, in granules: a sample takes about as
	// many steps. A plan above it wants a coarser granule or a larger epsilon.
	maxScale = 1 << 21
	// maxRows bounds a bank's customers.
	maxRows = 1 << 32
	// maxColumnValue bounds clipping limits and cuts.
	maxColumnValue = 1 << 53
)

// Kind of a statistic.
type Kind uint8

// The kinds of statistics. The count of the cohort is always told.
const (
	Sum       Kind = 1
	Mean      Kind = 2
	Histogram Kind = 3
)

// String is the name of the kind.
func (k Kind) String() string {
	switch k {
	case Sum:
		return "SUM"
	case Mean:
		return "MEAN"
	case Histogram:
		return "HISTOGRAM"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Statistic is one figure, or one histogram, of one column over the cohort.
type Statistic struct {
	Kind   Kind
	Column string
	// Sum and Mean: a customer's value counts as Low if below and High if above, and
	// is rounded to a multiple of Granule (of a mean: from the middle of both).
	Low, High int64
	Granule   int64
	// Histogram: strictly ascending; a value counts in the first bucket whose cut it
	// is below, else in the last.
	Cuts []int64
}

// Plan says what is computed.
type Plan struct {
	Epsilon    uint64 // of the whole answer, millionths
	K          uint64 // least number of people
	Statistics []Statistic
}

// Check reports why a plan cannot be worked with: ErrPlan, with the statistic.
func (p *Plan) Check() error {
	if p.Epsilon == 0 || p.Epsilon > MaxEpsilon {
		return fmt.Errorf("%w: epsilon of %d millionths, want 1 to %d", ErrPlan, p.Epsilon, MaxEpsilon)
	}
	if p.K < 2 || p.K > MaxK {
		return fmt.Errorf("%w: k of %d, want 2 to %d", ErrPlan, p.K, MaxK)
	}
	if len(p.Statistics) > MaxStatistics {
		return fmt.Errorf("%w: %d statistics, at most %d", ErrPlan, len(p.Statistics), MaxStatistics)
	}
	for i := range p.Statistics {
		if err := p.Statistics[i].check(); err != nil {
			return fmt.Errorf("%w: statistic %d: %w", ErrPlan, i, err)
		}
	}
	for i := range len(p.Statistics) + 1 {
		r := p.rate(i)
		if r.num == 0 || r.den/r.num > maxScale {
			return fmt.Errorf("%w: part %d of epsilon %d has noise of more than %d granules: give a larger epsilon, a coarser granule or narrower limits", ErrPlan, i, p.Epsilon, maxScale)
		}
	}
	return nil
}

func (s *Statistic) check() error {
	if s.Column == "" || len(s.Column) > 64 {
		return fmt.Errorf("column: want 1 to 64 bytes")
	}
	switch s.Kind {
	case Sum, Mean:
		switch {
		case len(s.Cuts) != 0:
			return fmt.Errorf("%s has no cuts", s.Kind)
		case s.Low < -maxColumnValue || s.High > maxColumnValue || s.Low >= s.High:
			return fmt.Errorf("%s: limits %d and %d: want the lower first, both below 2^53", s.Kind, s.Low, s.High)
		case s.Granule < 1:
			return fmt.Errorf("%s: granule %d: want at least 1", s.Kind, s.Granule)
		case s.units() > MaxUnits:
			return fmt.Errorf("%s: one customer can move it by %d granules, at most %d: give a coarser granule", s.Kind, s.units(), MaxUnits)
		}
	case Histogram:
		if s.Low != 0 || s.High != 0 || s.Granule != 0 {
			return fmt.Errorf("%s has cuts, no limits and no granule", s.Kind)
		}
		if len(s.Cuts) == 0 || len(s.Cuts) > MaxCuts {
			return fmt.Errorf("%s: %d cuts, want 1 to %d", s.Kind, len(s.Cuts), MaxCuts)
		}
		for i, c := range s.Cuts {
			if c < -maxColumnValue || c > maxColumnValue || i > 0 && s.Cuts[i-1] >= c {
				return fmt.Errorf("%s: cuts must be strictly ascending and below 2^53", s.Kind)
			}
		}
	default:
		return fmt.Errorf("no such kind: %d", uint8(s.Kind))
	}
	return nil
}

// center is what a mean is counted from, so that one customer moves it half as far.
func (s *Statistic) center() int64 {
	if s.Kind == Mean {
		return s.Low + (s.High-s.Low)/2
	}
	return 0
}

// units is how far one customer can move the statistic: the sensitivity, in
// granules. A customer is in one bucket of a histogram.
func (s *Statistic) units() uint64 {
	if s.Kind == Histogram {
		return 1
	}
	return uint64(max(magnitude(s.unit(s.Low)), magnitude(s.unit(s.High)), 1))
}

// unit is what a value adds, in granules: clipped, and rounded to the nearest, halves
// away from zero.
func (s *Statistic) unit(v int64) int64 {
	v = min(max(v, s.Low), s.High) - s.center()
	half := s.Granule / 2
	if v < 0 {
		return -((-v + half) / s.Granule)
	}
	return (v + half) / s.Granule
}

func magnitude(v int64) int64 { return max(v, -v) }

// cells is how many numbers the statistic has in the vector.
func (s *Statistic) cells() int {
	if s.Kind == Histogram {
		return len(s.Cuts) + 1
	}
	return 1
}

// cells is how many numbers the second round has.
func (p *Plan) cells() int {
	n := 0
	for i := range p.Statistics {
		n += p.Statistics[i].cells()
	}
	return n
}

// rate is the rate of the noise: a step of one granule makes a value e^-(num/den)
// times as likely.
type rate struct{ num, den uint64 }

// rate of a part of the answer: 0 is the count, i the statistic i-1. Epsilon is
// shared out evenly.
func (p *Plan) rate(part int) rate {
	units := uint64(1)
	if part > 0 {
		units = p.Statistics[part-1].units()
	}
	return rate{p.Epsilon / uint64(len(p.Statistics)+1), 1_000_000 * units}
}

// Threshold is the noised count from which an answer is released: k, and three
// standard deviations of the noise that n banks add, so that fewer than k people are
// taken for k less than once in fifty times.
func (p *Plan) Threshold(n int) int64 {
	r := p.rate(0)
	// The variance of two-sided geometric noise is below 2/rate²; n banks add
	// n/Honest times as much as is needed.
	v := new(big.Int).SetUint64(r.den)
	v.Mul(v, v).Mul(v, big.NewInt(9*2*int64(n))).Quo(v, big.NewInt(Honest))
	d := new(big.Int).SetUint64(r.num)
	v.Quo(v, d.Mul(d, d))
	return int64(p.K) + v.Sqrt(v).Int64() + 1
}

// bytes is the plan's encoding in the session's digest.
func (p *Plan) bytes() []byte {
	parts := [][]byte{number64(p.Epsilon), number64(p.K)}
	for i := range p.Statistics {
		s := &p.Statistics[i]
		parts = append(parts, []byte{byte(s.Kind)}, []byte(s.Column), number64(uint64(s.Low)), number64(uint64(s.High)), number64(uint64(s.Granule)))
		var cuts []byte
		for _, c := range s.Cuts {
			cuts = append(cuts, number64(uint64(c))...)
		}
		parts = append(parts, cuts)
	}
	return join(domainPlan, parts...)
}
