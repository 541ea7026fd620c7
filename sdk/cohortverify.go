package sdk

import (
	"context"
	"errors"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Verify holds statistics against the ledger with no node trusted: the set is
// certified, for this very request, with the plan, banks, keys and debits that the
// shares were checked against; and each bank's certified receipt commits to what it
// sent. Of a denial, that the ledger denied for the very reasons shown; it has no
// shares. An *Untrusted error says that something is wrong.
func (m Cohorts) Verify(ctx context.Context, t *CohortTicket, d *CohortDecision, shares []SeatShare) (*VerifiedCohort, error) {
	if !d.Permit {
		return m.verifyDenial(ctx, d)
	}
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

func (m Cohorts) verifyDenial(ctx context.Context, d *CohortDecision) (*VerifiedCohort, error) {
	p, err := m.c.Queries().provenDenial(ctx, d.ID, "cohort", &d.Record)
	if err != nil {
		return nil, err
	}
	return &VerifiedCohort{Record: d.Record, Proof: p}, nil
}

// verifyNone returns why nothing was released if the ledger certifies the set and every
// word that came, else what is wrong with them.
func (m Cohorts) verifyNone(p *provingSet[Cohort, *Cohort], d *CohortDecision, shares []SeatShare, why error) error {
	var none *NoStatistics
	if !errors.As(why, &none) {
		return why
	}
	if err := p.holdSaid(&d.Record, m.seats, shares); err != nil {
		return err
	}
	return why
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
