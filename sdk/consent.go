package sdk

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

var (
	errNoticeHash = errors.New("its text has another hash")
	errCodeHash   = errors.New("its text has another code hash")
)

// Consents creates consents, ends them and reads them.
type Consents struct{ c *Client }

// Consents returns the manager of consents.
func (c *Client) Consents() Consents { return Consents{c} }

// ConsentDraft is what a lender wants a subject to agree to.
type ConsentDraft struct {
	Provider  OrgID
	Product   ProductID
	Templates []TemplateID
	Purposes  []Purpose
	Declined  []Purpose // shown to the subject and declined

	DataClasses []DataClass    // empty: those of the columns that the templates read
	Kinds       []TemplateKind // empty: those of the templates
	Automated   bool           // the answer feeds a decision made without a person
	Written     bool           // consentType WRITTEN: on paper, countersigned by the provider's officer

	ValidFrom time.Time // zero: now
	Expires   time.Time
	MaxUses   uint64
	PerDay    uint64 // zero: MaxUses

	NoticeHash       Hash      // of the published notice that the subject sees
	ImpactAssessment Hash      // zero: none
	Supersedes       ConsentID // the version this one replaces; "": none
}

// Draft makes terms with a fresh random consent id and subject reference, filled
// in from the catalogue. PrincipalKey and RecordCommitment are still open: the
// subject's wallet gives the one, Prepare the other.
func (m Consents) Draft(ctx context.Context, d ConsentDraft) (*ConsentTerms, error) {
	now := m.c.set.now()
	if d.ValidFrom.IsZero() {
		d.ValidFrom = now
	}
	var cid, ref [16]byte
	rand.Read(cid[:]) // never fails since Go 1.24
	rand.Read(ref[:])
	t := &ConsentTerms{
		SchemaVersion: record.SchemaVersion, Version: 1, ConsentID: record.NewConsentID(cid), PrincipalRef: record.NewPrincipalRef(ref),
		Parties: []Party{
			{PartyID: m.c.set.org, Role: record.DataConsumer}, {PartyID: d.Provider, Role: record.DataProvider},
		},
		ProductID: d.Product, TemplateIDs: set(d.Templates), Purposes: set(d.Purposes), DeclinedPurposes: set(d.Declined),
		DataClasses: set(d.DataClasses), ProcessingMethods: set(d.Kinds), AutomatedDecision: d.Automated, ConsentType: record.Separate,
		ValidFrom: d.ValidFrom.UnixMilli(), ExpirationDateTime: d.Expires.UnixMilli(),
		AccessLimits: AccessLimits{MaxUses: d.MaxUses, FrequencyPerDay: cmp.Or(d.PerDay, d.MaxUses)},
		NoticeHash:   d.NoticeHash, ImpactAssessmentHash: d.ImpactAssessment,
	}
	if d.Written {
		t.ConsentType = record.Written
	}
	if d.Supersedes != "" {
		old, err := m.Get(ctx, d.Supersedes)
		if err != nil {
			return nil, err
		}
		t.Supersedes, t.Version = d.Supersedes, old.Version+1
	}
	if err := m.complete(ctx, t); err != nil {
		return nil, err
	}
	probe := *t
	probe.RecordCommitment = Hash{1} // not known yet
	if _, err := encodeChecked("consent draft", &probe); err != nil {
		return nil, err
	}
	return t, nil
}

// complete takes data classes and kinds from the templates if none are given.
func (m Consents) complete(ctx context.Context, t *ConsentTerms) error {
	if len(t.DataClasses) > 0 && len(t.ProcessingMethods) > 0 {
		return nil
	}
	product, err := m.c.Products().Get(ctx, t.ProductID)
	if err != nil {
		return err
	}
	var classes []DataClass
	var kinds []TemplateKind
	for _, id := range t.TemplateIDs {
		tmpl, err := m.c.Templates().Get(ctx, id)
		if err != nil {
			return err
		}
		kinds = append(kinds, tmpl.Kind)
		for _, name := range tmpl.Columns {
			if col, ok := product.Column(name); ok {
				classes = append(classes, col.DataClass)
			}
		}
	}
	if len(t.DataClasses) == 0 {
		t.DataClasses = set(classes)
	}
	if len(t.ProcessingMethods) == 0 {
		t.ProcessingMethods = set(kinds)
	}
	return nil
}

// set sorts and removes repetitions: the one form of a set in a record.
func set[S ~string](in []S) []S {
	out := slices.Clone(in)
	slices.Sort(out)
	return slices.Compact(out)
}

// PreparedConsent is a consent ready to be created: terms with their commitment,
// and the sealed part that goes to the provider. Part identifies the subject and
// Part.Salt opens the commitment: keep a stored copy as you keep customer data.
type PreparedConsent struct {
	Terms  ConsentTerms
	Part   SealedPart
	Sealed []byte // Part sealed to the provider; what Create delivers
}

