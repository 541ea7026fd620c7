package record

import (
	"errors"
	"fmt"
)

// SchemaVersion is the version of the consent record that this code writes.
const SchemaVersion = 1

const (
	maxTemplates     = 32
	maxParties       = 16
	maxStatusReasons = 8

	// MaxConsentDuration bounds the life of a consent: ten years.
	MaxConsentDuration Millis = 3_653 * 86_400_000
	// MaxUses bounds both access limits.
	MaxUses = 1_000_000_000
)

// Party is a member named in a consent and the role it has there.
type Party struct {
	PartyID OrgID
	Role    MemberRole
}

func (v *Party) fields(c *codec) {
	text(c, "partyId", &v.PartyID, maxID)
	enum(c, "role", &v.Role, memberRoles)
}

// AccessLimits bounds the use of a consent. Both are at least 1.
type AccessLimits struct {
	FrequencyPerDay uint64 // permits per UTC day of block time
	MaxUses         uint64 // permits in all
}

func (v *AccessLimits) fields(c *codec) {
	number(c, "frequencyPerDay", &v.FrequencyPerDay)
	number(c, "maxUses", &v.MaxUses)
}

// ConsentTerms is what a consent fixes when it is created: the argument of
// Create, and every field of it is under the subject's signature. All lists are
// sets in strictly ascending order. It names the subject only by a random
// reference and a fresh key, and holds no free text.
type ConsentTerms struct {
	AccessLimits         AccessLimits
	AutomatedDecision    bool // the answer feeds a decision made without a person
	ConsentID            ConsentID
	ConsentType          ConsentType
	DataClasses          []DataClass
	DeclinedPurposes     []Purpose // shown to the subject and declined
	ExpirationDateTime   Millis    // first block time at which it no longer holds
	ImpactAssessmentHash Hash      // zero: none
	NoticeHash           Hash      // the published notice the subject saw
	Parties              []Party   // ascending by role, then party
	PrincipalKey         Address   // zero: the subject has no wallet
	PrincipalRef         PrincipalRef
	ProcessingMethods    []TemplateKind
	ProductID            ProductID
	Purposes             []Purpose
	RecordCommitment     Hash // of the sealed part
	SchemaVersion        uint64
	Supersedes           ConsentID // the version this one replaces; "": none
	TemplateIDs          []TemplateID
	ValidFrom            Millis
	Version              uint64
}

func (v *ConsentTerms) fields(c *codec) {
	object(c, "accessLimits", &v.AccessLimits)
	boolean(c, "automatedDecision", &v.AutomatedDecision)
	text(c, "consentId", &v.ConsentID, maxID)
	enum(c, "consentType", &v.ConsentType, consentTypes)
	enums(c, "dataClasses", &v.DataClasses, dataClasses)
	enums(c, "declinedPurposes", &v.DeclinedPurposes, purposes)
	number(c, "expirationDateTime", &v.ExpirationDateTime)
	optHash(c, "impactAssessmentHash", &v.ImpactAssessmentHash)
	hash(c, "noticeHash", &v.NoticeHash)
	objects(c, "parties", &v.Parties, maxParties)
	address(c, "principalKey", &v.PrincipalKey)
	text(c, "principalRef", &v.PrincipalRef, maxID)
	enums(c, "processingMethods", &v.ProcessingMethods, templateKinds)
	text(c, "productId", &v.ProductID, maxID)
	enums(c, "purposes", &v.Purposes, purposes)
	hash(c, "recordCommitment", &v.RecordCommitment)
	number(c, "schemaVersion", &v.SchemaVersion)
	optText(c, "supersedes", &v.Supersedes, maxID)
	texts(c, "templateIds", &v.TemplateIDs, maxTemplates, maxID)
	number(c, "validFrom", &v.ValidFrom)
	number(c, "version", &v.Version)
}

