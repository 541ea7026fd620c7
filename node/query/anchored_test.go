package query_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/vault"
)

// anchor builds the answers of a template for an epoch and returns what the provider
// anchors.
func (w *world) anchor(tpl record.Template, number uint64) *record.Anchor {
	w.t.Helper()
	r, err := w.a.BuildAnswers(context.Background(), &w.product, &tpl, nil, number, nil)
	must(w.t, err)
	return &record.Anchor{
		AnchorSpec: record.AnchorSpec{CodeHash: tpl.CodeHash, Epoch: number, Nonce: r.Nonce, Root: r.Root, TemplateID: tpl.TemplateID},
		AnchoredAt: 1, ProductID: tpl.ProductID, Provider: tpl.Provider,
	}
}

func (w *world) anchoredPermit(k consent, tpl record.Template, a *record.Anchor) query.Permit {
	p := w.permit(k, tpl)
	p.Request.Epoch, p.Anchor = a.Epoch, a
	return p
}

func (w *world) proves(a *record.Anchor, got answer.Answer, subject vault.Subject) {
	w.t.Helper()
	if got.Proof == nil {
		w.t.Errorf("%s came without an opening", got.Body.Value)
	}
	must(w.t, got.CheckAnchor(chainID, a, string(subject)))
}

func TestAnchoredAnswersComeWithTheirOpenings(t *testing.T) {
	w := newWorld(t)
	tpl := w.incomeBand()
	c := w.customer("cn:1", income(1500))
	for i := range 40 {
		w.customer(fmt.Sprintf("cn:other:%d", i), income(int64(100*i)))
	}
	a := w.anchor(tpl, 2)
	lookups := w.vault.lookups
	var proof []byte
	for _, lender := range []record.OrgID{"lender-a", "lender-b"} {
		k := w.consent(c, lender)
		w.deliver(k)
		got := w.ask(w.anchoredPermit(k, tpl, a))
		if got.Body.Value != "MID" {
			t.Errorf("%s was told %s", lender, got.Body.Value)
		}
		w.proves(a, got, c.subject)
		if proof != nil && !bytes.Equal(proof, got.Proof) {
			t.Error("two lenders were shown two openings")
		}
		proof = got.Proof
	}
	if w.vault.lookups != lookups {
		t.Error("the vault was asked")
	}
	if len(w.leaked(c)) == 0 {
		t.Error("an anchored answer costs nothing")
	}
}

// What a bank's data say later changes nothing in the epoch, for anybody.
func TestAnEpochIsNotRewritten(t *testing.T) {
	w := newWorld(t)
	tpl := w.incomeBand()
	c := w.customer("cn:1", income(1500))
	first := w.anchor(tpl, 2)
	w.vault.set(func() { w.vault.rows[c.subject] = income(9000) })
	second := w.anchor(tpl, 3)
	for _, q := range []struct {
		a    *record.Anchor
		want string
	}{{first, "MID"}, {second, "HIGH"}, {first, "MID"}} {
		k := w.consent(c, "lender-a")
		w.deliver(k)
		got := w.ask(w.anchoredPermit(k, tpl, q.a))
		if got.Body.Value != q.want {
			t.Errorf("epoch %d: %s, want %s", q.a.Epoch, got.Body.Value, q.want)
		}
		w.proves(q.a, got, c.subject)
		other := first
		if q.a == first {
			other = second
		}
		if err := got.CheckAnchor(chainID, other, string(c.subject)); !errors.Is(err, answer.ErrNotAnchored) {
			t.Errorf("an opening of epoch %d is taken for epoch %d: %v", q.a.Epoch, other.Epoch, err)
		}
	}
}

// Unknown, not bound, come too late: one answer, one shape.
func TestNobodyIsToldApartInAnAnchoredEpoch(t *testing.T) {
	w := newWorld(t)
	tpl := w.incomeBand()
	known := w.customer("cn:1", income(1500))
	nulls := w.customer("cn:null", map[string]vault.Value{})
	a := w.anchor(tpl, 2)
	late := w.customer("cn:late", income(1500))
	unknown := w.customer("cn:unknown", nil)
	stranger := customer{known.subject, unknown.wallet} // somebody else's wallet
	lengths := map[int]bool{}
	for name, c := range map[string]customer{"known": known, "late": late, "unknown": unknown, "unbound": stranger, "null": nulls} {
		k := w.consent(c, "lender-a")
		w.deliver(k)
		p := w.anchoredPermit(k, tpl, a)
		got := w.ask(p)
		d, _ := w.out.get(p.Request.RequestID)
		lengths[len(d.Sealed)] = true
		if name == "known" {
			w.proves(a, got, c.subject)
			continue
		}
		if got.Body.Value != record.NoRecord || got.Proof != nil || got.Body.ProofHash != (record.Hash{}) {
			t.Errorf("%s: %s, %d bytes of opening", name, got.Body.Value, len(got.Proof))
		}
		must(t, got.CheckAnchor(chainID, a, string(c.subject)))
		if d.Receipt.Outcome != record.Answered {
			t.Errorf("%s: %s", name, d.Receipt.Outcome)
		}
	}
	if len(lengths) != 1 {
		t.Errorf("lengths %v", lengths)
	}
}

