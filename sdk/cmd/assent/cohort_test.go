package main

import (
	"bytes"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

func cohortResult() *sdk.CohortResult {
	d := sdk.CohortDecision{ID: sdk.Hash{9}, Permit: true, Code: "PERMIT", Height: 7}
	d.Record.Plan.EpsilonMicro, d.Record.Plan.K, d.Record.Year = 1_000_000, 100, 2026
	for _, bank := range []sdk.OrgID{"bank-a", "bank-b", "bank-c"} {
		d.Record.Seats = append(d.Record.Seats, sdk.CohortSeat{Bank: bank, Code: "PERMIT", CapMicro: 3_500_000, SpentMicro: 1_000_000, ProductID: "stats", TemplateID: "late"})
	}
	return &sdk.CohortResult{
		Decision: d, Verified: &sdk.VerifiedCohort{Receipts: make([]sdk.AccessReceipt, 3)}, Timing: sdk.QueryTiming{Decided: time.Millisecond},
		Statistics: &sdk.CohortStatistics{Count: 3130, Deviation: 5, Figures: []cohort.Figure{
			{Statistic: cohort.Statistic{Kind: cohort.Mean, Column: "limit"}, Mean: 1000, Deviation: 10},
			{Statistic: cohort.Statistic{Kind: cohort.Sum, Column: "debt"}, Sum: big.NewInt(-70), Deviation: 10},
			{Statistic: cohort.Statistic{Kind: cohort.Histogram, Column: "age", Cuts: []int64{30, 50}}, Buckets: []int64{11, 12, -3}, Deviation: 1},
		}},
	}
}

// shown runs a command's last step and returns what it prints and its exit code.
func shown(t *testing.T, asJSON bool, run func(a *app) error) (string, int) {
	t.Helper()
	var out bytes.Buffer
	a := &app{surroundings: &surroundings{out: &out}}
	a.flags.json = asJSON
	err := run(a)
	var v verdict
	switch x := err.(type) {
	case nil:
	case verdict:
		v = x
	default:
		t.Fatal(err)
	}
	return out.String(), int(v)
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("want %q in:\n%s", p, text)
		}
	}
}

func TestStatisticsAreShownWithTheirNoise(t *testing.T) {
	r := cohortResult()
	text, code := shown(t, false, func(a *app) error { return a.showCohort(r) })
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	wants(t, text, "3130 (3119.4 to 3140.6) over 3 banks", "MEAN of limit", "1000 (978.8 to 1021.2)", "SUM of debt", "-70 (-91.2 to -48.8)",
		"age below 30", "age 30 to below 50", "age from 50", "-3 (", "has left of 2026 is 2.5")
	text, _ = shown(t, true, func(a *app) error { return a.showCohort(r) })
	var v struct {
		Decision string
		Count    struct {
			Value, Deviation float64
			Interval95       [2]float64
		}
		Figures []struct {
			Kind    string
			Value   *struct{ Value float64 }
			Buckets []struct{ Value float64 }
		}
		Banks    []struct{ EpsilonLeft float64 }
		Verified bool
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	if v.Decision != "PERMIT" || !v.Verified || v.Count.Value != 3130 || v.Count.Interval95 != [2]float64{3119.4, 3140.6} || v.Figures[1].Value.Value != -70 || v.Figures[2].Buckets[2].Value != -3 || v.Banks[0].EpsilonLeft != 2.5 {
		t.Errorf("%+v", v)
	}
}

func TestADenialSaysWhatIsLeft(t *testing.T) {
	r := cohortResult()
	r.Decision.Permit, r.Decision.Code, r.Decision.Remedy, r.Statistics, r.Verified = false, "EPSILON_EXHAUSTED", "wait", nil, nil
	for i := range r.Decision.Record.Seats {
		r.Decision.Record.Seats[i].Code, r.Decision.Record.Seats[i].SpentMicro = "EPSILON_EXHAUSTED", 3_000_000
	}
	text, code := shown(t, false, func(a *app) error { return a.showCohort(r) })
	wants(t, text, "DENY EPSILON_EXHAUSTED", "bank-b", "epsilon 0.5 left of the year")
	if code != int(exitDenied) {
		t.Errorf("exit code %d", code)
	}
	text, _ = shown(t, true, func(a *app) error { return a.showCohort(r) })
	wants(t, text, `"decision":"DENY"`, `"epsilonLeft":0.5`, `"remedy":"See what each product has left`)
	if strings.Contains(text, `"count"`) {
		t.Errorf("a denial with a figure: %s", text)
	}
}

func TestWhyNothingIsReleased(t *testing.T) {
	for _, c := range []struct {
		none  sdk.NoStatistics
		code  int
		wants []string
	}{
		{sdk.NoStatistics{TooFew: true, K: 100}, int(exitDenied), []string{"fewer than 100 people", "wider condition"}},
		{sdk.NoStatistics{Faults: []sdk.CohortFault{{Bank: "bank-c", Kind: cohort.Missing, Detail: "says bank-a"}}}, int(exitLater), []string{"bank-c: MISSING (says bank-a)", "debits again"}},
		{sdk.NoStatistics{Faults: []sdk.CohortFault{{Bank: "bank-b", Kind: cohort.Conflicting}}}, int(exitLie), []string{"bank-b: CONFLICTING", "authority"}},
		{sdk.NoStatistics{Faults: []sdk.CohortFault{{Kind: cohort.Garbled}}}, int(exitLie), []string{"GARBLED", "audit"}},
	} {
		for _, asJSON := range []bool{false, true} {
			text, code := shown(t, asJSON, func(a *app) error { return a.showNoStatistics(&c.none) })
			if code != c.code {
				t.Errorf("%s: exit code %d, want %d", c.none.Error(), code, c.code)
			}
			if asJSON {
				wants(t, text, `"released":false`, `"tooFew":`)
				continue
			}
			wants(t, text, append(c.wants, "nothing is released")...)
		}
	}
	for _, kind := range []cohort.FaultKind{cohort.Missing, cohort.Late, cohort.Malformed, cohort.Replayed, cohort.Conflicting, cohort.MaskDispute, cohort.ViewDispute, cohort.Garbled} {
		if cohortRemedies[kind] == "" {
			t.Errorf("%s has no remedy", kind)
		}
	}
}

// furnishStatistics puts three banks of statistics on a script's ledger, and the
// template of one of them into a file.
func furnishStatistics(env *testscript.Env, net *fakenode.Network) error {
	debts := slices.Repeat([]int64{100}, 1000)
	bank := net.FurnishStatistics(debts, debts, debts)[0]
	spec := fakenode.StatTemplate(bank)
	b, err := sdk.JSON(&spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(env.WorkDir, "debts.json"), b, 0o600)
}
