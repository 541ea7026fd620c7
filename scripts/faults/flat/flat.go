// Package flat judges whether something that a program uses stays at its level, or
// grows no faster than the work it does.
//
// It owns the arithmetic: a robust slope, the level of either end, and bytes per
// unit of work. It promises that a single peak, a saw-tooth and a warm-up that ends
// in the first half do not look like growth, and that growth beyond the stated
// bound in the second half does, as a slope or as steps. It knows no node and reads
// no clock: whoever samples says when a sample was taken and what is allowed.
package flat

import (
	"cmp"
	"math"
	"slices"
)

// Point is one sample: a moment in seconds, or work done so far, and what was
// measured then.
type Point struct{ At, Value float64 }

// Bound is how much a figure may grow over what is judged: Least in any case, or
// that share of the level it has at the beginning of what is judged, if that is
// more.
type Bound struct{ Least, Share float64 }

// Few is the least number of points in the judged half about which something can
// be said.
const Few = 12

// Level is the judgement on a figure that should stay where it is.
type Level struct {
	Points  int     `json:"points"`  // in the second half, which alone is judged
	Seconds float64 `json:"seconds"` // how long that was
	First   float64 `json:"first"`   // median of its first third
	Last    float64 `json:"last"`    // and of its last
	Growth  float64 `json:"growth"`  // over it: by the median slope, or Last-First if that is more
	Allowed float64 `json:"allowed"`
	Flat    bool    `json:"flat"`
	Judged  bool    `json:"judged"` // there were points enough; else Flat says nothing
}

// Judge judges the second half (in time) of a figure's samples, which ascend.
func Judge(all []Point, b Bound) Level {
	half := secondHalf(all)
	l := Level{Points: len(half), Judged: len(half) >= Few}
	if !l.Judged {
		return l
	}
	third := len(half) / 3
	l.Seconds = half[len(half)-1].At - half[0].At
	l.First, l.Last = level(half[:third]), level(half[len(half)-third:])
	// A slope sees what grows evenly, the two levels what grows in few steps. In a
	// saw of one or two teeth the slope is steep; it grows by no more than a tooth.
	l.Growth = max(min(Slope(half)*l.Seconds, spread(half)), l.Last-l.First)
	l.Allowed = max(b.Least, b.Share*l.First)
	l.Flat = l.Growth <= l.Allowed
	return l
}

// Spread is the judgement on something that grows with the work that is done.
type Spread struct {
	First   float64 `json:"firstHalf"`  // per unit of work
	Second  float64 `json:"secondHalf"` // the same
	Allowed float64 `json:"allowed"`
	Within  bool    `json:"within"`
	Judged  bool    `json:"judged"`
}

// PerWork judges what a figure (Value) grows by for each unit of work (At): in the
// second half (of the work) not more than most, and not more than Share times what
// it was in the first plus Least: what grows faster than the work does so without
// bound even if the work does not.
func PerWork(all []Point, most float64, b Bound) Spread {
	half := secondHalf(all)
	rest := all[:len(all)-len(half)]
	s := Spread{Judged: len(half) >= Few && len(rest) >= Few}
	if !s.Judged {
		return s
	}
	s.First, s.Second = Slope(rest), Slope(half)
	s.Allowed = min(most, max(s.First, 0)*b.Share+b.Least)
	s.Within = s.Second <= s.Allowed
	return s
}

func secondHalf(all []Point) []Point {
	if len(all) == 0 {
		return nil
	}
	middle := (all[0].At + all[len(all)-1].At) / 2
	from := slices.IndexFunc(all, func(p Point) bool { return p.At >= middle })
	return all[from:]
}

// maxPoints bounds the pairs that Slope looks at.
const maxPoints = 400

// Slope is the median of the slopes between all pairs of points (Theil and Sen):
// up to a quarter of the points may be anything without moving it far. Points at
// the same place make no pair.
func Slope(points []Point) float64 {
	step := len(points)/maxPoints + 1
	var slopes []float64
	for i := 0; i < len(points); i += step {
		for j := i + step; j < len(points); j += step {
			if d := points[j].At - points[i].At; d > 0 {
				slopes = append(slopes, (points[j].Value-points[i].Value)/d)
			}
		}
	}
	return median(slopes)
}

// spread is between the least and the greatest.
func spread(points []Point) float64 {
	by := func(a, b Point) int { return cmp.Compare(a.Value, b.Value) }
	return slices.MaxFunc(points, by).Value - slices.MinFunc(points, by).Value
}

func level(points []Point) float64 {
	values := make([]float64, len(points))
	for i, p := range points {
		values[i] = p.Value
	}
	return median(values)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	m := len(values) / 2
	if len(values)%2 == 1 {
		return values[m]
	}
	return values[m-1] + (values[m]-values[m-1])/2
}

// Round shortens a figure for people: three digits are what samples are good for.
func Round(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
