package membership

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// SuspendMember takes a member out of use until it is reinstated: its client keys
// are refused for everything but ending what it has and voting on the config, and
// nobody can use a consent it is a party of. Arguments: the member and a
// record.SuspensionReason; result: record.Member. For admins and officers of an
// authority, another member with the role AUDITOR.
func (*Contract) SuspendMember(ctx *call.Context, orgID, reason string) (string, error) {
	why := record.SuspensionReason(reason)
	if !record.HasItem(record.SuspensionReasons(), why) {
		return "", record.Refuse(record.CodeBadRequest, "reason: want one of %v", record.SuspensionReasons())
	}
	caller, member, err := authorityOver(ctx, orgID)
	if err != nil {
		return "", err
	}
	if !member.Active {
		return "", record.Refuse(record.CodeWrongState, "member is not in the config in force")
	}
	if member.Suspension != nil {
		return "", record.Refuse(record.CodeWrongState, "member is already suspended")
	}
	member.Suspension = &record.Suspension{At: caller.Now, ClientKey: caller.Client.Address, OrgID: caller.OrgID(), Reason: why}
	return ctx.Publish(record.MemberKey(member.OrgID), EventMember, member)
}

// ReinstateMember ends a member's suspension. Argument: the member; result:
// record.Member. For admins and officers of any authority but the member itself.
func (*Contract) ReinstateMember(ctx *call.Context, orgID string) (string, error) {
	_, member, err := authorityOver(ctx, orgID)
	if err != nil {
		return "", err
	}
	if member.Suspension == nil {
		return "", record.Refuse(record.CodeWrongState, "member is not suspended")
	}
	member.Suspension = nil
	return ctx.Publish(record.MemberKey(member.OrgID), EventMember, member)
}

// authorityOver returns the caller, who speaks for an authority, and the member
// it means.
func authorityOver(ctx *call.Context, orgID string) (*call.Caller, *record.Member, error) {
	org := record.OrgID(orgID)
	if err := call.Identifier(org); err != nil {
		return nil, nil, err
	}
	caller, err := ctx.Caller(record.RoleAdmin, record.RoleOfficer)
	if err != nil {
		return nil, nil, err
	}
	if err := caller.MustBe(record.Auditor); err != nil {
		return nil, nil, err
	}
	if caller.OrgID() == org {
		return nil, nil, record.Refuse(record.CodeForbidden, "an authority does not judge itself")
	}
	member, err := call.Need[record.Member](ctx, record.MemberKey(org), record.CodeNotFound, "member")
	return caller, member, err
}
