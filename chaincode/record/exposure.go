package record

import (
	"errors"
	"fmt"
	"strconv"
)

// Bounds of a total over several banks.
const (
	MinExposureBanks = 3
	MaxExposureBanks = 30

	// MaxExposureSets bounds the different sets that may be asked under one
	// principal key.
	MaxExposureSets = 16

	// MaxExposureThreshold is the least number that no total reaches: 30 figures,
	// each below 2^40.
	MaxExposureThreshold = MaxExposureBanks << 40

	// ThresholdParam is the one parameter that a TOTAL template may have: the total
	// is compared with it and not told. access:RequestExposure refuses it for now.
	ThresholdParam = "threshold"
)

// PledgeSpec is the argument of RegisterPledge: the hash of a bank's commitment to
// its figure about a consent's subject, with the proof of its range. The bytes that
// are hashed stand in the SPEC of node/query/exposure; the hash tells nothing, nor
// whether the subject is a customer.
type PledgeSpec struct {
	ConsentID  ConsentID
	Epoch      uint64
	KeyID      DataKeyID // the bank's data key from which its masks come
	Pledge     Hash
	TemplateID TemplateID
}

func (v *PledgeSpec) fields(c *codec) {
	text(c, "consentId", &v.ConsentID, maxID)
	number(c, "epoch", &v.Epoch)
	text(c, "keyId", &v.KeyID, maxID)
	hash(c, "pledge", &v.Pledge)
	text(c, "templateId", &v.TemplateID, maxID)
}

// Check implements Checked.
func (v *PledgeSpec) Check() error {
	if v.Epoch == 0 {
		return errors.New("epoch: counts from 1")
	}
	if v.Pledge == (Hash{}) {
		return errors.New("pledge: zero")
	}
	return errors.Join(v.ConsentID.Check(), v.KeyID.Check(), v.TemplateID.Check())
}

// Pledge is a registered pledge. Its hash never changes; the bank may name another
// data key when the one it named is no longer in force.
type Pledge struct {
	PledgeSpec
	CodeHash     Hash // the template's
	Provider     OrgID
	RegisteredAt Millis
	RegisteredBy Address
}

func (v *Pledge) fields(c *codec) {
	hash(c, "codeHash", &v.CodeHash)
	text(c, "consentId", &v.ConsentID, maxID)
	number(c, "epoch", &v.Epoch)
	text(c, "keyId", &v.KeyID, maxID)
	hash(c, "pledge", &v.Pledge)
	text(c, "provider", &v.Provider, maxID)
	number(c, "registeredAt", &v.RegisteredAt)
	address(c, "registeredBy", &v.RegisteredBy)
	text(c, "templateId", &v.TemplateID, maxID)
}

// ExposureItem is one bank's part of a set: a consent with it, and its TOTAL
// template.
type ExposureItem struct {
	ConsentID  ConsentID
	TemplateID TemplateID
}

func (v *ExposureItem) fields(c *codec) {
	text(c, "consentId", &v.ConsentID, maxID)
	text(c, "templateId", &v.TemplateID, maxID)
}

// ExposureSpec is the argument of RequestExposure.
type ExposureSpec struct {
	AnswerKey  Blob           // X25519 key that shares or verdict are sealed to, 32 bytes, fresh for this request
	DeadlineMs Millis         // the shares are wanted within this time; 0: what the templates allow
	Items      []ExposureItem // strictly ascending by consent
	Params     ParamValues    // none, or the threshold
	Purpose    Purpose
	Recipient  OrgID // with a threshold, the aggregator; "": the lender
}

func (v *ExposureSpec) fields(c *codec) {
	blob(c, "answerKey", &v.AnswerKey, 32)
	optNumber(c, "deadlineMs", &v.DeadlineMs)
	objects(c, "items", &v.Items, MaxExposureBanks)
	paramValues(c, "params", &v.Params, false)
	enum(c, "purpose", &v.Purpose, purposes)
	optText(c, "recipient", &v.Recipient, maxID)
}

