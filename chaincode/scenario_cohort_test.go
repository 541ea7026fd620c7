package chaincode_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
)

// foundStatistics gives banks of foundBanks a product for statistics, two millionfold
// epsilons a year, and a template of one.
func (w *world) foundStatistics(banks []string) {
	w.t.Helper()
	for _, bank := range banks {
		org, officer, second := record.OrgID(bank), bank+"-officer", bank+"-second"
		p := product()
		p.ProductID, p.Columns = record.ProductID(bank+"-stats"), []record.Column{
			statColumn("age", 2_000_000), statColumn("owed", 3_000_000),
			{Name: "secret", Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassNever}},
		}
		w.must(org, bank+"-admin", "membership:SetDataKey", encode(w.t, &record.DataKeySpec{
			KeyID: "long", PublicKey: hashOf("long key of " + bank).Bytes(), Suite: record.SuiteX25519, ValidFrom: start, ValidUntil: start + 360*day,
		}))
		w.must(org, officer, "catalog:PublishProduct", encode(w.t, p))
		t := cohortTemplate(bank, bank+"-debts")
		w.must(org, officer, "catalog:ProposeTemplate", encode(w.t, t))
		w.must(org, second, "catalog:ApproveTemplate", string(t.TemplateID), codeHash(w.t, t))
	}
}

func statColumn(name string, epsilon uint64) record.Column {
	return record.Column{Name: name, Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassStatOnly, K: 20, EpsilonMicro: epsilon}}
}

func cohortTemplate(bank, id string) *record.TemplateSpec {
	t := template()
	t.TemplateID, t.ProductID, t.Kind = record.TemplateID(id), record.ProductID(bank+"-stats"), record.CohortKind
	t.Columns, t.Source, t.Outputs, t.Params = []string{"age", "owed"}, "age >= params.from", nil, []record.Param{{Name: "from", Type: record.TypeInt, Values: []string{"20", "40"}}}
	t.Cohort = &record.CohortPlan{EpsilonMicro: 800_000, K: 50, Statistics: []record.CohortStatistic{
		{Kind: record.StatisticMean, Column: "owed", Low: "-100", High: "1000", Granule: 10},
	}}
	return t
}

// cohortSpec asks banks for statistics.
func cohortSpec(banks []string) *record.CohortSpec {
	c := &record.CohortSpec{AnswerKey: hashOf("answer key").Bytes(), Purpose: record.CreditChecking, Params: record.ParamValues{{Name: "from", Value: "40"}}}
	for _, bank := range banks {
		c.Items = append(c.Items, record.CohortItem{KeyID: "data", TemplateID: record.TemplateID(bank + "-debts")})
	}
	slices.SortFunc(c.Items, func(a, b record.CohortItem) int { return strings.Compare(string(a.TemplateID), string(b.TemplateID)) })
	return c
}

// breakCohort changes one thing of a COHORT template.
func breakCohort(t *record.TemplateSpec, how string) {
	c := *t.Cohort
	t.Cohort = &c
	switch how {
	case "k":
		c.K = 19
	case "epsilon":
		c.EpsilonMicro = 2_000_001
	case "column":
		t.Columns, t.Source = []string{"age", "owed", "secret"}, "secret > 0"
	case "none":
		t.Cohort = nil
	case "plan":
		c.K = 51
	case "noise":
		c.EpsilonMicro = 1
	}
}

func (s *scenario) cohortArgs(function string, o options) []string {
	switch function {
	case "RequestCohort":
		c := cohortSpec(strings.Split(o.get("banks", ""), "+"))
		o.set("purpose", func(v string) { c.Purpose = record.Purpose(v) })
		o.set("from", func(v string) { c.Params[0].Value = v })
		o.set("key", func(v string) { c.Items[0].KeyID = record.DataKeyID(v) })
		o.set("keys", func(v string) {
			for i := range c.Items {
				c.Items[i].KeyID = record.DataKeyID(v)
			}
		})
		o.set("template", func(v string) { c.Items[0].TemplateID = record.TemplateID(v) })
		o.set("deadline", func(v string) { c.DeadlineMs = offset(s.t, v) })
		return []string{encode(s.t, c)}
	case "GetCohort":
		return []string{s.ids[o.get("set", "")].Hex()}
	case "GetEpsilon":
		return []string{o.get("product", ""), o.get("year", "2026")}
	}
	return nil
}

// cohortLine prints each bank's code and account; seat i can be named label.i then.
func (s *scenario) cohortLine(out *strings.Builder, label string, c *record.Cohort) {
	fmt.Fprintf(out, "%s=%s %d", label, c.Decision, c.Year)
	for i := range c.Seats {
		seat := &c.Seats[i]
		s.met[seat.Code] = true
		fmt.Fprintf(out, " %s:%s/%d/%d", seat.Bank, seat.Code, seat.SpentMicro, seat.CapMicro)
		id, err := record.ParseHash(string(seat.RequestID))
		if err != nil {
			s.t.Fatal(err)
		}
		s.ids[fmt.Sprintf("%s.%d", label, i)] = id
	}
	if c.Decision == record.Permit {
		fmt.Fprintf(out, " k=%d deadline=%s", c.Plan.K, moment(c.Deadline))
	}
	out.WriteString("\n")
}
