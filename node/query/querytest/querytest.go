// Package querytest is the conformance suite of query.Engine. An engine brings its
// own spelling of a few questions; the suite holds it to what every template
// language must keep.
package querytest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/vault"
)

// Language is an engine's spelling of the suite's questions over the columns income
// (INT), region (STRING) and active (BOOL), and the parameter min (INT).
type Language struct {
	AtLeast     string   // income ≥ min ? "YES" : "NO"
	NullIsNo    string   // income is null ? "NO" : "YES"
	Region      string   // region = "north" and active ? "YES" : "NO"
	Divide      string   // 100 / income > 1 ? "YES" : "NO"
	ReadsSalary string   // reads the column salary, whose class is NEVER
	ReadsOther  string   // reads the column other, which the template does not declare
	ReadsGhost  string   // reads a column that does not exist
	SaysMaybe   string   // can yield "MAYBE", which is not listed
	YieldsInt   string   // yields income itself
	RawRegion   string   // yields region itself
	Nonsense    string   // does not parse
	Costly      string   // correct, of a worst case above 20
	Unbounded   []string // loops or grows without a bound known in advance, or would need to
}

// Run runs the suite.
func Run(t *testing.T, open func() query.Engine, l Language) {
	s := suite{open: open, l: l}
	t.Run("AnswersByRowAndParameter", s.answers)
	t.Run("NullsAreValuesOrErrNull", s.nulls)
	t.Run("ParametersComeFromTheirEnumeration", s.parameters)
	t.Run("RowDependentFailureIsErrEvaluation", s.failures)
	t.Run("TemplatesThatMayNotRunAreRefusedWithAPlace", s.refused)
	t.Run("CostIsLimitedBeforeAndAtRunTime", s.cost)
	t.Run("ReportNamesWhatIsRead", s.report)
	t.Run("ErrorsHoldNoValues", s.silent)
	t.Run("ConcurrentUse", s.concurrent)
}

type suite struct {
	open func() query.Engine
	l    Language
}

// Product is the product that the suite's templates read.
func Product() *record.ProductSpec {
	only := record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 4, BitsPerYear: 8}
	return &record.ProductSpec{ProductID: "credit", Version: 1, Columns: []record.Column{
		{Name: "active", Type: record.TypeBool, Class: only},
		{Name: "cohort", Type: record.TypeInt, Class: record.Class{Kind: record.ClassStatOnly, K: 10, EpsilonMicro: 1}},
		{Name: "income", Type: record.TypeInt, Class: only},
		{Name: "other", Type: record.TypeInt, Class: only},
		{Name: "region", Type: record.TypeString, Class: only},
		{Name: "salary", Type: record.TypeInt, Class: record.Class{Kind: record.ClassNever}},
		{Name: "share", Type: record.TypeDouble, Class: only},
		{Name: "total", Type: record.TypeInt, Class: record.Class{Kind: record.ClassSumOnly}},
	}}
}

// Template is a template of the suite over the columns active, income and region.
func Template(source string) *record.Template {
	t := &record.Template{TemplateSpec: record.TemplateSpec{
		TemplateID: "t", Version: 1, ProductID: "credit", Kind: record.Predicate, Source: source, AnswerTTL: 1000, CostLimit: 1000,
		Columns: []string{"active", "income", "region"}, Outputs: []string{"YES", "NO", record.NoRecord},
		Params: []record.Param{{Name: "min", Type: record.TypeInt, Values: []string{"100", "200"}}},
	}}
	Rehash(t)
	return t
}

// Rehash gives a changed template its code hash.
func Rehash(t *record.Template) {
	hash, err := t.TemplateSpec.CodeHash()
	if err != nil {
		panic(fmt.Sprintf("querytest: a template of the suite has no code hash: %v", err))
	}
	t.CodeHash = hash
}

func row(active, income, region vault.Value) vault.Row { return vault.Row{active, income, region} }

