package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// QueryRequest is one use of a consent: one question of one template.
type QueryRequest struct {
	Consent  ConsentID
	Template TemplateID
	Purpose  Purpose
	Params   map[string]string // every parameter of the template
	Deadline time.Duration     // the answer is wanted within this time; 0: what the template allows
}

// Queries takes a query through its steps, for those who want more than Query:
// Prepare, Request, Await, Open, Verify.
type Queries struct{ c *Client }

// Queries returns the steps of a query.
func (c *Client) Queries() Queries { return Queries{c} }

// Ticket is a query under way: the signed transaction that asks, and the private
// key that opens the answer. Stored (it is JSON) before Request, a query survives
// a crash of its client. It is a secret until the answer is opened.
type Ticket struct {
	Query       QueryRequest `json:"query"`
	Transaction []byte       `json:"transaction"` // signed bytes
	AnswerKey   []byte       `json:"answerKey"`   // X25519 private key
	Height      uint64       `json:"height"`      // of the block with the decision; 0: not known yet
}

// RequestID returns the name of the access request: the transaction's id.
func (t *Ticket) RequestID() (RequestID, error) {
	tx, err := ParseTransaction(t.Transaction)
	if err != nil {
		return "", fmt.Errorf("ticket: %w", err)
	}
	return record.NewRequestID(tx.ID()), nil
}

// Decision is the ledger's yes or no to one use of a consent. A no is a result,
// not an error.
type Decision struct {
	RequestID RequestID
	Permit    bool
	Code      Code      // PERMIT, or why not
	Remedy    string    // what to do about a no
	Deadline  time.Time // PERMIT: block time until which the answer is due
	Epoch     uint64    // PERMIT: the provider's accounting period
	Height    uint64
	BlockTime time.Time
}

// Answer is an opened answer.
type Answer struct {
	RequestID RequestID
	Outcome   record.ReceiptOutcome // ANSWERED or REFUSED; or WITHHELD or OVERDUE, with nothing to open
	Value     string                // one of the template's outputs; "" unless ANSWERED

	opened *answer.Answer
}

// VerifiedAnswer is what the ledger certifies about an answer.
type VerifiedAnswer struct {
	Request      AccessRequest
	Receipt      AccessReceipt
	RequestProof *ProvenReceipt
	ReceiptProof *ProvenReceipt
}

// QueryResult is what became of a query.
type QueryResult struct {
	Decision Decision
	Answer   *Answer         // nil after a denial
	Verified *VerifiedAnswer // nil after a denial
	Timing   QueryTiming
}

// QueryTiming is how long each step took, counted from the call of Query.
type QueryTiming struct {
	Decided  time.Duration // the decision was on the ledger
	Opened   time.Duration // the answer was opened
	Verified time.Duration // answer and receipt were held against a certified root
}

// Query asks, waits for the answer, opens it and verifies it: against the
// provider's receipt, and the receipt against votes of a quorum. A denial is a
// result with Decision.Permit false.
func (c *Client) Query(ctx context.Context, q QueryRequest) (*QueryResult, error) {
	begin := time.Now()
	steps := c.Queries()
	t, err := steps.Prepare(q)
	if err != nil {
		return nil, err
	}
	r := &QueryResult{}
	d, err := steps.Request(ctx, t)
	if err != nil {
		return nil, err
	}
	r.Decision, r.Timing.Decided = *d, time.Since(begin)
	if !d.Permit {
		return r, nil
	}
	sealed, err := steps.Await(ctx, t, d)
	if err != nil {
		return r, err
	}
	if r.Answer, err = steps.Open(t, sealed); err != nil {
		return r, err
	}
	r.Timing.Opened = time.Since(begin)
	if r.Verified, err = steps.Verify(ctx, t, r.Answer); err != nil {
		return r, err
	}
	r.Timing.Verified = time.Since(begin)
	return r, nil
}

