package access

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// DisputeAnswer records that the lender disputes an answer for which the provider
// has a receipt, and which authority is to judge it. The answer itself is opened
// to that authority alone, off the ledger: here stand only the claim and the hash
// of the opening, which tells nothing without its salt. Argument:
// record.AnswerDisputeSpec; result: record.AnswerDispute. For officers and
// integrations of the lender, once for a request.
func (*Contract) DisputeAnswer(ctx *call.Context, disputeJSON string) (string, error) {
	spec, err := call.Argument[record.AnswerDisputeSpec](disputeJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleOfficer, record.RoleIntegration)
	if err != nil {
		return "", err
	}
	receipt, err := call.Need[record.Receipt](ctx, record.ReceiptKey(spec.RequestID), record.CodeNotFound, "receipt")
	if err != nil {
		return "", err
	}
	if caller.OrgID() != receipt.Consumer {
		return "", record.Refuse(record.CodeForbidden, "caller's member is not the consent's DATA_CONSUMER party")
	}
	if receipt.Outcome != record.Answered {
		return "", record.Refuse(record.CodeWrongState, "receipt is %s: there is no answer to dispute", receipt.Outcome)
	}
	judge, err := ctx.MemberActive(spec.Authority)
	if err != nil {
		return "", err
	}
	if !record.HasItem(judge.Roles, record.Auditor) {
		return "", record.Refuse(record.CodeForbidden, "authority is no AUDITOR")
	}
	root, err := disputedRoot(ctx, spec)
	if err != nil {
		return "", err
	}
	key := record.AnswerDisputeKey(spec.RequestID)
	known, err := call.Get[record.AnswerDispute](ctx, key)
	if err != nil {
		return "", err
	}
	if known != nil {
		return "", record.Refuse(record.CodeAlreadyExists, "answer is disputed already")
	}
	if err := ctx.Index(record.AnswerDisputeIndex(spec.Authority, caller.Now, spec.RequestID)); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventDispute, &record.AnswerDispute{
		AnchorRoot: root, Authority: spec.Authority, Claim: spec.Claim, ClientKey: caller.Client.Address, ConsentID: receipt.ConsentID,
		Consumer: receipt.Consumer, OpeningHash: spec.OpeningHash, Provider: receipt.Provider, RaisedAt: caller.Now,
		RequestID: receipt.RequestID, ResultCommitment: receipt.ResultCommitment,
	})
}

// disputedRoot is the root that an answer claimed to be NOT_ANCHORED is held
// against, the one in force when the request was permitted: whoever has the opening
// then settles the dispute by computing. Zero for every other claim.
func disputedRoot(ctx *call.Context, spec *record.AnswerDisputeSpec) (record.Hash, error) {
	if spec.Claim != record.ClaimNotAnchored {
		return record.Hash{}, nil
	}
	request, err := call.Need[record.Request](ctx, record.RequestKey(spec.RequestID), record.CodeNotFound, "request")
	if err != nil {
		return record.Hash{}, err
	}
	anchor, err := call.Get[record.Anchor](ctx, record.AnchorKey(request.TemplateID, request.Epoch, request.Params))
	if err != nil {
		return record.Hash{}, err
	}
	if anchor == nil {
		return record.Hash{}, record.Refuse(record.CodeWrongState, "the provider anchored no answers to this question in the request's epoch")
	}
	return anchor.Root, nil
}

// JudgeAnswer records what the authority found, having opened the answer and
// compared it with the receipt's commitment. Argument: record.VerdictSpec; result:
// record.AnswerDispute. For officers of the authority that the dispute names, once.
func (*Contract) JudgeAnswer(ctx *call.Context, verdictJSON string) (string, error) {
	spec, err := call.Argument[record.VerdictSpec](verdictJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleOfficer)
	if err != nil {
		return "", err
	}
	if err := caller.MustBe(record.Auditor); err != nil {
		return "", err
	}
	key := record.AnswerDisputeKey(spec.RequestID)
	d, err := call.Need[record.AnswerDispute](ctx, key, record.CodeNotFound, "disputed answer")
	if err != nil {
		return "", err
	}
	if d.Authority != caller.OrgID() {
		return "", record.Refuse(record.CodeForbidden, "the dispute names another authority")
	}
	if d.Verdict != nil {
		return "", record.Refuse(record.CodeWrongState, "dispute is judged")
	}
	d.Verdict = &record.Verdict{At: caller.Now, ClientKey: caller.Client.Address, Finding: spec.Finding, StatementHash: spec.StatementHash}
	if err := ctx.Unindex(record.AnswerDisputeIndex(d.Authority, d.RaisedAt, d.RequestID)); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventDispute, d)
}

// GetAnswerDispute returns record.AnswerDispute by the request's id.
func (*Contract) GetAnswerDispute(ctx *call.Context, requestID string) (string, error) {
	id := record.RequestID(requestID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return ctx.Show(record.AnswerDisputeKey(id), "disputed answer")
}

// ListAnswerDisputes returns one record.AnswerDisputePage of the answers that an
// authority has yet to judge, oldest first.
func (*Contract) ListAnswerDisputes(ctx *call.Context, authority, pageSize, bookmark string) (string, error) {
	id := record.OrgID(authority)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	list, next, err := call.Page[record.AnswerDispute](ctx, record.AnswerDisputeIndexPrefix(id), pageSize, bookmark, func(id string) string {
		return record.AnswerDisputeKey(record.RequestID(id))
	})
	if err != nil {
		return "", err
	}
	return call.Answer(&record.AnswerDisputePage{Bookmark: next, Disputes: list})
}
