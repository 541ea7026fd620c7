package fakenode

import (
	"slices"
	"strconv"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// propose, approve and withdraw do what the membership contract does, as far as
// an honest client meets it. The approval that suffices brings the config into
// force at once.
func (c *call) propose() ([]byte, error) {
	spec, err := parse[record.ProposalSpec](c)
	if err != nil {
		return nil, err
	}
	o, err := record.OutlineConfig(spec.Config)
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	if o.Seq != c.n.config.Seq+1 {
		return nil, refuse(record.CodeProposalStale, "config %d does not follow", o.Seq)
	}
	p := &record.Proposal{
		ConfigHash: record.ConfigHash(spec.Config), ConfigSeq: o.Seq, Needed: record.ApprovalsNeeded(len(c.n.config.Members)),
		ProposedAt: c.now, ProposedBy: c.key, Proposer: c.org, Status: record.ProposalOpen, Summary: spec.Summary,
	}
	if _, taken := c.n.rows[record.ProposalKey(p.ConfigHash)]; taken {
		return nil, refuse(record.CodeAlreadyExists, "this config is proposed already")
	}
	c.writes[record.ProposedConfigKey(p.ConfigHash)] = must(&record.ProposedConfig{Config: spec.Config})
	return c.sign(p, spec.Config, spec.Admin, spec.Signature, "")
}

func (c *call) approve() ([]byte, error) {
	spec, err := parse[record.ApprovalSpec](c)
	if err != nil {
		return nil, err
	}
	p, err := c.proposal(spec.ConfigHash)
	if err != nil {
		return nil, err
	}
	config, err := load[record.ProposedConfig](c, record.ProposedConfigKey(spec.ConfigHash))
	if err != nil {
		return nil, err
	}
	return c.sign(p, config.Config, spec.Admin, spec.Signature, spec.Reason)
}

// proposal loads an open one.
func (c *call) proposal(hash ledger.Hash) (*record.Proposal, error) {
	p, err := load[record.Proposal](c, record.ProposalKey(hash))
	if err != nil {
		return nil, err
	}
	switch p.EffectiveStatus(c.n.config.Seq) {
	case record.ProposalOpen:
		return p, nil
	case record.ProposalStale:
		return nil, refuse(record.CodeProposalStale, "another config came into force")
	}
	return nil, refuse(record.CodeWrongState, "proposal is %s", p.Status)
}

func (c *call) sign(p *record.Proposal, config []byte, admin record.Address, sig record.Blob, reason string) ([]byte, error) {
	m := c.n.config.Member(string(c.org))
	if p.ApprovalOf(c.org) != nil {
		return nil, refuse(record.CodeAlreadyExists, "this member has approved the proposal already")
	}
	if m == nil || !slices.Contains(m.Admins, admin) {
		return nil, refuse(record.CodeForbidden, "no admin key of this member")
	}
	if err := record.Verify(record.ApprovalDigest(c.n.ChainID(), p.ConfigSeq, p.ConfigHash), sig, admin); err != nil {
		return nil, refuse(record.CodeBadSignature, "%v", err)
	}
	p.Approvals = append(p.Approvals, record.Approval{Admin: admin, At: c.now, OrgID: c.org, Reason: reason, Signature: sig})
	slices.SortFunc(p.Approvals, func(a, b record.Approval) int { return strings.Compare(string(a.OrgID), string(b.OrgID)) })
	if p.Enough() {
		next, err := ledger.DecodeConfig(config)
		if err != nil {
			return nil, refuse(record.CodeBadRequest, "%v", err)
		}
		c.approved = &ledger.Update{ChainID: c.n.ChainID(), Config: next}
		for _, a := range p.Approvals {
			c.approved.Approvals = append(c.approved.Approvals, ledger.Approval{Member: string(a.OrgID), Admin: a.Admin, Sig: ledger.Signature(a.Signature)})
		}
	}
	return c.publish("proposal", record.ProposalKey(p.ConfigHash), p)
}

func (c *call) withdraw() ([]byte, error) {
	hash, err := record.ParseHash(c.args[0])
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	p, err := c.proposal(hash)
	if err != nil {
		return nil, err
	}
	if p.Proposer != c.org {
		return nil, refuse(record.CodeForbidden, "another member made this proposal")
	}
	p.Status, p.WithdrawnAt = record.ProposalWithdrawn, c.now
	return c.publish("proposal", record.ProposalKey(hash), p)
}

func (c *call) getProposal() ([]byte, error) {
	hash, err := record.ParseHash(c.args[0])
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	p, err := load[record.Proposal](c, record.ProposalKey(hash))
	if err != nil {
		return nil, err
	}
	p.Status = p.EffectiveStatus(c.n.config.Seq)
	return must(p), nil
}

func (c *call) listProposals() ([]byte, error) {
	seq, err := strconv.ParseUint(c.args[0], 10, 64)
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "configSeq")
	}
	if seq == 0 {
		seq = c.n.config.Seq + 1
	}
	page := &record.ProposalPage{}
	for _, p := range scan[record.Proposal](c, record.ProposalPrefix) {
		if p.ConfigSeq == seq {
			p.Status = p.EffectiveStatus(c.n.config.Seq)
			page.Proposals = append(page.Proposals, p)
		}
	}
	return must(page), nil
}

// suspend is SuspendMember with two arguments, ReinstateMember with one.
func (c *call) suspend() ([]byte, error) {
	authority, err := load[record.Member](c, record.MemberKey(c.org))
	if err != nil {
		return nil, err
	}
	if !record.HasItem(authority.Roles, record.Auditor) {
		return nil, refuse(record.CodeForbidden, "member has none of the roles [AUDITOR]")
	}
	m, err := load[record.Member](c, record.MemberKey(record.OrgID(c.args[0])))
	if err != nil {
		return nil, err
	}
	m.Suspension = nil
	if len(c.args) == 2 {
		m.Suspension = &record.Suspension{At: c.now, ClientKey: c.key, OrgID: c.org, Reason: record.SuspensionReason(c.args[1])}
	}
	return c.publish("member", record.MemberKey(m.OrgID), m)
}
