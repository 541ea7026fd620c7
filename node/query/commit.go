package query

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// commitAnswer gives a request its one outcome: debit, freeze, sealed answer,
// departure and the row that makes the request unique, in one transaction. If the
// process dies before it is on disk nothing has happened; after that, nothing is
// left to do.
func (a *Answerer) commitAnswer(ctx context.Context, p *Permit, who person, f finding) error {
	var d Departure
	var done, leak bool
	var outcome record.ReceiptOutcome
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) (err error) {
		if done, err = a.hasOutcome(tx, p.Request.RequestID); err != nil || done {
			return err
		}
		ans := answer.Answer{Outcome: record.Answered, Body: a.body(p)}
		defer func() { outcome, leak = ans.Outcome, ans.Body.Value == "" && !f.refused }()
		if ans.Body.Value, err = a.settle(tx, p, who.tag, f); err != nil {
			return err
		}
		if p.Anchor != nil && ans.Body.Value != "" && ans.Body.Value != f.value {
			return fmt.Errorf("request %s: %w", p.Request.RequestID, errFrozen)
		}
		if f.proof != nil && ans.Body.Value != "" {
			ans.Proof, ans.Body.ProofHash = f.proof, answer.ProofHash(f.proof)
		}
		frozen := who.kind
		if ans.Body.Value == "" {
			ans.Outcome, frozen = record.Refused, 0
		}
		if d, err = a.departure(p, &ans); err != nil {
			return err
		}
		return a.finish(tx, p, &ans, frozen, d)
	})
	if err != nil {
		return fmt.Errorf("commit answer: %w", err)
	}
	if !done {
		a.cfg.Departures.Committed(d)
		a.cfg.Counted(outcome, leak)
	}
	return nil
}

// frozenKey is where an answer is frozen.
func frozenKey(t tag, code record.Hash, params record.ParamValues, epoch uint64) []any {
	digest := paramsDigest(params)
	return []any{t[:], code[:], digest[:], int64(epoch)}
}

// settle returns the value to answer, "" to refuse. Reads and writes are the same
// whoever the subject is.
func (a *Answerer) settle(tx *sql.Tx, p *Permit, t tag, f finding) (string, error) {
	if f.refused {
		return "", nil
	}
	key := frozenKey(t, p.Template.CodeHash, p.Request.Params, p.Request.Epoch)
	var frozen string
	err := tx.Stmt(a.sql.frozen).QueryRow(key...).Scan(&frozen)
	if err == nil {
		return frozen, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read frozen answer: %w", err)
	}
	allowed, err := a.debit(tx, p, t)
	if err != nil || !allowed {
		return "", err
	}
	if _, err := tx.Stmt(a.sql.freeze).Exec(append(key, f.value)...); err != nil {
		return "", fmt.Errorf("freeze answer: %w", err)
	}
	return f.value, nil
}

func (a *Answerer) body(p *Permit) record.AnswerBody {
	return record.AnswerBody{
		ChainID: a.cfg.ChainID, CodeHash: p.Template.CodeHash, ConsentID: p.Consent.ConsentID, Epoch: p.Request.Epoch,
		EvaluatedHeight: p.Height, RequestID: p.Request.RequestID, Salt: answer.NewSalt(), TemplateID: p.Template.TemplateID,
	}
}

// departure seals an answer and writes its receipt. An answer key to which nothing
// can be sealed (a point of low order) turns the answer into a refusal without an
// envelope: the lender asked so that it cannot be answered.
func (a *Answerer) departure(p *Permit, ans *answer.Answer) (Departure, error) {
	d := Departure{
		RequestID: p.Request.RequestID, ConsentID: p.Consent.ConsentID, Lender: p.recipient(),
		NotBefore: a.release(p, a.cfg.Clock()), Grid: a.cfg.Grid, Deadline: deadline(p),
		Receipt: record.ReceiptSpec{RequestID: p.Request.RequestID, Outcome: ans.Outcome, EvaluatedHeight: p.Height},
	}
	key := p.opener()
	c := answer.Context{ChainID: a.cfg.ChainID, RequestID: p.Request.RequestID, Recipient: p.recipient(), KeyID: answer.KeyID(key)}
	to, err := answer.ParsePublicKey(key)
	if err == nil {
		var sealed answer.Sealed
		if sealed, err = answer.Seal(to, c, *ans); err == nil {
			d.Sealed = sealed.Encode()
		}
	}
	if errors.Is(err, answer.ErrMalformed) || errors.Is(err, answer.ErrMismatch) {
		return Departure{}, err // ours, not the key's
	}
	if err != nil {
		a.cfg.Logger.Warn("query: nothing can be sealed to the request's answer key; refusing", "request", string(p.Request.RequestID))
		ans.Outcome, ans.Body.Value, d.Receipt.Outcome = record.Refused, "", record.Refused
		ans.Proof, ans.Body.ProofHash = nil, record.Hash{}
	}
	if ans.Outcome == record.Answered {
		d.Receipt.CodeHash = p.Template.CodeHash
		if d.Receipt.ResultCommitment, err = ans.Body.Commitment(); err != nil {
			return Departure{}, err
		}
	}
	return d, nil
}

