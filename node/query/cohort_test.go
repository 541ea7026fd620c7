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
