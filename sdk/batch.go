package sdk

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
)

// MaxBatch bounds the questions of one batch.
const MaxBatch = record.MaxBatch

// PrepareBatch makes a ticket for each of at most MaxBatch questions, all in one
// signed transaction and under one fresh answer key. The questions of a batch
// share the deadline of the first. Nothing is sent. Store the tickets as those of
// Prepare.
func (m Queries) PrepareBatch(questions []QueryRequest) ([]*Ticket, error) {
	if len(questions) == 0 || len(questions) > MaxBatch {
		return nil, &ConfigError{What: fmt.Sprintf("batch of %d questions", len(questions)), Remedy: fmt.Sprintf("Ask 1 to %d at once.", MaxBatch)}
	}
	public, private, err := newAnswerKey()
	if err != nil {
		return nil, err
	}
	spec := &record.BatchSpec{AnswerKey: public, DeadlineMs: questions[0].Deadline.Milliseconds()}
	for i, q := range questions {
		if q.Deadline != questions[0].Deadline {
			return nil, &ConfigError{What: fmt.Sprintf("batch: question %d has a deadline of its own", i), Remedy: "Give all questions of a batch the same deadline."}
		}
		spec.Items = append(spec.Items, record.BatchItem{
			ConsentID: q.Consent, Params: record.MakeParamValues(q.Params), Purpose: q.Purpose, TemplateID: q.Template,
		})
	}
	body, err := encodeChecked("batch of access requests", spec)
	if err != nil {
		return nil, err
	}
	tx, err := m.c.signed(record.ContractAccess, "RequestBatch", body)
	if err != nil {
		return nil, err
	}
	tickets := make([]*Ticket, len(questions))
	for i, q := range questions {
		tickets[i] = &Ticket{Query: q, Transaction: tx.raw, AnswerKey: private, Batch: true, Item: i, made: tx}
	}
	return tickets, nil
}

// RequestBatch puts the questions of a batch on the ledger, in one transaction,
// and returns the decisions in the order of the tickets of PrepareBatch. One that
// was refused, for a consent that is unknown or another lender's, has its code
// and no request id. Calling it again with the same tickets asks once.
func (m Queries) RequestBatch(ctx context.Context, tickets []*Ticket) ([]*Decision, error) {
	if err := oneBatch(tickets); err != nil {
		return nil, err
	}
	tx, err := tickets[0].transaction()
	if err != nil {
		return nil, err
	}
	o, err := m.c.Submit(ctx, tx)
	if err != nil {
		return nil, err
	}
	b, err := record.Load[record.Batch](o.Payload)
	if err == nil && len(b.Results) != len(tickets) {
		err = fmt.Errorf("%d results for %d questions", len(b.Results), len(tickets))
	}
	if err != nil {
		return nil, fmt.Errorf("access.RequestBatch, transaction %s: the node's payload: %w", o.TxID, err)
	}
	out := make([]*Decision, len(tickets))
	for i := range b.Results {
		r := &b.Results[i]
		tickets[i].Height = o.Height
		out[i] = &Decision{
			RequestID: r.RequestID, Permit: r.Decision == record.Permit, Code: r.Code, Epoch: r.Epoch,
			Height: o.Height, BlockTime: o.BlockTime,
		}
		if out[i].Permit {
			out[i].Deadline = time.UnixMilli(r.Deadline).UTC()
		} else {
			out[i].Remedy = api.Lookup(api.FromLedger(string(r.Code))).Remedy
		}
	}
	return out, nil
}

func oneBatch(tickets []*Ticket) error {
	if len(tickets) == 0 {
		return &ConfigError{What: "batch without tickets", Remedy: "Give all tickets that PrepareBatch made."}
	}
	for i, t := range tickets {
		if !t.Batch || t.Item != i || string(t.Transaction) != string(tickets[0].Transaction) {
			return &ConfigError{What: fmt.Sprintf("batch: ticket %d is not the one that PrepareBatch made for this place", i), Remedy: "Give all tickets of one batch in their order."}
		}
	}
	return nil
}