// Prepare makes a fresh answer key and signs the request. Nothing is sent.
func (m Queries) Prepare(q QueryRequest) (*Ticket, error) {
	key, err := answer.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make an answer key: %w", err)
	}
	private, err := key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("make an answer key: %w", err)
	}
	spec := &record.RequestSpec{
		AnswerKey: key.PublicKey().Bytes(), ConsentID: q.Consent, DeadlineMs: q.Deadline.Milliseconds(),
		Params: record.MakeParamValues(q.Params), Purpose: q.Purpose, TemplateID: q.Template,
	}
	body, err := encodeChecked("access request", spec)
	if err != nil {
		return nil, err
	}
	tx, err := m.c.NewTransaction(record.ContractAccess, "Request", body)
	if err != nil {
		return nil, err
	}
	if tx, err = tx.Sign(m.c.set.signer); err != nil {
		return nil, err
	}
	return &Ticket{Query: q, Transaction: tx.Bytes(), AnswerKey: private}, nil
}

// Request puts the query on the ledger and returns the decision. Calling it
// again with the same ticket asks once.
func (m Queries) Request(ctx context.Context, t *Ticket) (*Decision, error) {
	tx, err := ParseTransaction(t.Transaction)
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	o, err := m.c.Submit(ctx, tx)
	if err != nil {
		return nil, err
	}
	d, err := record.Load[record.Decision](o.Payload)
	if err != nil {
		return nil, fmt.Errorf("access.Request, transaction %s: the node's payload: %w", o.TxID, err)
	}
	t.Height = o.Height
	out := &Decision{
		RequestID: record.NewRequestID(o.TxID), Permit: d.Decision == record.Permit, Code: d.Code, Epoch: d.Epoch,
		Height: o.Height, BlockTime: o.BlockTime,
	}
	if out.Permit {
		out.Deadline = time.UnixMilli(d.Deadline).UTC()
	} else {
		out.Remedy = api.Lookup(api.FromLedger(string(d.Code))).Remedy
	}
	return out, nil
}

// Delivery is what came for a permitted request: a sealed answer, or a receipt
// that says why none comes.
type Delivery struct {
	Sealed  []byte
	Receipt *AccessReceipt // WITHHELD or OVERDUE, as a node says; Verify proves it
}

// answerGrace is how long after its deadline an answer is still looked for: it
// may have left in time, and receipts of lateness follow it.
const answerGrace = 10 * time.Second

// receiptLook is how often a wait for an answer looks whether a receipt says
// that none will come.
const receiptLook = time.Second

// Await waits until the answer is at one of the member's nodes, at most until
// its deadline. The error has code ANSWER_PENDING if it has not come by then.
func (m Queries) Await(ctx context.Context, t *Ticket, d *Decision) (*Delivery, error) {
	limit := max(d.Deadline.Sub(m.c.set.now()), 0) + answerGrace
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	where := "await answer to " + string(d.RequestID)
	for attempt := 0; ; attempt++ {
		asked := time.Now()
		sealed, err := m.awaitOnce(ctx, where, d.RequestID)
		if err == nil {
			return &Delivery{Sealed: sealed}, nil
		}
		if ctx.Err() != nil {
			return nil, notYet(where, err)
		}
		if CodeOf(err) != "ANSWER_PENDING" {
			if !Retryable(err) {
				return nil, err
			}
			if pause(ctx, attempt, 0) != nil {
				return nil, notYet(where, err)
			}
			continue
		}
		r, err := read[record.Receipt](ctx, m.c, record.ContractAccess, "GetReceipt", string(d.RequestID))
		if err == nil && (r.Outcome == record.Withheld || r.Outcome == record.Overdue) {
			return &Delivery{Receipt: r}, nil
		}
		if time.Since(asked) < receiptLook/2 && pause(ctx, attempt, 0) != nil { // the node did not wait for it
			return nil, notYet(where, err)
		}
	}
}

func notYet(where string, cause error) error {
	e := notSent(where, "ANSWER_PENDING", "no answer came in the time given", "Ask again later with the same ticket; the provider may record the request as OVERDUE after its deadline.")
	e.Cause, e.retryable = cause, true
	return e
}

// awaitOnce asks all nodes of the member at once, for the answer is delivered to
// one of them.
func (m Queries) awaitOnce(ctx context.Context, where string, id RequestID) ([]byte, error) {
	wait := min(m.c.set.timeouts.Call/2, receiptLook)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nodes := m.c.own()
	type reply struct {
		sealed []byte
		err    error
	}
	replies := make(chan reply, len(nodes))
	for _, e := range nodes {
		go func() {
			resp, err := try(ctx, m.c, e, m.c.set.timeouts.Call, &assentv1.AwaitAnswerRequest{
				RequestId: string(id), TimeoutMs: millis(wait, api.MaxWait),
			}, e.delivery.AwaitAnswer)
			if err != nil {
				replies <- reply{err: m.c.failure(where, e, err)}
				return
			}
			replies <- reply{sealed: resp.Envelope}
		}()
	}
	var failed error
	for range nodes { // every goroutine is heard or its context is cancelled, and it never blocks
		r := <-replies
		if r.err == nil {
			return r.sealed, nil
		}
		if failed == nil || CodeOf(r.err) == "ANSWER_PENDING" {
			failed = r.err
		}
	}
	return nil, failed
}

