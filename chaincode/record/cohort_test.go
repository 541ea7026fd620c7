package record

import (
	"strings"
	"testing"
	"time"
)

func samplePlan() *CohortPlan {
	return &CohortPlan{EpsilonMicro: 800_000, K: 50, Statistics: []CohortStatistic{
		{Column: "owed", Granule: 10, High: "1000", Kind: StatisticSum, Low: "-100"},
		{Column: "age", Cuts: []string{"-1", "30"}, Kind: StatisticHistogram},
	}}
}

// fullTemplate and fullTemplateProposal have every field, which no template may.
func fullTemplate() *Template {
	t := sampleTemplate()
	t.Cohort = samplePlan()
	return t
}

func fullTemplateProposal() *TemplateProposal {
	p := sampleTemplateProposal()
	p.Cohort = samplePlan()
	return p
}

func fullStatistic() *CohortStatistic {
	s := samplePlan().Statistics[0]
	s.Cuts = []string{"-1", "30"}
	return &s
}

func sampleCohortSpec() *CohortSpec {
	return &CohortSpec{
		AnswerKey: sampleBlob(32), DeadlineMs: 20_000, Params: ParamValues{{"from", "40"}}, Purpose: CreditChecking,
		Items: []CohortItem{{"data-1", "debts-a"}, {"data-1", "debts-b"}, {"data-2", "debts-c"}},
	}
}

func sampleCohort() *Cohort {
	return &Cohort{
		AnswerKey: sampleBlob(32), CohortID: sampleHash(9), Consumer: "lender-a", Deadline: 9, Decision: Permit,
		Params: ParamValues{{"from", "40"}}, Plan: *samplePlan(), Purpose: CreditChecking, RequestedAt: 5, Year: 2026,
		Seats: []CohortSeat{{
			Bank: "bank-a", CapMicro: 2_000_000, Code: CodePermit, CodeHash: sampleHash(1), Epoch: 3, Key: sampleBlob(32), KeyID: "data-1",
			ProductID: "stats", RequestID: NewRequestID(sampleHash(8)), SpentMicro: 800_000, TemplateID: "debts-a",
		}},
	}
}

func TestTheYearOfATimeIsTheCalendars(t *testing.T) {
	for day := range int64(100_000) { // to the year 2243
		at := time.UnixMilli(day * 86_400_000).UTC()
		for _, t2 := range []Millis{at.UnixMilli(), at.UnixMilli() + 86_399_999} {
			if got := YearOf(t2); got != uint64(at.Year()) {
				t.Fatalf("%s: year %d", at, got)
			}
		}
	}
	if got := YearOf(MaxInt); got != uint64(time.UnixMilli(MaxInt).UTC().Year()) {
		t.Errorf("the last time: %d", got)
	}
}

func TestTheLargestCohortFits(t *testing.T) {
	long := strings.Repeat("x", maxID)
	c := sampleCohort()
	s := &c.Seats[0]
	s.Bank, s.KeyID, s.TemplateID, s.ProductID = OrgID(long), DataKeyID(long), TemplateID(long), ProductID(long)
	s.CapMicro, s.SpentMicro, s.Epoch = MaxInt, MaxInt, MaxInt
	for len(c.Seats) < MaxCohortBanks {
		c.Seats = append(c.Seats, c.Seats[0])
	}
	if _, err := Encode(c); err != nil {
		t.Error(err)
	}
}

func TestCohortTemplatesAreChecked(t *testing.T) {
	good := func() *TemplateSpec {
		return &TemplateSpec{
			AnswerTTL: 20_000, Cohort: samplePlan(), Columns: []string{"age", "owed"}, CostLimit: 100, Kind: CohortKind,
			ProductID: "stats", Source: "age > 30", TemplateID: "debts", Version: 1,
		}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for name, breaks := range map[string]func(v *TemplateSpec){
		"no plan":                  func(v *TemplateSpec) { v.Cohort = nil },
		"a plan of another kind":   func(v *TemplateSpec) { v.Kind, v.Outputs = Predicate, []string{"YES", NoRecord} },
		"outputs":                  func(v *TemplateSpec) { v.Outputs = []string{"YES", NoRecord} },
		"no epsilon":               func(v *TemplateSpec) { v.Cohort.EpsilonMicro = 0 },
		"too much epsilon":         func(v *TemplateSpec) { v.Cohort.EpsilonMicro = 10_000_001 },
		"epsilon too little to do": func(v *TemplateSpec) { v.Cohort.EpsilonMicro = 2 },
		"k of one":                 func(v *TemplateSpec) { v.Cohort.K = 1 },
		"a column not listed":      func(v *TemplateSpec) { v.Columns = []string{"owed"} },
		"limits the wrong way":     func(v *TemplateSpec) { v.Cohort.Statistics[0].Low = "1000" },
		"a limit spelt otherwise":  func(v *TemplateSpec) { v.Cohort.Statistics[0].High = "01000" },
		"no granule":               func(v *TemplateSpec) { v.Cohort.Statistics[0].Granule = 0 },
		"a granule too fine":       func(v *TemplateSpec) { v.Cohort.Statistics[0].High, v.Cohort.Statistics[0].Granule = "2000000", 1 },
		"cuts of a sum":            func(v *TemplateSpec) { v.Cohort.Statistics[0].Cuts = []string{"1"} },
		"no cuts":                  func(v *TemplateSpec) { v.Cohort.Statistics[1].Cuts = nil },
		"cuts out of order":        func(v *TemplateSpec) { v.Cohort.Statistics[1].Cuts = []string{"30", "-1"} },
		"limits of a histogram":    func(v *TemplateSpec) { v.Cohort.Statistics[1].Low = "1" },
		"too many cells": func(v *TemplateSpec) {
			many := CohortStatistic{Column: "age", Kind: StatisticHistogram}
			for i := range 60 {
				many.Cuts = append(many.Cuts, string(rune('1'+i/10))+string(rune('0'+i%10)))
			}
			v.Cohort.Statistics = []CohortStatistic{many, many}
		},
	} {
		v := good()
		breaks(v)
		if err := v.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCohortSpecsAreChecked(t *testing.T) {
	if err := sampleCohortSpec().Check(); err != nil {
		t.Fatal(err)
	}
	for name, breaks := range map[string]func(v *CohortSpec){
		"two banks":                  func(v *CohortSpec) { v.Items = v.Items[:2] },
		"out of order":               func(v *CohortSpec) { v.Items[0], v.Items[1] = v.Items[1], v.Items[0] },
		"one template twice":         func(v *CohortSpec) { v.Items[1] = v.Items[0] },
		"no answer key":              func(v *CohortSpec) { v.AnswerKey = make(Blob, 32) },
		"no data key":                func(v *CohortSpec) { v.Items[0].KeyID = "" },
		"a deadline beyond the rule": func(v *CohortSpec) { v.DeadlineMs = MaxAnswerTTL + 1 },
	} {
		v := sampleCohortSpec()
		breaks(v)
		if err := v.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
