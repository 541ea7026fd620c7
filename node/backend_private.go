package node

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/outbox"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/redact"
	"github.com/assent-network/assent/node/vault"
)

// createParts remembers which sealed parts were taken, so that the same part may
// be put again, for a receiver that lost it, and another one may not.
const createParts = `CREATE TABLE IF NOT EXISTS node_parts (
	id TEXT PRIMARY KEY,
	digest BLOB NOT NULL
) STRICT, WITHOUT ROWID`

// PutSealedPart implements gateway.Delivery.
func (b *backend) PutSealedPart(ctx context.Context, by gateway.Caller, p gateway.SealedPart) error {
	c, err := loadRecord[record.Consent](b.state.View(), record.ConsentKey(record.ConsentID(p.ConsentID)))
	if errors.Is(err, errNoRecord) {
		return api.Refuse(pb.Code_CODE_NOT_FOUND, "consent %.80q is not on the ledger of this node yet", p.ConsentID)
	}
	if err != nil {
		return err
	}
	if !isParty(c, by.Org) || by.Org != b.member {
		return api.Refuse(pb.Code_CODE_FORBIDDEN, "member %s is no party of consent %s, or not the member of this node", by.Org, p.ConsentID)
	}
	if !isParty(c, p.Recipient) {
		return api.Refuse(pb.Code_CODE_NOT_FOUND, "recipient %.64q is no party of consent %s", p.Recipient, p.ConsentID)
	}
	if c.Status != record.AwaitingAuthorisation && c.Status != record.Authorised {
		return api.Refuse(pb.Code_CODE_BAD_REQUEST, "consent %s has ended (%s): nobody needs its sealed part any more", p.ConsentID, c.Status)
	}
	sealed, err := answer.DecodeSealedPart(p.Sealed)
	if err != nil {
		return api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	switch x := &sealed.Context; {
	case x.ChainID != b.chainID || string(x.ConsentID) != p.ConsentID || x.Recipient != record.OrgID(p.Recipient):
		return api.Refuse(pb.Code_CODE_BAD_REQUEST, "the sealed part names another network, consent or recipient than the call")
	case uint64(p.Version) != c.Version || x.Version != c.Version:
		return api.Refuse(pb.Code_CODE_BAD_REQUEST, "version: the consent has %d, the call says %d and the sealed part %d", c.Version, p.Version, x.Version)
	}
	it := outbox.Item{
		ID: partID(p.ConsentID, c.Version, p.Recipient), Kind: outbox.SealedPart,
		Recipient: p.Recipient, ConsentID: p.ConsentID, Payload: p.Sealed, Deadline: time.UnixMilli(c.ExpirationDateTime),
	}
	return b.putPart(ctx, it)
}

// partID names a sealed part for a member in the outbox.
func partID(consent string, version uint64, recipient string) string {
	return fmt.Sprintf("%s%s/%d/%s", partItem, consent, version, recipient)
}

func isParty(c *record.Consent, org string) bool {
	for _, p := range c.Parties {
		if string(p.PartyID) == org {
			return true
		}
	}
	return false
}

func (b *backend) putPart(ctx context.Context, it outbox.Item) error {
	digest := ledger.Sum(it.Payload)
	other := false
	err := b.private.Do(ctx, func(tx *sql.Tx) error {
		other = false
		var known []byte
		err := tx.QueryRow(`SELECT digest FROM node_parts WHERE id = ?`, it.ID).Scan(&known)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		case !bytes.Equal(known, digest[:]):
			other = true
			return nil
		default: // its receiver may have been restored from a backup without it
			return b.outbox.Put(tx, it)
		}
		if _, err := tx.Exec(`INSERT INTO node_parts VALUES (?, ?)`, it.ID, digest[:]); err != nil {
			return err
		}
		return b.outbox.Put(tx, it)
	})
	switch {
	case errors.Is(err, outbox.ErrFull):
		return api.Refuse(pb.Code_CODE_OVERLOADED, "too many sealed parts wait for delivery")
	case err != nil:
		return err
	case other:
		return api.Refuse(pb.Code_CODE_ALREADY_EXISTS, "another sealed part of this consent and version was put before")
	}
	b.outbox.Committed(it)
	return nil
}

// AwaitAnswer implements gateway.Delivery.
func (b *backend) AwaitAnswer(ctx context.Context, by gateway.Caller, requestID string, wait time.Duration) ([]byte, error) {
	if err := record.RequestID(requestID).Check(); err != nil {
		return nil, api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	if err := b.restored.serves(); err != nil {
		return nil, err
	}
	wctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	pending := func() error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return api.Refuse(pb.Code_CODE_ANSWER_PENDING, "no answer to request %s has arrived yet", requestID)
	}
	var r *record.Request
	for {
		next := b.chain.Executed()
		var err error
		r, err = loadRecord[record.Request](b.state.View(), record.RequestKey(record.RequestID(requestID)))
		if err == nil {
			break
		}
		if !errors.Is(err, errNoRecord) {
			return nil, b.sayPruned(ctx, err)
		}
		select {
		case <-next:
		case <-wctx.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, api.Refuse(pb.Code_CODE_NOT_FOUND, "request %s is not on the ledger of this node", requestID)
		}
	}
	if string(r.Consumer) != by.Org || by.Org != b.member {
		return nil, api.Refuse(pb.Code_CODE_FORBIDDEN, "request %s was made by another member", requestID)
	}
	if wait <= 0 {
		got, err := b.inbox.Get(ctx, requestID, string(r.Provider))
		if err == nil && got == nil {
			err = pending()
		}
		return got, err
	}
	got, err := b.inbox.Wait(wctx, requestID, string(r.Provider))
	if err != nil && wctx.Err() != nil {
		return nil, pending()
	}
	return got, err
}

