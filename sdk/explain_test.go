package sdk_test

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// Before asking, a template's price and reach can be read; nothing is asked by it.
func TestExplanationSaysWhatAnAnswerCosts(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id := w.authorised(c).ConsentID
	e, err := c.Queries().Explain(t.Context(), fakenode.Template, "")
	w.must(err)
	if !e.Usable || e.Epoch != w.epoch() || e.Questions != 2 || e.Anchored != 0 || e.Millibits != 1585 || e.Remaining != nil || len(e.Learns) != 5 {
		t.Errorf("%+v", e)
	}
	want := sdk.ColumnCost{Name: "income", DataClass: "C2", Class: "ANSWER_ONLY", Millibits: 1585, BitsPerEpoch: 8, BitsPerYear: 32, PerEpoch: 5, PerYear: 20}
	if len(e.Columns) != 1 || e.Columns[0] != want {
		t.Errorf("columns: %+v", e.Columns)
	}
	w.net.Anchor(subject, "HIGH", e.Epoch, months)
	e, err = c.Queries().Explain(t.Context(), fakenode.Template, id)
	w.must(err)
	if r := e.Remaining; e.Anchored != 1 || r == nil || r.Uses != 3 || r.Consent != id || len(r.Columns) != 1 || r.Columns[0] != (sdk.ColumnRemaining{Name: "income", AtMost: 8000}) {
		t.Errorf("anchored %d, %+v", e.Anchored, r)
	}
	if list, err := c.Uses(t.Context(), id); err != nil || list.Usage.Requests != 0 {
		t.Errorf("explaining asked: %+v, %v", list, err)
	}
	if _, err := c.Queries().Explain(t.Context(), "nothing", ""); sdk.CodeOf(err) != "NOT_FOUND" {
		t.Errorf("of no template: %v", err)
	}
	if _, err := c.Queries().Explain(t.Context(), fakenode.Template, "zz"); err == nil {
		t.Error("explained for a consent that cannot exist")
	}
}

// The record of an answer counts a question once, however often it is asked, and
// nothing for what was not answered.
func TestRecordOfAnAnswerSaysWhatWasLearntAndWhatRemains(t *testing.T) {
	w := newWorld(t)
	c := w.lender()
	id := w.authorised(c).ConsentID
	var last *sdk.QueryResult
	ask := func(months string) {
		t.Helper()
		q := question(id)
		q.Params = map[string]string{"months": months}
		var err error
		last, err = c.Query(t.Context(), q)
		w.must(err)
	}
	for _, m := range []string{"12", "12"} {
		ask(m)
	}
	l, err := c.Queries().Learnt(t.Context(), last.Verified, last.Answer.Value)
	w.must(err)
	if l.Millibits != 1585 || l.RequestID != last.Decision.RequestID || l.Remaining.Uses != 1 || l.Remaining.Columns[0] != (sdk.ColumnRemaining{Name: "income", Used: 1585, AtMost: 6415}) {
		t.Errorf("%+v, %+v", l, l.Remaining)
	}
	if !strings.HasPrefix(l.Learns[0].What, "HIGH, one of 3 outputs: at most 1.585 bits about income") || strings.Contains(l.Learns[3].What, "HIGH") {
		t.Errorf("%+v", l.Learns)
	}

	// A refusal debits nothing that is known of.
	w.net.Provider = func(_ *record.Request, a answer.Answer) (sealed, committed answer.Answer, send bool) {
		a.Outcome, a.Body.Value = record.Refused, ""
		return a, a, true
	}
	ask("3")
	l, err = c.Queries().Learnt(t.Context(), last.Verified, "")
	w.must(err)
	if l.Millibits != 0 || len(l.Columns) != 0 || l.Remaining.Uses != 0 || l.Remaining.Columns[0].Used != 1585 {
		t.Errorf("refused: %+v, %+v", l, l.Remaining)
	}

	// Others than the lender read the same record of the ledger, without the output.
	v, err := c.Queries().Receipt(t.Context(), last.Decision.RequestID)
	w.must(err)
	if l, err = c.Queries().Learnt(t.Context(), v, ""); err != nil || !strings.Contains(l.Learns[0].What, "refuses") {
		t.Errorf("by receipt: %+v, %v", l, err)
	}
}

func TestTemplatesAreTriedOverTheVault(t *testing.T) {
	w := newWorld(t)
	bank := w.dial("officer "+fakenode.Bank, fakenode.Bank, []*fakenode.Node{w.serve(fakenode.Bank)})
	var seen []uint64
	got, err := bank.Templates().Try(t.Context(), fakenode.TemplateSpec(), sdk.TrialOptions{K: 50, Params: map[string]string{"months": "3"}, Progress: func(n uint64) { seen = append(seen, n) }})
	w.must(err)
	if len(seen) != 2 || seen[0] != 8192 || got.Customers != 20_000 || got.K != 50 || got.Few() != 2 || got.Questions[0].Params["months"] != "3" || got.Columns[0].Name != "income" {
		t.Errorf("%v, %+v", seen, got)
	}
	if got, err = bank.Templates().Try(t.Context(), fakenode.TemplateSpec(), sdk.TrialOptions{}); err != nil || got.K != 20 || got.Few() != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
