package record

import (
	"errors"
	"sort"
)

// ParamValue gives one parameter of a template its value.
type ParamValue struct{ Name, Value string }

// ParamValues are a request's parameters, strictly ascending by name; in JSON
// an object {name: value}.
type ParamValues []ParamValue

// MakeParamValues brings values into their one order.
func MakeParamValues(values map[string]string) ParamValues {
	out := make(ParamValues, 0, len(values))
	for name, value := range values { //archtest:order-free sorted below
		out = append(out, ParamValue{name, value})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Get returns the value of the named parameter.
func (v ParamValues) Get(name string) (string, bool) {
	for i := range v {
		if v[i].Name == name {
			return v[i].Value, true
		}
	}
	return "", false
}

// paramValues visits {name: value}, in the order of the names.
func paramValues(c *codec, name string, v *ParamValues, optional bool) {
	if !c.field(name, optional, len(*v) != 0) {
		return
	}
	c.byte('{')
	n := len(*v)
	for i := 0; ; i++ {
		if c.reading && c.next('}') || !c.reading && i == n {
			break
		}
		if i > 0 {
			c.byte(',')
		}
		if i == maxParams {
			c.failField(name, "within its item limit")
		}
		if c.err != nil {
			return
		}
		p := grow(c, (*[]ParamValue)(v), i, fewNames)
		textValue(c, name, &p.Name, maxID)
		c.byte(':')
		textValue(c, name, &p.Value, maxValue)
		if i > 0 && (*v)[i-1].Name >= p.Name {
			c.failField(name, "in strictly ascending order")
		}
	}
	if !c.reading {
		c.byte('}')
	}
	if optional && len(*v) == 0 {
		c.failField(name, "left out when empty")
	}
}

// RequestSpec is the argument of an access request.
type RequestSpec struct {
	AnswerKey  Blob // X25519 key the answer is sealed to, 32 bytes, fresh for this request
	ConsentID  ConsentID
	DeadlineMs Millis // the answer is wanted within this time; 0: what the template allows
	Params     ParamValues
	Purpose    Purpose
	TemplateID TemplateID
}

func (v *RequestSpec) fields(c *codec) {
	blob(c, "answerKey", &v.AnswerKey, 32)
	text(c, "consentId", &v.ConsentID, maxID)
	optNumber(c, "deadlineMs", &v.DeadlineMs)
	paramValues(c, "params", &v.Params, false)
	enum(c, "purpose", &v.Purpose, purposes)
	text(c, "templateId", &v.TemplateID, maxID)
}

// Check implements Checked.
func (v *RequestSpec) Check() error {
	if allZero(v.AnswerKey) {
		return errors.New("answerKey: zero")
	}
	if err := v.ConsentID.Check(); err != nil {
		return err
	}
	if v.DeadlineMs != 0 && (v.DeadlineMs < MinAnswerTTL || v.DeadlineMs > MaxAnswerTTL) {
		return errors.New("deadlineMs: out of range")
	}
	return v.TemplateID.Check()
}

// Decision is what an access request returns to its caller.
type Decision struct {
	Code      Code
	Deadline  Millis // PERMIT only: block time until which the answer is due
	Decision  Outcome
	Disputed  bool   // the subject disputes the consent's data, and the provider has not settled it
	Epoch     uint64 // PERMIT only
	RequestID RequestID
}

func (v *Decision) fields(c *codec) {
	enum(c, "code", &v.Code, decisionCodes)
	optNumber(c, "deadline", &v.Deadline)
	enum(c, "decision", &v.Decision, outcomes)
	optBoolean(c, "disputed", &v.Disputed)
	optNumber(c, "epoch", &v.Epoch)
	text(c, "requestId", &v.RequestID, maxID+2)
}

// Request is the record of one access request. A denial records nothing that
// the ledger did not already hold: no parameters, and the template only if the
// consent lists it, so that a refused request cannot carry data onto the ledger.
type Request struct {
	AnswerKey      Blob
	BatchID        Hash    // id of the transaction, of a request that came in a batch; zero: it is the request's own
	ClientKey      Address // key that signed the request
	Code           Code
	CodeHash       Hash // PERMIT only: the template's
	ConsentID      ConsentID
	ConsentVersion uint64
	Consumer       OrgID
	Deadline       Millis // PERMIT only
	Decision       Outcome
	Disputed       bool        // the consent's data were under dispute
	Epoch          uint64      // PERMIT only
	Params         ParamValues // PERMIT only
	ProductID      ProductID
	Provider       OrgID
	Purpose        Purpose
	RequestID      RequestID
	RequestedAt    Millis
	Sequence       uint64 // position in the consent's usage chain, from 1
	TemplateID     TemplateID
}

func (v *Request) fields(c *codec) {
	blob(c, "answerKey", &v.AnswerKey, 32)
	optHash(c, "batchId", &v.BatchID)
	address(c, "clientKey", &v.ClientKey)
	enum(c, "code", &v.Code, decisionCodes)
	optHash(c, "codeHash", &v.CodeHash)
	text(c, "consentId", &v.ConsentID, maxID)
	number(c, "consentVersion", &v.ConsentVersion)
	text(c, "consumer", &v.Consumer, maxID)
	optNumber(c, "deadline", &v.Deadline)
	enum(c, "decision", &v.Decision, outcomes)
	optBoolean(c, "disputed", &v.Disputed)
	optNumber(c, "epoch", &v.Epoch)
	paramValues(c, "params", &v.Params, true)
	text(c, "productId", &v.ProductID, maxID)
	text(c, "provider", &v.Provider, maxID)
	enum(c, "purpose", &v.Purpose, purposes)
	text(c, "requestId", &v.RequestID, maxID+2)
	number(c, "requestedAt", &v.RequestedAt)
	number(c, "sequence", &v.Sequence)
	optText(c, "templateId", &v.TemplateID, maxID)
}

// Usage is a consent's account of its own use, and the head of the hash chain
// over all its requests: whoever holds the requests and a proof of this record
// knows that none is missing.
type Usage struct {
	ConsentID ConsentID
	Day       uint64 // UTC day of the latest permit, days since 1970
	DayUses   uint64 // permits on that day
	Head      Hash
	Requests  uint64 // requests in the chain, permitted or denied
	Uses      uint64 // permits in all
}

func (v *Usage) fields(c *codec) {
	text(c, "consentId", &v.ConsentID, maxID)
	number(c, "day", &v.Day)
	number(c, "dayUses", &v.DayUses)
	hash(c, "head", &v.Head)
	number(c, "requests", &v.Requests)
	number(c, "uses", &v.Uses)
}

// DayOf is the UTC day of a block time.
func DayOf(t Millis) uint64 { return uint64(t / 86_400_000) }

// ReceiptSpec is the argument of a receipt.
type ReceiptSpec struct {
	CodeHash         Hash   // ANSWERED only
	EvaluatedHeight  uint64 // height of the state the answer was computed under; not with OVERDUE
	Outcome          ReceiptOutcome
	RequestID        RequestID
	ResultCommitment Hash // ANSWERED only: AnswerBody.Commitment
}

func (v *ReceiptSpec) fields(c *codec) {
	optHash(c, "codeHash", &v.CodeHash)
	optNumber(c, "evaluatedHeight", &v.EvaluatedHeight)
	enum(c, "outcome", &v.Outcome, receiptOutcomes)
	text(c, "requestId", &v.RequestID, maxID+2)
	optHash(c, "resultCommitment", &v.ResultCommitment)
}

// Check implements Checked.
func (v *ReceiptSpec) Check() error {
	answered := v.Outcome == Answered
	if answered && (v.ResultCommitment == Hash{} || v.CodeHash == Hash{} || v.EvaluatedHeight == 0) {
		return errors.New("receipt: ANSWERED wants resultCommitment, codeHash and evaluatedHeight")
	}
	if !answered && (v.ResultCommitment != Hash{} || v.CodeHash != Hash{}) {
		return errors.New("receipt: resultCommitment and codeHash belong to ANSWERED")
	}
	if v.Outcome == Overdue && v.EvaluatedHeight != 0 {
		return errors.New("receipt: OVERDUE has no evaluatedHeight")
	}
	return v.RequestID.Check()
}

// Receipt is the provider's commitment to what it answered, or why it did not.
// There is at most one for a request.
type Receipt struct {
	ClientKey        Address // key that signed it
	CodeHash         Hash
	ConsentID        ConsentID
	Consumer         OrgID
	Deadline         Millis
	EvaluatedHeight  uint64
	OrgID            OrgID // member that recorded it: the provider, or the lender for OVERDUE
	Outcome          ReceiptOutcome
	Provider         OrgID
	RecordedAt       Millis
	RequestID        RequestID
	ResultCommitment Hash
}

func (v *Receipt) fields(c *codec) {
	address(c, "clientKey", &v.ClientKey)
	optHash(c, "codeHash", &v.CodeHash)
	text(c, "consentId", &v.ConsentID, maxID)
	text(c, "consumer", &v.Consumer, maxID)
	number(c, "deadline", &v.Deadline)
	optNumber(c, "evaluatedHeight", &v.EvaluatedHeight)
	text(c, "orgId", &v.OrgID, maxID)
	enum(c, "outcome", &v.Outcome, receiptOutcomes)
	text(c, "provider", &v.Provider, maxID)
	number(c, "recordedAt", &v.RecordedAt)
	text(c, "requestId", &v.RequestID, maxID+2)
	optHash(c, "resultCommitment", &v.ResultCommitment)
}
