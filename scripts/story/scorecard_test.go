package main

import (
	"math"
	"testing"
)

func TestAUC(t *testing.T) {
	for name, tc := range map[string]struct {
		risk []float64
		bad  []bool
		want float64
	}{
		"perfect":   {[]float64{1, 2, 3, 4}, []bool{false, false, true, true}, 1},
		"backwards": {[]float64{4, 3, 2, 1}, []bool{false, false, true, true}, 0},
		"one draw":  {[]float64{1, 1}, []bool{false, true}, 0.5},
		// Of the six pairs of a defaulter (2, 3) and a payer (1, 2, 4): won, drawn, lost; won, won, lost.
		"by hand":    {[]float64{1, 2, 4, 2, 3}, []bool{false, false, false, true, true}, 3.5 / 6},
		"nobody bad": {[]float64{1, 2}, []bool{false, false}, math.NaN()},
		"nobody":     {nil, nil, math.NaN()},
	} {
		if got := auc(tc.risk, tc.bad); math.Abs(got-tc.want) > 1e-12 || math.IsNaN(got) != math.IsNaN(tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestScorecardWeighsEvidence(t *testing.T) {
	late := variable{"late", func(c *customer) int { return bandOf(c.figure("PAY_0"), []int{1}) }}
	person := func(pay string, defaulted bool) *customer {
		c := &customer{defaulted: defaulted, figures: make([]string, len(figureColumns))}
		for i, name := range figureColumns {
			if c.figures[i] = "0"; name == "PAY_0" {
				c.figures[i] = pay
			}
		}
		return c
	}
	var past []*customer
	for range 3 {
		past = append(past, person("0", false))
	}
	past = append(past, person("0", true), person("2", true), person("2", true))
	card := develop(past, late)
	if want := math.Log(3.5 / 3.5 * 3.5 / 1.5); math.Abs(card[0].weight[0]-want) > 1e-12 {
		t.Errorf("on time weighs %v, want %v", card[0].weight[0], want)
	}
	if want := math.Log(0.5 / 3.5 * 3.5 / 2.5); math.Abs(card[0].weight[1]-want) > 1e-12 {
		t.Errorf("late weighs %v, want %v", card[0].weight[1], want)
	}
	if card.risk(person("2", false)) <= card.risk(person("0", true)) {
		t.Error("who is late is no higher risk")
	}
	if got := develop(past[:3], late).risk(person("2", true)); got != 0 {
		t.Errorf("a band that nobody was in says %v", got)
	}
}

func TestBandsBeginAtTheirCuts(t *testing.T) {
	for n, want := range map[int]int{-5: 0, 25: 0, 26: 1, 30: 1, 31: 2, 90: 2} {
		if got := bandOf(n, []int{26, 31}); got != want {
			t.Errorf("%d is in band %d, want %d", n, got, want)
		}
	}
}

func TestBootstrapCoversAndRepeats(t *testing.T) {
	values := make([]float64, 400)
	for i := range values {
		values[i] = float64(i % 10)
	}
	mean := func(at []int) float64 {
		var sum float64
		for _, v := range pick(values, at) {
			sum += v
		}
		return sum / float64(len(at))
	}
	got := bootstrap(len(values), 1, mean)
	// The mean of 400 draws from 0…9 deviates by 2.87/20 = 0.144.
	for i, want := range []float64{4.5 - 1.96*0.144, 4.5 + 1.96*0.144} {
		if math.Abs(got[i]-want) > 0.05 {
			t.Errorf("interval %v, want about %v at %d", got, want, i)
		}
	}
	if again := bootstrap(len(values), 1, mean); again != got {
		t.Errorf("one seed gives %v and %v", got, again)
	}
}
