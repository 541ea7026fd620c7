package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query/exposure"
)

// Records of totals over several banks.
type (
	Exposure        = record.Exposure
	ExposureSeat    = record.ExposureSeat
	ExposureHistory = record.ExposureHistory
	Pledge          = record.Pledge
)

// MaxExposureSets bounds the different sets that may be asked under one principal key.
const MaxExposureSets = record.MaxExposureSets

// ExposureItem is one bank's part of a set: a consent with it, and its TOTAL template.
type ExposureItem struct {
	Consent  ConsentID  `json:"consent"`
	Template TemplateID `json:"template"`
}

// ExposureRequest asks for the total of one subject's figures over 3 to 30 banks. The
// consents carry one principal key (wallet.EndorseSet) and are of one bank each.
type ExposureRequest struct {
	Items    []ExposureItem
	Purpose  Purpose
	Deadline time.Duration // the shares are wanted within this time; 0: what the templates allow
}

// Exposures takes a request for a total through its steps, for those who want more
// than Client.Exposure: Prepare, Request, Collect, Total, Verify. Total needs the keys
// of the members' ceremony: WithExposureKeys.
type Exposures struct{ c *Client }

// Exposures returns the steps of a request for a total.
func (c *Client) Exposures() Exposures { return Exposures{c} }

// WithExposureKeys gives the client the key that checks the range proofs of totals, as
// "assent exposure ceremony keys" wrote it (in-range.verify). Compare its fingerprint
// with the other members' before you trust it: whoever made it alone could help a bank
// to pledge what is out of range.
func WithExposureKeys(inRange []byte) Option {
	return func(c *settings) (err error) {
		if c.inRange, err = exposure.ReadVerifyingKey(exposure.InRange, inRange); err != nil {
			return &ConfigError{What: "exposure key", Cause: err, Remedy: "Give the bytes of in-range.verify, as assent exposure ceremony keys wrote it."}
		}
		return nil
	}
}

// ExposureTicket is a request for a total under way. Stored (it is JSON) before
// Request, it survives a crash of its client. It is a secret until the total is known.
type ExposureTicket struct {
	Query       ExposureRequest `json:"query"`
	Transaction []byte          `json:"transaction"` // signed bytes
	AnswerKey   []byte          `json:"answerKey"`   // X25519 private key
	Height      uint64          `json:"height"`      // of the block with the decision; 0: not known yet
}

// seat is the ticket of one seat's share: the request that the ledger made of it.
func (t *ExposureTicket) seat(i int) *Ticket {
	return &Ticket{Transaction: t.Transaction, AnswerKey: t.AnswerKey, Height: t.Height, Batch: true, Item: i}
}

// ExposureDecision is the ledger's yes or no to a set, permitted or denied as one. A no
// is a result, not an error: Seats say which bank it is that stands in the way.
type ExposureDecision struct {
	ID        Hash
	Permit    bool
	Code      Code   // PERMIT, or the first reason of a seat of its own
	Remedy    string // what to do about a no
	Record    Exposure
	Deadline  time.Time
	Height    uint64
	BlockTime time.Time
}

// Fault is what one bank of a set did wrong; NoTotal lists them.
type Fault = exposure.Fault

// NoTotal means that there is no total, and names every bank at fault. Nothing was
// added up. Asking the same set again is allowed and tells nothing new.
type NoTotal struct {
	ID     Hash
	Faults []Fault
}

// Error names the banks.
func (e *NoTotal) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return fmt.Sprintf("no total for %s: %s", e.ID, strings.Join(lines, "; "))
}

// Retryable reports whether nothing but delay stood in the way.
func (e *NoTotal) Retryable() bool {
	return !slices.ContainsFunc(e.Faults, func(f Fault) bool { return f.Kind != exposure.Missing && f.Kind != exposure.Late })
}

