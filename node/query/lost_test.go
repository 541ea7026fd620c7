package query_test

import (
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
)

// What may have been answered before the database was lost is paid for and never
// answered again, and the epoch is closed for its product.
func TestWhatMayHaveBeenAnsweredIsNotAnsweredAgain(t *testing.T) {
	w := newWorld(t)
	c := w.customer("cn:1", income(1500))
	k := w.consent(c, "lender")
	w.deliver(k)
	one := w.leakedBy(c, func() { w.ask(w.permit(k, w.incomeBand())) })
	frozen := w.permit(k, w.incomeBand()) // what the database knows costs nothing

	region := w.template("region", `region == "north" ? "YES" : "NO"`, []string{"YES", "NO", record.NoRecord}, "region")
	silent, answered, refused := w.permit(k, region), w.permit(k, region), w.permit(k, region)
	closed := func() bool {
		t.Helper()
		yes, err := w.a.Closed(t.Context(), "credit", 1)
		must(t, err)
		return yes
	}
	before := w.leaked(c)
	must(t, w.a.Forgo(t.Context(), refused, record.Refused, true))
	if closed() || w.leaked(c)["credit epoch 1 region"] != before["credit epoch 1 region"] {
		t.Error("a refusal told something")
	}
	must(t, w.a.Forgo(t.Context(), frozen, record.Answered, true))
	if got := w.leaked(c)["credit epoch 1 income"]; got != one["credit epoch 1 income"] {
		t.Errorf("a frozen answer was paid for again: %d", got)
	}
	for i := range 2 { // delivered again, nothing happens
		must(t, w.a.Forgo(t.Context(), answered, record.Answered, true))
		must(t, w.a.Forgo(t.Context(), silent, "", true))
		if got := w.leaked(c)["credit epoch 1 region"]; got != 2*1585 {
			t.Errorf("round %d: the account says %d, want two answers of three outputs", i, got)
		}
	}
	if !closed() {
		t.Error("the epoch is not closed")
	}
	if yes, err := w.a.Closed(t.Context(), "credit", 2); yes || err != nil {
		t.Errorf("the next epoch is closed: %v", err)
	}
	d, ok := w.out.get(silent.Request.RequestID)
	if !ok || d.Sealed != nil || d.Receipt.Outcome != record.Withheld {
		t.Errorf("what has no receipt departs as %+v", d)
	}
	must(t, d.Receipt.Check())
	for _, p := range []record.RequestID{answered.Request.RequestID, refused.Request.RequestID, frozen.Request.RequestID} {
		if d, ok := w.out.get(p); ok {
			t.Errorf("a second receipt departs: %+v", d)
		}
	}
	// A permit that is delivered again in the usual way is known.
	w.handle(answered)
	if _, ok := w.out.get(answered.Request.RequestID); ok {
		t.Error("it was answered again")
	}
	// One that came later only ends: nobody can have answered it.
	late := w.permit(k, region)
	must(t, w.a.Forgo(t.Context(), late, "", false))
	if got := w.leaked(c)["credit epoch 1 region"]; got != 2*1585 {
		t.Errorf("a request that nobody answered was paid for: %d", got)
	}
}

// leakedBy is the account after something happened.
func (w *world) leakedBy(c customer, f func()) map[string]uint64 {
	f()
	return w.leaked(c)
}

func TestARestoredDatabaseForgetsWhatWaits(t *testing.T) {
	w := newWorld(t)
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	p := w.permit(k, w.incomeBand()) // its part has not come
	w.handle(p)
	must(t, w.a.SaveCheckpoint(t.Context(), 9))
	if n := w.count(`SELECT count(*) FROM query_waiting`); n != 1 {
		t.Fatalf("%d requests wait", n)
	}
	w.reopen()
	must(t, query.Rewind(t.Context(), w.store))
	w.reopen()
	if n := w.count(`SELECT count(*) FROM query_waiting`); n != 0 {
		t.Errorf("%d requests wait after the restore", n)
	}
	if h, err := w.a.Checkpoint(t.Context()); err != nil || h != 0 {
		t.Errorf("the checkpoint is %d, %v", h, err)
	}
	// The part comes late: the permit, delivered again, is withheld.
	w.deliver(k)
	must(t, w.a.Forgo(t.Context(), p, "", true))
	if d, ok := w.out.get(p.Request.RequestID); !ok || d.Receipt.Outcome != record.Withheld {
		t.Errorf("it departs as %+v", d)
	}
}

// A tombstone names no commitment any more: what a restore brought back is found by
// who sent it.
func TestATombstoneErasesWhatARestoreBroughtBack(t *testing.T) {
	w := newWorld(t)
	k := w.consent(w.customer("cn:1", income(1500)), "lender")
	w.deliver(k)
	p := w.permit(k, w.incomeBand())
	w.ask(p)
	tombstone := k.record
	tombstone.RecordCommitment, tombstone.PrincipalKey, tombstone.PrincipalRef = record.Hash{}, record.Address{}, ""
	must(t, w.a.Erase(t.Context(), &tombstone, pages(p)))
	for _, q := range []string{`SELECT count(*) FROM query_parts`, `SELECT count(*) FROM query_frozen`, `SELECT count(*) FROM query_requests WHERE body IS NOT NULL`} {
		if n := w.count(q); n != 0 {
			t.Errorf("%s: %d", q, n)
		}
	}
}
