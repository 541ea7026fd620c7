package celquery

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/querytest"
	"github.com/assent-network/assent/node/vault"
)

func TestConforms(t *testing.T) {
	querytest.Run(t, func() query.Engine { return New() }, querytest.Language{
		AtLeast:     `income >= params.min ? "YES" : "NO"`,
		NullIsNo:    `income == null ? "NO" : "YES"`,
		Region:      `region == "north" && active ? "YES" : "NO"`,
		Divide:      `100 / income > 1 ? "YES" : "NO"`,
		ReadsSalary: `salary > 1 ? "YES" : "NO"`,
		ReadsOther:  `income > 1 || other > 1 ? "YES" : "NO"`,
		ReadsGhost:  `ghost > 1 ? "YES" : "NO"`,
		SaysMaybe:   `income > 1 ? "YES" : "MAYBE"`,
		YieldsInt:   `income`,
		RawRegion:   `region`,
		Nonsense:    "income >\n  ? YES",
		Costly:      `income in [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21] ? "YES" : "NO"`,
		Unbounded: []string{
			`[1,2,3].all(x, [1,2,3].all(y, [1,2,3].all(z, x + y + z > income))) ? "YES" : "NO"`,
			`size([income].map(x, [x, x, x])) > 1 ? "YES" : "NO"`,
			`cel.bind(a, region + region, cel.bind(b, a + a, b)) == "x" ? "YES" : "NO"`,
			`region.matches("(a+)+$") ? "YES" : "NO"`,
		},
	})
}

// TestRefusals: what a data officer reads. Each construct that the language leaves
// out, and what is said about it.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("income + ", 1000) + "1 > 1 ? \"YES\" : \"NO\""
	deep := strings.Repeat("(", 100) + "income" + strings.Repeat(")", 100) + ` > 1 ? "YES" : "NO"`
	for _, c := range []struct{ source, want string }{
		{`income > 1.5 ? "YES" : "NO"`, "1:10: no floating-point numbers: write amounts as whole numbers of the minor unit"},
		{`income > 1u ? "YES" : "NO"`, "no unsigned numbers"},
		{`b"a" == b"a" ? "YES" : "NO"`, "no byte strings"},
		{"income > 1\n  ? \"YES\"\n  : incme", `3:5: "incme" is neither a declared column nor a name bound by cel.bind; the product's columns: active, income, other, region`},
		{`cohort > 1 ? "YES" : "NO"`, `column "cohort": its class is STAT_ONLY: it may enter cohort statistics, not answers about one subject; leave it out`},
		{`total > 1 ? "YES" : "NO"`, `column "total": its class is SUM_ONLY`},
		{`salary > 1 ? "YES" : "NO"`, `1:1: column "salary": its class is NEVER: no answer may depend on it; leave it out`},
		{`other > 1 ? "YES" : "NO"`, `column "other" is read but not declared; add it to the template's columns`},
		{`min > 1 ? "YES" : "NO"`, `"min" is a parameter; write params.min`},
		{`params.max > 1 ? "YES" : "NO"`, `there is no parameter "max"; the template's parameters: min`},
		{`row.income > 1 ? "YES" : "NO"`, `write the column as income, without row.`},
		{`region.size > 1 ? "YES" : "NO"`, `values have no fields`},
		{`has(region.x) ? "YES" : "NO"`, `has: no loops or presence tests: a template reads one row; compare with null instead of has()`},
		{`[1].exists(x, x > income) ? "YES" : "NO"`, `exists: no loops`},
		{`[1].map(x, x) == [1] ? "YES" : "NO"`, `map: no loops`},
		{`double(income) > income ? "YES" : "NO"`, `double is not part of the template language`},
		{`region.matches("a") ? "YES" : "NO"`, `matches is not part of the template language; it has comparisons, && || !, ?:, + - * / % on integers, in, startsWith, cel.bind, points and band`},
		{`timestamp("2026-01-01T00:00:00Z") > income ? "YES" : "NO"`, `timestamp is not part`},
		{`size(region) > 1 ? "YES" : "NO"`, `size is not part`},
		{`string(income)`, `string is not part`},
		{`dyn(income) == 1 ? "YES" : "NO"`, `dyn is not part`},
		{`type(income) == int ? "YES" : "NO"`, `type is not part`},
		{`[1, 2][income] > 1 ? "YES" : "NO"`, `[] is not part`},
		{`{"a": 1} == {"a": 1} ? "YES" : "NO"`, `maps and messages are not part`},
		{`google.protobuf.Int64Value{value: 1} == 1 ? "YES" : "NO"`, `maps and messages are not part`},
		{`region + "x"`, `+ does not work on (string, string); both sides must be integers, or both strings`},
		{`income > "1" ? "YES" : "NO"`, `> does not work on (int, string)`},
		{`active > false ? "YES" : "NO"`, `> does not work on (bool, bool)`},
		{`income`, `the template yields int, but an answer is one of the outputs, which are strings`},
		{`income > 1`, `the template yields bool`},
		{`null`, `the template yields null`},
		{`income > 1 ? "YES" : 0`, `does not work on (bool, string, int)`},
		{`income >`, `1:9: the source ends too early`},
		{``, `the source ends too early`},
		{`income > 1 ? "YES" : "PERHAPS"`, `1:22: the template can say "PERHAPS", which its outputs do not list; outputs: YES, NO, NO_RECORD`},
		{`band(income, [1], ["NO", "PERHAPS"])`, `the template can say "PERHAPS"`},
		{`cel.bind(x, income, x > 1 ? "YES" : "PERHAPS")`, `the template can say "PERHAPS"`},
		{`cel.bind(income, 1, income > 1 ? "YES" : "NO")`, `cel.bind: the name "income" is taken; choose another`},
		{`cel.bind(salary, 1, salary > 1 ? "YES" : "NO")`, `cel.bind: the name "salary" is taken`},
		{`cel.bind(x, 1, cel.bind(x, 2, x > 1 ? "YES" : "NO"))`, `cel.bind: the name "x" is taken`},
		{`cel.bind(a, 1, cel.bind(b, 1, cel.bind(c, 1, cel.bind(d, 1, cel.bind(e, 1, cel.bind(f, 1, cel.bind(g, 1, "YES")))))))`, `cel.bind: at most 6 inside one another`},
		{`cel.bind(x, salary, "YES")`, `its class is NEVER`},
		{`band(income, [2, 1], ["YES", "NO", "YES"])`, `band: the cuts must ascend`},
		{`band(income, [1, 1], ["YES", "NO", "YES"])`, `band: the cuts must ascend`},
		{`band(income, [1, 2], ["YES", "NO"])`, `band: 2 cuts make 3 intervals, but there are 2 entries`},
		{`band(income, [], ["YES"])`, `band: 0 cuts make 1 intervals`},
		{`band(income, [params.min], ["YES", "NO"])`, `band: a cut must be a whole number written out`},
		{`band(income, active ? [1] : [2], ["YES", "NO"])`, `band: write both lists out in place`},
		{`points(income, [1], [1]) > 1 ? "YES" : "NO"`, `points: 1 cuts make 2 intervals, but there are 1 entries`},
		{`points(income, [1], ["a", "b"]) > 1 ? "YES" : "NO"`, `points does not work on`},
		{long, `source of`},
		{deep, `recursion limit`},
	} {
		tpl := querytest.Template("true")
		tpl.Source = c.source
		_, err := New().Check(querytest.Product(), &tpl.TemplateSpec)
		var te *query.TemplateError
		if !errors.As(err, &te) {
			t.Errorf("%.60s: error %v", c.source, err)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s:\n  got  %v\n  want %s", c.source, err, c.want)
		}
	}
}

