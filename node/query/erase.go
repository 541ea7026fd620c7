package query

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/vault"
)

// maxWithheld bounds the waiting requests that one transaction ends.
const maxWithheld = 256

// Withhold ends the requests of a consent that wait for its sealed part or the
// vault: their receipts say WITHHELD. For a consent that has ended; what it was
// permitted must all have been handed over before. It returns how many those were.
func (a *Answerer) Withhold(ctx context.Context, consent record.ConsentID) (int, error) {
	total := 0
	for {
		n, err := a.withholdSome(ctx, consent)
		if err != nil {
			return total, fmt.Errorf("withhold what waits under consent %s: %w", consent, err)
		}
		if total += n; n < maxWithheld {
			break
		}
	}
	if total > 0 {
		// Each finds that its row is gone, and is forgotten.
		a.mu.Lock()
		a.waiting.hurryConsent(consent)
		a.mu.Unlock()
		a.poke()
	}
	return total, nil
}

func (a *Answerer) withholdSome(ctx context.Context, consent record.ConsentID) (int, error) {
	waiting, err := a.waitingUnder(ctx, consent)
	if err != nil || len(waiting) == 0 {
		return 0, err
	}
	now := a.cfg.Clock()
	var put []Departure
	err = a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		put = put[:0]
		for _, p := range waiting {
			if done, err := a.hasOutcome(tx, p.Request.RequestID); err != nil || done {
				if err != nil {
					return err
				}
				continue
			}
			d := Departure{
				RequestID: p.Request.RequestID, ConsentID: consent, Lender: p.Request.Consumer, NotBefore: now,
				Receipt: record.ReceiptSpec{RequestID: p.Request.RequestID, Outcome: record.Withheld, EvaluatedHeight: p.Height},
			}
			if err := a.finish(tx, p, &answer.Answer{Outcome: record.Withheld}, 0, d); err != nil {
				return err
			}
			put = append(put, d)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, d := range put {
		a.cfg.Departures.Committed(d)
		a.cfg.Counted(record.Withheld, false)
	}
	return len(waiting), nil
}

// waitingUnder reads permits of a consent from the waiting list.
func (a *Answerer) waitingUnder(ctx context.Context, consent record.ConsentID) ([]*Permit, error) {
	a.mu.Lock()
	none := len(a.waiting.byConsent[consent]) == 0
	a.mu.Unlock()
	if none {
		return nil, nil // as nearly always
	}
	rows, err := a.cfg.Store.Reader().QueryContext(ctx, `SELECT permit FROM query_waiting WHERE consent_id = ? LIMIT ?`, string(consent), maxWithheld)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Permit
	for rows.Next() {
		var row []byte
		if err := rows.Scan(&row); err != nil {
			return nil, err
		}
		var stored storedPermit
		if err := json.Unmarshal(row, &stored); err != nil {
			return nil, err
		}
		p, err := stored.permit()
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// Erase destroys what connects a consent with a person: its sealed part with the
// salt in it, its binding to a customer, the openings of its answers with their
// salts, and every frozen answer that no other consent's request was given. It is
// the provider's share in an erasure; doing it again changes nothing.
//
// What stays says nothing about a consent or a person without the member's own tag
// key: the leak account, under the subject's tag, because an erasure must not give
// anybody a second look for nothing; a customer's wallets, which belong to the
// customer and end with Unbind; and that a request was finished, so that a permit
// delivered again is not answered again.
//
// c is the consent as the ledger holds it, permitted its permitted requests in
// pages, all of which were handed over and do not wait. Bytes of older states stay
// in the log of private.db until its next checkpoint. An error means that the
// erasure is not complete: try again.
func (a *Answerer) Erase(ctx context.Context, c *record.Consent, permitted iter.Seq2[[]record.Request, error]) error {
	tags, lost, err := a.tagsOf(ctx, c)
	if err != nil {
		return fmt.Errorf("erase consent %s: %w", c.ConsentID, err)
	}
	for page, err := range permitted {
		if err == nil {
			err = a.cfg.Store.Do(ctx, func(tx *sql.Tx) error { return erasePage(tx, page, tags, lost) })
		}
		if err != nil {
			return fmt.Errorf("erase the answers under consent %s: %w", c.ConsentID, err)
		}
	}
	nobodys := tags[unreadableTag]
	err = a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		for _, step := range []struct {
			sql string
			arg any
		}{
			{`DELETE FROM query_parts WHERE consent_id = ?`, string(c.ConsentID)},
			{`DELETE FROM query_sessions WHERE consent_id = ?`, string(c.ConsentID)},
			{`DELETE FROM query_account WHERE tag = ?`, nobodys[:]}, // the consent's own, not a subject's
		} {
			if _, err := tx.Exec(step.sql, step.arg); err != nil {
				return err
			}
		}
		if a.cfg.Shares == nil {
			return nil
		}
		return a.cfg.Shares.Erase(tx, c.ConsentID)
	})
	if err != nil {
		return fmt.Errorf("erase consent %s: %w", c.ConsentID, err)
	}
	return a.countParts(ctx)
}

// errLostKey: the answers of a consent cannot be found any more.
var errLostKey = errors.New("the data key that the consent was sealed to is not here, so its frozen answers cannot be found: restore the key (identity.dataKeys)")

// tagsOf are the tags under which a consent's answers may be frozen, by kind. lost
// says that the subject's are unknown for want of a key.
func (a *Answerer) tagsOf(ctx context.Context, c *record.Consent) (tags map[tagKind]tag, lost bool, err error) {
	tags = map[tagKind]tag{unreadableTag: a.tag(unreadableTag, string(c.ConsentID))}
	var wire []byte
	// A tombstone commits to nothing any more: after a restore the part is the one
	// that the lender sent.
	err = a.cfg.Store.Reader().QueryRowContext(ctx, `SELECT sealed FROM query_parts WHERE consent_id = ? AND version = ? AND (commitment = ? OR ? AND sender = ?)
		ORDER BY received DESC LIMIT 1`,
		string(c.ConsentID), int64(c.Version), c.RecordCommitment[:], c.RecordCommitment == record.Hash{}, string(c.Consumer())).Scan(&wire)
	if errors.Is(err, sql.ErrNoRows) {
		return tags, false, nil // it never came, or this was done before
	}
	if err != nil {
		return nil, false, err
	}
	_, part, err := a.openPart(wire)
	if err != nil {
		return tags, errors.Is(err, errNoKey), nil // if it does not open at all, no answer used it
	}
	if subject, err := vault.ParseSubject(part.SubjectID); err == nil {
		tags[subjectTag] = a.tag(subjectTag, string(subject))
		tags[unboundTag] = a.tag(unboundTag, string(subject))
	}
	return tags, false, nil
}

// erasePage destroys the openings of some requests and gives up their share in
// frozen answers.
func erasePage(tx *sql.Tx, page []record.Request, tags map[tagKind]tag, lost bool) error {
	for i := range page {
		r := &page[i]
		var frozen tagKind
		err := tx.QueryRow(`SELECT frozen FROM query_requests WHERE request_id = ?`, string(r.RequestID)).Scan(&frozen)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE query_requests SET body = NULL, frozen = 0 WHERE request_id = ?`, string(r.RequestID)); err != nil {
			return err
		}
		t, ok := tags[frozen]
		if !ok && lost && frozen != 0 {
			return errLostKey
		}
		if !ok {
			continue
		}
		key := frozenKey(t, r.CodeHash, r.Params, r.Epoch)
		if _, err := tx.Exec(`UPDATE query_frozen SET uses = uses - 1 WHERE tag = ? AND code_hash = ? AND params = ? AND epoch = ?`, key...); err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM query_frozen WHERE tag = ? AND code_hash = ? AND params = ? AND epoch = ? AND uses <= 0`, key...); err != nil {
			return err
		}
	}
	return nil
}