// own returns the nodes that serve the client's member; all, if none is known to.
func (c *Client) own() []*endpoint {
	var own []*endpoint
	for _, e := range c.nodes {
		if _, member := e.identity(); member == c.set.org {
			own = append(own, e)
		}
	}
	if len(own) == 0 {
		return c.nodes
	}
	return own
}

// Open decrypts an answer with the ticket's key. It fails if the answer was
// altered, or sealed for another network, request, recipient or key.
func (m Queries) Open(t *Ticket, d *Delivery) (*Answer, error) {
	id, err := t.RequestID()
	if err != nil {
		return nil, err
	}
	if d.Receipt != nil {
		return &Answer{RequestID: id, Outcome: d.Receipt.Outcome}, nil
	}
	key, err := answer.ParsePrivateKey(t.AnswerKey)
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	lie := func(err error) error {
		return &Untrusted{Node: "the provider", What: "a sealed answer to " + string(id), Cause: err}
	}
	s, err := answer.DecodeSealed(d.Sealed)
	if err != nil {
		return nil, lie(err)
	}
	a, err := answer.Open(key, answer.Context{
		ChainID: m.c.chainID, RequestID: id, Recipient: m.c.set.org, KeyID: answer.KeyID(key.PublicKey().Bytes()),
	}, s)
	if err != nil {
		return nil, lie(err)
	}
	return &Answer{RequestID: id, Outcome: a.Outcome, Value: a.Body.Value, opened: &a}, nil
}

// Verify holds an answer against the ledger with no node trusted: the PERMIT is
// certified and for this very question; the provider's receipt is certified and
// commits to this very answer; the template is the one permitted, and the answer
// one of its outputs. An *Untrusted error says that something is wrong with it.
func (m Queries) Verify(ctx context.Context, t *Ticket, a *Answer) (*VerifiedAnswer, error) {
	tx, err := ParseTransaction(t.Transaction)
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	v := &VerifiedAnswer{}
	if t.Height == 0 { // a ticket from before its decision
		o, err := m.c.Outcome(ctx, tx.ID(), m.c.set.timeouts.Commit)
		if err != nil {
			return nil, err
		}
		t.Height = o.Height
	}
	var template *Template
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		if v.RequestProof, err = m.proveRequest(gctx, t, tx.ID(), &v.Request); err != nil {
			return err
		}
		template, err = m.c.Templates().Get(gctx, v.Request.TemplateID)
		return err
	})
	g.Go(func() (err error) {
		v.ReceiptProof, err = m.proveReceipt(gctx, t.Query.Consent, a.RequestID, t.Height, &v.Receipt)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := m.hold(a, v, template); err != nil {
		return nil, &Untrusted{Node: "the provider", What: "an answer to " + string(a.RequestID), Cause: err}
	}
	return v, nil
}

// proveRequest proves the PERMIT and that it is for what was asked.
func (m Queries) proveRequest(ctx context.Context, t *Ticket, txID Hash, out *AccessRequest) (*ProvenReceipt, error) {
	id := record.NewRequestID(txID)
	p, err := m.c.Proofs().Receipt(ctx, txID, record.RequestKey(id))
	if err != nil {
		return nil, err
	}
	r, err := record.Load[record.Request](p.Records[record.RequestKey(id)])
	if err != nil {
		return nil, err
	}
	key, err := answer.ParsePrivateKey(t.AnswerKey)
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	switch {
	case r.Decision != record.Permit:
		err = fmt.Errorf("the ledger certifies %s, not a permit", r.Code)
	case r.RequestID != id || r.ConsentID != t.Query.Consent || r.TemplateID != t.Query.Template || r.Purpose != t.Query.Purpose,
		!slices.Equal(r.Params, record.MakeParamValues(t.Query.Params)), !bytes.Equal(r.AnswerKey, key.PublicKey().Bytes()):
		err = errors.New("the request on the ledger asks something else than the ticket")
	}
	if err != nil {
		return nil, &Untrusted{Node: "the node", What: "the decision on " + string(id), Cause: err}
	}
	*out = *r
	return p, nil
}

// proveReceipt finds the provider's receipt among the events after the permit
// and proves it. from is the permit's height.
func (m Queries) proveReceipt(ctx context.Context, consent ConsentID, id RequestID, from uint64, out *AccessReceipt) (*ProvenReceipt, error) {
	ctx, cancel := context.WithTimeout(ctx, m.c.set.timeouts.Commit)
	defer cancel()
	events := m.c.Events(ctx, &Checkpoint{Height: from}, EventFilter{
		Contracts: []string{record.ContractAccess}, Names: []string{"receipt"}, Consent: consent,
	})
	for ev, err := range events {
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				e := notSent("prove receipt of "+string(id), "NOT_COMMITTED", "the provider has recorded no receipt yet", "Verify again later with the same ticket.")
				e.retryable = true
				return nil, e
			}
			return nil, err
		}
		r, err := record.Load[record.Receipt](ev.Payload)
		if err != nil || r.RequestID != id {
			continue // of another request under the same consent
		}
		p, err := m.c.Proofs().Receipt(ctx, ev.TxID, record.ReceiptKey(id))
		if err != nil {
			return nil, err
		}
		if r, err = record.Load[record.Receipt](p.Records[record.ReceiptKey(id)]); err != nil {
			return nil, err
		}
		*out = *r
		return p, nil
	}
	return nil, ctx.Err()
}

