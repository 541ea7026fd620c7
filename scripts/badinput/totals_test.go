package badinput

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

// testTotals: sets of banks that are none, and pledges that nobody may register.
// Nothing of a refused set is recorded, and no consent is used.
func testTotals(t *testing.T, w *world) {
	granted := make([]*consent, record.MinExposureBanks)
	good := &record.ExposureSpec{Purpose: record.CreditChecking}
	for i := range granted {
		granted[i] = w.granted(t, card, func(d *sdk.ConsentDraft) { d.MaxUses = 10 })
		one := ask(t, granted[i])
		good.AnswerKey = one.AnswerKey
		good.Items = append(good.Items, record.ExposureItem{ConsentID: one.ConsentID, TemplateID: one.TemplateID})
	}
	slices.SortFunc(good.Items, func(a, b record.ExposureItem) int { return strings.Compare(string(a.ConsentID), string(b.ConsentID)) })
	unknown := func(n int) (out []record.ExposureItem) {
		for i := range n {
			out = append(out, record.ExposureItem{ConsentID: record.ConsentID(fmt.Sprintf("0x%032x", i+1)), TemplateID: good.Items[0].TemplateID})
		}
		return out
	}
	set := func(change func(s *record.ExposureSpec)) string {
		s := *good
		s.Items = slices.Clone(good.Items)
		change(&s)
		return encode(t, &s)
	}
	// An honest encoder refuses more than 30 banks: the text is made by hand.
	most := set(func(s *record.ExposureSpec) { s.Items = unknown(record.MaxExposureBanks) })
	oversized := strings.Replace(most, `"items":[`, `"items":[{"consentId":"0x00000000000000000000000000000000","templateId":"x"},`, 1)
	threshold := record.MakeParamValues(map[string]string{record.ThresholdParam: "1000"})
	for name, k := range map[string]struct {
		arg, code, says string
	}{
		"two banks":                {set(func(s *record.ExposureSpec) { s.Items = s.Items[:2] }), "BAD_REQUEST", "want 3 to 30"},
		"no bank":                  {set(func(s *record.ExposureSpec) { s.Items = nil }), "BAD_REQUEST", "want 3 to 30"},
		"31 banks":                 {oversized, "BAD_REQUEST", "items"},
		"one consent twice":        {set(func(s *record.ExposureSpec) { s.Items[1] = s.Items[0] }), "BAD_REQUEST", "strictly ascending"},
		"out of order":             {set(func(s *record.ExposureSpec) { slices.Reverse(s.Items) }), "BAD_REQUEST", "strictly ascending"},
		"several people":           {set(func(*record.ExposureSpec) {}), "BAD_REQUEST", "one principal key"},
		"threshold for oneself":    {set(func(s *record.ExposureSpec) { s.Params = threshold }), "BAD_REQUEST", "recipient"},
		"aggregator of nothing":    {set(func(s *record.ExposureSpec) { s.Recipient = overseer }), "BAD_REQUEST", "recipient"},
		"a consent that is a name": {strings.Replace(set(func(*record.ExposureSpec) {}), string(good.Items[0].ConsentID), "Jane", 1), "BAD_REQUEST", "consent"},
	} {
		t.Run(name, func(t *testing.T) { w.refusedWrite(t, "lender/integration", "RequestExposure", k.arg, k.code, k.says) })
	}
	pledge := record.PledgeSpec{ConsentID: granted[0].id, Epoch: 1, KeyID: "k", Pledge: record.Hash{1}, TemplateID: good.Items[0].TemplateID}
	t.Run("a lender's pledge", func(t *testing.T) {
		w.refusedWrite(t, "lender/integration", "RegisterPledge", encode(t, &pledge), "FORBIDDEN", "")
	})
	for _, c := range granted {
		if b := w.used(t, c); b != 0 {
			t.Errorf("a refused set used consent %s %d times", c.id, b)
		}
	}
	w.commits(t)
}

// refusedWrite writes to the access contract and wants to be refused.
func (w *world) refusedWrite(t *testing.T, who, function, arg, code, says string) {
	t.Helper()
	p := w.as(who)
	x := w.nodes[p.org]
	r, o := x.submit(t, w.bearer(t, p, x.node), sign(t, p, w.payload(p, "access", function, arg)).Encode())
	refused(t, r, o, code, says)
}

// used is how often the ledger counts a consent as used: not at all if it has no account.
func (w *world) used(t *testing.T, c *consent) uint64 {
	t.Helper()
	list, err := w.client(t, lender, "integration").Uses(t.Context(), c.id)
	if err != nil {
		t.Fatal(err)
	}
	return list.Usage.Uses
}
