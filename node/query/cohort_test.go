package query_test

import (
	"context"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query"
)

// silentBanks stands for a member's part of which the other banks' never come.
type silentBanks struct{ decides time.Time }

func (b silentBanks) Decides(*record.Cohort) time.Time { return b.decides }

func (b silentBanks) Part(context.Context, *query.Permit) (*query.Part, error) {
	if time.Now().Before(b.decides) {
		return nil, nil
	}
	return &query.Part{Value: answer.BlamedValue, Carries: []byte(`[]`)}, nil
}

// A bank that is down is named when its time is over, however far apart the attempts
// have become by then: at the next of them the request itself might be.
func TestABankThatIsSilentIsNamedInTime(t *testing.T) {
	for name, restarted := range map[string]bool{"at once": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			banks := silentBanks{time.Now().Add(200 * time.Millisecond)}
			open := func() {
				cfg := w.cfg
				cfg.RetryMin, cfg.RetryMax, cfg.Cohorts = time.Hour, time.Hour, banks
				var err error
				w.a, err = query.Open(t.Context(), cfg)
				must(t, err)
			}
			open()
			k := w.consent(w.customer("anna", income(1)), "lender")
			p := w.permit(k, w.template("late-band", `late > 0 ? "LATE" : "OK"`, []string{"LATE", "OK"}, "late"))
			p.Cohort = &record.Cohort{
				AnswerKey: p.Request.AnswerKey, CohortID: record.Hash{1}, Consumer: "lender", Decision: record.Permit,
				RequestedAt: p.Request.RequestedAt, Deadline: p.Request.Deadline, Purpose: record.CreditChecking,
			}
			w.handle(p)
			if restarted {
				w.reopen()
				open()
			}
			w.run()
			if d := w.wait(p.Request.RequestID); d.Receipt.Outcome != record.Answered || time.Now().Before(banks.decides) {
				t.Fatalf("outcome %s, %s before the banks' time was over", d.Receipt.Outcome, time.Until(banks.decides))
			}
		})
	}
}

// countedBanks says how often a part was made.
type countedBanks struct{ parts *int }

func (countedBanks) Decides(*record.Cohort) time.Time { return time.Now().Add(time.Hour) }

func (b countedBanks) Part(context.Context, *query.Permit) (*query.Part, error) {
	*b.parts++
	return &query.Part{Value: answer.TooFewValue}, nil
}

// Statistics that may have left before the database was lost are not made again: other
// noise over the same figures would tell more than was debited. Their epsilon stands on
// the ledger, so that nothing is debited here and no epoch is closed.
func TestStatisticsThatMayHaveLeftAreNotMadeAgain(t *testing.T) {
	w := newWorld(t)
	made := 0
	cfg := w.cfg
	cfg.Cohorts = countedBanks{&made}
	var err error
	w.a, err = query.Open(t.Context(), cfg)
	must(t, err)
	c := w.customer("anna", income(1))
	k := w.consent(c, "lender")
	ask := func(n byte) query.Permit {
		p := w.permit(k, w.template("late-band", `late > 0 ? "LATE" : "OK"`, []string{"LATE", "OK"}, "late"))
		p.Consent = record.Consent{} // nobody's customer consents
		p.Cohort = &record.Cohort{
			AnswerKey: p.Request.AnswerKey, CohortID: record.Hash{n}, Consumer: "lender", Decision: record.Permit,
			RequestedAt: p.Request.RequestedAt, Deadline: p.Request.Deadline, Purpose: record.CreditChecking,
		}
		return p
	}
	silent, answered, fresh := ask(1), ask(2), ask(3)
	for range 2 { // delivered again, nothing happens
		must(t, w.a.Forgo(t.Context(), silent, "", true))
		must(t, w.a.Forgo(t.Context(), answered, record.Answered, true))
	}
	d, ok := w.out.get(silent.Request.RequestID)
	if !ok || d.Sealed != nil || d.Receipt.Outcome != record.Withheld {
		t.Errorf("what has no receipt departs as %+v", d)
	}
	must(t, d.Receipt.Check())
	if d, ok := w.out.get(answered.Request.RequestID); ok {
		t.Errorf("a second receipt departs: %+v", d)
	}
	if yes, err := w.a.Closed(t.Context(), "credit", 1); yes || err != nil {
		t.Errorf("the epoch is closed: %v", err)
	}
	if got := w.leaked(c); len(got) != 0 {
		t.Errorf("bits were debited: %v", got)
	}
	w.handle(silent)
	w.handle(answered)
	if made != 0 {
		t.Fatalf("%d parts were made of what may have left", made)
	}
	w.handle(fresh)
	if made != 1 {
		t.Errorf("%d parts were made of a request that nobody answered", made)
	}
}
