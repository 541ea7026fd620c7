package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Weight-of-evidence scorecards, as lenders build them, and how well one ranks.

// variable puts a customer into one band of something.
type variable struct {
	name string
	band func(*customer) int
}

// banded is a variable over a figure, cut where a band begins.
func banded(column string, cuts ...int) variable {
	return variable{column, func(c *customer) int { return bandOf(c.figure(column), cuts) }}
}

func bandOf(n int, cuts []int) int {
	at, _ := slices.BinarySearch(cuts, n+1)
	return at
}

// scorecard has the weight of evidence of every band of its variables: the logarithm of
// how much more often those who paid are in it than those who did not.
type scorecard []characteristic

type characteristic struct {
	variable
	weight map[int]float64
}

// develop makes a scorecard from customers whose loans have ended. Half a customer is
// added to every count, so that a band without defaults has a weight.
func develop(people []*customer, variables ...variable) scorecard {
	var card scorecard
	for _, v := range variables {
		paid, not := map[int]float64{}, map[int]float64{}
		var allPaid, allNot float64
		for _, c := range people {
			if c.defaulted {
				not[v.band(c)]++
				allNot++
			} else {
				paid[v.band(c)]++
				allPaid++
			}
		}
		weight := make(map[int]float64)
		for _, counts := range []map[int]float64{paid, not} {
			for b := range counts {
				weight[b] = math.Log((paid[b] + 0.5) / (allPaid + 0.5) * (allNot + 0.5) / (not[b] + 0.5))
			}
		}
		card = append(card, characteristic{v, weight})
	}
	return card
}

// risk is higher for who is less likely to pay. A band that nobody was in says nothing.
func (s scorecard) risk(c *customer) float64 {
	var sum float64
	for _, x := range s {
		sum -= x.weight[x.band(c)]
	}
	return sum
}

// auc is the area under the ROC curve: how often somebody who defaulted has a higher
// risk than somebody who did not, a draw counting half. It is NaN where one of the two
// is missing.
func auc(risk []float64, defaulted []bool) float64 {
	var area, paid, not float64
	for _, p := range roc(risk, defaulted) {
		area += (p.falseAlarms - paid) * (p.caught + not) / 2
		paid, not = p.falseAlarms, p.caught
	}
	if paid == 0 || not == 0 {
		return math.NaN()
	}
	return area / (paid * not)
}

// rocPoint counts those above some risk.
type rocPoint struct{ falseAlarms, caught float64 }

// roc is the curve from the highest risk to the lowest; equal risks are one step.
func roc(risk []float64, defaulted []bool) []rocPoint {
	order := make([]int, len(risk))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case risk[a] > risk[b]:
			return -1
		case risk[a] < risk[b]:
			return 1
		}
		return 0
	})
	var points []rocPoint
	var now rocPoint
	for i, at := range order {
		if defaulted[at] {
			now.caught++
		} else {
			now.falseAlarms++
		}
		if i+1 == len(order) || risk[order[i+1]] != risk[at] {
			points = append(points, now)
		}
	}
	return points
}

// bootstrap is how far a figure of these customers would reach, 95 times of 100, if
// others of their kind had come: percentiles over samples drawn from them with
// replacement. figure is given the places of one sample.
func bootstrap(n int, seed uint64, figure func(sample []int) float64) [2]float64 {
	const samples = 1000
	rng := rand.New(rand.NewPCG(seed, 3))
	sample := make([]int, n)
	var got []float64
	for range samples {
		for i := range sample {
			sample[i] = rng.IntN(n)
		}
		if f := figure(sample); !math.IsNaN(f) {
			got = append(got, f)
		}
	}
	if len(got) == 0 {
		return [2]float64{math.NaN(), math.NaN()}
	}
	slices.Sort(got)
	return [2]float64{got[len(got)*25/1000], got[len(got)*975/1000]}
}

// pick gathers the values at some places.
func pick[T any](all []T, at []int) []T {
	out := make([]T, len(at))
	for i, j := range at {
		out[i] = all[j]
	}
	return out
}
