package query_test

import (
	"context"
	"iter"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
)

// pages hands over requests as the ledger's index does, one a page.
func pages(permits ...query.Permit) iter.Seq2[[]record.Request, error] {
	return func(yield func([]record.Request, error) bool) {
		for _, p := range permits {
			if !yield([]record.Request{p.Request}, nil) {
				return
			}
		}
	}
}

func TestWrittenConsentNeedsTheBanksBindingAndCountersignature(t *testing.T) {
	w := newWorld(t)
	w.vault.rows["cn:1"] = income(1500)
	key, err := crypto.GenerateKey()
	must(t, err)
	for _, x := range []struct {
		what    string
		counter *record.Acknowledgement
		bound   bool
		want    string
	}{
		{"bound and countersigned", &record.Acknowledgement{At: 1, OrgID: "bank"}, true, "MID"},
		{"not bound", &record.Acknowledgement{At: 1, OrgID: "bank"}, false, record.NoRecord},
		{"countersigned by another member", &record.Acknowledgement{At: 1, OrgID: "lender"}, true, record.NoRecord},
		{"not countersigned", nil, true, record.NoRecord},
	} {
		k := w.consent(customer{"cn:1", key}, "lender")
		k.record.ConsentType = record.Written
		k.record.Authorisation = &record.Authorisation{At: 1, Method: record.WrittenEvidence, OrgID: "lender", EvidenceHash: record.Hash{1}, Countersignature: x.counter}
		k.part.Endorsement = nil
		w.commit(&k)
		w.deliver(k)
		if x.bound {
			must(t, w.a.BindConsent(t.Context(), k.record.ConsentID, "cn:1"))
		}
		if v := w.ask(w.permit(k, w.incomeBand())).Body.Value; v != x.want {
			t.Errorf("%s: %s, want %s", x.what, v, x.want)
		}
	}
}

// What only the erased consent was given goes; what another was given too stays
// frozen for it; what was debited stays debited.
func TestErasureTakesWhatOnlyThatConsentWasGiven(t *testing.T) {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	region := w.template("region", `region == "north" ? "YES" : "NO"`, []string{"YES", "NO", record.NoRecord}, "region")
	a, b := w.consent(c, "lender"), w.consent(c, "other-lender")
	w.deliver(a)
	w.deliver(b)
	var underA []query.Permit
	for _, tpl := range []record.Template{w.incomeBand(), w.incomeBand(), region} {
		p := w.permit(a, tpl)
		w.ask(p)
		underA = append(underA, p)
	}
	underB := w.permit(b, w.incomeBand())
	w.ask(underB)
	before := w.leaked(c)
	if n := w.count(`SELECT count(*) FROM query_frozen`); n != 2 {
		t.Fatalf("%d answers are frozen", n)
	}
	for range 2 { // again changes nothing
		must(t, w.a.Erase(t.Context(), &a.record, pages(underA...)))
		if n := w.count(`SELECT count(*) FROM query_frozen`); n != 1 {
			t.Errorf("%d answers are frozen after the erasure, want the one that both were given", n)
		}
	}
	for q, want := range map[string]int{
		`SELECT count(*) FROM query_parts`:                               1,
		`SELECT count(*) FROM query_requests`:                            4,
		`SELECT count(*) FROM query_requests WHERE body IS NOT NULL`:     1,
		`SELECT count(*) FROM query_frozen WHERE uses = 1`:               1,
		`SELECT count(*) FROM query_wallets`:                             1,
		`SELECT count(*) FROM query_requests WHERE outcome = 'ANSWERED'`: 4,
	} {
		if n := w.count(q); n != want {
			t.Errorf("%s: %d, want %d", q, n, want)
		}
	}
	for k, v := range w.leaked(c) {
		if before[k] != v {
			t.Errorf("the account %s was %d and is %d", k, before[k], v)
		}
	}
	// The same question again is a new one: paid for, not frozen.
	k := w.consent(c, "lender")
	w.deliver(k)
	w.ask(w.permit(k, region))
	for key, v := range w.leaked(c) {
		if want := before[key]; v < want {
			t.Errorf("the account %s fell from %d to %d", key, want, v)
		}
	}
	if v := w.ask(w.permit(k, w.incomeBand())).Body.Value; v != "MID" {
		t.Errorf("the shared answer is %s", v)
	}
	must(t, w.a.Erase(t.Context(), &b.record, pages(underB)))
	if n := w.count(`SELECT uses FROM query_frozen WHERE code_hash = ?`, underB.Template.CodeHash[:]); n != 1 {
		t.Errorf("%d requests share the answer, want the third consent's", n)
	}
	for _, p := range append(underA, underB) {
		if got, body, ok, err := w.a.Outcome(t.Context(), p.Request.RequestID); err != nil || !ok || got != record.Answered || body != nil {
			t.Errorf("an erased request's outcome is %s, its opening %v (%v)", got, body, err)
		}
	}
}

func TestWithheldRequestsWaitNoLonger(t *testing.T) {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	k, other := w.consent(c, "lender"), w.consent(c, "lender")
	var waiting []query.Permit
	for range 3 {
		p := w.permit(k, w.incomeBand())
		w.handle(p) // its part has not come
		waiting = append(waiting, p)
	}
	stays := w.permit(other, w.incomeBand())
	w.handle(stays)
	n, err := w.a.Withhold(t.Context(), k.record.ConsentID)
	must(t, err)
	if n != len(waiting) {
		t.Errorf("%d requests were withheld, %d waited", n, len(waiting))
	}
	for _, p := range waiting {
		d, ok := w.out.get(p.Request.RequestID)
		if !ok || d.Sealed != nil || d.Receipt.Outcome != record.Withheld || d.Receipt.Check() != nil {
			t.Errorf("what departed is %+v, %t", d, ok)
		}
	}
	w.run()
	w.deliver(k) // too late
	w.deliver(other)
	w.wait(stays.Request.RequestID)
	for _, p := range waiting {
		if got, body, ok, err := w.a.Outcome(context.Background(), p.Request.RequestID); err != nil || !ok || got != record.Withheld || body != nil {
			t.Errorf("a withheld request became %s (%v, %v)", got, body, err)
		}
	}
	if n, err := w.a.Withhold(t.Context(), k.record.ConsentID); n != 0 || err != nil {
		t.Errorf("withheld again: %d, %v", n, err)
	}
}

// Without the data key nobody knows whose answers those were: the erasure is not
// done, and says so, until the key is back.
func TestErasureWithoutTheDataKeyFails(t *testing.T) {
	w := newWorld(t)
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	w.deliver(k)
	p := w.permit(k, w.incomeBand())
	w.ask(p)
	w.noKey = true
	if err := w.a.Erase(t.Context(), &k.record, pages(p)); err == nil {
		t.Error("erased without the key")
	}
	if n := w.count(`SELECT count(*) FROM query_requests WHERE body IS NOT NULL`); n != 1 {
		t.Error("a failed erasure left half of its work")
	}
	w.noKey = false
	must(t, w.a.Erase(t.Context(), &k.record, pages(p)))
	if n := w.count(`SELECT count(*) FROM query_frozen`); n != 0 {
		t.Errorf("%d answers are frozen", n)
	}
}