// release is the next grid point, counted from the execution of the PERMIT, that
// is not before the first slot.
func (a *Answerer) release(p *Permit, now time.Time) time.Time {
	first := p.ExecutedAt.Add(time.Duration(a.cfg.FirstSlot) * a.cfg.Grid)
	if !now.After(first) {
		return first
	}
	steps := (now.Sub(first) + a.cfg.Grid - 1) / a.cfg.Grid
	return first.Add(steps * a.cfg.Grid)
}

// commitOverdue gives a request whose deadline passed its outcome.
func (a *Answerer) commitOverdue(ctx context.Context, p *Permit) error {
	now := a.cfg.Clock()
	d := Departure{
		RequestID: p.Request.RequestID, ConsentID: p.Consent.ConsentID, Lender: p.Request.Consumer, NotBefore: now,
		Receipt: record.ReceiptSpec{RequestID: p.Request.RequestID, Outcome: record.Overdue},
	}
	var done bool
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) (err error) {
		if done, err = a.hasOutcome(tx, p.Request.RequestID); err != nil || done {
			return err
		}
		return a.finish(tx, p, &answer.Answer{Outcome: record.Overdue}, 0, d)
	})
	if err != nil {
		return fmt.Errorf("commit overdue: %w", err)
	}
	if !done {
		a.cfg.Departures.Committed(d)
		a.cfg.Counted(record.Overdue, false)
	}
	return nil
}

// hasOutcome reports whether another delivery of the permit was quicker; then the
// request waits no longer.
func (a *Answerer) hasOutcome(tx *sql.Tx, id record.RequestID) (bool, error) {
	var one int
	err := tx.Stmt(a.sql.request).QueryRow(string(id)).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err == nil {
		_, err = tx.Stmt(a.sql.unwait).Exec(string(id))
	}
	return err == nil, err
}

// finish writes the request's row, its departure, and takes it off the waiting list.
// frozen is the kind of tag under which its answer is frozen, 0 if it has none.
func (a *Answerer) finish(tx *sql.Tx, p *Permit, ans *answer.Answer, frozen tagKind, d Departure) error {
	var body []byte
	if ans.Outcome == record.Answered {
		var err error
		if body, err = record.Encode(&ans.Body); err != nil {
			return err
		}
	}
	if _, err := tx.Stmt(a.sql.addRequest).Exec(string(p.Request.RequestID), string(p.Consent.ConsentID), string(ans.Outcome),
		body, int64(p.Height), a.cfg.Clock().UnixMilli(), int(frozen)); err != nil {
		return fmt.Errorf("record outcome: %w", err)
	}
	if _, err := tx.Stmt(a.sql.unwait).Exec(string(p.Request.RequestID)); err != nil {
		return fmt.Errorf("take off the waiting list: %w", err)
	}
	return a.cfg.Departures.Put(tx, d)
}

// Ended records, in the transaction that destroys the sealed answer, that it will
// not leave, destroys the opening too, and returns the receipt to send instead.
// outcome is Withheld or Overdue.
func (a *Answerer) Ended(tx *sql.Tx, id record.RequestID, outcome record.ReceiptOutcome) (record.ReceiptSpec, error) {
	var height int64
	err := tx.QueryRow(`UPDATE query_requests SET outcome = ?, body = NULL WHERE request_id = ? RETURNING height`, string(outcome), string(id)).Scan(&height)
	if err != nil {
		return record.ReceiptSpec{}, fmt.Errorf("record that the answer to %s ended: %w", id, err)
	}
	r := record.ReceiptSpec{RequestID: id, Outcome: outcome, EvaluatedHeight: uint64(height)}
	if outcome == record.Overdue {
		r.EvaluatedHeight = 0
	}
	return r, nil
}

// Outcome returns a request's outcome and, if it was answered, the opening of its
// commitment; ok is false while there is none.
func (a *Answerer) Outcome(ctx context.Context, id record.RequestID) (outcome record.ReceiptOutcome, body *record.AnswerBody, ok bool, err error) {
	var raw []byte
	err = a.cfg.Store.Reader().QueryRowContext(ctx, `SELECT outcome, body FROM query_requests WHERE request_id = ?`, string(id)).Scan(&outcome, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil, false, nil
	}
	if err != nil {
		return "", nil, false, fmt.Errorf("read outcome of %s: %w", id, err)
	}
	if raw != nil {
		body = new(record.AnswerBody)
		if err = record.Decode(raw, body); err != nil {
			return "", nil, false, fmt.Errorf("read outcome of %s: %w", id, err)
		}
	}
	return outcome, body, true, nil
}

// paramsDigest names a set of parameter values; they come in one order only.
func paramsDigest(params record.ParamValues) [sha256.Size]byte {
	var b []byte
	for _, v := range params {
		b = binary.AppendUvarint(b, uint64(len(v.Name)))
		b = append(b, v.Name...)
		b = binary.AppendUvarint(b, uint64(len(v.Value)))
		b = append(b, v.Value...)
	}
	return sha256.Sum256(b)
}
