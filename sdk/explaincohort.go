package sdk

import (
	"context"
	"fmt"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/cohort"
)

// What trials of COHORT templates count: who meets the condition, and everybody else.
const (
	InCohort      = "IN"
	OutsideCohort = "OUT"
)

// ExplainedStatistics says what statistics will tell, with how much noise, and what they
// take.
type ExplainedStatistics struct {
	K       uint64              `json:"k"`            // fewer people: nothing is released
	Epsilon uint64              `json:"epsilonMicro"` // debited from each bank's product by a permit, millionths
	Count   ExpectedNoise       `json:"count"`        // how many people meet the condition: told always
	Figures []ExplainedFigure   `json:"figures"`
	Budget  *ExplainedStatsYear `json:"budget"` // of the template's own product; nil: it is not on the ledger
}

// ExpectedNoise is one standard deviation of a figure's noise, in the column's unit,
// with the fewest banks that a set may have and with the most.
type ExpectedNoise struct {
	OfFewest float64 `json:"deviationOf3Banks"`
	OfMost   float64 `json:"deviationOf12Banks"`
}

// ExplainedFigure is one statistic. The noise of a MEAN is that over k people, and falls
// as they become more; that of a HISTOGRAM is each bucket's.
type ExplainedFigure struct {
	Kind    string   `json:"kind"`
	Column  string   `json:"column"`
	Low     string   `json:"low,omitempty"`  // a value below it counts as it
	High    string   `json:"high,omitempty"` // a value above it counts as it
	Granule uint64   `json:"granule,omitempty"`
	Cuts    []string `json:"cuts,omitempty"`
	ExpectedNoise
}

// ExplainedStatsYear is what the account of a product allows.
type ExplainedStatsYear struct {
	Year    uint64 `json:"year"`
	Spent   uint64 `json:"spentMicro"`  // over all lenders, proven
	Left    uint64 `json:"leftMicro"`   // for a template that reads these columns
	Answers uint64 `json:"answersLeft"` // of this template
}

// ExplainStatistics says what statistics of a plan will tell and take. Nothing is asked.
func ExplainStatistics(v *CohortPlan) (*ExplainedStatistics, error) {
	plan, err := cohort.PlanOf(v)
	if err != nil {
		return nil, err
	}
	few, fewFigures := plan.Deviations(MinCohortBanks, v.K)
	most, mostFigures := plan.Deviations(MaxCohortBanks, v.K)
	out := &ExplainedStatistics{K: v.K, Epsilon: v.EpsilonMicro, Count: ExpectedNoise{few, most}, Figures: []ExplainedFigure{}}
	for i := range v.Statistics {
		s := &v.Statistics[i]
		out.Figures = append(out.Figures, ExplainedFigure{
			Kind: string(s.Kind), Column: s.Column, Low: s.Low, High: s.High, Granule: s.Granule, Cuts: s.Cuts,
			ExpectedNoise: ExpectedNoise{fewFigures[i], mostFigures[i]},
		})
	}
	return out, nil
}

// statistics explains a COHORT template and reads what its product's account allows in
// this year.
func (c *Client) statistics(ctx context.Context, t *TemplateSpec) (*ExplainedStatistics, error) {
	if t.Kind != record.CohortKind || t.Cohort == nil {
		return nil, nil
	}
	e, err := ExplainStatistics(t.Cohort)
	if err != nil {
		return nil, err
	}
	b, err := c.Cohorts().Budget(ctx, t.ProductID, 0)
	if CodeOf(err) == "NOT_FOUND" {
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	y := &ExplainedStatsYear{Year: b.Year, Spent: b.Spent}
	first := true
	for _, col := range b.Columns {
		if record.HasItem(t.Columns, col.Column) && (first || col.Left < y.Left) {
			y.Left, first = col.Left, false
		}
	}
	y.Answers = y.Left / t.Cohort.EpsilonMicro
	e.Budget = y
	return e, nil
}

// learnsFromCohort says who learns what from statistics.
func learnsFromCohort(t *Template) []Learns {
	var told []string
	for i := range t.Cohort.Statistics {
		told = append(told, fmt.Sprintf("%s of %s", t.Cohort.Statistics[i].Kind, t.Cohort.Statistics[i].Column))
	}
	lender := "how many customers of all banks of the set together meet the condition"
	if len(told) > 0 {
		lender += ", and their " + strings.Join(told, ", ")
	}
	return []Learns{
		{LearnsLender, lender + "; each figure with noise, no bank's alone, and nothing below k people"},
		{LearnsLenderNode, "that shares came, and when; not what they add up to"},
		{LearnsProvider, "which lender asked this of which banks, and the noised count of all; never another bank's figure"},
		{LearnsMembers, "that this lender asked these banks for statistics, the decision, what it debited and whether it was answered; no figure"},
		{LearnsSubject, "nothing: no figure is about one person, and nobody's consent is asked; each moves a figure by no more than epsilon hides"},
	}
}
