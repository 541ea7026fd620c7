package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Shares makes this member's shares of totals; package total is one.
type Shares interface {
	// Share makes the share of a permitted set of which the member is a bank. A share
	// that there is not and will not be is nil, and its request is refused. An error
	// means that it cannot be made now.
	Share(ctx context.Context, p *Permit) (*Share, error)
	// Erase destroys what was kept for a consent, in the caller's transaction.
	Erase(tx *sql.Tx, consent record.ConsentID) error
}

// Share is a bank's share of one set, ready to leave.
type Share struct {
	Bytes []byte
	// Tell records, in the transaction that lets the share leave, that the subject's
	// figure is told in this set, or reports that it must not be.
	Tell func(tx *sql.Tx) (allowed bool, err error)
}

// ErrNotYet: what a figure needs is not here yet, or cannot be read now.
var ErrNotYet = errors.New("query: not yet")

// Figure is what a member adds to totals about the subject of a consent.
type Figure struct {
	Subject [32]byte // as private.db knows the subject; of one who is not known, too
	Value   uint64   // 0 for whoever is not a customer
}

// Format shows nothing of it.
func (Figure) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[figure]") }

// Figure works out what the member adds to totals of a TOTAL template about the
// subject of p's consent; p's request says consent and lender alone. The work is the
// same whoever the subject is. Nulls, debts below zero, and whoever is unknown or not
// bound to the consent add 0.
//
// Nothing is worked out for a sealed part to which the consent does not commit: a
// lender that spoils the parts of all banks but one would be told that one's figure.
//
// Errors: ErrNotYet while the part, its key or the vault is missing; *TemplateError
// or ErrEvaluation if the figure is none, and an operator must look.
func (a *Answerer) Figure(ctx context.Context, p *Permit) (Figure, error) {
	wire, ok, err := a.selectPart(ctx, p)
	if err != nil {
		return Figure{}, err
	}
	if !ok || !a.committed(p, wire) {
		return Figure{}, fmt.Errorf("%w: the sealed part that the consent commits to is not here", ErrNotYet)
	}
	who, missing, err := a.identify(ctx, p)
	if err != nil {
		return Figure{}, err
	}
	if missing != 0 {
		return Figure{}, fmt.Errorf("%w: the sealed part cannot be opened here", ErrNotYet)
	}
	row, found, ok, err := a.row(ctx, p, who)
	if err != nil {
		return Figure{}, err
	}
	if !ok {
		return Figure{}, fmt.Errorf("%w: the vault cannot be read", ErrNotYet)
	}
	out := Figure{Subject: who.tag}
	text, err := a.cfg.Engine.Evaluate(&p.Product.ProductSpec, &p.Template, nil, row)
	if err == nil {
		out.Value, err = strconv.ParseUint(text, 10, 64)
	}
	switch {
	case !found || !who.bound, errors.Is(err, ErrNull):
		out.Value = 0
	case err != nil:
		return Figure{}, err
	}
	return out, nil
}

// committed reports whether a sealed part is the one that the consent commits to.
func (a *Answerer) committed(p *Permit, wire []byte) bool {
	_, part, err := a.openPart(wire)
	if err != nil {
		return errors.Is(err, errNoKey) // not known yet: identify says so
	}
	commitment, err := part.Commitment()
	return err == nil && commitment == p.Consent.RecordCommitment && part.ConsentID == p.Consent.ConsentID && part.Version == p.Consent.Version
}

// recipient is who opens what is answered.
func (p *Permit) recipient() record.OrgID {
	if p.Exposure != nil {
		return p.Exposure.Recipient
	}
	return p.Request.Consumer
}

// opener is the public key to which the answer is sealed.
func (p *Permit) opener() []byte {
	if p.recipient() != p.Request.Consumer {
		return p.Opener
	}
	return p.Request.AnswerKey
}

// workShare takes a request for a share as far as it goes now. The pledge was made
// when the consent was, so that neither part nor vault is looked at.
func (a *Answerer) workShare(ctx context.Context, p *Permit) (result, error) {
	var s *Share
	if a.cfg.Shares != nil {
		var err error
		if s, err = a.cfg.Shares.Share(ctx, p); err != nil {
			a.alarm(p, "a share of a total cannot be made now; trying again until the deadline", err)
			return needsData, nil
		}
	}
	return finished, a.commitShare(ctx, p, s)
}

// commitShare gives a request for a share its one outcome.
func (a *Answerer) commitShare(ctx context.Context, p *Permit, s *Share) error {
	refusal := answer.Answer{Outcome: record.Refused, Body: a.body(p)}
	if s == nil {
		return a.commitMade(ctx, p, refusal, nil)
	}
	ans := refusal
	ans.Outcome, ans.Body.Value = record.Answered, answer.ShareValue
	ans.Proof, ans.Body.ProofHash = s.Bytes, answer.ProofHash(s.Bytes)
	return a.commitMade(ctx, p, ans, s.Tell)
}

// commitMade gives a request the answer that was made for it, as commitAnswer does:
// answer, receipt and what tell records in one transaction. Where tell does not allow
// it, the request is refused.
func (a *Answerer) commitMade(ctx context.Context, p *Permit, made answer.Answer, tell func(*sql.Tx) (bool, error)) error {
	var d Departure
	var done bool
	var outcome record.ReceiptOutcome
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) (err error) {
		if done, err = a.hasOutcome(tx, p.Request.RequestID); err != nil || done {
			return err
		}
		ans, allowed := made, true
		if tell != nil {
			if allowed, err = tell(tx); err != nil {
				return err
			}
		}
		if !allowed {
			ans.Outcome, ans.Body.Value, ans.Proof, ans.Body.ProofHash = record.Refused, "", nil, record.Hash{}
		}
		defer func() { outcome = ans.Outcome }()
		if d, err = a.departure(p, &ans); err != nil {
			return err
		}
		return a.finish(tx, p, &ans, 0, d)
	})
	if err != nil {
		return fmt.Errorf("commit share: %w", err)
	}
	if !done {
		a.cfg.Departures.Committed(d)
		a.cfg.Counted(outcome, false)
	}
	return nil
}
