package consent

import (
	"slices"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// recordTermination writes the termination of a consent that just ended, and
// lists it for those who must act on it.
func recordTermination(ctx *call.Context, caller *call.Caller, held *record.Consent, why record.StatusReason) error {
	id := held.ConsentID
	t := &record.Termination{
		ConsentID: id, ConsentVersion: held.Version, Consumer: held.Consumer(), EndedAt: caller.Now,
		Initiator: why.Initiator, Pending: parties(held), Provider: held.Provider(), Reason: why.Code,
		RecordedAt: caller.Now, Status: held.Status, SupersededBy: held.SupersededBy,
	}
	if held.Status == record.Expired {
		t.EndedAt = held.ExpirationDateTime
	}
	usage, err := call.Get[record.Usage](ctx, record.UsageKey(id))
	if err != nil {
		return err
	}
	if usage != nil && usage.Uses != 0 {
		t.DeletionDue = t.EndedAt + record.DeletionPeriod
		if err := ctx.Index(record.DeletionIndex(t.Consumer, t.DeletionDue, id)); err != nil {
			return err
		}
	}
	for _, party := range t.Pending {
		if err := ctx.Index(record.TerminationIndex(party, t.EndedAt, id)); err != nil {
			return err
		}
	}
	_, err = ctx.Put(record.TerminationKey(id), t)
	return err
}

// parties are the members of a consent, in ascending order.
func parties(held *record.Consent) []record.OrgID {
	out := make([]record.OrgID, len(held.Parties))
	for i, p := range held.Parties {
		out[i] = p.PartyID
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// sign moves the caller's member from those still to sign to those that have.
func sign(caller *call.Caller, pending *[]record.OrgID, signed *[]record.Acknowledgement) error {
	for _, done := range *signed {
		if done.OrgID == caller.OrgID() {
			return record.Refuse(record.CodeAlreadyExists, "caller's member has signed this")
		}
	}
	at := slices.Index(*pending, caller.OrgID())
	if at < 0 {
		return record.Refuse(record.CodeForbidden, "caller's member is no party of the consent")
	}
	*pending = slices.Delete(*pending, at, at+1)
	*signed = append(*signed, record.Acknowledgement{At: caller.Now, ClientKey: caller.Client.Address, OrgID: caller.OrgID()})
	return nil
}

// terminationOf returns the caller and the termination of a consent that ended.
func terminationOf(ctx *call.Context, consentID string, roles ...record.ClientRole) (*call.Caller, *record.Termination, error) {
	id := record.ConsentID(consentID)
	if err := call.Identifier(id); err != nil {
		return nil, nil, err
	}
	caller, err := ctx.CallerEvenSuspended(roles...) // a suspended member still owes what it owes
	if err != nil {
		return nil, nil, err
	}
	ended, err := call.Need[record.Termination](ctx, record.TerminationKey(id), record.CodeNotFound,
		"termination: the consent stands, or nobody has recorded that it ran out (Expire)")
	return caller, ended, err
}

// AcknowledgeTermination records that the caller's member knows that a consent
// has ended. Result: record.Termination, which lists who has not. Once for each
// party, by an officer, an integration or a node of it.
func (*Contract) AcknowledgeTermination(ctx *call.Context, consentID string) (string, error) {
	caller, ended, err := terminationOf(ctx, consentID, record.RoleOfficer, record.RoleIntegration, record.RoleNode)
	if err != nil {
		return "", err
	}
	if err := sign(caller, &ended.Pending, &ended.Acknowledged); err != nil {
		return "", err
	}
	if err := ctx.Unindex(record.TerminationIndex(caller.OrgID(), ended.EndedAt, ended.ConsentID)); err != nil {
		return "", err
	}
	return ctx.Publish(record.TerminationKey(ended.ConsentID), EventTermination, ended)
}

// ConfirmDeletion is the lender's receipt for having destroyed every answer it
// was given under a consent that has ended. Argument: record.DeletionSpec;
// result: record.Deletion. For officers and integrations of the lender, once.
func (*Contract) ConfirmDeletion(ctx *call.Context, deletionJSON string) (string, error) {
	spec, err := call.Argument[record.DeletionSpec](deletionJSON)
	if err != nil {
		return "", err
	}
	caller, ended, err := terminationOf(ctx, string(spec.ConsentID), record.RoleOfficer, record.RoleIntegration)
	if err != nil {
		return "", err
	}
	if caller.OrgID() != ended.Consumer {
		return "", record.Refuse(record.CodeForbidden, "caller's member is not the DATA_CONSUMER party")
	}
	if ended.DeletionDue == 0 {
		return "", record.Refuse(record.CodeWrongState, "nothing was ever permitted under this consent: there is nothing to destroy")
	}
	key := record.DeletionKey(ended.ConsentID)
	known, err := call.Get[record.Deletion](ctx, key)
	if err != nil {
		return "", err
	}
	if known != nil {
		return "", record.Refuse(record.CodeAlreadyExists, "consent has its deletion receipt")
	}
	usage, err := call.Need[record.Usage](ctx, record.UsageKey(ended.ConsentID), record.CodeNotFound, "usage")
	if err != nil {
		return "", err
	}
	if usage.Head != spec.Head || usage.Requests != spec.Requests {
		return "", record.Refuse(record.CodeBadRequest, "head, requests: not the end of the consent's usage chain, which has %d requests", usage.Requests)
	}
	if err := ctx.Unindex(record.DeletionIndex(ended.Consumer, ended.DeletionDue, ended.ConsentID)); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventDeletion, &record.Deletion{
		ClientKey: caller.Client.Address, ConsentID: ended.ConsentID, Consumer: ended.Consumer, Due: ended.DeletionDue,
		Head: usage.Head, RecordedAt: caller.Now, Requests: usage.Requests, Uses: usage.Uses,
	})
}