var (
	minimum100 = record.ParamValues{{Name: "min", Value: "100"}}
	minimum200 = record.ParamValues{{Name: "min", Value: "200"}}
	null       = vault.Null()
	north      = vault.StringValue("north")
)

func (s suite) answers(t *testing.T) {
	e := s.open()
	for _, c := range []struct {
		source string
		params record.ParamValues
		row    vault.Row
		want   string
	}{
		{s.l.AtLeast, minimum100, row(null, vault.IntValue(150), null), "YES"},
		{s.l.AtLeast, minimum200, row(null, vault.IntValue(150), null), "NO"},
		{s.l.AtLeast, minimum200, row(null, vault.IntValue(200), null), "YES"},
		{s.l.AtLeast, minimum100, row(null, vault.IntValue(-1<<63), null), "NO"},
		{s.l.Region, minimum100, row(vault.BoolValue(true), null, north), "YES"},
		{s.l.Region, minimum100, row(vault.BoolValue(false), null, north), "NO"},
		{s.l.Region, minimum100, row(vault.BoolValue(true), null, vault.StringValue("NORTH")), "NO"},
		{s.l.RawRegion, minimum100, row(null, null, vault.StringValue("YES")), "YES"},
	} {
		got, err := e.Evaluate(Product(), Template(c.source), c.params, c.row)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.source, got, err, c.want)
		}
	}
}

func (s suite) nulls(t *testing.T) {
	e := s.open()
	for income, want := range map[vault.Value]string{null: "NO", vault.IntValue(0): "YES"} {
		if got, err := e.Evaluate(Product(), Template(s.l.NullIsNo), minimum100, row(null, income, null)); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", s.l.NullIsNo, got, err, want)
		}
	}
	if got, err := e.Evaluate(Product(), Template(s.l.AtLeast), minimum100, row(null, null, null)); !errors.Is(err, query.ErrNull) || got != "" {
		t.Errorf("null not handled: %q, %v", got, err)
	}
}

func (s suite) parameters(t *testing.T) {
	e := s.open()
	for name, params := range map[string]record.ParamValues{
		"not enumerated": {{Name: "min", Value: "150"}},
		"other spelling": {{Name: "min", Value: "0100"}},
		"unknown":        {{Name: "max", Value: "100"}},
		"missing":        nil,
		"one too many":   {{Name: "max", Value: "100"}, {Name: "min", Value: "100"}},
	} {
		if got, err := e.Evaluate(Product(), Template(s.l.AtLeast), params, row(null, vault.IntValue(1), null)); !errors.Is(err, query.ErrParameter) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	bad := Template(s.l.AtLeast)
	bad.Params[0].Values = []string{"100", "one hundred"}
	s.wantProblem(t, bad, "one hundred")
	bad = Template(s.l.AtLeast)
	bad.Params[0].Type = record.TypeDouble
	s.wantProblem(t, bad, "min")
}

func (s suite) failures(t *testing.T) {
	e := s.open()
	for _, c := range []struct {
		source string
		row    vault.Row
	}{
		{s.l.Divide, row(vault.BoolValue(true), vault.IntValue(0), north)},
		{s.l.RawRegion, row(vault.BoolValue(true), vault.IntValue(0), north)},
		{s.l.AtLeast, vault.Row{vault.IntValue(1)}},
	} {
		if got, err := e.Evaluate(Product(), Template(c.source), minimum100, c.row); !errors.Is(err, query.ErrEvaluation) || got != "" {
			t.Errorf("%s: %q, %v", c.source, got, err)
		}
	}
}

// wantProblem checks that a template is refused by Check and by Evaluate alike, with
// a message that holds the given words.
func (s suite) wantProblem(t *testing.T, tpl *record.Template, words ...string) []query.Problem {
	t.Helper()
	Rehash(tpl)
	e := s.open()
	_, err := e.Check(Product(), &tpl.TemplateSpec)
	var te *query.TemplateError
	if !errors.As(err, &te) || len(te.Problems) == 0 {
		t.Errorf("%s: checked with error %v", tpl.Source, err)
		return nil
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: no word of %q in %v", tpl.Source, w, err)
		}
	}
	if _, err := e.Evaluate(Product(), tpl, minimum100, row(vault.BoolValue(true), vault.IntValue(1), north)); !errors.As(err, &te) {
		t.Errorf("%s: evaluated with error %v", tpl.Source, err)
	}
	return te.Problems
}

