package badinput

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/sdk"
)

// testTrials: a data officer's dry run over the bank's vault, asked for by others,
// for what is not there and in the wrong way; and what is explained of nothing.
func testTrials(t *testing.T, w *world) {
	ctx := t.Context()
	officer, lend := w.client(t, bank, "officer"), w.client(t, lender, "integration")
	good := template(card, "bank.card.trial")

	got, err := officer.Templates().Try(ctx, good, sdk.TrialOptions{K: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got.Customers != uint64(len(customers)-1) || len(got.Questions) != 3 || got.LeakMillibits != 1585 || got.CostMax == 0 || got.CostMax > got.CostLimit {
		t.Errorf("a trial that may be: %+v", got)
	}

	broken, unmapped, unknown := good, good, good
	broken.Source = `shoe_size > 40 ? "YES" : "NO"`
	unknown.ProductID = "bank.nothing"
	unmapped.Columns = []string{"nothing"}
	for name, k := range map[string]struct {
		by    *sdk.Client
		spec  sdk.TemplateSpec
		o     sdk.TrialOptions
		code  string
		words string
	}{
		"by a lender":          {w.client(t, lender, "officer"), good, sdk.TrialOptions{}, "NOT_SERVED", ""},
		"by an integration":    {w.client(t, bank, "integration"), good, sdk.TrialOptions{}, "FORBIDDEN", "is for the roles"},
		"k of one":             {officer, good, sdk.TrialOptions{K: 1}, "BAD_REQUEST", "k is 1, want 2"},
		"k beyond everybody":   {officer, good, sdk.TrialOptions{K: 1 << 40}, "BAD_REQUEST", "want 2 to 1000000"},
		"no such product":      {officer, unknown, sdk.TrialOptions{}, "NOT_FOUND", "bank.nothing"},
		"a value not listed":   {officer, good, sdk.TrialOptions{Params: map[string]string{"at_least": "4999"}}, "PARAMETER_NOT_ALLOWED", "enumeration"},
		"a parameter too many": {officer, good, sdk.TrialOptions{Params: map[string]string{"at_least": "5000", "x": "1"}}, "PARAMETER_NOT_ALLOWED", "enumeration"},
		"a column never read":  {officer, broken, sdk.TrialOptions{}, "BAD_REQUEST", "shoe_size"},
		"a column not there":   {officer, unmapped, sdk.TrialOptions{}, "BAD_REQUEST", "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := k.by.Templates().Try(ctx, k.spec, k.o)
			saysNo(t, err, k.code, k.words)
		})
	}
	for name, k := range map[string]struct {
		template sdk.TemplateID
		consent  sdk.ConsentID
		code     string
	}{
		"explained: no template": {"bank.card.nothing", "", "NOT_FOUND"},
		"explained: no consent":  {band, "0x00000000000000000000000000000000", "CONSENT_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := lend.Queries().Explain(ctx, k.template, k.consent)
			saysNo(t, err, k.code, "")
		})
	}
	w.commits(t)
}

// saysNo wants an error of the network with a code, words and a remedy.
func saysNo(t *testing.T, err error, code, words string) {
	t.Helper()
	e, ok := err.(*sdk.Error)
	if !ok {
		t.Fatalf("%v, want %s", err, code)
	}
	if string(e.Code) != code || !strings.Contains(e.What, words) || e.Remedy == "" {
		t.Errorf("%s: %s: remedy %q; want %s with %q", e.Code, e.What, e.Remedy, code, words)
	}
}
