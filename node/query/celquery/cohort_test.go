package celquery

import (
	"errors"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/vault"
)

func statistics(source string) (*record.ProductSpec, *record.Template) {
	stat := record.Class{Kind: record.ClassStatOnly, K: 20, EpsilonMicro: 1_000_000}
	p := &record.ProductSpec{ProductID: "stats", Columns: []record.Column{
		{Name: "age", Type: record.TypeInt, Class: stat}, {Name: "band", Type: record.TypeInt, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 1, BitsPerYear: 2}},
		{Name: "debt", Type: record.TypeInt, Class: stat}, {Name: "hidden", Type: record.TypeInt, Class: record.Class{Kind: record.ClassNever}},
	}}
	t := &record.Template{TemplateSpec: record.TemplateSpec{
		AnswerTTL: 20_000, Cohort: &record.CohortPlan{EpsilonMicro: 1_000_000, K: 20, Statistics: []record.CohortStatistic{{Column: "debt", Kind: record.StatisticSum, Low: "0", High: "9", Granule: 1}}},
		Columns: []string{"age", "debt"}, CostLimit: 100, Kind: record.CohortKind, ProductID: "stats", Source: source, TemplateID: "debts", Version: 1,
		Params: []record.Param{{Name: "from", Type: record.TypeInt, Values: []string{"20", "40"}}},
	}}
	t.CodeHash, _ = t.TemplateSpec.CodeHash()
	return p, t
}

func TestAConditionSaysWhoBelongsToACohort(t *testing.T) {
	p, tpl := statistics(`age >= params.from && age != 50`)
	e := New()
	if _, err := e.Check(p, &tpl.TemplateSpec); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		age  vault.Value
		want string
		err  error
	}{
		{vault.IntValue(40), query.InCohort, nil}, {vault.IntValue(39), "", nil}, {vault.IntValue(50), "", nil}, {vault.Null(), "", query.ErrNull},
	} {
		got, err := e.Evaluate(p, tpl, record.ParamValues{{Name: "from", Value: "40"}}, vault.Row{c.age, vault.Null()})
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v: %q, %v", c.age, got, err)
		}
	}
	if _, err := e.Evaluate(p, tpl, record.ParamValues{{Name: "from", Value: "41"}}, make(vault.Row, 2)); !errors.Is(err, query.ErrParameter) {
		t.Errorf("a parameter that nobody listed: %v", err)
	}
}

func TestConditionsAreRefusedInWords(t *testing.T) {
	for source, want := range map[string]string{
		`age > 1 ? "YES" : "NO"`: "the condition yields string; who belongs to the cohort is true or false",
		`age`:                    "the condition yields int",
		`band > 1`:               "",
		`hidden > 1`:             "",
		`[1, 2].all(x, x < age)`: "no loops",
		`ghost > 1`:              "neither a declared column",
	} {
		p, tpl := statistics(source)
		_, err := New().Check(p, &tpl.TemplateSpec)
		var told *query.TemplateError
		if !errors.As(err, &told) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", source, err)
		}
	}
	for _, column := range []string{"band", "hidden"} { // declared, but of another class
		p, tpl := statistics(column + " > 1")
		tpl.Columns = []string{column, "debt"}
		if _, err := New().Check(p, &tpl.TemplateSpec); err == nil || !strings.Contains(err.Error(), "statistics read STAT_ONLY columns") {
			t.Errorf("%s: %v", column, err)
		}
	}
}
