package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/vault"
)

// Errors of StorePart.
var (
	// ErrPart: the bytes are no sealed part for this provider, or do not open. The
	// sender need not try again.
	ErrPart = errors.New("query: not a sealed part for this provider")
	// ErrTooManyParts: the sender has too many parts here; an erasure or an ended
	// consent makes room.
	ErrTooManyParts = errors.New("query: too many sealed parts of this sender")
)

var errNoKey = errors.New("no private half here of data key")

// maxCandidates bounds the parts of one sender for one version of a consent. The
// ledger's commitment says which is the right one, so a stranger's part does no
// harm but fill space.
const maxCandidates = 2

// StorePart takes in a consent's sealed part from the authenticated member sender
// and returns when it is on disk. The same part again is a success. Requests that
// waited for it go on.
func (a *Answerer) StorePart(ctx context.Context, sender record.OrgID, wire []byte) error {
	sealed, part, err := a.openPart(wire)
	if err != nil {
		return err
	}
	commitment, err := part.Commitment()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPart, err)
	}
	a.mu.Lock()
	full := a.parts[sender] >= a.cfg.MaxPartsPerSender
	a.mu.Unlock()
	if full {
		return ErrTooManyParts
	}
	fresh := false
	c := sealed.Context
	err = a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		fresh = false
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM query_parts WHERE consent_id = ? AND version = ? AND sender = ? AND commitment <> ?`,
			string(c.ConsentID), int64(c.Version), string(sender), commitment[:]).Scan(&n); err != nil {
			return err
		}
		if n >= maxCandidates {
			return ErrTooManyParts
		}
		res, err := tx.Exec(`INSERT INTO query_parts VALUES (?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
			string(c.ConsentID), int64(c.Version), commitment[:], string(sender), wire, time.Now().UnixMilli())
		if err != nil {
			return err
		}
		rows, err := res.RowsAffected()
		fresh = rows == 1
		return err
	})
	if err != nil {
		return fmt.Errorf("store sealed part: %w", err)
	}
	a.mu.Lock()
	if fresh {
		a.parts[sender]++
	}
	a.waiting.hurryConsent(c.ConsentID)
	a.mu.Unlock()
	a.poke()
	return nil
}

// openPart checks everything about a sealed part that needs no ledger.
func (a *Answerer) openPart(wire []byte) (answer.SealedPart, *record.SealedPart, error) {
	sealed, err := answer.DecodeSealedPart(wire)
	if err != nil {
		return answer.SealedPart{}, nil, fmt.Errorf("%w: %w", ErrPart, err)
	}
	c := sealed.Context
	if c.ChainID != a.cfg.ChainID || c.Recipient != a.cfg.Member {
		return answer.SealedPart{}, nil, fmt.Errorf("%w: it is for another chain or recipient", ErrPart)
	}
	key, ok := a.cfg.DataKey(c.KeyID)
	if !ok {
		return answer.SealedPart{}, nil, fmt.Errorf("%w: %w %q", ErrPart, errNoKey, c.KeyID)
	}
	part, err := answer.OpenPart(key, c, sealed)
	if err != nil {
		return answer.SealedPart{}, nil, fmt.Errorf("%w: %w", ErrPart, err)
	}
	return sealed, part, nil
}

// person is whom a consent is about, as far as this provider can vouch for it.
type person struct {
	subject vault.Subject // to look up: the claimed one, or nobody
	tag     tag
	kind    tagKind // of tag
	bound   bool    // false: the answer is NO_RECORD whatever the vault says
}

// nobody is looked up where a part names no one, so that the vault sees the same
// work. No canonical identifier holds a control character.
const nobody = vault.Subject("\x00")

