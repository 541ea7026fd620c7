package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Verify holds a set and its shares against the ledger with no node trusted: the set is
// certified, for this very request and with the banks, epochs, keys and pledges that
// the shares were checked against; and each bank's certified receipt commits to the
// share that it sent. An *Untrusted error says that something is wrong.
func (m Exposures) Verify(ctx context.Context, t *ExposureTicket, d *ExposureDecision, shares []SeatShare) (*VerifiedExposure, error) {
	p := m.prove(ctx, t, d)
	defer p.stop()
	return m.verify(p, d, shares)
}

// provingSet collects, in the background, what a set is held against.
type provingSet struct {
	stop     context.CancelFunc // ends it; wait returns soon after
	group    *errgroup.Group
	verified VerifiedExposure
}

func (m Exposures) prove(ctx context.Context, t *ExposureTicket, d *ExposureDecision) *provingSet {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	p := &provingSet{group: g, verified: VerifiedExposure{Receipts: make([]AccessReceipt, len(d.Record.Seats))}}
	p.stop = func() { cancel(); _ = g.Wait() } // its error is the cancellation, or was returned by verify
	permitted := make([]*BatchResult, len(d.Record.Seats))
	for i := range d.Record.Seats {
		permitted[i] = &BatchResult{Item: i, Result: &QueryResult{Decision: Decision{RequestID: d.Record.Seats[i].RequestID}}}
	}
	whole := m.c.Queries().newWhole(ctx, []*Ticket{t.seat(0)}, permitted)
	g.Go(func() error { whole.watch(ctx); return nil })
	g.Go(func() (err error) {
		key := record.ExposureKey(d.ID)
		if p.verified.Proof, err = m.c.Proofs().Receipt(ctx, d.ID, key); err != nil {
			return err
		}
		e, err := record.Load[record.Exposure](p.verified.Proof.Records[key])
		if err == nil {
			err = asked(t, e, d.ID)
		}
		if err != nil {
			return &Untrusted{Node: "the node", What: "the set " + d.ID.Hex(), Cause: err}
		}
		p.verified.Record = *e
		return nil
	})
	for i := range d.Record.Seats {
		s := &d.Record.Seats[i]
		g.Go(func() (err error) {
			if tx, ok := whole.receipt(ctx, s.RequestID); ok {
				_, err = m.c.Queries().receiptIn(ctx, tx, s.RequestID, &p.verified.Receipts[i])
				return err
			}
			_, err = m.c.Queries().proveReceipt(ctx, s.ConsentID, s.RequestID, t.Height, &p.verified.Receipts[i])
			return err
		})
	}
	return p
}

// verify waits for the proofs, at most as long as for a transaction, and holds the set
// and its shares against them.
func (m Exposures) verify(p *provingSet, d *ExposureDecision, shares []SeatShare) (*VerifiedExposure, error) {
	late := time.AfterFunc(m.c.set.timeouts.Commit, p.stop)
	err := p.group.Wait()
	var lie *Untrusted
	if fired := !late.Stop(); fired && err != nil && !errors.As(err, &lie) {
		e := notSent("prove receipts of "+d.ID.Hex(), "NOT_COMMITTED", "a bank has recorded no receipt yet", "Verify again later with the same ticket.")
		e.retryable = true
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	v := &p.verified
	shown, err := record.Encode(&d.Record)
	if err != nil {
		return nil, err
	}
	certified, err := record.Encode(&v.Record)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(shown, certified) {
		return nil, &Untrusted{Node: "the node", What: "the set " + d.ID.Hex(), Cause: errors.New("the ledger certifies another one")}
	}
	if len(shares) != len(v.Record.Seats) {
		return nil, &ConfigError{What: fmt.Sprintf("verify: %d shares for %d banks", len(shares), len(v.Record.Seats)), Remedy: "Give what Collect returned."}
	}
	for i := range shares {
		if err := m.holdSeat(&v.Record.Seats[i], &v.Receipts[i], &shares[i]); err != nil {
			return nil, &Untrusted{Node: string(shares[i].Bank), What: "the share of " + string(shares[i].Bank), Cause: err}
		}
	}
	return v, nil
}

// holdSeat compares a bank's certified receipt with the share that it sent.
func (m Exposures) holdSeat(seat *ExposureSeat, r *AccessReceipt, s *SeatShare) error {
	if r.RequestID != seat.RequestID || r.ConsentID != seat.ConsentID {
		return errors.New("the receipt is of another request")
	}
	if s.share() == nil {
		return errors.New("no share came")
	}
	return answer.Verify(*s.Answer.opened, answer.Expect{
		ChainID: m.c.chainID, RequestID: seat.RequestID, ConsentID: seat.ConsentID, TemplateID: seat.TemplateID,
		CodeHash: seat.CodeHash, Epoch: seat.Epoch, Outputs: []string{answer.ShareValue},
	}, *r)
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
