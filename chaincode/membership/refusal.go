package membership

import (
	"sort"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// Refuse records that the caller's node cannot put an approved config in force,
// and why. Argument: record.RefusalSpec; result: record.Proposal. For nodes of
// members that run validators; each node's program decides it by itself from the
// config and its approvals. When the validators of those members are so many that
// the others make no quorum, the proposal is REFUSED: it could never be ordered,
// and would stand open for ever. Fewer can end nothing. Once the reason is mended,
// such as programs that did not know a protocol version, it may be proposed again.
func (*Contract) Refuse(ctx *call.Context, refusalJSON string) (string, error) {
	spec, err := call.Argument[record.RefusalSpec](refusalJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.CallerEvenSuspended(record.RoleNode)
	if err != nil {
		return "", err
	}
	config, proposal, err := open(ctx, spec.ConfigHash)
	if err != nil {
		return "", err
	}
	org := caller.OrgID()
	switch {
	case !proposal.Enough():
		return "", record.Refuse(record.CodeWrongState, "proposal has not got its approvals; withhold this member's instead")
	case proposal.RefusalOf(org) != nil:
		return "", record.Refuse(record.CodeAlreadyExists, "a node of this member has refused the proposal already")
	}
	inForce, err := call.Need[record.ProposedConfig](ctx, record.ProposedConfigKey(config.ConfigHash), record.CodeWrongState, "ordering config in its bytes, on a network that does not order with it,")
	if err != nil {
		return "", err
	}
	outline, err := record.OutlineConfig(inForce.Config)
	if err != nil {
		return "", record.Refuse(record.CodeWrongState, "the config in force: %v", err)
	}
	if !record.HasItem(outline.Validators, org) {
		return "", record.Refuse(record.CodeForbidden, "this member runs no validator")
	}
	proposal.Refusals = append(proposal.Refusals, record.ProposalRefusal{At: caller.Now, OrgID: org, Reason: spec.Reason})
	sort.Slice(proposal.Refusals, func(i, j int) bool { return proposal.Refusals[i].OrgID < proposal.Refusals[j].OrgID })
	left := 0
	for _, member := range outline.Validators {
		if proposal.RefusalOf(member) == nil {
			left++
		}
	}
	if left < outline.Quorum() {
		proposal.Status, proposal.RefusedAt = record.ProposalRefused, caller.Now
	}
	return ctx.Publish(record.ProposalKey(spec.ConfigHash), EventProposal, proposal)
}