// identify finds out whom the consent is about. missing says what must come first:
// the sealed part, or the data key it was sealed to. A part that fails a check is
// nobody's, and is answered like an unknown subject: a lender must not learn which
// check failed. The database is asked the same questions whatever the part says.
func (a *Answerer) identify(ctx context.Context, p *Permit) (who person, missing result, err error) {
	wire, ok, err := a.selectPart(ctx, p)
	if err != nil {
		return person{}, 0, err
	}
	if !ok {
		return person{}, needsPart, nil
	}
	claim, err := a.examine(p, wire)
	if errors.Is(err, errNoKey) {
		a.alarm(p, "the data key that a consent was sealed to is not here; restore it", err)
		return person{}, needsData, nil
	}
	failed := err
	customer := a.tag(subjectTag, string(claim.subject))
	bound, err := a.isBound(ctx, p, customer, claim.wallet)
	switch {
	case err != nil:
		return person{}, 0, err
	case failed == nil && bound:
		return person{claim.subject, customer, subjectTag, true}, 0, nil
	case failed == nil:
		failed = errors.New("the bank has no binding of this customer to the wallet or consent")
	}
	a.cfg.Logger.Info("query: consent not bound to a customer: nothing is known of its subject", "request", string(p.Request.RequestID), "reason", failed)
	if claim.subject == nobody {
		return person{nobody, a.tag(unreadableTag, string(p.Consent.ConsentID)), unreadableTag, false}, 0, nil
	}
	return person{claim.subject, a.tag(unboundTag, string(claim.subject)), unboundTag, false}, 0, nil
}

// selectPart picks the part that the ledger commits to, or failing that one which
// the lender itself sent: that one is examined, and fails.
func (a *Answerer) selectPart(ctx context.Context, p *Permit) (wire []byte, ok bool, err error) {
	err = a.sql.part.QueryRowContext(ctx, string(p.Consent.ConsentID), int64(p.Consent.Version), p.Consent.RecordCommitment[:],
		string(p.Request.Consumer), p.Consent.RecordCommitment[:]).Scan(&wire)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read sealed part: %w", err)
	}
	return wire, true, nil
}

// claim is what a sealed part says about its subject.
type claim struct {
	subject vault.Subject  // nobody if the part names none reliably
	wallet  record.Address // that endorsed the principal key; zero if none
}

// examine opens a part and checks it against the consent. With an error other than
// errNoKey the claim does not count; its subject is still looked up.
func (a *Answerer) examine(p *Permit, wire []byte) (claim, error) {
	c := claim{subject: nobody}
	_, part, err := a.openPart(wire)
	if err != nil {
		return c, err
	}
	commitment, err := part.Commitment()
	if err != nil || commitment != p.Consent.RecordCommitment || part.ConsentID != p.Consent.ConsentID || part.Version != p.Consent.Version {
		return c, errors.New("the sealed part is not the one the consent commits to")
	}
	if c.subject, err = vault.ParseSubject(part.SubjectID); err != nil {
		c.subject = nobody
		return c, err
	}
	auth := p.Consent.Authorisation
	if auth == nil {
		return c, errors.New("the consent was never authorised")
	}
	if byBank(auth) {
		return c, a.vouched(auth)
	}
	if part.Endorsement == nil {
		return c, errors.New("no wallet endorsed the principal key")
	}
	c.wallet = part.Endorsement.Wallet
	digest, err := record.EndorsementOf(&p.Consent.ConsentTerms).Digest(a.cfg.ChainID)
	if err != nil {
		return c, err
	}
	return c, record.Verify(digest, part.Endorsement.Signature, c.wallet)
}

// byBank reports whether it is the bank, not a wallet, that says who the subject
// is: it authenticated its customer, or countersigned what was written.
func byBank(auth *record.Authorisation) bool {
	return auth.Method == record.ProviderAuthenticated || auth.Method == record.WrittenEvidence
}

// vouched is nil if this bank itself did so.
func (a *Answerer) vouched(auth *record.Authorisation) error {
	switch {
	case auth.Method == record.ProviderAuthenticated && auth.OrgID != a.cfg.Member:
		return errors.New("another member authenticated the customer")
	case auth.Method == record.WrittenEvidence && (auth.Countersignature == nil || auth.Countersignature.OrgID != a.cfg.Member):
		return errors.New("the written evidence is not countersigned by this bank")
	}
	return nil
}

// isBound reports whether this provider knows the claimed customer behind the
// consent: by the endorsing wallet, or by its own authentication.
func (a *Answerer) isBound(ctx context.Context, p *Permit, customer tag, wallet record.Address) (bound bool, err error) {
	stmt, with := a.sql.wallet, any(wallet[:])
	if auth := p.Consent.Authorisation; auth != nil && byBank(auth) {
		stmt, with = a.sql.session, string(p.Consent.ConsentID)
	}
	if err := stmt.QueryRowContext(ctx, customer[:], with).Scan(&bound); err != nil {
		return false, fmt.Errorf("read binding: %w", err)
	}
	return bound, nil
}