// Check implements Checked. It looks at the terms alone; whether notice,
// product and templates exist is for the contract.
func (v *ConsentTerms) Check() error {
	if v.SchemaVersion != SchemaVersion {
		return fmt.Errorf("schemaVersion: want %d", SchemaVersion)
	}
	if err := v.checkIDs(); err != nil {
		return err
	}
	if err := v.checkParties(); err != nil {
		return err
	}
	if err := v.checkSets(); err != nil {
		return err
	}
	if v.ValidFrom <= 0 || v.ExpirationDateTime <= v.ValidFrom || v.ExpirationDateTime-v.ValidFrom > MaxConsentDuration {
		return errors.New("validFrom, expirationDateTime: want a period of at most ten years")
	}
	l := v.AccessLimits
	if l.MaxUses == 0 || l.MaxUses > MaxUses || l.FrequencyPerDay == 0 || l.FrequencyPerDay > MaxUses {
		return fmt.Errorf("accessLimits: want 1 to %d", MaxUses)
	}
	if v.NoticeHash == (Hash{}) || v.RecordCommitment == (Hash{}) {
		return errors.New("noticeHash, recordCommitment: zero")
	}
	return nil
}

func (v *ConsentTerms) checkIDs() error {
	if err := v.ConsentID.Check(); err != nil {
		return err
	}
	if err := v.PrincipalRef.Check(); err != nil {
		return err
	}
	if err := v.ProductID.Check(); err != nil {
		return err
	}
	if v.Supersedes == "" {
		if v.Version != 1 {
			return errors.New("version: want 1 for a consent that supersedes none")
		}
		return nil
	}
	if v.Version < 2 {
		return errors.New("version: want at least 2 for a consent that supersedes another")
	}
	if v.Supersedes == v.ConsentID {
		return errors.New("supersedes: names the consent itself")
	}
	return v.Supersedes.Check()
}

// checkParties wants one lender and one provider. Further roles wait for the
// queries that need them; the list form has room.
func (v *ConsentTerms) checkParties() error {
	p := v.Parties
	if len(p) != 2 || p[0].Role != DataConsumer || p[1].Role != DataProvider {
		return errors.New("parties: want one DATA_CONSUMER, then one DATA_PROVIDER")
	}
	if p[0].PartyID == p[1].PartyID {
		return errors.New("parties: one member is both")
	}
	if err := p[0].PartyID.Check(); err != nil {
		return err
	}
	return p[1].PartyID.Check()
}

func (v *ConsentTerms) checkSets() error {
	if err := checkSet("dataClasses", v.DataClasses, 1); err != nil {
		return err
	}
	if err := checkSet("purposes", v.Purposes, 1); err != nil {
		return err
	}
	if err := checkSet("declinedPurposes", v.DeclinedPurposes, 0); err != nil {
		return err
	}
	for _, p := range v.DeclinedPurposes {
		if listed(p, v.Purposes) {
			return errors.New("declinedPurposes: a purpose is both accepted and declined")
		}
	}
	if err := checkSet("processingMethods", v.ProcessingMethods, 1); err != nil {
		return err
	}
	return checkNames("templateIds", v.TemplateIDs, 1)
}

// Consumer is the lender.
func (v *ConsentTerms) Consumer() OrgID { return v.party(DataConsumer) }

// Provider is the bank that answers.
func (v *ConsentTerms) Provider() OrgID { return v.party(DataProvider) }

func (v *ConsentTerms) party(role MemberRole) OrgID {
	for i := range v.Parties {
		if v.Parties[i].Role == role {
			return v.Parties[i].PartyID
		}
	}
	return ""
}

// Evidence comes with an authorisation, a rejection or a revocation.
type Evidence struct {
	// EvidenceHash is a salted commitment to what the provider keeps about its
	// own authentication of the customer.
	EvidenceHash Hash
	// Signature is the subject's EIP-712 signature, 65 bytes.
	Signature Blob
}

func (v *Evidence) fields(c *codec) {
	optHash(c, "evidenceHash", &v.EvidenceHash)
	optBlob(c, "signature", &v.Signature, 65)
}

// Check implements Checked: one of the two is there.
func (v *Evidence) Check() error {
	if (v.EvidenceHash == Hash{}) == (len(v.Signature) == 0) {
		return errors.New("evidence: want either signature or evidenceHash")
	}
	return nil
}

// Authorisation says how the subject agreed. By the method WRITTEN it stands only
// once the provider has countersigned.
type Authorisation struct {
	At               Millis
	ClientKey        Address          // WRITTEN: key that brought the evidence; it does not countersign
	Countersignature *Acknowledgement // WRITTEN: the provider's officer; nil until then
	EvidenceHash     Hash
	Method           Method
	OrgID            OrgID // member that brought it
	Signature        Blob
}