// VerifiedExposure is what the ledger certifies about a total.
type VerifiedExposure struct {
	Record   Exposure        // the frozen set
	Receipts []AccessReceipt // each bank's commitment to its share, by seat
	Proof    *ProvenReceipt  // of Record
}

// ExposureResult is what became of a request for a total.
type ExposureResult struct {
	Decision ExposureDecision
	Total    uint64            // in the unit of the templates' columns; 0 after a denial
	Verified *VerifiedExposure // of a denial too, without receipts
	Timing   QueryTiming       // Opened: every share was, and added up
}

// Exposure asks for a total, collects the banks' shares, checks each and adds them up,
// and verifies all of it against votes of a quorum. A denial is a result with
// Decision.Permit false; a *NoTotal error names the banks without which there is none.
// Both are verified too: a node that lies about them would have a use of every consent
// spent twice, or a bank accused of what it did not do.
func (c *Client) Exposure(ctx context.Context, q ExposureRequest) (*ExposureResult, error) {
	t, err := c.Exposures().Prepare(q)
	if err != nil {
		return nil, err
	}
	return c.Exposures().Run(ctx, t)
}

// Run is Exposure with a ticket of Prepare, which the caller stored. Run again with the
// same ticket asks once.
func (m Exposures) Run(ctx context.Context, t *ExposureTicket) (*ExposureResult, error) {
	if m.c.set.inRange == nil {
		return nil, errNoExposureKey()
	}
	begin := time.Now()
	d, err := m.Request(ctx, t)
	if err != nil {
		return nil, err
	}
	r := &ExposureResult{Decision: *d, Timing: QueryTiming{Decided: time.Since(begin)}}
	if !d.Permit {
		r.Verified, err = m.verifyDenial(ctx, d)
		return r, err
	}
	proofs := m.prove(ctx, t, d) // while the shares are on their way
	defer proofs.stop()
	shares, err := m.Collect(ctx, t, d)
	if err != nil {
		return nil, err
	}
	if r.Total, err = m.Total(d, shares); err != nil {
		return nil, m.verifyNone(proofs, d, shares, err)
	}
	r.Timing.Opened = time.Since(begin)
	if r.Verified, err = m.verify(proofs, d, shares); err != nil {
		return nil, err
	}
	r.Timing.Verified = time.Since(begin)
	return r, nil
}

// Prepare makes a fresh answer key and signs the request. Nothing is sent.
func (m Exposures) Prepare(q ExposureRequest) (*ExposureTicket, error) {
	public, private, err := newAnswerKey()
	if err != nil {
		return nil, err
	}
	spec := &record.ExposureSpec{AnswerKey: public, DeadlineMs: q.Deadline.Milliseconds(), Purpose: q.Purpose}
	for _, it := range q.Items {
		spec.Items = append(spec.Items, record.ExposureItem{ConsentID: it.Consent, TemplateID: it.Template})
	}
	slices.SortFunc(spec.Items, func(a, b record.ExposureItem) int { return strings.Compare(string(a.ConsentID), string(b.ConsentID)) })
	body, err := encodeChecked("request for a total", spec)
	if err != nil {
		return nil, err
	}
	tx, err := m.c.signed(record.ContractAccess, "RequestExposure", body)
	if err != nil {
		return nil, err
	}
	return &ExposureTicket{Query: q, Transaction: tx.Bytes(), AnswerKey: private}, nil
}

// Request puts the request on the ledger and returns the decision. Calling it again
// with the same ticket asks once.
func (m Exposures) Request(ctx context.Context, t *ExposureTicket) (*ExposureDecision, error) {
	tx, err := t.seat(0).transaction()
	if err != nil {
		return nil, err
	}
	o, err := m.c.Submit(ctx, tx)
	if err != nil {
		return nil, err
	}
	e, err := record.Load[record.Exposure](o.Payload)
	if err == nil {
		err = asked(t, e, o.TxID)
	}
	if err != nil {
		return nil, &Untrusted{Node: "the node", What: "the decision on the total of " + o.TxID.Hex(), Cause: err}
	}
	t.Height = o.Height
	d := &ExposureDecision{ID: o.TxID, Permit: e.Decision == record.Permit, Code: record.CodePermit, Record: *e, Height: o.Height, BlockTime: o.BlockTime}
	if d.Permit {
		d.Deadline = time.UnixMilli(e.Deadline).UTC()
		return d, nil
	}
	d.Code, d.Remedy = denial(m.seats(e))
	return d, nil
}

