package sdk

import (
	"bytes"
	"context"
	"fmt"
	"time"

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

	// Subject is about whom the consent is, as its sealed part says. With it, an
	// answer that the provider has anchored is held against the anchor. It never
	// leaves the client, and no ticket keeps it.
	Subject SubjectID `json:"-"`
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
	Transaction []byte       `json:"transaction"`     // signed bytes
	AnswerKey   []byte       `json:"answerKey"`       // X25519 private key
	Height      uint64       `json:"height"`          // of the block with the decision; 0: not known yet
	Batch       bool         `json:"batch,omitempty"` // Transaction asks several questions, and Query is
	Item        int          `json:"item,omitempty"`  // … the one at this place, from 0

	made *Transaction // by Prepare: what Transaction holds, signed here
}

// transaction returns the signed transaction. One that comes from elsewhere is
// checked, its signature included.
func (t *Ticket) transaction() (*Transaction, error) {
	if t.made != nil && bytes.Equal(t.made.raw, t.Transaction) {
		return t.made, nil
	}
	tx, err := ParseTransaction(t.Transaction)
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	return tx, nil
}

// RequestID returns the name of the access request: the transaction's id, or what
// is made of it and the place in a batch.
func (t *Ticket) RequestID() (RequestID, error) {
	tx, err := t.transaction()
	if err != nil {
		return "", err
	}
	if t.Batch {
		return record.BatchRequestID(tx.ID(), t.Item), nil
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

	Anchored Anchored // what the provider's anchor proves
	Anchor   *Anchor  // nil: there is none
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
	return r, steps.finish(ctx, begin, t, r, nil)
}

// newAnswerKey makes the key pair of one request: answers are sealed to public, 32
// bytes, and private opens them.
func newAnswerKey() (public, private []byte, err error) {
	key, err := answer.GenerateKey()
	if err == nil {
		private, err = key.Bytes()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make an answer key: %w", err)
	}
	return key.PublicKey().Bytes(), private, nil
}

// Prepare makes a fresh answer key and signs the request. Nothing is sent.
func (m Queries) Prepare(q QueryRequest) (*Ticket, error) {
	public, private, err := newAnswerKey()
	if err != nil {
		return nil, err
	}
	spec := &record.RequestSpec{
		AnswerKey: public, ConsentID: q.Consent, DeadlineMs: q.Deadline.Milliseconds(),
		Params: record.MakeParamValues(q.Params), Purpose: q.Purpose, TemplateID: q.Template,
	}
	body, err := encodeChecked("access request", spec)
	if err != nil {
		return nil, err
	}
	tx, err := m.c.signed(record.ContractAccess, "Request", body)
	if err != nil {
		return nil, err
	}
	return &Ticket{Query: q, Transaction: tx.Bytes(), AnswerKey: private, made: tx}, nil
}

// Request puts the query on the ledger and returns the decision. Calling it
// again with the same ticket asks once.
func (m Queries) Request(ctx context.Context, t *Ticket) (*Decision, error) {
	if t.Batch {
		return nil, &ConfigError{What: "request: the ticket belongs to a batch", Remedy: "Ask with RequestBatch, which brings the decisions on all its tickets."}
	}
	tx, err := t.transaction()
	if err != nil {
		return nil, err
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

// Overdue records that a permitted request was not answered by its deadline.
// Role: integration of the lender.
func (m Queries) Overdue(ctx context.Context, id RequestID) (*Outcome, error) {
	return m.c.write(ctx, record.ContractAccess, "Receipt", &record.ReceiptSpec{RequestID: id, Outcome: record.Overdue})
}
