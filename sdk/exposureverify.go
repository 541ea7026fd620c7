package sdk

import (
	"context"
	"errors"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Verify holds a set and its shares against the ledger with no node trusted: the set is
// certified, for this very request and with the banks, epochs, keys and pledges that
// the shares were checked against; and each bank's certified receipt commits to the
// share that it sent. Of a denial, that the ledger denied for the very reasons shown; it
// has no shares. An *Untrusted error says that something is wrong.
func (m Exposures) Verify(ctx context.Context, t *ExposureTicket, d *ExposureDecision, shares []SeatShare) (*VerifiedExposure, error) {
	if !d.Permit {
		return m.verifyDenial(ctx, d)
	}
	p := m.prove(ctx, t, d)
	defer p.stop()
	return m.verify(p, d, shares)
}

func (m Exposures) prove(ctx context.Context, t *ExposureTicket, d *ExposureDecision) *provingSet[Exposure, *Exposure] {
	return proveSet(ctx, m.c.Queries(), d.ID, record.ExposureKey(d.ID), t.seat(0), m.seats(&d.Record), func(e *Exposure) error { return asked(t, e, d.ID) })
}

func (m Exposures) verify(p *provingSet[Exposure, *Exposure], d *ExposureDecision, shares []SeatShare) (*VerifiedExposure, error) {
	if err := p.hold(&d.Record, m.seats, shares); err != nil {
		return nil, err
	}
	return &VerifiedExposure{Record: p.record, Receipts: p.receipts, Proof: p.proof}, nil
}

func (m Exposures) verifyDenial(ctx context.Context, d *ExposureDecision) (*VerifiedExposure, error) {
	p, err := m.c.Queries().provenDenial(ctx, d.ID, "exposure", &d.Record)
	if err != nil {
		return nil, err
	}
	return &VerifiedExposure{Record: d.Record, Proof: p}, nil
}

// verifyNone returns why there is no total if the ledger certifies the set and every
// word that came, else what is wrong with them.
func (m Exposures) verifyNone(p *provingSet[Exposure, *Exposure], d *ExposureDecision, shares []SeatShare, why error) error {
	var none *NoTotal
	if !errors.As(why, &none) {
		return why
	}
	if err := p.holdSaid(&d.Record, m.seats, shares); err != nil {
		return err
	}
	return why
}

// seats are the banks of a set, and what their answers are held against.
func (m Exposures) seats(e *Exposure) []setSeat {
	out := make([]setSeat, len(e.Seats))
	for i := range e.Seats {
		s := &e.Seats[i]
		out[i] = setSeat{s.Bank, s.Code, answer.Expect{
			ChainID: m.c.chainID, RequestID: s.RequestID, ConsentID: s.ConsentID, TemplateID: s.TemplateID, CodeHash: s.CodeHash, Epoch: s.Epoch,
			Outputs: []string{answer.ShareValue},
		}}
	}
	return out
}

// Get proves the frozen set of a permitted request.
func (m Exposures) Get(ctx context.Context, id Hash) (*Exposure, error) {
	return proven[record.Exposure](ctx, m.c, record.ExposureKey(id))
}

// History proves every different set that was permitted under a principal key, by
// whichever lender; without any it is empty.
func (m Exposures) History(ctx context.Context, principal Address) (*ExposureHistory, error) {
	p, err := m.c.Proofs().Record(ctx, record.ExposureHistoryKey(principal))
	if err != nil {
		return nil, err
	}
	if !p.Present {
		return &ExposureHistory{PrincipalKey: principal}, nil
	}
	return record.Load[record.ExposureHistory](p.Value)
}

// Pledge proves what a bank has registered for a consent, a TOTAL template and an
// epoch; nil if that is proven to be nothing.
func (m Exposures) Pledge(ctx context.Context, consent ConsentID, template TemplateID, epoch uint64) (*Pledge, error) {
	p, err := m.c.Proofs().Record(ctx, record.PledgeKey(consent, template, epoch))
	if err != nil || !p.Present {
		return nil, err
	}
	return record.Load[record.Pledge](p.Value)
}
