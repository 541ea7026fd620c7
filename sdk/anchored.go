package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strconv"

	"github.com/assent-network/assent/chaincode/record"
)

// Anchor is what a provider committed to answer to one question in one epoch, about
// every subject, before the epoch was opened: the root of a tree of salted answers.
type (
	Anchor     = record.Anchor
	AnchorSpec = record.AnchorSpec
)

// ParamValuesOf returns parameter values in the order of the ledger.
func ParamValuesOf(params map[string]string) record.ParamValues {
	return record.MakeParamValues(params)
}

// SubjectID is a subject's identifier as the provider keys its customers. It never
// prints itself.
type SubjectID string

const hidden = "[redacted]"

// String hides the identifier. Use string(s) where it is needed.
func (SubjectID) String() string { return hidden }

// Format hides the identifier from every verb.
func (SubjectID) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the identifier from slog.
func (SubjectID) LogValue() slog.Value { return slog.StringValue(hidden) }

// Anchored says what the provider's anchor proves about an answer.
type Anchored string

const (
	// AnchoredNot: the provider anchored nothing for the question in this epoch. The
	// ledger certifies that, too.
	AnchoredNot Anchored = "NOT_ANCHORED"
	// AnchoredProven: the answer's opening leads to the anchored root. The provider
	// cannot have told anybody another output about this subject in this epoch.
	AnchoredProven Anchored = "PROVEN"
	// AnchoredUnchecked: there is an anchor, and the query did not say about whom it
	// was: see QueryRequest.Subject.
	AnchoredUnchecked Anchored = "UNCHECKED"
	// AnchoredNoOutput: NO_RECORD, a refusal, or no answer at all. These have no
	// opening: it would tell who is a customer.
	AnchoredNoOutput Anchored = "NO_OUTPUT"
)

// NotAnchored means that an answer is not the one that the provider anchored for the
// epoch: it says one thing here and another to others. The receipt on the ledger
// commits the provider to it, so whoever is shown its opening can tell.
type NotAnchored struct {
	Request AccessRequest
	Anchor  Anchor
	Answer  *Answer // what was answered: for the dispute, not for use
	Cause   error
}

// Error says what differs and what to do.
func (e *NotAnchored) Error() string {
	return fmt.Sprintf("%s's answer to %s is not the one it anchored for epoch %d of %s: %v. Do not use it. Dispute it with Queries.DisputeAnswer and the claim NOT_ANCHORED (\"assent receipt dispute TICKET --claim NOT_ANCHORED\"): its opening settles the dispute",
		e.Request.Provider, e.Request.RequestID, e.Request.Epoch, e.Request.TemplateID, e.Cause)
}

// Unwrap returns what differs.
func (e *NotAnchored) Unwrap() error { return e.Cause }

// Retryable is false: another answer to the same question would be the same.
func (e *NotAnchored) Retryable() bool { return false }

// maxAnchors bounds how many anchors a client remembers.
const maxAnchors = 1024

// anchor proves what the provider anchored for a permitted request, nil if nothing.
// Neither changes once the epoch is open, so it is fetched once.
func (c *Client) anchor(ctx context.Context, r *AccessRequest, height uint64) (*Anchor, error) {
	key := record.AnchorKey(r.TemplateID, r.Epoch, r.Params)
	c.mu.Lock()
	a, known := c.anchors[key]
	c.mu.Unlock()
	if known {
		return a, nil
	}
	proven, err := c.Proofs().RecordSince(ctx, key, height)
	if err != nil {
		return nil, err
	}
	if a, err = anchorIn(proven, r); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.anchors) >= maxAnchors {
		clear(c.anchors)
	}
	c.anchors[key] = a
	return a, nil
}

// anchorIn reads a proven anchor, nil if it is proven that there is none.
func anchorIn(proven *ProvenRecord, r *AccessRequest) (*Anchor, error) {
	if !proven.Present {
		return nil, nil
	}
	a, err := record.Load[record.Anchor](proven.Value)
	if err == nil && (a.TemplateID != r.TemplateID || a.Epoch != r.Epoch || a.CodeHash != r.CodeHash || a.ProductID != r.ProductID ||
		a.Provider != r.Provider || a.Params.Digest() != r.Params.Digest()) {
		err = errors.New("it is of another question, provider or epoch")
	}
	if err != nil {
		return nil, &Untrusted{Node: "the ledger", What: "the anchor of " + string(r.RequestID), Cause: err}
	}
	return a, nil
}

