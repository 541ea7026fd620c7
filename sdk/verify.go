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
)

// Verify holds an answer against the ledger with no node trusted: the PERMIT is
// certified and for this very question; the provider's receipt is certified and
// commits to this very answer; the template is the one permitted, and the answer
// one of its outputs. An *Untrusted error says that something is wrong with it.
// Where the provider has anchored its answers of the epoch, and the ticket's query
// names the subject, the answer must be the anchored one: a *NotAnchored error says
// that it is not, and what to do. Anchored says which of the two was proven.
func (m Queries) Verify(ctx context.Context, t *Ticket, a *Answer) (*VerifiedAnswer, error) {
	tx, err := t.transaction()
	if err != nil {
		return nil, err
	}
	if t.Height == 0 { // a ticket from before its decision
		o, err := m.c.Outcome(ctx, tx.ID(), m.c.set.timeouts.Commit)
		if err != nil {
			return nil, err
		}
		t.Height = o.Height
	}
	proofs := m.prove(ctx, t, a.RequestID, nil)
	defer proofs.stop()
	return m.verify(proofs, a)
}

// proving collects, in the background, what an answer is held against.
type proving struct {
	stop     context.CancelFunc // ends it; wait returns soon after
	group    *errgroup.Group
	verified VerifiedAnswer
	subject  SubjectID
	template *Template
}

// prove starts to collect the proofs of a permitted request; whole is the batch
// that it is part of and that is verified as one, or nil. Its caller calls stop.
func (m Queries) prove(ctx context.Context, t *Ticket, id RequestID, whole *whole) *proving {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	p := &proving{group: g, subject: t.Query.Subject}
	p.stop = func() { cancel(); _ = g.Wait() } // its error is the cancellation, or was returned by verify
	g.Go(func() (err error) {
		tx, err := t.transaction()
		if err != nil {
			return err
		}
		if p.verified.RequestProof, err = whole.request(ctx, m, tx.ID(), id); err != nil {
			return err
		}
		if err = permitsTicket(p.verified.RequestProof, t, id, &p.verified.Request); err != nil {
			return err
		}
		if p.template, err = m.c.template(ctx, p.verified.Request.TemplateID, p.verified.Request.CodeHash); err != nil {
			return err
		}
		p.verified.Anchor, err = m.c.anchor(ctx, &p.verified.Request, p.verified.RequestProof.Height)
		return err
	})
	g.Go(func() (err error) {
		if tx, ok := whole.receipt(ctx, id); ok {
			p.verified.ReceiptProof, err = m.receiptIn(ctx, tx, id, &p.verified.Receipt)
			return err
		}
		p.verified.ReceiptProof, err = m.proveReceipt(ctx, t.Query.Consent, id, t.Height, &p.verified.Receipt)
		return err
	})
	return p
}

// verify waits for the proofs, at most as long as for a transaction, and holds
// the answer against them.
func (m Queries) verify(p *proving, a *Answer) (*VerifiedAnswer, error) {
	late := time.AfterFunc(m.c.set.timeouts.Commit, p.stop)
	err := p.group.Wait()
	var lie *Untrusted
	if fired := !late.Stop(); fired && err != nil && !errors.As(err, &lie) {
		e := notSent("prove receipt of "+string(a.RequestID), "NOT_COMMITTED", "the provider has recorded no receipt yet", "Verify again later with the same ticket.")
		e.retryable = true
		return nil, e
	}
	if err != nil {
		return nil, err
	}
	if err := m.hold(a, &p.verified, p.template); err != nil {
		return nil, &Untrusted{Node: "the provider", What: "an answer to " + string(a.RequestID), Cause: err}
	}
	if err := m.holdAnchor(a, &p.verified, p.subject); err != nil {
		return nil, err
	}
	return &p.verified, nil
}

// permitsTicket checks that what is proven is a PERMIT and for what was asked.
func permitsTicket(p *ProvenReceipt, t *Ticket, id RequestID, out *AccessRequest) error {
	r, err := record.Load[record.Request](p.Records[record.RequestKey(id)])
	if err != nil {
		return err
	}
	key, err := answer.ParsePrivateKey(t.AnswerKey)
	if err != nil {
		return fmt.Errorf("ticket: %w", err)
	}
	switch {
	case r.Decision != record.Permit:
		err = fmt.Errorf("the ledger certifies %s, not a permit", r.Code)
	case r.RequestID != id || r.ConsentID != t.Query.Consent || r.TemplateID != t.Query.Template || r.Purpose != t.Query.Purpose,
		!slices.Equal(r.Params, record.MakeParamValues(t.Query.Params)), !bytes.Equal(r.AnswerKey, key.PublicKey().Bytes()):
		err = errors.New("the request on the ledger asks something else than the ticket")
	}
	if err != nil {
		return &Untrusted{Node: "the node", What: "the decision on " + string(id), Cause: err}
	}
	*out = *r
	return nil
}

// proveReceipt waits for the provider's receipt among the events after the permit
// and proves it. from is the permit's height.
func (m Queries) proveReceipt(ctx context.Context, consent ConsentID, id RequestID, from uint64, out *AccessReceipt) (*ProvenReceipt, error) {
	events := m.c.Events(ctx, &Checkpoint{Height: from}, EventFilter{
		Contracts: []string{record.ContractAccess}, Names: []string{"receipt"}, Consent: consent,
	})
	for ev, err := range events {
		if err != nil {
			return nil, err
		}
		r, err := record.Load[record.Receipt](ev.Payload)
		if err != nil || r.RequestID != id {
			continue // of another request under the same consent
		}
		return m.receiptIn(ctx, ev.TxID, id, out)
	}
	return nil, ctx.Err()
}

// receiptIn proves the receipt that a transaction wrote.
func (m Queries) receiptIn(ctx context.Context, txID Hash, id RequestID, out *AccessReceipt) (*ProvenReceipt, error) {
	p, err := m.c.Proofs().Receipt(ctx, txID, record.ReceiptKey(id))
	if err != nil {
		return nil, err
	}
	r, err := record.Load[record.Receipt](p.Records[record.ReceiptKey(id)])
	if err != nil {
		return nil, err
	}
	*out = *r
	return p, nil
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
	// A request of a batch lies in the batch's transaction, which the node is asked
	// for; that this transaction wrote the request is proven below.
	if said, err := read[record.Request](ctx, m.c, record.ContractAccess, "GetRequest", string(id)); err == nil && said.BatchID != (Hash{}) {
		txID = said.BatchID
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
	ctx, cancel := context.WithTimeout(ctx, m.c.set.timeouts.Certify)
	defer cancel()
	v.ReceiptProof, err = m.proveReceipt(ctx, r.ConsentID, id, v.RequestProof.Height, &v.Receipt)
	if errors.Is(err, context.DeadlineExceeded) {
		e := notSent("prove receipt of "+string(id), "NOT_COMMITTED", "the provider has recorded no receipt yet", "Ask again later; its deadline is "+time.UnixMilli(r.Deadline).UTC().Format(time.RFC3339)+".")
		e.retryable = true
		return v, e
	}
	return v, err
}
