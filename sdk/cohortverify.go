package sdk

import (
	"context"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Verify holds statistics against the ledger with no node trusted: the set is
// certified, for this very request, with the plan, banks, keys and debits that the
// shares were checked against; and each bank's certified receipt commits to what it
// sent. An *Untrusted error says that something is wrong.
func (m Cohorts) Verify(ctx context.Context, t *CohortTicket, d *CohortDecision, shares []SeatShare) (*VerifiedCohort, error) {
	p := m.prove(ctx, t, d)
	defer p.stop()
	return m.verify(p, d, shares)
}

func (m Cohorts) prove(ctx context.Context, t *CohortTicket, d *CohortDecision) *provingSet[Cohort, *Cohort] {
	return proveSet(ctx, m.c.Queries(), d.ID, record.CohortKey(d.ID), t.seat(0), m.seats(&d.Record), func(c *Cohort) error { return askedCohort(t, c, d.ID) })
}

func (m Cohorts) verify(p *provingSet[Cohort, *Cohort], d *CohortDecision, shares []SeatShare) (*VerifiedCohort, error) {
	if err := p.hold(&d.Record, m.seats, shares); err != nil {
		return nil, err
	}
	return &VerifiedCohort{Record: p.record, Receipts: p.receipts, Proof: p.proof}, nil
}

// seats are the banks of a set, and what their answers are held against. No consent is
// behind them.
func (m Cohorts) seats(c *Cohort) []setSeat {
	out := make([]setSeat, len(c.Seats))
	for i := range c.Seats {
		s := &c.Seats[i]
		out[i] = setSeat{s.Bank, s.Code, answer.Expect{
			ChainID: m.c.chainID, RequestID: s.RequestID, TemplateID: s.TemplateID, CodeHash: s.CodeHash, Epoch: s.Epoch,
			Outputs: []string{answer.ShareValue},
		}}
	}
	return out
}
