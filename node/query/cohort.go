package query

import (
	"context"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Cohorts makes this member's part in statistics of cohorts; package survey is one.
type Cohorts interface {
	// Part says what the member tells the lender of a permitted request, or nil while
	// that depends on other banks. An error means that it cannot be made now.
	Part(ctx context.Context, p *Permit) (*Part, error)
	// Decides is from when on Part waits for other banks no longer: it is called then.
	Decides(c *record.Cohort) time.Time
}

// Part is what one bank tells the lender: the value of its answer, "" to refuse, and
// what goes with it.
type Part struct {
	Value   string // answer.ShareValue, answer.TooFewValue or answer.BlamedValue
	Carries []byte
}

// workCohort takes a request for statistics as far as it goes now.
func (a *Answerer) workCohort(ctx context.Context, p *Permit) (result, error) {
	part := &Part{}
	if a.cfg.Cohorts != nil {
		var err error
		if part, err = a.cfg.Cohorts.Part(ctx, p); err != nil {
			if ctx.Err() != nil {
				return 0, err
			}
			a.alarm(p, "a share of statistics cannot be made now; trying again until the deadline", err)
			return needsData, nil
		}
	}
	if part == nil {
		return needsData, nil // Hurry wakes it when another bank's share comes, and Decides
	}
	return finished, a.commitPart(ctx, p, part)
}

// decides is when a request that waits for other banks is looked at in any case, zero
// where there are none.
func (a *Answerer) decides(p *Permit) time.Time {
	if p.Cohort == nil || a.cfg.Cohorts == nil {
		return time.Time{}
	}
	return a.cfg.Cohorts.Decides(p.Cohort)
}

// commitPart gives a request for statistics its one outcome.
func (a *Answerer) commitPart(ctx context.Context, p *Permit, part *Part) error {
	ans := answer.Answer{Outcome: record.Refused, Body: a.body(p)}
	if part.Value != "" {
		ans.Outcome, ans.Body.Value = record.Answered, part.Value
	}
	if len(part.Carries) != 0 {
		ans.Proof, ans.Body.ProofHash = part.Carries, answer.ProofHash(part.Carries)
	}
	return a.commitMade(ctx, p, ans, nil)
}

// Hurry works on a waiting request now.
func (a *Answerer) Hurry(id record.RequestID) {
	a.mu.Lock()
	a.waiting.hurry(id)
	a.mu.Unlock()
	a.poke()
}
