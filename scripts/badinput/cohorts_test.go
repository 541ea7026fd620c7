package badinput

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

// testCohorts: requests for statistics that are none, and a template whose plan would
// hide nobody. Nothing is recorded, and nothing debited.
func testCohorts(t *testing.T, w *world) {
	other := ask(t, w.granted(t, card, func(d *sdk.ConsentDraft) { d.MaxUses = 1 })).TemplateID
	good := &record.CohortSpec{AnswerKey: make(record.Blob, 32), Purpose: record.CreditChecking}
	good.AnswerKey[0] = 9
	for i := range record.MinCohortBanks {
		good.Items = append(good.Items, record.CohortItem{KeyID: "k", TemplateID: record.TemplateID(fmt.Sprintf("nobodys-%c", 'a'+i))})
	}
	set := func(change func(c *record.CohortSpec)) string {
		c := *good
		c.Items = slices.Clone(good.Items)
		change(&c)
		return encode(t, &c)
	}
	most := set(func(c *record.CohortSpec) {
		c.Items = nil
		for i := range record.MaxCohortBanks {
			c.Items = append(c.Items, record.CohortItem{KeyID: "k", TemplateID: record.TemplateID(fmt.Sprintf("nobodys-%c", 'a'+i))})
		}
	})
	// An honest encoder refuses more than 12 banks: the text is made by hand.
	oversized := strings.Replace(most, `"items":[`, `"items":[{"keyId":"k","templateId":"a"},`, 1)
	for name, k := range map[string]struct{ arg, code, says string }{
		"two banks":             {set(func(c *record.CohortSpec) { c.Items = c.Items[:2] }), "BAD_REQUEST", "want 3 to 12"},
		"no bank":               {set(func(c *record.CohortSpec) { c.Items = nil }), "BAD_REQUEST", "want 3 to 12"},
		"13 banks":              {oversized, "BAD_REQUEST", "items"},
		"one template twice":    {set(func(c *record.CohortSpec) { c.Items[1] = c.Items[0] }), "BAD_REQUEST", "strictly ascending"},
		"out of order":          {set(func(c *record.CohortSpec) { slices.Reverse(c.Items) }), "BAD_REQUEST", "strictly ascending"},
		"an answer key of zero": {set(func(c *record.CohortSpec) { c.AnswerKey = make(record.Blob, 32) }), "BAD_REQUEST", "answerKey"},
		"templates of nobody":   {set(func(*record.CohortSpec) {}), "NOT_FOUND", "COHORT template"},
		"a template of another kind": {set(func(c *record.CohortSpec) {
			c.Items[0].TemplateID = other
			slices.SortFunc(c.Items, func(a, b record.CohortItem) int { return strings.Compare(string(a.TemplateID), string(b.TemplateID)) })
		}), "NOT_FOUND", "COHORT template"},
		"no record": {"{}", "BAD_REQUEST", "answerKey"},
	} {
		t.Run(name, func(t *testing.T) { w.refusedWrite(t, "lender/integration", "RequestCohort", k.arg, k.code, k.says) })
	}
	t.Run("a bank asks", func(t *testing.T) {
		w.refusedWrite(t, "bank/integration", "RequestCohort", set(func(*record.CohortSpec) {}), "FORBIDDEN", "")
	})
	w.commits(t)
}