func (v *Authorisation) fields(c *codec) {
	number(c, "at", &v.At)
	optAddress(c, "clientKey", &v.ClientKey)
	optObject(c, "countersignature", &v.Countersignature)
	optHash(c, "evidenceHash", &v.EvidenceHash)
	enum(c, "method", &v.Method, methods)
	text(c, "orgId", &v.OrgID, maxID)
	optBlob(c, "signature", &v.Signature, 65)
}

// StatusReason is one entry of a consent's history.
type StatusReason struct {
	At           Millis
	Code         Reason
	EvidenceHash Hash
	Initiator    Initiator
	OrgID        OrgID // member that brought it
	Signature    Blob
}

func (v *StatusReason) fields(c *codec) {
	number(c, "at", &v.At)
	enum(c, "code", &v.Code, reasons)
	optHash(c, "evidenceHash", &v.EvidenceHash)
	enum(c, "initiator", &v.Initiator, initiators)
	text(c, "orgId", &v.OrgID, maxID)
	optBlob(c, "signature", &v.Signature, 65)
}

// Consent is the ledger's record of one consent.
type Consent struct {
	ConsentTerms
	Authorisation        *Authorisation // nil until authorised
	CreatedAt            Millis
	CreatedBy            Address
	Disputed             bool
	ErasureStatus        ErasureStatus
	Status               Status
	StatusReason         []StatusReason // oldest first
	StatusUpdateDateTime Millis
	SupersededBy         ConsentID // the authorised version that took its place; "": none
}

func (v *Consent) fields(c *codec) {
	object(c, "accessLimits", &v.AccessLimits)
	optObject(c, "authorisation", &v.Authorisation)
	boolean(c, "automatedDecision", &v.AutomatedDecision)
	text(c, "consentId", &v.ConsentID, maxID)
	enum(c, "consentType", &v.ConsentType, consentTypes)
	number(c, "createdAt", &v.CreatedAt)
	address(c, "createdBy", &v.CreatedBy)
	enums(c, "dataClasses", &v.DataClasses, dataClasses)
	enums(c, "declinedPurposes", &v.DeclinedPurposes, purposes)
	optBoolean(c, "disputed", &v.Disputed)
	optEnum(c, "erasureStatus", &v.ErasureStatus, erasureStatuses)
	number(c, "expirationDateTime", &v.ExpirationDateTime)
	optHash(c, "impactAssessmentHash", &v.ImpactAssessmentHash)
	hash(c, "noticeHash", &v.NoticeHash)
	objects(c, "parties", &v.Parties, maxParties)
	address(c, "principalKey", &v.PrincipalKey)
	text(c, "principalRef", &v.PrincipalRef, maxID)
	enums(c, "processingMethods", &v.ProcessingMethods, templateKinds)
	text(c, "productId", &v.ProductID, maxID)
	enums(c, "purposes", &v.Purposes, purposes)
	hash(c, "recordCommitment", &v.RecordCommitment)
	number(c, "schemaVersion", &v.SchemaVersion)
	enum(c, "status", &v.Status, statuses)
	objects(c, "statusReason", &v.StatusReason, maxStatusReasons)
	number(c, "statusUpdateDateTime", &v.StatusUpdateDateTime)
	optText(c, "supersededBy", &v.SupersededBy, maxID)
	optText(c, "supersedes", &v.Supersedes, maxID)
	texts(c, "templateIds", &v.TemplateIDs, maxTemplates, maxID)
	number(c, "validFrom", &v.ValidFrom)
	number(c, "version", &v.Version)
}

// WasAuthorised reports whether the consent was ever in force.
func (v *Consent) WasAuthorised() bool {
	a := v.Authorisation
	return a != nil && (a.Method != WrittenEvidence || a.Countersignature != nil)
}

// EffectiveStatus is the status at a block time: a consent that has run out is
// Expired whether or not anybody has said so on the ledger.
func (v *Consent) EffectiveStatus(now Millis) Status {
	if (v.Status == AwaitingAuthorisation || v.Status == Authorised) && now >= v.ExpirationDateTime {
		return Expired
	}
	return v.Status
}
