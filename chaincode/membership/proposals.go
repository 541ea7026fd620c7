package membership

import (
	"sort"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// EventProposal carries the proposal that was made, approved or withdrawn.
const EventProposal = "proposal"

// Propose proposes the config that is to follow the one in force, with the
// caller's member's approval. Argument: record.ProposalSpec; result:
// record.Proposal. For admins. Several members may propose for one sequence; the
// first to have its approvals comes into force, the others are stale then. What
// the ordering level would refuse is refused here, so that no proposal collects
// approvals for nothing. Whether the config makes a network that works the
// contract cannot tell: whoever approves looks at it first.
func (*Contract) Propose(ctx *call.Context, proposalJSON string) (string, error) {
	spec, err := call.Argument[record.ProposalSpec](proposalJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.CallerEvenSuspended(record.RoleAdmin)
	if err != nil {
		return "", err
	}
	config, err := call.Need[record.OrderingConfig](ctx, record.ConfigKey, record.CodeNotFound, "ordering config")
	if err != nil {
		return "", err
	}
	if err := mayFollow(config, spec.Config); err != nil {
		return "", err
	}
	if err := maySucceed(ctx, config, spec.Config); err != nil {
		return "", err
	}
	next := &record.Proposal{
		ConfigHash: record.ConfigHash(spec.Config), ConfigSeq: config.ConfigSeq + 1,
		Needed:     record.ApprovalsNeeded(len(config.Members)),
		ProposedAt: caller.Now, ProposedBy: caller.Client.Address, Proposer: caller.OrgID(),
		Status: record.ProposalOpen, Summary: spec.Summary,
	}
	last, err := call.Get[record.Proposal](ctx, record.ProposalKey(next.ConfigHash))
	if err != nil {
		return "", err
	}
	if last != nil && !last.Ended() {
		return "", record.Refuse(record.CodeAlreadyExists, "this config is proposed already; approve it instead")
	}
	if err := approve(ctx, caller, config, next, spec.Admin, spec.Signature); err != nil {
		return "", err
	}
	if last == nil {
		if err := keep(ctx, next, spec.Config); err != nil {
			return "", err
		}
	}
	return ctx.Publish(record.ProposalKey(next.ConfigHash), EventProposal, next)
}

// mayFollow refuses bytes that are no config, and a config that cannot follow
// the one in force.
func mayFollow(config *record.OrderingConfig, b []byte) error {
	next, err := record.OutlineConfig(b)
	switch {
	case err != nil:
		return record.Refuse(record.CodeBadRequest, "%v", err)
	case next.Seq != config.ConfigSeq+1:
		return record.Refuse(record.CodeProposalStale, "config %d does not follow config %d, which is in force", next.Seq, config.ConfigSeq)
	case next.Protocol < config.ProtocolVersion:
		return record.Refuse(record.CodeDowngrade, "protocol version %d is in force, the config names %d", config.ProtocolVersion, next.Protocol)
	case next.SharedKeys:
		return record.Refuse(record.CodeDuplicateKey, "two validators share a vote key or a host key")
	}
	return nil
}

// maySucceed refuses a config that the ordering level would never put in force. On
// a network that does not order with it, such as Fabric, nobody told the contract
// the bytes in force, and it leaves that to whoever puts configs in force there.
func maySucceed(ctx *call.Context, config *record.OrderingConfig, b []byte) error {
	inForce, err := call.Get[record.ProposedConfig](ctx, record.ProposedConfigKey(config.ConfigHash))
	if err != nil || inForce == nil {
		return err
	}
	s, err := record.ReadSuccession(inForce.Config, b)
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return nil
}

// keep writes a new proposal's bytes and index row, and counts it.
func keep(ctx *call.Context, p *record.Proposal, config []byte) error {
	key := record.ProposalCountKey(p.Proposer)
	count, err := call.Get[record.ProposalCount](ctx, key)
	if err != nil {
		return err
	}
	if count == nil || count.ConfigSeq != p.ConfigSeq {
		count = &record.ProposalCount{ConfigSeq: p.ConfigSeq, OrgID: p.Proposer}
	}
	if count.Proposals >= record.MaxProposals {
		return record.Refuse(record.CodeLimitExceeded, "member has made its %d proposals to follow this config; have one of them approved, or let another member propose", record.MaxProposals)
	}
	count.Proposals++
	if _, err := ctx.Put(key, count); err != nil {
		return err
	}
	if _, err := ctx.Put(record.ProposedConfigKey(p.ConfigHash), &record.ProposedConfig{Config: config}); err != nil {
		return err
	}
	return ctx.Index(record.ProposalIndex(p.ConfigSeq, p.ConfigHash))
}

// Approve adds the approval of the caller's member to an open proposal. Argument:
// record.ApprovalSpec; result: record.Proposal. For admins and operators: an
// operator may bring what an admin key signed elsewhere. With enough approvals
// the network takes the config over by itself.
func (*Contract) Approve(ctx *call.Context, approvalJSON string) (string, error) {
	spec, err := call.Argument[record.ApprovalSpec](approvalJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.CallerEvenSuspended(record.RoleAdmin, record.RoleOperator)
	if err != nil {
		return "", err
	}
	config, proposal, err := open(ctx, spec.ConfigHash)
	if err != nil {
		return "", err
	}
	if err := approve(ctx, caller, config, proposal, spec.Admin, spec.Signature); err != nil {
		return "", err
	}
	proposal.ApprovalOf(caller.OrgID()).Reason = spec.Reason
	return ctx.Publish(record.ProposalKey(spec.ConfigHash), EventProposal, proposal)
}

// Withdraw takes back an open proposal that has not got its approvals. Argument:
// the config's hash; result: record.Proposal. For admins of the member that made
// it. Approvals that were given remain signatures: a config that is withdrawn
// should not be proposed again unless it may come into force.
func (*Contract) Withdraw(ctx *call.Context, configHash string) (string, error) {
	hash, err := proposalHash(configHash)
	if err != nil {
		return "", err
	}
	caller, err := ctx.CallerEvenSuspended(record.RoleAdmin)
	if err != nil {
		return "", err
	}
	_, proposal, err := open(ctx, hash)
	if err != nil {
		return "", err
	}
	if proposal.Proposer != caller.OrgID() {
		return "", record.Refuse(record.CodeForbidden, "another member made this proposal")
	}
	if proposal.Enough() {
		return "", record.Refuse(record.CodeWrongState, "proposal has its approvals and comes into force; propose the opposite change")
	}
	proposal.Status, proposal.WithdrawnAt = record.ProposalWithdrawn, caller.Now
	return ctx.Publish(record.ProposalKey(hash), EventProposal, proposal)
}

// open returns the config in force and an open proposal to follow it.
func open(ctx *call.Context, hash record.Hash) (*record.OrderingConfig, *record.Proposal, error) {
	config, err := call.Need[record.OrderingConfig](ctx, record.ConfigKey, record.CodeNotFound, "ordering config")
	if err != nil {
		return nil, nil, err
	}
	proposal, err := call.Need[record.Proposal](ctx, record.ProposalKey(hash), record.CodeNotFound, "proposal")
	if err != nil {
		return nil, nil, err
	}
	switch status := proposal.EffectiveStatus(config.ConfigSeq); status {
	case record.ProposalOpen:
		return config, proposal, nil
	case record.ProposalStale:
		return nil, nil, record.Refuse(record.CodeProposalStale, "another config %d came into force", proposal.ConfigSeq)
	default:
		return nil, nil, record.Refuse(record.CodeWrongState, "proposal is %s", status)
	}
}

// approve checks an approval of the caller's member and adds it.
func approve(ctx *call.Context, caller *call.Caller, config *record.OrderingConfig, p *record.Proposal, admin record.Address, signature record.Blob) error {
	org := caller.OrgID()
	if p.ApprovalOf(org) != nil {
		return record.Refuse(record.CodeAlreadyExists, "this member has approved the proposal already")
	}
	member := memberOf(config, org)
	if member == nil || !record.HasItem(member.AdminKeys, admin) {
		key, err := call.Get[record.Client](ctx, record.ClientKey(org, admin))
		if err != nil {
			return err
		}
		if key != nil && key.RevokedAt != 0 {
			return record.Refuse(record.CodeKeyRevoked, "the signing key was an admin key of this member and is revoked")
		}
		return record.Refuse(record.CodeForbidden, "the signing key is no admin key of this member in the config in force")
	}
	digest := record.ApprovalDigest(config.ChainID, p.ConfigSeq, p.ConfigHash)
	if err := record.Verify(digest, signature, admin); err != nil {
		return record.Refuse(record.CodeBadSignature, "approval of this config on this network: %v", err)
	}
	canonical := append(record.Blob(nil), signature...)
	if canonical[64] >= 27 {
		canonical[64] -= 27 // the ordering level knows 0 and 1 only
	}
	p.Approvals = append(p.Approvals, record.Approval{Admin: admin, At: caller.Now, OrgID: org, Signature: canonical})
	sort.Slice(p.Approvals, func(i, j int) bool { return p.Approvals[i].OrgID < p.Approvals[j].OrgID })
	return nil
}

func proposalHash(text string) (record.Hash, error) {
	hash, err := record.ParseHash(text)
	if err != nil {
		return hash, record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return hash, nil
}

// closeProposal marks the proposal that came into force, if there is one.
func closeProposal(ctx *call.Context, next *record.OrderingConfig, now record.Millis) error {
	if next.ConfigHash == (record.Hash{}) {
		return nil
	}
	key := record.ProposalKey(next.ConfigHash)
	proposal, err := call.Get[record.Proposal](ctx, key)
	if err != nil || proposal == nil {
		return err
	}
	proposal.Status, proposal.AppliedAt, proposal.WithdrawnAt, proposal.RefusedAt = record.ProposalApplied, now, 0, 0
	_, err = ctx.Put(key, proposal)
	return err
}

// GetProposal returns record.Proposal by the hash of its config.
func (*Contract) GetProposal(ctx *call.Context, configHash string) (string, error) {
	hash, err := proposalHash(configHash)
	if err != nil {
		return "", err
	}
	config, err := call.Need[record.OrderingConfig](ctx, record.ConfigKey, record.CodeNotFound, "ordering config")
	if err != nil {
		return "", err
	}
	proposal, err := call.Need[record.Proposal](ctx, record.ProposalKey(hash), record.CodeNotFound, "proposal")
	if err != nil {
		return "", err
	}
	proposal.Status = proposal.EffectiveStatus(config.ConfigSeq)
	return call.Answer(proposal)
}

// GetProposedConfig returns record.ProposedConfig by the hash of its bytes.
func (*Contract) GetProposedConfig(ctx *call.Context, configHash string) (string, error) {
	hash, err := proposalHash(configHash)
	if err != nil {
		return "", err
	}
	return ctx.Show(record.ProposedConfigKey(hash), "proposal")
}

// ListProposals returns record.ProposalPage of the proposals for one sequence,
// by hash; "0" means those to follow the config in force.
func (*Contract) ListProposals(ctx *call.Context, configSeq, pageSize, bookmark string) (string, error) {
	seq, err := call.Integer("configSeq", configSeq)
	if err != nil {
		return "", err
	}
	config, err := call.Need[record.OrderingConfig](ctx, record.ConfigKey, record.CodeNotFound, "ordering config")
	if err != nil {
		return "", err
	}
	if seq == 0 {
		seq = config.ConfigSeq + 1
	}
	list, next, err := call.Page[record.Proposal](ctx, record.ProposalIndexPrefix(seq), pageSize, bookmark, func(id string) string {
		return record.ProposalPrefix + id
	})
	if err != nil {
		return "", err
	}
	for i := range list {
		list[i].Status = list[i].EffectiveStatus(config.ConfigSeq)
	}
	return call.Answer(&record.ProposalPage{Bookmark: next, Proposals: list})
}
