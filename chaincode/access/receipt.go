package access

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// Receipt records what became of a permitted request, once. Argument:
// record.ReceiptSpec; result: record.Receipt. For integrations and nodes of the
// provider; OVERDUE also for integrations of the lender, and only after the
// deadline. An answer that comes late but before OVERDUE still counts: the
// lender may hold it already, and must be able to check it.
func (*Contract) Receipt(ctx *call.Context, receiptJSON string) (string, error) {
	spec, err := call.Argument[record.ReceiptSpec](receiptJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.CallerEvenSuspended(record.RoleIntegration, record.RoleNode)
	if err != nil {
		return "", err
	}
	request, err := call.Need[record.Request](ctx, record.RequestKey(spec.RequestID), record.CodeNotFound, "request")
	if err != nil {
		return "", err
	}
	if err := mayRecord(caller, request, spec); err != nil {
		return "", err
	}
	key := record.ReceiptKey(spec.RequestID)
	known, err := call.Get[record.Receipt](ctx, key)
	if err != nil {
		return "", err
	}
	if known != nil {
		return "", record.Refuse(record.CodeAlreadyExists, "request has its receipt")
	}
	return ctx.Publish(key, EventReceipt, &record.Receipt{
		ClientKey: caller.Client.Address, CodeHash: spec.CodeHash, ConsentID: request.ConsentID,
		Consumer: request.Consumer, Deadline: request.Deadline, EvaluatedHeight: spec.EvaluatedHeight,
		OrgID: caller.OrgID(), Outcome: spec.Outcome, Provider: request.Provider, RecordedAt: caller.Now,
		RequestID: request.RequestID, ResultCommitment: spec.ResultCommitment,
	})
}

func mayRecord(caller *call.Caller, request *record.Request, spec *record.ReceiptSpec) error {
	lender := caller.OrgID() == request.Consumer && caller.Client.HasRole(record.RoleIntegration)
	switch {
	case caller.OrgID() == request.Provider:
	case lender && spec.Outcome == record.Overdue:
	default:
		return record.Refuse(record.CodeForbidden, "receipts are the provider's; OVERDUE also the lender's")
	}
	if request.Decision != record.Permit {
		return record.Refuse(record.CodeWrongState, "request was denied: there is nothing to answer")
	}
	if spec.Outcome == record.Overdue && caller.Now <= request.Deadline {
		return record.Refuse(record.CodeWrongState, "deadline has not passed")
	}
	if spec.Outcome == record.Answered && spec.CodeHash != request.CodeHash {
		return record.Refuse(record.CodeBadRequest, "codeHash is not the one the request was permitted under")
	}
	return nil
}
