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
	"github.com/assent-network/assent/node/api"
	"github.com/assent-network/assent/node/ledger"
)

// What totals and statistics have in common: one transaction asks a set of banks, the
// ledger makes a request of each seat, and each bank answers with a share.

// setSeat is what a set says of one bank: why it is denied, and what its answer is held
// against.
type setSeat struct {
	bank OrgID
	code Code
	want answer.Expect
}

// SeatShare is what came from one bank of a set.
type SeatShare struct {
	Bank   OrgID
	Answer *Answer // nil: nothing came in time
}

// share is what the answer carries; nil if none.
func (s *SeatShare) share() []byte {
	if s.Answer == nil || s.Answer.opened == nil || s.Answer.Outcome != record.Answered {
		return nil
	}
	return s.Answer.opened.Proof
}

// denial is the first reason of a seat of its own, and what to do about it.
func denial(seats []setSeat) (code Code, remedy string) {
	code = record.CodePermit
	for i := range seats {
		if code == record.CodePermit || code == record.CodeSetIncomplete {
			code = seats[i].code
		}
	}
	return code, api.Lookup(api.FromLedger(string(code))).Remedy
}

// collectSet waits for the answer of every seat, at most until the deadline; ticket
// makes a seat's. A bank of which nothing came has an Answer that says why, or none.
func (m Queries) collectSet(ctx context.Context, ticket func(seat int) *Ticket, seats []setSeat, deadline time.Time) ([]SeatShare, error) {
	type reply struct {
		seat   int
		answer *Answer
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan reply, len(seats))
	for i := range seats {
		go func() {
			a, err := m.collectSeat(ctx, ticket(i), &Decision{RequestID: seats[i].want.RequestID, Deadline: deadline})
			replies <- reply{i, a, err}
		}()
	}
	out := make([]SeatShare, len(seats))
	var failed error
	for range seats { // every goroutine is heard
		r := <-replies
		out[r.seat] = SeatShare{Bank: seats[r.seat].bank, Answer: r.answer}
		if r.err != nil && failed == nil {
			failed = r.err
			cancel()
		}
	}
	return out, failed
}

// collectSeat returns one seat's answer, nil if none came in time or none that opens.
func (m Queries) collectSeat(ctx context.Context, t *Ticket, d *Decision) (*Answer, error) {
	delivery, err := m.Await(ctx, t, d)
	switch {
	case CodeOf(err) == "ANSWER_PENDING" && ctx.Err() == nil:
		return nil, nil
	case err != nil:
		return nil, err
	}
	a, err := m.Open(t, delivery)
	var lie *Untrusted
	if errors.As(err, &lie) { // it is the bank's fault, and not the end of the others' shares
		return &Answer{RequestID: d.RequestID, Outcome: record.Answered}, nil
	}
	return a, err
}

// provenDenial holds a denied set, as a node showed it, against the transaction's
// certified receipt. A denial writes no record of the set: its one event says why.
func (m Queries) provenDenial(ctx context.Context, id Hash, event string, shown record.Record) (*ProvenReceipt, error) {
	p, err := m.c.Proofs().Receipt(ctx, id)
	if err != nil {
		return nil, err
	}
	said, err := record.Encode(shown)
	if err != nil {
		return nil, err
	}
	switch {
	case p.Code != record.OK:
		err = fmt.Errorf("the ledger certifies that the transaction was refused: %s", p.Code)
	case p.Proof.Receipt.Events != ledger.HashEvents([]ledger.Event{{Contract: record.ContractAccess, Name: event, Payload: said}}):
		err = errors.New("the ledger certifies another decision")
	}
	if err != nil {
		return nil, &Untrusted{Node: "the node", What: "the denial of " + id.Hex(), Cause: err}
	}
	return p, nil
}

// provingSet collects, in the background, what a set is held against: its certified
// record and each seat's receipt.
type provingSet[T any, P interface {
	*T
	record.Record
}] struct {
	m        Queries
	id       Hash
	stop     context.CancelFunc // ends it; wait returns soon after
	group    *errgroup.Group
	record   T
	proof    *ProvenReceipt // of record
	receipts []AccessReceipt
	known    []chan error // by seat, whether its receipt is proven; the last one's: record
}

// proveSet begins to prove the record under key, which check takes if it is the one
// that was asked for, and the seats' receipts. t is the ticket of any seat.
func proveSet[T any, P interface {
	*T
	record.Record
}](ctx context.Context, m Queries, id Hash, key string, t *Ticket, seats []setSeat, check func(*T) error) *provingSet[T, P] {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	p := &provingSet[T, P]{m: m, id: id, group: g, receipts: make([]AccessReceipt, len(seats)), known: make([]chan error, len(seats)+1)}
	for i := range p.known {
		p.known[i] = make(chan error, 1)
	}
	p.stop = func() { cancel(); _ = g.Wait() } // its error is the cancellation, or was returned by hold
	ids := make([]RequestID, len(seats))
	for i := range seats {
		ids[i] = seats[i].want.RequestID
	}
	whole := m.newWhole(ctx, t, ids)
	g.Go(func() error { whole.watch(ctx); return nil })
	g.Go(func() (err error) {
		defer func() { p.known[len(seats)] <- err }()
		if p.proof, err = m.c.Proofs().Receipt(ctx, id, key); err != nil {
			return err
		}
		r, err := record.Load[T, P](p.proof.Records[key])
		if err == nil {
			err = check(r)
		}
		if err != nil {
			return p.untrusted(err)
		}
		p.record = *r
		return nil
	})
	for i := range seats {
		g.Go(func() (err error) {
			defer func() { p.known[i] <- err }()
			if tx, ok := whole.receipt(ctx, ids[i]); ok {
				_, err = m.receiptIn(ctx, tx, ids[i], &p.receipts[i])
				return err
			}
			_, err = m.proveReceipt(ctx, seats[i].want.ConsentID, ids[i], t.Height, &p.receipts[i])
			return err
		})
	}
	return p
}