// Without its file, or with one that is damaged, a bank answers nothing that it could
// not prove.
func TestWithoutItsFileNothingIsAnswered(t *testing.T) {
	w := newWorld(t)
	tpl := w.incomeBand()
	c := w.customer("cn:1", income(1500))
	a := w.anchor(tpl, 2)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(w.path), "epochs", "*"))
	must(t, err)
	whole, err := os.ReadFile(files[0])
	must(t, err)
	must(t, os.WriteFile(files[0], whole[:len(whole)/2], 0o600))
	k := w.consent(c, "lender-a")
	w.deliver(k)
	p := w.anchoredPermit(k, tpl, a)
	w.run()
	w.handle(p)
	if _, ok := w.out.get(p.Request.RequestID); ok {
		t.Fatal("answered without a file that proves it")
	}
	must(t, os.WriteFile(files[0], whole, 0o600))
	w.wait(p.Request.RequestID)
	w.proves(a, w.read(p), c.subject)

	gone := *a
	gone.Nonce[0]++
	q := w.anchoredPermit(k, tpl, &gone)
	q.Request.Deadline = time.Now().Add(30 * time.Millisecond).UnixMilli()
	w.handle(q)
	if d := w.wait(q.Request.RequestID); d.Receipt.Outcome != record.Overdue {
		t.Errorf("without its file: %s", d.Receipt.Outcome)
	}
}

// A request that waited for its sealed part is answered from the anchored epoch
// after a restart, too.
func TestAWaitingRequestKeepsItsAnchor(t *testing.T) {
	w := newWorld(t)
	tpl := w.incomeBand()
	c := w.customer("cn:1", income(1500))
	a := w.anchor(tpl, 2)
	k := w.consent(c, "lender-a")
	p := w.anchoredPermit(k, tpl, a)
	w.handle(p)
	w.reopen()
	w.run()
	w.vault.set(func() { w.vault.rows[c.subject] = income(9000) })
	w.deliver(k)
	w.wait(p.Request.RequestID)
	got := w.read(p)
	if got.Body.Value != "MID" {
		t.Errorf("answered %s", got.Body.Value)
	}
	w.proves(a, got, c.subject)
}

// A refusal has no opening: it says no answer.
func TestARefusalShowsNoOpening(t *testing.T) {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	k := w.consent(c, "lender-a")
	w.deliver(k)
	refused := 0
	for n := range 4 { // two bits an answer, four an epoch
		tpl := w.template(record.TemplateID(fmt.Sprintf("band-%d", n)), fmt.Sprintf(`band(income, [%d, 2000], ["LOW", "MID", "HIGH"])`, 1000+n), []string{"LOW", "MID", "HIGH", record.NoRecord}, "income")
		a := w.anchor(tpl, 2)
		got := w.ask(w.anchoredPermit(k, tpl, a))
		if got.Outcome == record.Refused {
			refused++
			if got.Proof != nil || got.Body.ProofHash != (record.Hash{}) {
				t.Error("a refusal with an opening")
			}
			continue
		}
		w.proves(a, got, c.subject)
	}
	if refused == 0 {
		t.Error("the account refused nothing")
	}
}

func TestAnswersAreBuiltOnlyOfWhatCanBeAnswered(t *testing.T) {
	w := newWorld(t)
	w.customer("cn:1", income(1500))
	good := w.incomeBand()
	unmapped := w.product
	unmapped.ProductID = "other"
	broken := w.template("broken", `band(nothing, [1000, 2000], ["LOW", "MID", "HIGH"])`, []string{"LOW", "MID", "HIGH", record.NoRecord}, "income")
	var schema *vault.SchemaError
	var template *query.TemplateError
	if _, err := w.a.BuildAnswers(t.Context(), &unmapped, &good, nil, 2, nil); !errors.Is(err, query.ErrNoVault) {
		t.Errorf("no vault: %v", err)
	}
	if _, err := w.a.BuildAnswers(t.Context(), &w.product, &good, record.ParamValues{{Name: "min", Value: "1"}}, 2, nil); !errors.Is(err, query.ErrParameter) {
		t.Errorf("parameters: %v", err)
	}
	if _, err := w.a.BuildAnswers(t.Context(), &w.product, &broken, nil, 2, nil); !errors.As(err, &template) {
		t.Errorf("template: %v", err)
	}
	w.vault.set(func() { w.vault.err = vault.ErrUnavailable })
	if _, err := w.a.BuildAnswers(t.Context(), &w.product, &good, nil, 2, nil); !errors.Is(err, vault.ErrUnavailable) {
		t.Errorf("vault down: %v", err)
	}
	w.vault.set(func() { w.vault.err, w.vault.income = nil, vault.String })
	if _, err := w.a.BuildAnswers(t.Context(), &w.product, &good, nil, 2, nil); !errors.As(err, &schema) {
		t.Errorf("mapping: %v", err)
	}
}