// asked checks that a set is the one that the ticket asks for.
func asked(t *ExposureTicket, e *record.Exposure, id Hash) error {
	key, err := answer.ParsePrivateKey(t.AnswerKey)
	if err != nil {
		return fmt.Errorf("ticket: %w", err)
	}
	if e.ExposureID != id || e.Purpose != t.Query.Purpose || !bytes.Equal(e.AnswerKey, key.PublicKey().Bytes()) || len(e.Seats) != len(t.Query.Items) {
		return errors.New("it is another request than the ticket's")
	}
	for i := range e.Seats {
		s := &e.Seats[i]
		if !slices.Contains(t.Query.Items, ExposureItem{s.ConsentID, s.TemplateID}) || s.RequestID != record.BatchRequestID(id, i) {
			return fmt.Errorf("its seat %d is another than the ticket's", i)
		}
	}
	return nil
}

// Collect waits for the share of every bank, at most until the deadline. A bank of
// which none came has an Answer that says why, or none: Total names it.
func (m Exposures) Collect(ctx context.Context, t *ExposureTicket, d *ExposureDecision) ([]SeatShare, error) {
	return m.c.Queries().collectSet(ctx, t.seat, m.seats(&d.Record), d.Deadline)
}

func errNoExposureKey() error {
	return &ConfigError{What: "a total cannot be checked: the client has no exposure key", Remedy: "Dial with WithExposureKeys, from the ceremony's in-range.verify."}
}

// Total checks every share and adds them up. The error is a *NoTotal that names every
// bank at fault if there is no total.
func (m Exposures) Total(d *ExposureDecision, shares []SeatShare) (uint64, error) {
	if m.c.set.inRange == nil {
		return 0, errNoExposureKey()
	}
	s, err := exposure.SessionOf(m.c.chainID, &d.Record)
	if err != nil {
		return 0, &Untrusted{Node: "the node", What: "the set " + d.ID.Hex(), Cause: err}
	}
	var deliveries []exposure.Delivery
	why := make(map[OrgID]string)
	for i := range shares {
		x := &shares[i]
		switch share := x.share(); {
		case x.Answer == nil:
		case x.Answer.Outcome == record.Overdue:
			deliveries = append(deliveries, exposure.Delivery{Bank: x.Bank, Late: true})
		case x.Answer.Outcome != record.Answered:
			why[x.Bank] = string(x.Answer.Outcome)
		case share == nil || answer.ProofHash(share) != x.Answer.opened.Body.ProofHash:
			deliveries = append(deliveries, exposure.Delivery{Bank: x.Bank}) // nothing that the bank stands for
			if x.Answer.opened == nil {
				why[x.Bank] = "its answer does not open: the bank's fault, or that of the node which kept it"
			}
		default:
			deliveries = append(deliveries, exposure.Delivery{Bank: x.Bank, Share: share})
		}
	}
	sum, err := exposure.Combine(m.c.set.inRange, s, deliveries)
	var blame *exposure.Blame
	if errors.As(err, &blame) {
		for i := range blame.Faults {
			f := &blame.Faults[i]
			if text, ok := why[f.Bank]; ok || f.Kind == exposure.Missing {
				f.Detail = text
			}
		}
		return 0, &NoTotal{ID: d.ID, Faults: blame.Faults}
	}
	if err != nil {
		return 0, err
	}
	return sum.Total(), nil
}
