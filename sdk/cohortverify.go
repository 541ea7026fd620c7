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

// Verify holds statistics against the ledger with no node trusted: the set is
// certified, for this very request, with the plan, banks, keys and debits that the
// shares were checked against; and each bank's certified receipt commits to what it
// sent. An *Untrusted error says that something is wrong.
func (m Cohorts) Verify(ctx context.Context, t *CohortTicket, d *CohortDecision, shares []SeatShare) (*VerifiedCohort, error) {
	p := m.prove(ctx, t, d)
	defer p.stop()
	return m.verify(p, d, shares)
}

// provingCohort collects, in the background, what a set is held against.
type provingCohort struct {
	stop     context.CancelFunc // ends it; wait returns soon after
	group    *errgroup.Group
	verified VerifiedCohort
}

func (m Cohorts) prove(ctx context.Context, t *CohortTicket, d *CohortDecision) *provingCohort {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	p := &provingCohort{group: g, verified: VerifiedCohort{Receipts: make([]AccessReceipt, len(d.Record.Seats))}}
	p.stop = func() { cancel(); _ = g.Wait() } // its error is the cancellation, or was returned by verify
	permitted := make([]*BatchResult, len(d.Record.Seats))
	for i := range d.Record.Seats {
		permitted[i] = &BatchResult{Item: i, Result: &QueryResult{Decision: Decision{RequestID: d.Record.Seats[i].RequestID}}}
	}
	whole := m.c.Queries().newWhole(ctx, []*Ticket{t.seat(0)}, permitted)
	g.Go(func() error { whole.watch(ctx); return nil })
	g.Go(func() (err error) {
		key := record.CohortKey(d.ID)
		if p.verified.Proof, err = m.c.Proofs().Receipt(ctx, d.ID, key); err != nil {
			return err
		}
		c, err := record.Load[record.Cohort](p.verified.Proof.Records[key])
		if err == nil {
			err = askedCohort(t, c, d.ID)
		}
		if err != nil {
			return &Untrusted{Node: "the node", What: "the set " + d.ID.Hex(), Cause: err}
		}
		p.verified.Record = *c
		return nil
	})
	for i := range d.Record.Seats {
		id := d.Record.Seats[i].RequestID
		g.Go(func() (err error) {
			if tx, ok := whole.receipt(ctx, id); ok {
				_, err = m.c.Queries().receiptIn(ctx, tx, id, &p.verified.Receipts[i])
				return err
			}
			_, err = m.c.Queries().proveReceipt(ctx, "", id, t.Height, &p.verified.Receipts[i])
			return err
		})
	}
	return p
}

// verify waits for the proofs, at most as long as for a transaction, and holds the set
// and what the banks sent against them.
func (m Cohorts) verify(p *provingCohort, d *CohortDecision, shares []SeatShare) (*VerifiedCohort, error) {
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
		seat, r := &v.Record.Seats[i], &v.Receipts[i]
		err := errors.New("no share came")
		switch {
		case r.RequestID != seat.RequestID:
			err = errors.New("the receipt is of another request")
		case shares[i].share() != nil:
			err = answer.Verify(*shares[i].Answer.opened, answer.Expect{
				ChainID: m.c.chainID, RequestID: seat.RequestID, TemplateID: seat.TemplateID, CodeHash: seat.CodeHash, Epoch: seat.Epoch,
				Outputs: []string{answer.ShareValue},
			}, *r)
		}
		if err != nil {
			return nil, &Untrusted{Node: string(shares[i].Bank), What: "the share of " + string(shares[i].Bank), Cause: err}
		}
	}
	return v, nil
}
