// Package access is the contract that decides every use of a consent and keeps
// what came of it.
//
// It promises that each request by the consent's lender, permitted or denied,
// leaves a record and extends the consent's usage chain; that no row of totals
// over several banks is permitted from which one bank's figure follows; that a request by
// anybody else is refused and leaves nothing; that a permit names the epoch, the
// code hash and the deadline it was given under; and that a request has at most
// one receipt. The decision itself is Decide, a pure function.
//
// It leaves answering to the provider's node, and the sealed answer off the
// ledger.
package access

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// Names of the events.
const (
	EventRequest = "request"
	EventReceipt = "receipt"
	EventBatch   = "batch" // every request of a batch
	EventDispute = "answer-dispute"

	EventPledge   = "pledge"
	EventExposure = "exposure" // a set of banks, permitted or denied as one
	EventCohort   = "cohort"   // such a set, asked for statistics
)

// Contract is the access contract.
type Contract struct{ contractapi.Contract }

// New makes the contract.
func New() *Contract {
	c := new(Contract)
	c.Name = record.ContractAccess
	c.TransactionContextHandler = new(call.Context)
	return c
}

// GetEvaluateTransactions names the read functions.
func (*Contract) GetEvaluateTransactions() []string {
	return []string{"GetPledge", "GetExposure", "GetExposureHistory", "GetCohort", "GetEpsilon", "GetRequest", "GetReceipt", "Usage", "ListByConsent", "ListByParty", "GetAnswerDispute", "ListAnswerDisputes"}
}

// Request asks to use a consent once. Argument: record.RequestSpec; result:
// record.Decision. For integrations of the consent's lender. A denial is a
// successful call: its record must stand.
func (*Contract) Request(ctx *call.Context, requestJSON string) (string, error) {
	spec, err := call.Argument[record.RequestSpec](requestJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleIntegration)
	if err != nil {
		return "", err
	}
	in, err := gather(ctx, caller, spec)
	if err != nil {
		return "", err
	}
	request := describe(caller, in, Decide(in), record.NewRequestID(transactionID(ctx)))
	written, usage, err := writeRequest(ctx, request, in.Usage)
	if err != nil {
		return "", err
	}
	if err := ctx.Emit(EventRequest, written); err != nil {
		return "", err
	}
	if _, err := ctx.Put(record.UsageKey(usage.ConsentID), usage); err != nil {
		return "", err
	}
	return call.Answer(&record.Decision{
		Code: request.Code, Deadline: request.Deadline, Decision: request.Decision, Disputed: request.Disputed,
		Epoch: request.Epoch, RequestID: request.RequestID,
	})
}

// gather reads what the decision depends on, and refuses a caller whose member
// is not the consent's lender.
func gather(ctx *call.Context, caller *call.Caller, spec *record.RequestSpec) (*Inputs, error) {
	in := &Inputs{Now: caller.Now, Request: spec}
	var err error
	if in.Consent, err = ownConsent(ctx, caller, spec.ConsentID); err != nil {
		return nil, err
	}
	if err := caller.MustBe(record.DataConsumer); err != nil {
		return nil, err
	}
	if in.Usage, err = usageOf(ctx, spec.ConsentID); err != nil {
		return nil, err
	}
	if in.Product, err = call.Shared[record.Product](ctx, record.ProductKey(in.Consent.ProductID)); err != nil {
		return nil, err
	}
	if record.HasItem(in.Consent.TemplateIDs, spec.TemplateID) {
		if in.Template, err = call.Shared[record.Template](ctx, record.TemplateKey(spec.TemplateID)); err != nil {
			return nil, err
		}
	}
	if in.Epoch, err = call.Shared[record.Epoch](ctx, record.EpochKey(in.Consent.ProductID)); err != nil {
		return nil, err
	}
	in.Provider, err = call.Shared[record.Member](ctx, record.MemberKey(in.Consent.Provider()))
	return in, err
}

// ownConsent is a consent whose lender the caller's member is.
func ownConsent(ctx *call.Context, caller *call.Caller, id record.ConsentID) (*record.Consent, error) {
	consent, err := call.Need[record.Consent](ctx, record.ConsentKey(id), record.CodeConsentUnknown, "consent")
	if err != nil {
		return nil, err
	}
	if consent.Consumer() != caller.OrgID() {
		return nil, record.Refuse(record.CodeForbidden, "caller's member is not the consent's DATA_CONSUMER party")
	}
	return consent, nil
}

// usageOf is a consent's account of its use, all zero before the first.
func usageOf(ctx *call.Context, id record.ConsentID) (*record.Usage, error) {
	usage, err := call.Get[record.Usage](ctx, record.UsageKey(id))
	if err == nil && usage == nil {
		usage = &record.Usage{ConsentID: id}
	}
	return usage, err
}

// describe makes the request's record. What a denial records was on the ledger
// before: nothing the caller made up, but for the answer key.
func describe(caller *call.Caller, in *Inputs, code record.Code, id record.RequestID) *record.Request {
	consent := in.Consent
	r := &record.Request{
		AnswerKey: in.Request.AnswerKey, ClientKey: caller.Client.Address, Code: code,
		ConsentID: consent.ConsentID, ConsentVersion: consent.Version, Consumer: consent.Consumer(),
		Decision: record.Deny, Disputed: consent.Disputed, ProductID: consent.ProductID, Provider: consent.Provider(),
		Purpose: in.Request.Purpose, RequestID: id, RequestedAt: in.Now,
		Sequence: in.Usage.Requests + 1,
	}
	if record.HasItem(consent.TemplateIDs, in.Request.TemplateID) {
		r.TemplateID = in.Request.TemplateID
	}
	if code != record.CodePermit {
		return r
	}
	due := in.Template.AnswerTTL
	if in.Request.DeadlineMs != 0 {
		due = min(due, in.Request.DeadlineMs)
	}
	r.Decision, r.CodeHash, r.Epoch = record.Permit, in.Template.CodeHash, in.Epoch.Epoch
	r.Deadline, r.Params = in.Now+due, in.Request.Params
	return r
}

// transactionID is the id of the transaction; a Fabric network writes it without
// "0x".
func transactionID(ctx *call.Context) record.Hash {
	return common.HexToHash(ctx.GetStub().GetTxID())
}

// writeRequest writes the request's record and index rows, and returns the record
// as written and the usage that follows it, which the caller writes.
func writeRequest(ctx *call.Context, r *record.Request, before *record.Usage) ([]byte, *record.Usage, error) {
	if err := ctx.Index(record.RequestConsentIndex(r.ConsentID, r.Sequence, r.RequestID)); err != nil {
		return nil, nil, err
	}
	for _, party := range []record.OrgID{r.Consumer, r.Provider} {
		if err := ctx.Index(record.RequestPartyIndex(party, r.RequestedAt, r.RequestID)); err != nil {
			return nil, nil, err
		}
	}
	written, err := ctx.Put(record.RequestKey(r.RequestID), r)
	if err != nil {
		return nil, nil, err
	}
	after := *before
	after.Head = record.NextHead(before.Head, written)
	after.Requests++
	if r.Decision == record.Permit {
		after.Uses++
		if day := record.DayOf(r.RequestedAt); day > after.Day {
			after.Day, after.DayUses = day, 0
		}
		after.DayUses++
	}
	return written, &after, nil
}
