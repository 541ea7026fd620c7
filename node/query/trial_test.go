package query_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/vault"
)

// A trial says what every customer would be told, and leaves nothing behind.
func TestTrialCountsWhatCustomersWouldBeTold(t *testing.T) {
	w := newWorld(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	tpl := w.template("at-least", `income >= params.least ? "YES" : "NO"`, []string{"YES", "NO", "MAYBE", record.NoRecord}, "income", "late")
	tpl.Params = []record.Param{{Name: "least", Type: record.TypeInt, Values: []string{"1000", "2000", "2990"}}}
	want := map[string][4]uint64{}
	for i := range 300 {
		row := income(random.Int64N(3000))
		if i%50 == 0 {
			row["income"] = vault.Null()
		}
		w.vault.rows[vault.Subject(fmt.Sprintf("cn:%d", i))] = row
		for _, least := range []int64{1000, 2000, 2990} {
			counts := want[fmt.Sprint(least)]
			switch n, ok := row["income"].Int(); {
			case !ok:
				counts[3]++
			case n >= least:
				counts[0]++
			default:
				counts[1]++
			}
			want[fmt.Sprint(least)] = counts
		}
	}
	got, err := w.a.Try(t.Context(), &w.product, &tpl.TemplateSpec, nil, 0, nil)
	must(t, err)
	if got.Customers != 300 || got.Unusable != 0 || got.K != query.DefaultK || len(got.Questions) != 3 || got.Report.LeakMillibits != 2000 || fmt.Sprint(got.Report.Columns) != "[income]" {
		t.Errorf("%+v", got)
	}
	for _, q := range got.Questions {
		counts := want[q.Params[0].Value]
		for i, o := range q.Outputs {
			if o.Output != tpl.Outputs[i] || o.Customers != counts[i] || o.Few(got.K) != (counts[i] > 0 && counts[i] < 20) {
				t.Errorf("seed %d: least=%s: %+v, want %d", seed, q.Params[0].Value, o, counts[i])
			}
		}
		if q.Nulls != 6 || q.Failed != 0 {
			t.Errorf("least=%s: %d nulls, %d failed", q.Params[0].Value, q.Nulls, q.Failed)
		}
	}
	one, err := w.a.Try(t.Context(), &w.product, &tpl.TemplateSpec, record.ParamValues{{Name: "least", Value: "2000"}}, 5, nil)
	must(t, err)
	if len(one.Questions) != 1 || one.K != 5 || one.Questions[0].Outputs[0].Customers != want["2000"][0] {
		t.Errorf("one set: %+v", one)
	}
	for _, table := range []string{"query_account", "query_frozen", "query_requests", "departures"} {
		var n int
		must(t, w.store.db.QueryRow("SELECT COUNT(*) FROM "+table).Scan(&n))
		if n != 0 {
			t.Errorf("a trial left %d rows in %s", n, table)
		}
	}
}

// What a trial says of a customer is what an answer tells about the same.
func TestTrialAgreesWithAnswers(t *testing.T) {
	w := newWorld(t)
	tpl := w.template("half", `1000 / income > 1 ? "YES" : "NO"`, []string{"YES", "NO", record.NoRecord}, "income")
	told := map[string]uint64{}
	for i, row := range []map[string]vault.Value{income(100), income(200), income(900), income(0), {"income": vault.Null()}} {
		c := w.customer(fmt.Sprintf("cn:%d", i), row)
		k := w.consent(c, "lender-a")
		w.deliver(k)
		told[w.ask(w.permit(k, tpl)).Body.Value]++
	}
	got, err := w.a.Try(t.Context(), &w.product, &tpl.TemplateSpec, nil, 0, nil)
	must(t, err)
	for _, o := range got.Questions[0].Outputs {
		if told[o.Output] != o.Customers {
			t.Errorf("%s: the trial counts %d, answers %d", o.Output, o.Customers, told[o.Output])
		}
	}
	if q := got.Questions[0]; q.Nulls != 1 || q.Failed != 1 {
		t.Errorf("%+v", q)
	}
}

// Of statistics a trial counts who is of the cohort, as package survey counts them: who
// has a null in the condition or in a figure is not.
func TestTrialOfStatisticsCountsTheCohort(t *testing.T) {
	w := newWorld(t)
	for i := range w.product.Columns {
		w.product.Columns[i].Class = record.Class{Kind: record.ClassStatOnly, K: 20, EpsilonMicro: 5_000_000}
	}
	spec := record.TemplateSpec{
		AnswerTTL: 20_000, Columns: []string{"income", "late"}, CostLimit: 100, Kind: record.CohortKind, ProductID: "credit", Source: "income >= params.least",
		Params: []record.Param{{Name: "least", Type: record.TypeInt, Values: []string{"0", "1000"}}}, TemplateID: "debts", Version: 1,
		Cohort: &record.CohortPlan{EpsilonMicro: 1_000_000, K: 20, Statistics: []record.CohortStatistic{{Column: "late", Kind: record.StatisticHistogram, Cuts: []string{"1"}}}},
	}
	for i := range 10 {
		row := map[string]vault.Value{"income": vault.IntValue(int64(200 * i)), "late": vault.IntValue(1), "region": vault.Null()}
		switch i {
		case 1:
			row["income"] = vault.Null()
		case 9:
			row["late"] = vault.Null()
		}
		w.vault.rows[vault.Subject(fmt.Sprintf("cn:%d", i))] = row
	}
	got, err := w.a.Try(t.Context(), &w.product, &spec, nil, 0, nil)
	must(t, err)
	if len(got.Questions) != 2 || got.Customers != 10 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []uint64{8, 4} { // of 0, 400 … 1600; of 1000 … 1600
		q := got.Questions[i]
		if len(q.Outputs) != 2 || q.Outputs[0] != (query.OutputCount{Output: query.InCohort, Customers: want}) || q.Outputs[1] != (query.OutputCount{Output: query.OutsideCohort, Customers: 10 - want}) || q.Nulls != 2 || q.Failed != 0 {
			t.Errorf("%+v, want %d in the cohort", q, want)
		}
	}
}

func TestTrialRefusesWhatCouldNotBeAnswered(t *testing.T) {
	w := newWorld(t)
	w.customer("cn:1", income(1500))
	good := w.incomeBand()
	var values []string
	for i := range query.MaxTrialQuestions + 1 {
		values = append(values, fmt.Sprint(i))
	}
	many := good.TemplateSpec
	many.Params = []record.Param{{Name: "least", Type: record.TypeInt, Values: values[:64]}, {Name: "most", Type: record.TypeInt, Values: values[:2]}}
	if _, err := w.a.Try(t.Context(), &w.product, &many, nil, 0, nil); !errors.Is(err, query.ErrTooManyQuestions) {
		t.Errorf("many questions: %v", err)
	}
	if _, err := w.a.Try(t.Context(), &w.product, &many, record.ParamValues{{Name: "least", Value: "0"}, {Name: "most", Value: "1"}}, 0, nil); err != nil {
		t.Errorf("one of many: %v", err)
	}
	if _, err := w.a.Try(t.Context(), &w.product, &many, record.ParamValues{{Name: "least", Value: "0"}}, 0, nil); !errors.Is(err, query.ErrParameter) {
		t.Errorf("half a set: %v", err)
	}
	broken := good.TemplateSpec
	broken.Source = "nothing"
	var template *query.TemplateError
	if _, err := w.a.Try(t.Context(), &w.product, &broken, nil, 0, nil); !errors.As(err, &template) {
		t.Errorf("broken: %v", err)
	}
	other := w.product
	other.ProductID = "other"
	if _, err := w.a.Try(t.Context(), &other, &good.TemplateSpec, nil, 0, nil); !errors.Is(err, query.ErrNoVault) {
		t.Errorf("no vault: %v", err)
	}
	w.vault.set(func() { w.vault.err = vault.ErrUnavailable })
	if _, err := w.a.Try(t.Context(), &w.product, &good.TemplateSpec, nil, 0, nil); !errors.Is(err, vault.ErrUnavailable) {
		t.Errorf("vault down: %v", err)
	}
	var schema *vault.SchemaError
	w.vault.set(func() { w.vault.err, w.vault.income = nil, vault.String })
	if _, err := w.a.Try(t.Context(), &w.product, &good.TemplateSpec, nil, 0, nil); !errors.As(err, &schema) {
		t.Errorf("mapping: %v", err)
	}
}

// A trial ends with its caller, says how far it is, and lets no second one in.
func TestTrialEndsWithItsCaller(t *testing.T) {
	w := newWorld(t)
	for i := range 20_000 {
		w.vault.rows[vault.Subject(fmt.Sprintf("cn:%d", i))] = income(int64(i))
	}
	tpl := w.incomeBand()
	ctx, cancel := context.WithCancel(t.Context())
	var heard []uint64
	_, err := w.a.Try(ctx, &w.product, &tpl.TemplateSpec, nil, 0, func(read uint64) {
		heard = append(heard, read)
		if _, err := w.a.Try(ctx, &w.product, &tpl.TemplateSpec, nil, 0, nil); !errors.Is(err, query.ErrBuilding) {
			t.Errorf("a second one: %v", err)
		}
		cancel()
	})
	if !errors.Is(err, context.Canceled) || len(heard) != 1 || heard[0] != 8192 {
		t.Errorf("%v after %v", err, heard)
	}
}