// hold compares what is certified with what was opened.
func (m Queries) hold(a *Answer, v *VerifiedAnswer, t *Template) error {
	if v.Receipt.RequestID != a.RequestID || v.Receipt.ConsentID != v.Request.ConsentID {
		return errors.New("the receipt is of another request")
	}
	if a.opened == nil {
		if v.Receipt.Outcome != a.Outcome {
			return fmt.Errorf("the node spoke of %s, the ledger certifies %s", a.Outcome, v.Receipt.Outcome)
		}
		return nil
	}
	if t.TemplateID != v.Request.TemplateID || t.CodeHash != v.Request.CodeHash {
		return errors.New("the template shown is not the one permitted")
	}
	if v.Receipt.EvaluatedHeight < v.RequestProof.Height {
		return fmt.Errorf("evaluated at height %d, before the permit at %d", v.Receipt.EvaluatedHeight, v.RequestProof.Height)
	}
	return answer.Verify(*a.opened, answer.Expect{
		ChainID: m.c.chainID, RequestID: a.RequestID, ConsentID: v.Request.ConsentID, TemplateID: v.Request.TemplateID,
		CodeHash: v.Request.CodeHash, Epoch: v.Request.Epoch, Outputs: t.Outputs,
	}, v.Receipt)
}

// Receipt proves what became of a permitted access request: the provider's
// receipt, with the request it belongs to.
func (m Queries) Receipt(ctx context.Context, id RequestID) (*VerifiedAnswer, error) {
	txID, err := record.ParseHash(string(id))
	if err != nil {
		return nil, &ConfigError{What: "request id", Cause: err, Remedy: "Give the 0x-hex id of the access request."}
	}
	v := &VerifiedAnswer{}
	if v.RequestProof, err = m.c.Proofs().Receipt(ctx, txID, record.RequestKey(id)); err != nil {
		return nil, err
	}
	r, err := record.Load[record.Request](v.RequestProof.Records[record.RequestKey(id)])
	if err != nil {
		return nil, err
	}
	v.Request = *r
	if r.Decision != record.Permit {
		return v, nil // a denial has no receipt of its own
	}
	v.ReceiptProof, err = m.proveReceipt(ctx, r.ConsentID, id, v.RequestProof.Height, &v.Receipt)
	return v, err
}

// Overdue records that a permitted request was not answered by its deadline.
// Role: integration of the lender.
func (m Queries) Overdue(ctx context.Context, id RequestID) (*Outcome, error) {
	return m.c.write(ctx, record.ContractAccess, "Receipt", &record.ReceiptSpec{RequestID: id, Outcome: record.Overdue})
}
