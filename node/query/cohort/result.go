package cohort

import (
	"math"
	"math/big"
)

// Result is the answer: figures with noise. Deviations are those of the noise, one
// standard deviation; what clipping and rounding change comes on top.
type Result struct {
	Count     int64
	Deviation float64 // of the count
	Figures   []Figure
}

// Figure is one statistic of the answer, in the column's unit.
type Figure struct {
	Statistic Statistic
	Sum       *big.Int // SUM, a multiple of the granule
	Mean      float64  // MEAN: of the noised sum and the noised count, within the limits
	Buckets   []int64  // HISTOGRAM: may be below zero
	Deviation float64  // SUM: of the sum; MEAN: about; HISTOGRAM: of each bucket
}

func (s *Session) result(count int64, cells []int64) *Result {
	r := &Result{Count: count, Deviation: s.deviation(0)}
	for i := range s.Plan.Statistics {
		st := &s.Plan.Statistics[i]
		f := Figure{Statistic: *st, Deviation: s.deviation(i + 1)}
		own := cells[:st.cells()]
		cells = cells[st.cells():]
		switch st.Kind {
		case Histogram:
			f.Buckets = append(f.Buckets, own...)
		case Sum:
			f.Sum = new(big.Int).Mul(big.NewInt(own[0]), big.NewInt(st.Granule))
			f.Deviation *= float64(st.Granule)
		case Mean:
			mean := float64(st.center()) + float64(own[0])*float64(st.Granule)/float64(count) // a released count is above zero
			f.Mean = min(max(mean, float64(st.Low)), float64(st.High))
			f.Deviation *= float64(st.Granule) / float64(count)
		}
		r.Figures = append(r.Figures, f)
	}
	return r
}

// deviation of the noise of all banks on one number of a part, in granules.
func (s *Session) deviation(part int) float64 { return s.Plan.deviation(part, len(s.Seats)) }

func (p *Plan) deviation(part, banks int) float64 {
	r := p.rate(part)
	gamma := float64(r.num) / float64(r.den)
	needed := 2 * math.Exp(-gamma) / math.Pow(-math.Expm1(-gamma), 2)
	return math.Sqrt(needed * float64(banks) / Honest)
}

// Deviations are what is known of the noise before anybody asks: one standard deviation
// of the count, and of each statistic in the column's unit, with the noise of so many
// banks. Of a MEAN it is that over people customers, and falls as they become more. The
// plan must have been checked.
func (p *Plan) Deviations(banks int, people uint64) (count float64, figures []float64) {
	for i := range p.Statistics {
		st := &p.Statistics[i]
		d := p.deviation(i+1, banks)
		switch st.Kind {
		case Sum:
			d *= float64(st.Granule)
		case Mean:
			d *= float64(st.Granule) / float64(max(people, 1))
		}
		figures = append(figures, d)
	}
	return p.deviation(0, banks), figures
}

// Interval95 is where a figure lies without its noise, in about 95 of 100 answers. Two
// banks' noise has the longest tails, those of a two-sided exponential: 2.12 standard
// deviations; more banks' are shorter.
func Interval95(value, deviation float64) (low, high float64) {
	return value - 2.12*deviation, value + 2.12*deviation
}