// Check implements Checked.
func (v *ExposureSpec) Check() error {
	if n := len(v.Items); n < MinExposureBanks {
		return fmt.Errorf("items: %d consents, want %d to %d, of one bank each", n, MinExposureBanks, MaxExposureBanks)
	}
	for i := range v.Items {
		if i > 0 && v.Items[i-1].ConsentID >= v.Items[i].ConsentID {
			return errors.New("items: want strictly ascending consents")
		}
		if err := v.Request(i).Check(); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	if (len(v.Params) == 0) != (v.Recipient == "") {
		return errors.New("recipient: an aggregator belongs to a threshold; the lender itself opens the shares of a total")
	}
	if v.Recipient != "" {
		return v.Recipient.Check()
	}
	return nil
}

// Request is item i as a request of its own.
func (v *ExposureSpec) Request(i int) *RequestSpec {
	return &RequestSpec{
		AnswerKey: v.AnswerKey, ConsentID: v.Items[i].ConsentID, DeadlineMs: v.DeadlineMs, Params: v.Params,
		Purpose: v.Purpose, TemplateID: v.Items[i].TemplateID,
	}
}

// ExposureSeat is one bank's place in a set. What follows Code is there with a
// PERMIT only.
type ExposureSeat struct {
	Bank       OrgID
	Code       Code // its own reason for a denial, or SET_INCOMPLETE for another's
	CodeHash   Hash
	ConsentID  ConsentID
	Epoch      uint64
	Key        Blob // the bank's X25519 data key
	KeyID      DataKeyID
	Pledge     Hash
	RequestID  RequestID
	TemplateID TemplateID
}

func (v *ExposureSeat) fields(c *codec) {
	text(c, "bank", &v.Bank, maxID)
	enum(c, "code", &v.Code, decisionCodes)
	optHash(c, "codeHash", &v.CodeHash)
	text(c, "consentId", &v.ConsentID, maxID)
	optNumber(c, "epoch", &v.Epoch)
	optBlob(c, "key", &v.Key, 32)
	optText(c, "keyId", &v.KeyID, maxID)
	optHash(c, "pledge", &v.Pledge)
	text(c, "requestId", &v.RequestID, maxID+2)
	text(c, "templateId", &v.TemplateID, maxID)
}

// Exposure is what RequestExposure returns, its event, and with a PERMIT its
// record: the set of banks, frozen.
type Exposure struct {
	AnswerKey   Blob
	Consumer    OrgID
	Deadline    Millis // PERMIT only
	Decision    Outcome
	ExposureID  Hash // id of the transaction
	Purpose     Purpose
	Recipient   OrgID // who opens the shares
	RequestedAt Millis
	Seats       []ExposureSeat // strictly ascending by bank
	Threshold   uint64         // 0: the total itself is asked
}

func (v *Exposure) fields(c *codec) {
	blob(c, "answerKey", &v.AnswerKey, 32)
	text(c, "consumer", &v.Consumer, maxID)
	optNumber(c, "deadline", &v.Deadline)
	enum(c, "decision", &v.Decision, outcomes)
	hash(c, "exposureId", &v.ExposureID)
	enum(c, "purpose", &v.Purpose, purposes)
	text(c, "recipient", &v.Recipient, maxID)
	number(c, "requestedAt", &v.RequestedAt)
	objects(c, "seats", &v.Seats, MaxExposureBanks)
	optNumber(c, "threshold", &v.Threshold)
}

// Figure names what a bank adds to a total: a template in an epoch.
type Figure struct {
	Bank       OrgID
	Epoch      uint64
	TemplateID TemplateID
}

func (v *Figure) fields(c *codec) {
	text(c, "bank", &v.Bank, maxID)
	number(c, "epoch", &v.Epoch)
	text(c, "templateId", &v.TemplateID, maxID)
}

// FigureSet is a set that was asked, strictly ascending by bank.
type FigureSet struct{ Figures []Figure }

func (v *FigureSet) fields(c *codec) { objects(c, "figures", &v.Figures, MaxExposureBanks) }

// ExposureHistory is every different set that was permitted under one principal
// key, by whichever lender, in the order of their first permit.
type ExposureHistory struct {
	PrincipalKey Address
	Sets         []FigureSet
}

func (v *ExposureHistory) fields(c *codec) {
	address(c, "principalKey", &v.PrincipalKey)
	objects(c, "sets", &v.Sets, MaxExposureSets)
}

func (*ExposureHistory) maxSize() int { return 128 << 10 }

// checkTotal is what a TOTAL template may be: one column, added up as it is, and
// told as a total or compared with one of the listed thresholds. It lists no
// outputs: a total is no word.
func (v *TemplateSpec) checkTotal() error {
	if len(v.Columns) != 1 || v.Source != v.Columns[0] {
		return errors.New("columns, source: a TOTAL template names one column, and nothing else")
	}
	if len(v.Outputs) != 0 {
		return errors.New("outputs: a TOTAL template lists none")
	}
	if len(v.Params) == 0 {
		return nil
	}
	if p := &v.Params[0]; len(v.Params) != 1 || p.Name != ThresholdParam || p.Type != TypeInt {
		return errors.New("params: a TOTAL template has none but the INT threshold")
	}
	for _, text := range v.Params[0].Values {
		if _, err := ParseThreshold(text); err != nil {
			return fmt.Errorf("threshold: %w", err)
		}
	}
	return v.checkParams()
}

// ParseThreshold reads a threshold: decimal, in its one spelling, at least 1.
func ParseThreshold(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || n > MaxExposureThreshold || strconv.FormatUint(n, 10) != text {
		return 0, fmt.Errorf("want an integer from 1 to %d, without sign or leading zeros", uint64(MaxExposureThreshold))
	}
	return n, nil
}