// Prepare fixes the terms: it draws the salt, commits to the part, checks the
// wallet's endorsement if there is one, and seals the part to the provider's
// data key, which it proves first. Of part, only what identifies the subject has
// to be filled in: SubjectID, NoticeLanguage and, as known, Account, Contacts
// and Endorsement.
func (m Consents) Prepare(ctx context.Context, terms *ConsentTerms, part SealedPart) (*PreparedConsent, error) {
	p := &PreparedConsent{Terms: *terms, Part: part}
	p.Part.ChainID, p.Part.ConsentID, p.Part.Version = m.c.chainID, terms.ConsentID, terms.Version
	p.Part.Salt = answer.NewSalt()
	if p.Part.NoticeLanguage == "" {
		p.Part.NoticeLanguage = "en"
	}
	if err := p.Part.Check(); err != nil {
		return nil, &ConfigError{What: "sealed part", Cause: err, Remedy: "Correct the field that is named."}
	}
	if err := checkEndorsement(m.c.chainID, &p.Terms, p.Part.Endorsement); err != nil {
		return nil, err
	}
	var err error
	if p.Terms.RecordCommitment, err = p.Part.Commitment(); err != nil {
		return nil, &ConfigError{What: "sealed part", Cause: err, Remedy: "Correct the field that is named."}
	}
	if _, err := encodeChecked("consent terms", &p.Terms); err != nil {
		return nil, err
	}
	key, err := m.c.DataKeys().Usable(ctx, terms.Provider())
	if err != nil {
		return nil, err
	}
	p.Sealed, err = p.sealTo(key.PublicKey, terms.Provider(), string(key.KeyID))
	return p, err
}

// checkEndorsement wants a wallet's endorsement exactly when there is a
// principal key to endorse.
func checkEndorsement(chain Hash, t *ConsentTerms, e *WalletEndorsement) error {
	const remedy = "Take principal key and endorsement together from the wallet's answer to the request link."
	if (e == nil) != (t.PrincipalKey == Address{}) {
		return &ConfigError{What: "consent terms: a principal key and its endorsement go together, one of them is missing", Remedy: remedy}
	}
	if e == nil {
		return nil
	}
	digest, err := record.EndorsementOf(t).Digest(chain)
	if err == nil {
		err = record.Verify(digest, e.Signature, e.Wallet)
	}
	if err != nil {
		return &ConfigError{What: "wallet endorsement", Cause: err, Remedy: remedy}
	}
	return nil
}

func (p *PreparedConsent) sealTo(key []byte, recipient OrgID, keyID string) ([]byte, error) {
	pub, err := answer.ParsePublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("seal part to %s: %w", recipient, err)
	}
	s, err := answer.SealPart(pub, recipient, keyID, &p.Part)
	if err != nil {
		return nil, fmt.Errorf("seal part to %s: %w", recipient, err)
	}
	return s.Encode(), nil
}

// ForSubject seals the part to the subject's own X25519 key, which its wallet
// gave with the endorsement. It goes back to the wallet with the terms.
func (p *PreparedConsent) ForSubject(key []byte) ([]byte, error) {
	return p.sealTo(key, answer.Subject, answer.KeyID(key))
}