// BatchResult is what became of one question of a batch.
type BatchResult struct {
	Item   int // place in the batch, from 0
	Result *QueryResult
	Err    error // of this question alone
}

// inFlight is how many answers of a batch are awaited at a time.
const inFlight = 16

// QueryBatch asks all questions in one transaction and yields what becomes of
// each as it is known: denials first, then every answer once it is opened and
// verified, in the order they come. The error beside a result is that of the
// whole batch; what fails for one question stands in its result.
func (c *Client) QueryBatch(ctx context.Context, questions []QueryRequest) iter.Seq2[*BatchResult, error] {
	return func(yield func(*BatchResult, error) bool) {
		tickets, err := c.Queries().PrepareBatch(questions)
		if err != nil {
			yield(nil, err)
			return
		}
		c.Queries().Batch(ctx, tickets)(yield)
	}
}

// Batch is QueryBatch with the tickets of PrepareBatch, which the caller stored.
// Calling it again with the same tickets asks once and yields everything again.
func (m Queries) Batch(ctx context.Context, tickets []*Ticket) iter.Seq2[*BatchResult, error] {
	return func(yield func(*BatchResult, error) bool) {
		begin := time.Now()
		decisions, err := m.RequestBatch(ctx, tickets)
		if err != nil {
			yield(nil, err)
			return
		}
		decided := time.Since(begin)
		var permitted []*BatchResult
		for i, d := range decisions {
			r := &BatchResult{Item: i, Result: &QueryResult{Decision: *d, Timing: QueryTiming{Decided: decided}}}
			if d.Permit {
				permitted = append(permitted, r)
			} else if !yield(r, nil) {
				return
			}
		}
		m.answers(ctx, begin, tickets, permitted, yield)
	}
}

// answers awaits, opens and verifies with inFlight workers, and yields from this
// goroutine alone.
func (m Queries) answers(ctx context.Context, begin time.Time, tickets []*Ticket, permitted []*BatchResult, yield func(*BatchResult, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait() // after cancel: nothing of this call outlives it
	defer cancel()
	if len(permitted) == 0 {
		return
	}
	ids := make([]RequestID, len(permitted))
	for i, r := range permitted {
		ids[i] = r.Result.Decision.RequestID
	}
	whole := m.newWhole(ctx, tickets[0], ids)
	wg.Go(func() { whole.watch(ctx) })
	todo, done := make(chan *BatchResult), make(chan *BatchResult)
	wg.Go(func() {
		defer close(todo)
		for _, r := range permitted {
			select {
			case todo <- r:
			case <-ctx.Done():
				return
			}
		}
	})
	for range min(inFlight, len(permitted)) {
		wg.Go(func() {
			for r := range todo {
				r.Err = m.finish(ctx, begin, tickets[r.Item], r.Result, whole)
				select {
				case done <- r:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for range permitted {
		select {
		case r := <-done:
			if !yield(r, nil) {
				return
			}
		case <-ctx.Done():
			yield(nil, ctx.Err())
			return
		}
	}
}

// finish takes a permitted question to its end; whole is the batch it is part of,
// or nil.
func (m Queries) finish(ctx context.Context, begin time.Time, t *Ticket, r *QueryResult, whole *whole) error {
	proofs := m.prove(ctx, t, r.Decision.RequestID, whole) // while the answer is on its way
	defer proofs.stop()
	delivery, err := m.Await(ctx, t, &r.Decision)
	if err != nil {
		return err
	}
	if r.Answer, err = m.Open(t, delivery); err != nil {
		return err
	}
	r.Timing.Opened = time.Since(begin)
	if r.Verified, err = m.verify(proofs, r.Answer); err != nil {
		return err
	}
	r.Timing.Verified = time.Since(begin)
	return nil
}