func (p *provingSet[T, P]) untrusted(cause error) error {
	return &Untrusted{Node: "the node", What: "the set " + p.id.Hex(), Cause: cause}
}

// hold waits for the proofs, at most as long as for a transaction, and holds the set
// that a node showed and its shares against them; seats reads the certified one.
func (p *provingSet[T, P]) hold(shown *T, seats func(*T) []setSeat, shares []SeatShare) error {
	late := time.AfterFunc(p.m.c.set.timeouts.Commit, p.stop)
	err := p.group.Wait()
	var lie *Untrusted
	if fired := !late.Stop(); fired && err != nil && !errors.As(err, &lie) {
		return p.notYet()
	}
	if err != nil {
		return err
	}
	if err := p.certifies(shown); err != nil {
		return err
	}
	held := seats(&p.record)
	if len(shares) != len(held) {
		return &ConfigError{What: fmt.Sprintf("verify: %d shares for %d banks", len(shares), len(held)), Remedy: "Give what Collect returned."}
	}
	for i := range shares {
		if err := held[i].holds(&p.receipts[i], &shares[i]); err != nil {
			return &Untrusted{Node: string(shares[i].Bank), What: "the share of " + string(shares[i].Bank), Cause: err}
		}
	}
	return nil
}

func (p *provingSet[T, P]) notYet() error {
	e := notSent("prove receipts of "+p.id.Hex(), "NOT_COMMITTED", "a bank has recorded no receipt yet", "Verify again later with the same ticket.")
	e.retryable = true
	return e
}

// certifies reports whether the set that a node showed is the certified one.
func (p *provingSet[T, P]) certifies(shown *T) error {
	was, err := record.Encode(P(shown))
	if err != nil {
		return err
	}
	certified, err := record.Encode(P(&p.record))
	if err != nil {
		return err
	}
	if !bytes.Equal(was, certified) {
		return p.untrusted(errors.New("the ledger certifies another one"))
	}
	return nil
}

// holdSaid holds the set that a node showed, and what of its shares came, against the
// ledger where they give nothing together: or a node that shows another set, or answers
// that no bank stands for, would have banks accused of what it did. It waits for the
// receipts of those banks of which something came, as long as for a transaction.
func (p *provingSet[T, P]) holdSaid(shown *T, seats func(*T) []setSeat, shares []SeatShare) error {
	late := time.NewTimer(p.m.c.set.timeouts.Commit)
	defer late.Stop()
	waited := []chan error{p.known[len(shares)]}
	for i := range shares {
		if shares[i].Answer != nil {
			waited = append(waited, p.known[i])
		}
	}
	for _, known := range waited {
		select {
		case err := <-known:
			if err != nil {
				return p.group.Wait() // it may be that of another, which ended this one
			}
		case <-late.C:
			return p.notYet()
		}
	}
	if err := p.certifies(shown); err != nil {
		return err
	}
	for i, seat := range seats(&p.record) {
		if shares[i].Answer == nil {
			continue
		}
		if err := seat.said(&p.receipts[i], shares[i].Answer); err != nil {
			return &Untrusted{Node: string(shares[i].Bank), What: "its answer, or the node the answer of " + string(shares[i].Bank), Cause: err}
		}
	}
	return nil
}

// said compares a bank's certified receipt with what came of it, whatever it says. An
// answer that does not open is nobody's word.
func (seat *setSeat) said(r *AccessReceipt, a *Answer) error {
	if r.RequestID != seat.want.RequestID || r.ConsentID != seat.want.ConsentID {
		return errors.New("the receipt is of another request")
	}
	if a.opened == nil {
		if a.Outcome != record.Answered && r.Outcome != a.Outcome {
			return fmt.Errorf("the node spoke of %s, the ledger certifies %s", a.Outcome, r.Outcome)
		}
		return nil
	}
	want := seat.want
	want.Outputs = append([]string{answer.TooFewValue, answer.BlamedValue}, want.Outputs...)
	return answer.Verify(*a.opened, want, *r)
}

// holds compares a bank's certified receipt with the share that it sent.
func (seat *setSeat) holds(r *AccessReceipt, s *SeatShare) error {
	if r.RequestID != seat.want.RequestID || r.ConsentID != seat.want.ConsentID {
		return errors.New("the receipt is of another request")
	}
	if s.share() == nil {
		return errors.New("no share came")
	}
	return answer.Verify(*s.Answer.opened, seat.want, *r)
}