func TestSeveralProblemsAreReportedTogether(t *testing.T) {
	tpl := querytest.Template(`salary > 1.5 && ghost == matches(region) ? "YES" : "NO"`)
	_, err := New().Check(querytest.Product(), &tpl.TemplateSpec)
	var te *query.TemplateError
	if !errors.As(err, &te) || len(te.Problems) != 4 {
		t.Errorf("want four problems: %v", err)
	}
}

func TestReservedWordsCannotNameColumns(t *testing.T) {
	p := querytest.Product()
	for _, word := range []string{"in", "params", "band", "int", "for", "null"} {
		p.Columns[2].Name = word
		tpl := querytest.Template(`active ? "YES" : "NO"`)
		tpl.Columns = []string{"active", word}
		if _, err := New().Check(p, &tpl.TemplateSpec); err == nil || !strings.Contains(err.Error(), "word of the template language") {
			t.Errorf("%s: %v", word, err)
		}
	}
}

// TestScoreCard is a weight-of-evidence card as a risk officer would write it: a base,
// points per characteristic, a band.
func TestScoreCard(t *testing.T) {
	p := &record.ProductSpec{ProductID: "cards", Version: 1}
	for _, name := range []string{"age", "limit_bal", "pay_0", "pay_2"} {
		p.Columns = append(p.Columns, record.Column{Name: name, Type: record.TypeInt, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 4, BitsPerYear: 8}})
	}
	spec := record.TemplateSpec{TemplateID: "score", ProductID: "cards", Version: 1, Kind: record.Score, AnswerTTL: 1000, CostLimit: 1000,
		Columns: []string{"age", "limit_bal", "pay_0", "pay_2"}, Outputs: []string{"A", "B", "C", "D", record.NoRecord},
		Source: `
cel.bind(score,
  600
  + points(pay_0,     [0, 1, 2],                [38, 21, -27, -104])
  + points(pay_2,     [0, 2],                   [17, 4, -58])
  + points(limit_bal, [50000, 150000, 300000],  [-31, -2, 19, 40])
  + (age < 25 ? -12 : 0),
  band(score, [500, 580, 640], ["D", "C", "B", "A"]))`}
	hash, err := spec.CodeHash()
	if err != nil {
		t.Fatal(err)
	}
	tpl := &record.Template{TemplateSpec: spec, CodeHash: hash}
	e := New()
	report, err := e.Check(p, &spec)
	if err != nil || len(report.Notes) != 0 || report.LeakMillibits != 2322 {
		t.Fatalf("%+v: %v", report, err)
	}
	for _, c := range []struct {
		age, limit, pay0, pay2 int64
		want                   string
	}{
		{30, 400_000, -1, -1, "A"}, // 600+38+17+40
		{30, 100_000, 0, 0, "B"},   // 600+21+4-2 = 623
		{24, 50_000, 1, 0, "C"},    // 600-27+4-2-12 = 563
		{24, 20_000, 2, 2, "D"},    // 600-104-58-31-12 = 395
		{30, 150_000, 0, 1, "A"},   // 600+21+4+19 = 644: a cut belongs to the interval above it
		{30, 149_999, 0, 1, "B"},   // 623
	} {
		got, err := e.Evaluate(p, tpl, nil, vault.Row{vault.IntValue(c.age), vault.IntValue(c.limit), vault.IntValue(c.pay0), vault.IntValue(c.pay2)})
		if err != nil || got != c.want {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	if _, err := e.Evaluate(p, tpl, nil, make(vault.Row, 4)); !errors.Is(err, query.ErrNull) {
		t.Errorf("nulls: %v", err)
	}
}

func TestLogicIsShortAndNullsCompareAsThemselves(t *testing.T) {
	yes := vault.BoolValue(true)
	null := vault.Null()
	for _, c := range []struct {
		source string
		row    vault.Row // active, income, region
		want   string    // "" means ErrNull
	}{
		{`income == null || income > 5 ? "YES" : "NO"`, vault.Row{yes, null, null}, "YES"},
		{`income != null && income > 5 ? "YES" : "NO"`, vault.Row{yes, null, null}, "NO"},
		{`income in [1, 2] ? "YES" : "NO"`, vault.Row{yes, null, null}, "NO"},
		{`income == 5 ? "YES" : "NO"`, vault.Row{yes, null, null}, "NO"},
		{`region.startsWith("n") ? "YES" : "NO"`, vault.Row{yes, null, null}, ""},
		{`points(income, [1], [0, 1]) == 1 ? "YES" : "NO"`, vault.Row{yes, null, null}, ""},
		{`active ? "YES" : "NO"`, vault.Row{null, null, null}, ""},
		{`-income > 5 ? "YES" : "NO"`, vault.Row{yes, vault.IntValue(-6), null}, "YES"},
		{`income % 7 == 6 ? "YES" : "NO"`, vault.Row{yes, vault.IntValue(13), null}, "YES"},
		{`region < "o" ? "YES" : "NO"`, vault.Row{yes, null, vault.StringValue("north")}, "YES"},
		{`!active ? "NO" : region in ["north", "south"] ? "YES" : "NO_RECORD"`, vault.Row{yes, null, vault.StringValue("south")}, "YES"},
	} {
		tpl := querytest.Template(c.source)
		got, err := New().Evaluate(querytest.Product(), tpl, record.ParamValues{{Name: "min", Value: "100"}}, c.row)
		if c.want == "" && !errors.Is(err, query.ErrNull) || c.want != "" && (err != nil || got != c.want) {
			t.Errorf("%s: %q, %v; want %q", c.source, got, err, c.want)
		}
	}
}

func TestOutputsFromParametersMustAllBeListed(t *testing.T) {
	tpl := querytest.Template(`income > 1 ? params.word : "NO"`)
	tpl.Params = []record.Param{{Name: "word", Type: record.TypeString, Values: []string{"YES", "PERHAPS"}}}
	if _, err := New().Check(querytest.Product(), &tpl.TemplateSpec); err == nil || !strings.Contains(err.Error(), `"PERHAPS"`) {
		t.Errorf("error %v", err)
	}
	tpl.Params[0].Values = []string{"YES"}
	if _, err := New().Check(querytest.Product(), &tpl.TemplateSpec); err != nil {
		t.Error(err)
	}
}

// TestNoSourceTakesLong: parsing and checking are bounded by the limits on the text,
// running by the cost limit, whatever somebody thinks up.
func TestNoSourceTakesLong(t *testing.T) {
	nest := func(n int, open, inner, end string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	for name, source := range map[string]string{
		"nested ternaries": nest(60, `income > 1 ? "YES" : (`, `"NO"`, `)`),
		"many ternaries":   strings.Repeat(`income > 1 ? "YES" : `, 300) + `"NO"`,
		"deepest binds, large": `cel.bind(a, income, cel.bind(b, a + a, cel.bind(c, b + b, cel.bind(d, c + c, cel.bind(e, d + d, cel.bind(f, e + e, ` +
			strings.Repeat("(f > 1 && e > 1 && d > 1) ? \"YES\" : ", 120) + `"NO"))))))`,
		"nested binds": nest(30, `cel.bind(x, income + 1, (`, `income > 1 ? "YES" : "NO"`, `))`),
		"long list":    `income in [` + strings.TrimSuffix(strings.Repeat("1,", 3000), ",") + `] ? "YES" : "NO"`,
		"many errors":  strings.Repeat("ghost + ", 500) + "1",
		"doubling binds": func() string {
			s := `income > v24 ? "YES" : "NO"`
			for i := 24; i > 0; i-- {
				s = fmt.Sprintf("cel.bind(v%d, v%d + v%d, %s)", i, i-1, i-1, s)
			}
			return `cel.bind(v0, income, ` + s + `)`
		}(),
	} {
		tpl := querytest.Template("true")
		tpl.Source = source
		querytest.Rehash(tpl)
		start := time.Now()
		e := New()
		out, err := e.Evaluate(querytest.Product(), tpl, record.ParamValues{{Name: "min", Value: "100"}}, vault.Row{vault.BoolValue(true), vault.IntValue(3), vault.StringValue("x")})
		if took := time.Since(start); took > 10*time.Second { // generous: what it guards against is exponential
			t.Errorf("%s: %v, %v", name, took, err)
		}
		if err == nil && !slices.Contains(tpl.Outputs, out) {
			t.Errorf("%s: %q", name, out)
		}
	}
}

// FuzzTemplate: no source makes the engine panic, and whatever Check lets pass yields
// a listed output or one of the documented errors.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{`income >= params.min ? "YES" : "NO"`, `band(income, [1, 2], ["YES", "NO", "NO_RECORD"])`,
		`cel.bind(x, points(income, [1], [1, 2]), x > 1 ? "YES" : "NO")`, `region in ["a"] && !active ? "YES" : "NO"`, `region`, `((((`, `-9223372036854775808`} {
		f.Add(s, int64(5), "north")
	}
	e := New()
	f.Fuzz(func(t *testing.T, source string, n int64, s string) {
		tpl := querytest.Template("true")
		tpl.Source = source
		hash, err := tpl.TemplateSpec.CodeHash()
		if err != nil {
			return
		}
		tpl.CodeHash = hash
		start := time.Now()
		_, checkErr := e.Check(querytest.Product(), &tpl.TemplateSpec)
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("checking took %v", took)
		}
		out, err := e.Evaluate(querytest.Product(), tpl, record.ParamValues{{Name: "min", Value: "200"}}, vault.Row{vault.BoolValue(n%2 == 0), vault.IntValue(n), vault.StringValue(s)})
		var te *query.TemplateError
		switch {
		case errors.As(checkErr, &te) != errors.As(err, &te):
			t.Fatalf("checked with %v, evaluated with %v", checkErr, err)
		case err == nil && !slices.Contains(tpl.Outputs, out):
			t.Fatalf("output %q", out)
		case err != nil && te == nil && !errors.Is(err, query.ErrEvaluation) && !errors.Is(err, query.ErrNull):
			t.Fatalf("error %v", err)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	e, p := New(), querytest.Product()
	for name, source := range map[string]string{"predicate": `income >= params.min ? "YES" : "NO"`,
		"band": `cel.bind(s, 600 + points(income, [100, 200], [1, 2, 3]), band(s, [601, 602], ["NO", "YES", "NO_RECORD"]))`} {
		tpl := querytest.Template(source)
		row := vault.Row{vault.BoolValue(true), vault.IntValue(150), vault.StringValue("north")}
		params := record.ParamValues{{Name: "min", Value: "100"}}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := e.Evaluate(p, tpl, params, row); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	p, tpl := querytest.Product(), querytest.Template(`income >= params.min ? "YES" : "NO"`)
	for b.Loop() {
		if _, err := New().Check(p, &tpl.TemplateSpec); err != nil {
			b.Fatal(err)
		}
	}
}