// holdAnchor holds a verified answer against the anchor of its epoch. What can be
// checked without knowing the subject is checked without it, too.
func (m Queries) holdAnchor(a *Answer, v *VerifiedAnswer, subject SubjectID) error {
	if v.Anchor == nil {
		v.Anchored = AnchoredNot
		return nil
	}
	if a.opened == nil || a.Outcome != record.Answered || a.Value == record.NoRecord {
		v.Anchored = AnchoredNoOutput
		return nil
	}
	_, err := a.opened.Opened(v.Anchor)
	v.Anchored = AnchoredUnchecked
	if subject != "" && err == nil {
		v.Anchored, err = AnchoredProven, a.opened.CheckAnchor(m.c.chainID, v.Anchor, string(subject))
	}
	if err != nil {
		return &NotAnchored{Request: v.Request, Anchor: *v.Anchor, Answer: a, Cause: err}
	}
	return nil
}

// Anchor anchors what was built by BuildAnswers. The epoch must be the product's
// next one; until it is opened, anchoring again replaces the root. Roles: officer,
// integration of the template's provider.
func (m Templates) Anchor(ctx context.Context, spec AnchorSpec) (*Outcome, error) {
	return m.c.write(ctx, record.ContractCatalog, "AnchorAnswers", &spec)
}

// Anchors yields what was anchored for a template in an epoch, as a node says.
// Verify reads with proofs.
func (m Templates) Anchors(ctx context.Context, id TemplateID, epoch uint64) iter.Seq2[*Anchor, error] {
	return all(func() ([]Anchor, error) {
		l, err := read[record.AnchorList](ctx, m.c, record.ContractCatalog, "ListAnchors", string(id), strconv.FormatUint(epoch, 10))
		if err != nil {
			return nil, err
		}
		return l.Anchors, nil
	})
}

// SettleDispute reads, with proofs, what a claim NOT_ANCHORED is about, and computes
// the verdict from the opening that the lender handed over: see SettleAnchor. For
// every other claim the error is ErrOpening. Roles: any member's client.
func (m Queries) SettleDispute(ctx context.Context, id RequestID, opening []byte) (*Settlement, *AnswerDispute, error) {
	d, err := proven[record.AnswerDispute](ctx, m.c, record.AnswerDisputeKey(id))
	if err != nil {
		return nil, nil, err
	}
	consent, err := proven[record.Consent](ctx, m.c, record.ConsentKey(d.ConsentID))
	if err != nil {
		return nil, d, err
	}
	v, err := m.Receipt(ctx, id)
	if err != nil {
		return nil, d, err
	}
	a, err := m.c.anchor(ctx, &v.Request, v.RequestProof.Height)
	if err != nil {
		return nil, d, err
	}
	if a == nil {
		return nil, d, fmt.Errorf("%w: the provider anchored nothing for the request's epoch", ErrOpening)
	}
	s, err := SettleAnchor(opening, m.c.chainID, d, consent, a)
	return s, d, err
}

// provenLooks is how often proven looks before it believes that a record is absent.
const provenLooks = 6

// proven reads a record that must be there, with its proof. What another member has
// just written may not be certified yet: it looks again for some seconds.
func proven[T any, P interface {
	*T
	record.Record
}](ctx context.Context, c *Client, key string) (*T, error) {
	p, err := c.Proofs().Record(ctx, key)
	for attempt := 0; err == nil && !p.Present && attempt < provenLooks && pause(ctx, attempt, 0) == nil; attempt++ {
		p, err = c.Proofs().Record(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	if !p.Present {
		return nil, notSent("read "+key, "NOT_FOUND", "the ledger certifies that there is no such record", "Check the id.")
	}
	return record.Load[T, P](p.Value)
}