func (b *backend) serves() error {
	if b.answerer == nil {
		return api.Refuse(pb.Code_CODE_NOT_SERVED, "this node does not answer for member %s", b.member)
	}
	return nil
}

// Bind implements gateway.Provider.
func (b *backend) Bind(ctx context.Context, subject redact.Personal, wallet ledger.Address) error {
	if err := b.serves(); err != nil {
		return err
	}
	s, err := vault.ParseSubject(subject.Reveal())
	if err != nil {
		return api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	return b.answerer.Bind(ctx, s, wallet)
}

// Unbind implements gateway.Provider.
func (b *backend) Unbind(ctx context.Context, subject redact.Personal) error {
	if err := b.serves(); err != nil {
		return err
	}
	s, err := vault.ParseSubject(subject.Reveal())
	if err != nil {
		return api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	return b.answerer.UnbindAll(ctx, s)
}

// BindConsent implements gateway.Provider.
func (b *backend) BindConsent(ctx context.Context, consentID string, subject redact.Personal) error {
	if err := b.serves(); err != nil {
		return err
	}
	s, err := vault.ParseSubject(subject.Reveal())
	if err != nil {
		return api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	id := record.ConsentID(consentID)
	if err := id.Check(); err != nil {
		return api.Refuse(pb.Code_CODE_BAD_REQUEST, "%w", err)
	}
	err = b.answerer.BindConsent(ctx, id, s)
	if errors.Is(err, query.ErrBound) {
		return api.Refuse(pb.Code_CODE_ALREADY_EXISTS, "consent %s is bound to another customer", consentID)
	}
	return err
}

// CheckTemplate implements gateway.Provider.
func (b *backend) CheckTemplate(_ context.Context, text []byte) (gateway.TemplateReport, error) {
	t, err := record.Parse[record.TemplateSpec](string(text))
	if err != nil {
		return gateway.TemplateReport{}, api.Refuse(pb.Code_CODE_BAD_REQUEST, "template: %w", err)
	}
	report, err := b.judge(t)
	var bad *query.TemplateError
	switch {
	case errors.As(err, &bad):
		out := gateway.TemplateReport{}
		for _, p := range bad.Problems {
			out.Findings = append(out.Findings, gateway.Finding{Field: "source", Line: uint32(p.Line), Column: uint32(p.Column), What: p.Message, Remedy: "correct the template and check it again"})
		}
		return out, nil
	case err != nil:
		return gateway.TemplateReport{}, err
	}
	out := gateway.TemplateReport{Columns: report.Columns}
	for _, note := range report.Notes {
		out.Findings = append(out.Findings, gateway.Finding{Warning: true, Field: "source", What: note})
	}
	return out, nil
}

// judge checks a template against its product and, where this node answers for
// it, against the vault's mapping.
func (b *backend) judge(t *record.TemplateSpec) (query.Report, error) {
	p, err := loadRecord[record.Product](b.state.View(), record.ProductKey(t.ProductID))
	if errors.Is(err, errNoRecord) {
		return query.Report{}, api.Refuse(pb.Code_CODE_NOT_FOUND, "product %s is not in the catalogue", t.ProductID)
	}
	if err != nil {
		return query.Report{}, err
	}
	report, err := b.engine.Check(&p.ProductSpec, t)
	if err != nil {
		return report, err
	}
	if c, ok := b.vaults.connector(t.ProductID); ok {
		if err := query.CheckMapping(&p.ProductSpec, t.Columns, c.Describe()); err != nil {
			return report, &query.TemplateError{TemplateID: t.TemplateID, Problems: []query.Problem{{Message: err.Error()}}}
		}
	}
	return report, nil
}

// checkTemplateTransaction keeps a template that could never run off the ledger:
// contracts do not compile CEL.
func (b *backend) checkTemplateTransaction(tx *ledger.Transaction) error {
	p := &tx.Payload
	if p.Contract != record.ContractCatalog || p.Function != "ProposeTemplate" || len(p.Args) != 1 {
		return nil
	}
	t, err := record.Parse[record.TemplateSpec](string(p.Args[0]))
	if err != nil {
		return nil // the contract refuses it, with its own words
	}
	_, err = b.judge(t)
	var bad *query.TemplateError
	if errors.As(err, &bad) {
		return &api.Error{Code: pb.Code_CODE_BAD_REQUEST, What: bad.Error(), Remedy: "correct the template; `assent template check` shows every finding"}
	}
	if api.CodeOf(err) == pb.Code_CODE_NOT_FOUND {
		return nil // the contract says so on the ledger
	}
	return err
}
