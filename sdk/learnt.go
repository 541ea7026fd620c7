package sdk

import (
	"context"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Learnt is the record of what one request told, to whom, and what remains.
type Learnt struct {
	RequestID RequestID  `json:"requestId"`
	Learns    []Learns   `json:"learnt"`
	Millibits uint64     `json:"millibits"` // that the answer may have told, thousandths of a bit; 0: nothing was answered
	Columns   []string   `json:"columns"`   // of whose accounts: debited once in an epoch, however often the same is asked
	Remaining *Remaining `json:"remaining"`
}

// Learnt says of a request what each party learnt from it and what remains of its
// consent. v is from Verify or Receipt; value is the opened output, "" for those who
// did not open it.
func (m Queries) Learnt(ctx context.Context, v *VerifiedAnswer, value string) (*Learnt, error) {
	r := &v.Request
	l := &Learnt{RequestID: r.RequestID, Columns: []string{}}
	p, err := m.c.Products().Get(ctx, r.ProductID)
	if err != nil {
		return nil, err
	}
	c, err := m.c.Consents().Get(ctx, r.ConsentID)
	if err != nil {
		return nil, err
	}
	epoch, err := m.c.Products().Epoch(ctx, r.ProductID)
	if err != nil {
		return nil, err
	}
	if l.Remaining, err = m.remaining(ctx, c, p, epoch.Epoch); err != nil {
		return nil, err
	}
	if r.Decision != record.Permit {
		l.Learns = learntUnanswered(fmt.Sprintf("that the ledger denied it (%s); nothing about the subject", r.Code), "that a request was denied; the vault was not asked")
		return l, nil
	}
	if v.ReceiptProof == nil {
		l.Learns = learntUnanswered("nothing yet: no receipt is recorded", "that this lender asks")
		return l, nil
	}
	switch v.Receipt.Outcome {
	case record.Answered:
	case record.Refused:
		l.Learns = learntUnanswered("that the provider refuses, which stands for an exhausted account and for a template that cannot run", "which lender asked this of which of its customers")
		return l, nil
	default:
		l.Learns = learntUnanswered(fmt.Sprintf("%s: nothing about the subject", v.Receipt.Outcome), "that this lender asked; no answer left")
		return l, nil
	}
	t, err := m.c.template(ctx, r.TemplateID, r.CodeHash)
	if err != nil {
		return nil, err
	}
	l.Learns, l.Columns = learnsFrom(t, value), t.Columns
	if t.Kind != record.Total {
		l.Millibits = answer.LeakMillibits(len(t.Outputs))
	}
	return l, nil
}

// learntUnanswered is what a request tells that had no answer.
func learntUnanswered(lender, provider string) []Learns {
	return []Learns{
		{LearnsLender, lender},
		{LearnsProvider, provider},
		{LearnsMembers, "that this lender asked under a pseudonymous consent, and what became of it"},
		{LearnsSubject, "this request, in the proven list of all"},
	}
}