func (s suite) refused(t *testing.T) {
	for source, words := range map[string][]string{
		s.l.ReadsSalary: {"salary", "NEVER"}, s.l.ReadsOther: {"other", "declare"}, s.l.ReadsGhost: {"ghost"},
		s.l.SaysMaybe: {"MAYBE"}, s.l.YieldsInt: nil, s.l.Nonsense: nil,
	} {
		for _, p := range s.wantProblem(t, Template(source), words...) {
			if p.Line < 1 || p.Column < 1 {
				t.Errorf("%s: problem without a place: %v", source, p)
			}
		}
	}
	for column, word := range map[string]string{"salary": "NEVER", "total": "SUM_ONLY", "cohort": "STAT_ONLY", "share": "minor units", "ghost": "none of this name"} {
		tpl := Template(s.l.AtLeast)
		tpl.Columns = append(tpl.Columns, column)
		s.wantProblem(t, tpl, column, word)
	}
	tpl := Template(s.l.AtLeast)
	tpl.Outputs = []string{"YES", "NO"}
	s.wantProblem(t, tpl, record.NoRecord)
}

func (s suite) cost(t *testing.T) {
	tpl := Template(s.l.Costly)
	if _, err := s.open().Check(Product(), &tpl.TemplateSpec); err != nil {
		t.Fatalf("within its limit: %v", err)
	}
	tpl.CostLimit = 20
	s.wantProblem(t, tpl, "limit", "20")
	tpl.CostLimit = 1 << 40
	s.wantProblem(t, tpl, "limit")
	for _, source := range s.l.Unbounded {
		s.wantProblem(t, Template(source))
	}
}

func (s suite) report(t *testing.T) {
	r, err := s.open().Check(Product(), &Template(s.l.Region).TemplateSpec)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(r.Columns) != "[active region]" || r.LeakMillibits != 1585 || r.CostMax == 0 || r.CostMax > 1000 {
		t.Errorf("report %+v", r)
	}
	if len(r.Notes) == 0 || !strings.Contains(strings.Join(r.Notes, " "), "income") {
		t.Errorf("no note of the column declared but not read: %v", r.Notes)
	}
}

func (s suite) silent(t *testing.T) {
	e := s.open()
	for _, source := range []string{s.l.RawRegion, s.l.Divide, s.l.AtLeast} {
		_, err := e.Evaluate(Product(), Template(source), record.ParamValues{{Name: "min", Value: "424242"}}, row(null, vault.IntValue(0), vault.StringValue("secret-town")))
		_, err2 := e.Evaluate(Product(), Template(source), minimum100, row(vault.BoolValue(true), vault.IntValue(0), vault.StringValue("secret-town")))
		if text := fmt.Sprint(err, err2); strings.Contains(text, "secret") || strings.Contains(text, "424242") {
			t.Errorf("%s: %s", source, text)
		}
	}
}

func (s suite) concurrent(t *testing.T) {
	e := s.open()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			tpl := Template(s.l.AtLeast)
			tpl.Version = uint64(i%20) + 1
			Rehash(tpl)
			want := "NO"
			if i >= 100 {
				want = "YES"
			}
			if got, err := e.Evaluate(Product(), tpl, minimum100, row(null, vault.IntValue(int64(i)), null)); err != nil || got != want {
				t.Errorf("%d: %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}
