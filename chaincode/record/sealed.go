package record

import "errors"

const (
	maxSubject  = 128
	maxContacts = 4
	maxContact  = 128
)

// SealedPart is the part of a consent that identifies the person. It never goes
// on the ledger: the lender encrypts it to the provider and to the subject, and
// the ledger holds only its commitment. Erasure destroys the salt with it.
type SealedPart struct {
	Account        string // the subject's account at the provider; "": none
	ChainID        Hash
	ConsentID      ConsentID
	Contacts       []Contact
	Endorsement    *WalletEndorsement // nil when the provider authenticates
	NoticeLanguage string
	Salt           Hash   // 32 random bytes
	SubjectID      string // canonical subject identifier, as the provider keys its customers
	Version        uint64
}

// Contact is one way to reach the subject.
type Contact struct {
	Kind  ContactKind
	Value string
}

// WalletEndorsement is the subject's long-lived wallet vouching for the fresh
// principal key of one consent: an EIP-712 KeyEndorsement. The provider knows
// the wallet from its own session with the customer; nobody else sees it.
type WalletEndorsement struct {
	Signature Blob // 65 bytes
	Wallet    Address
}

func (v *SealedPart) fields(c *codec) {
	optText(c, "account", &v.Account, maxSubject)
	hash(c, "chainId", &v.ChainID)
	text(c, "consentId", &v.ConsentID, maxID)
	objects(c, "contacts", &v.Contacts, maxContacts)
	optObject(c, "endorsement", &v.Endorsement)
	text(c, "noticeLanguage", &v.NoticeLanguage, maxLanguage)
	optHash(c, "salt", &v.Salt)
	text(c, "subjectId", &v.SubjectID, maxSubject)
	number(c, "version", &v.Version)
}

func (v *Contact) fields(c *codec) {
	enum(c, "kind", &v.Kind, contactKinds)
	text(c, "value", &v.Value, maxContact)
}

func (v *WalletEndorsement) fields(c *codec) {
	blob(c, "signature", &v.Signature, 65)
	address(c, "wallet", &v.Wallet)
}

// Check implements Checked.
func (v *SealedPart) Check() error {
	if v.ChainID == (Hash{}) || v.Salt == (Hash{}) {
		return errors.New("chainId, salt: zero")
	}
	if err := v.ConsentID.Check(); err != nil {
		return err
	}
	if v.SubjectID == "" || v.Version == 0 {
		return errors.New("subjectId, version: missing")
	}
	if v.Endorsement != nil && v.Endorsement.Wallet == (Address{}) {
		return errors.New("endorsement: wallet is zero")
	}
	return checkLanguage(v.NoticeLanguage)
}

// Commitment is the consent's recordCommitment: keccak256(domain ‖ salt ‖
// canonical JSON of the part without its salt).
func (v *SealedPart) Commitment() (Hash, error) {
	body := *v
	body.Salt = Hash{}
	return salted(DomainSealedPart, v.Salt, &body)
}

// AnswerBody is what a provider answers to a permitted request. It leaves the
// provider only sealed to the request's answer key; the receipt commits to it.
type AnswerBody struct {
	ChainID         Hash
	CodeHash        Hash
	ConsentID       ConsentID
	Epoch           uint64
	EvaluatedHeight uint64
	ProofHash       Hash // names the opening that comes with an anchored answer; zero: none
	RequestID       RequestID
	Salt            Hash // 32 random bytes
	TemplateID      TemplateID
	Value           string // one of the template's outputs
}

func (v *AnswerBody) fields(c *codec) {
	hash(c, "chainId", &v.ChainID)
	hash(c, "codeHash", &v.CodeHash)
	text(c, "consentId", &v.ConsentID, maxID)
	number(c, "epoch", &v.Epoch)
	number(c, "evaluatedHeight", &v.EvaluatedHeight)
	optHash(c, "proofHash", &v.ProofHash)
	text(c, "requestId", &v.RequestID, maxID+2)
	optHash(c, "salt", &v.Salt)
	text(c, "templateId", &v.TemplateID, maxID)
	text(c, "value", &v.Value, maxValue)
}

// Check implements Checked.
func (v *AnswerBody) Check() error {
	if v.ChainID == (Hash{}) || v.CodeHash == (Hash{}) || v.Salt == (Hash{}) {
		return errors.New("chainId, codeHash, salt: zero")
	}
	if v.ConsentID != "" { // statistics of a cohort have no consent
		if err := v.ConsentID.Check(); err != nil {
			return err
		}
	}
	if err := v.RequestID.Check(); err != nil {
		return err
	}
	if v.Epoch == 0 || v.EvaluatedHeight == 0 || v.Value == "" {
		return errors.New("epoch, evaluatedHeight, value: missing")
	}
	return v.TemplateID.Check()
}

// Commitment is the receipt's resultCommitment: keccak256(domain ‖ salt ‖
// canonical JSON of the body without its salt). SDK, provider and dispute all
// use this one function.
func (v *AnswerBody) Commitment() (Hash, error) {
	body := *v
	body.Salt = Hash{}
	return salted(DomainAnswer, v.Salt, &body)
}

// OpeningHash names the opening of an answer, the body with its salt, that a
// lender hands to an authority: keccak256(domain ‖ canonical JSON). It hides the
// answer as the commitment does, by the same salt.
func (v *AnswerBody) OpeningHash() (Hash, error) {
	if v.Salt == (Hash{}) {
		return Hash{}, errors.New("opening: salt is zero")
	}
	return tagged(DomainOpening, v)
}