// Create records the consent on the ledger, where it awaits the subject's
// authorisation, and hands the sealed part to the lender's node for delivery.
// Calling it again with the same PreparedConsent is safe. Role: integration of
// the lender.
func (m Consents) Create(ctx context.Context, p *PreparedConsent) (*Consent, error) {
	body, err := encodeChecked("consent terms", &p.Terms)
	if err != nil {
		return nil, err
	}
	consent, err := m.change(ctx, "Create", body)
	if CodeOf(err) == record.CodeAlreadyExists {
		if held, gerr := m.Get(ctx, p.Terms.ConsentID); gerr == nil {
			if same, _ := encodeChecked("", &held.ConsentTerms); same == body { // an earlier call of ours
				consent, err = held, nil
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return consent, m.Deliver(ctx, p)
}

// Deliver hands the sealed part to the lender's node again; Create has done it
// once. The node delivers until the provider acknowledges.
func (m Consents) Deliver(ctx context.Context, p *PreparedConsent) error {
	_, err := round(ctx, m.c, "deliver sealed part of "+string(p.Terms.ConsentID), ownNode, func(ctx context.Context, e *endpoint) (*assentv1.PutSealedPartResponse, error) {
		return try(ctx, m.c, e, m.c.set.timeouts.Call, &assentv1.PutSealedPartRequest{
			ConsentId: string(p.Terms.ConsentID), Version: uint32(p.Terms.Version), Recipient: string(p.Terms.Provider()), Sealed: p.Sealed,
		}, e.delivery.PutSealedPart)
	})
	return err
}

// Authorise brings the subject's authorisation: for Method WALLET the principal
// key's signature, which any member may relay, for PROVIDER_AUTHENTICATED the
// provider's commitment to its own evidence.
func (m Consents) Authorise(ctx context.Context, id ConsentID, method Method, e Evidence) (*Consent, error) {
	body, err := encodeChecked("evidence", &e)
	if err != nil {
		return nil, err
	}
	return m.change(ctx, "Authorise", string(id), string(method), body)
}

// Reject brings the subject's no to a consent that awaits authorisation.
func (m Consents) Reject(ctx context.Context, id ConsentID, e Evidence) (*Consent, error) {
	body, err := encodeChecked("evidence", &e)
	if err != nil {
		return nil, err
	}
	return m.change(ctx, "Reject", string(id), body)
}

// Revoke brings the subject's withdrawal of an authorised consent. Requests
// ordered after it are denied.
func (m Consents) Revoke(ctx context.Context, id ConsentID, why Reason, e Evidence) (*Consent, error) {
	body, err := encodeChecked("evidence", &e)
	if err != nil {
		return nil, err
	}
	return m.change(ctx, "Revoke", string(id), string(record.BySubject), string(why), body)
}

// Expire records that a consent's time is over. Requests are denied from then on
// with or without it.
func (m Consents) Expire(ctx context.Context, id ConsentID) (*Consent, error) {
	return m.change(ctx, "Expire", string(id))
}

func (m Consents) change(ctx context.Context, function string, args ...string) (*Consent, error) {
	o, err := m.c.Invoke(ctx, record.ContractConsent, function, args...)
	if err != nil {
		return nil, err
	}
	consent, err := record.Load[record.Consent](o.Payload)
	if err != nil {
		return nil, fmt.Errorf("consent.%s, transaction %s: the node's payload: %w", function, o.TxID, err)
	}
	return consent, nil
}

// checkConsentID names an id that no consent can have, before anybody is asked: a
// proof that there is no such consent would send its reader looking elsewhere.
func checkConsentID(id ConsentID) error {
	if err := id.Check(); err != nil {
		return &ConfigError{What: fmt.Sprintf("consent id %.80q", string(id)), Cause: err, Remedy: "Give the consent's 0x-hex id."}
	}
	return nil
}

// Get returns a consent, as a node says.
func (m Consents) Get(ctx context.Context, id ConsentID) (*Consent, error) {
	if err := checkConsentID(id); err != nil {
		return nil, err
	}
	return read[record.Consent](ctx, m.c, record.ContractConsent, "Get", string(id))
}

// Proven returns a consent with the proof that a quorum certified it. The error
// has code CONSENT_UNKNOWN if the ledger provably holds none.
func (m Consents) Proven(ctx context.Context, id ConsentID) (*Consent, *ProvenRecord, error) {
	if err := checkConsentID(id); err != nil {
		return nil, nil, err
	}
	p, err := m.c.Proofs().Record(ctx, record.ConsentKey(id))
	if err != nil {
		return nil, nil, err
	}
	if !p.Present {
		return nil, p, notSent("prove consent "+string(id), record.CodeConsentUnknown,
			fmt.Sprintf("no such consent after height %d", p.Height), "Check the consent id and the network.")
	}
	consent, err := record.Load[record.Consent](p.Value)
	return consent, p, err
}

// ConsentFilter narrows a list of consents.
type ConsentFilter struct {
	Party  OrgID  // "": the client's own member
	Status Status // "": every status
}

// List yields the consents of a party, oldest first within a status.
func (m Consents) List(ctx context.Context, f ConsentFilter) iter.Seq2[*Consent, error] {
	party := cmp.Or(f.Party, m.c.set.org)
	return func(yield func(*Consent, error) bool) {
		for bookmark := ""; ; {
			page, err := read[record.ConsentPage](ctx, m.c, record.ContractConsent, "ListByParty",
				string(party), string(f.Status), strconv.Itoa(record.MaxPage), bookmark)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Consents {
				if !yield(&page.Consents[i], nil) {
					return
				}
			}
			if page.Bookmark == "" {
				return
			}
			bookmark = page.Bookmark
		}
	}
}

// OfSubject yields the consents under one principal key; zero means the client's
// own, for a client made WithSubject.
func (m Consents) OfSubject(ctx context.Context, principal Address) iter.Seq2[*Consent, error] {
	if principal == (Address{}) {
		principal = m.c.Key()
	}
	return all(func() ([]Consent, error) {
		page, err := read[record.ConsentPage](ctx, m.c, record.ContractConsent, "ListByPrincipal", record.FormatAddress(principal))
		if err != nil {
			return nil, err
		}
		return page.Consents, nil
	})
}
