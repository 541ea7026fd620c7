package badinput

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/sdk"
)

// batchOf asks one question n times.
func batchOf(t *testing.T, c *consent, n int) string {
	t.Helper()
	key, err := answer.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	one := ask(t, c)
	item := encode(t, &record.BatchSpec{AnswerKey: key.PublicKey().Bytes(), Items: []record.BatchItem{
		{ConsentID: one.ConsentID, Params: one.Params, Purpose: one.Purpose, TemplateID: one.TemplateID},
	}})
	// An honest encoder refuses more than record.MaxBatch: the text is made by hand.
	begin, rest, ok := strings.Cut(item, "[{")
	middle, end, ok2 := strings.Cut(rest, "}]")
	if !ok || !ok2 {
		t.Fatalf("batch: %s", item)
	}
	return begin + "[" + strings.TrimSuffix(strings.Repeat("{"+middle+"},", n), ",") + "]" + end
}

// testLife: batches that are too large or empty, and consents that name what an
// authority has suspended.
func testLife(t *testing.T, w *world) {
	c := w.granted(t, card, func(d *sdk.ConsentDraft) { d.MaxUses = 10 })
	p := w.as("lender/integration")
	x := w.nodes[p.org]
	good := batchOf(t, c, 1)
	for name, k := range map[string]struct {
		arg, says string
	}{
		"a batch of one too many": {batchOf(t, c, record.MaxBatch+1), "items"},
		"an empty batch":          {batchOf(t, c, 0), "items"},
		"a batch with a stranger": {strings.Replace(good, string(c.id), "Jane", 1), "item 0: consent id"},
		"a batch of another form": {strings.Replace(good, `"items"`, `"questions"`, 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, o := x.submit(t, w.bearer(t, p, x.node), sign(t, p, w.payload(p, "access", "RequestBatch", k.arg)).Encode())
			if o == nil { // turned away at the door, by its size
				if r.status != 400 || r.code() != "BAD_REQUEST" {
					t.Errorf("answer is %d %s %s", r.status, r.code(), r.message)
				}
				return
			}
			refused(t, r, o, "BAD_REQUEST", k.says)
		})
	}
	t.Run("suspended", func(t *testing.T) { testSuspended(t, w, c) })
	usage, err := record.Load[record.Usage](w.read(t, overseer+"/auditor", 0, "access", "Usage", string(c.id)))
	if err != nil || usage.Uses != 0 {
		t.Errorf("refused batches and suspended parties used the consent: %+v, %v", usage, err)
	}
	w.commits(t)
}

// testSuspended: the bank of a consent, its product, or its template is taken out
// of use: a request is denied with the reason, a new consent refused.
func testSuspended(t *testing.T, w *world, c *consent) {
	ctx, rule := t.Context(), w.client(t, overseer, "officer")
	tmpl := c.prepared.Terms.TemplateIDs[0]
	for name, k := range map[string]struct {
		code         string
		suspend, end func() (*sdk.Outcome, error)
	}{
		"party": {"MEMBER_SUSPENDED",
			func() (*sdk.Outcome, error) {
				return rule.Members().Suspend(ctx, bank, record.SuspendedForInvestigation)
			},
			func() (*sdk.Outcome, error) { return rule.Members().Reinstate(ctx, bank) }},
		"product": {"PRODUCT_SUSPENDED",
			func() (*sdk.Outcome, error) {
				return rule.Products().Suspend(ctx, card, record.SuspendedForInvestigation)
			},
			func() (*sdk.Outcome, error) { return rule.Products().Reinstate(ctx, card) }},
		"template": {"TEMPLATE_SUSPENDED",
			func() (*sdk.Outcome, error) {
				return rule.Templates().Suspend(ctx, tmpl, record.SuspendedForInvestigation)
			},
			func() (*sdk.Outcome, error) { return rule.Templates().Reinstate(ctx, tmpl) }},
	} {
		t.Run(name, func(t *testing.T) {
			next := w.prepare(t, card, nil)
			if _, err := k.suspend(); err != nil {
				t.Fatal(err)
			}
			spec := ask(t, c)
			w.denied(t, &spec, k.code)
			_, err := w.client(t, lender, "integration").Consents().Create(ctx, next.prepared)
			if string(sdk.CodeOf(err)) != k.code {
				t.Errorf("a new consent: %v, want %s", err, k.code)
			}
			if _, err := k.end(); err != nil {
				t.Fatal(err)
			}
		})
	}
	// A lender that is suspended itself asks and agrees to nothing; that leaves no use.
	t.Run("asker", func(t *testing.T) {
		next := w.prepare(t, card, nil)
		o, err := rule.Members().Suspend(ctx, lender, record.SuspendedForInvestigation)
		if err != nil {
			t.Fatal(err)
		}
		w.read(t, lender+"/auditor", o.Height, "membership", "GetMember", lender) // its node has executed it
		spec := ask(t, c)
		d, r, out := w.request(t, "lender/integration", &spec)
		if d != nil {
			t.Errorf("a suspended lender's request is decided: %+v", d)
		} else {
			refused(t, r, out, "MEMBER_SUSPENDED", "by an authority")
		}
		if _, err := w.client(t, lender, "integration").Consents().Create(ctx, next.prepared); string(sdk.CodeOf(err)) != "MEMBER_SUSPENDED" {
			t.Errorf("a new consent: %v", err)
		}
		if _, err := rule.Members().Reinstate(ctx, lender); err != nil {
			t.Fatal(err)
		}
	})
}
