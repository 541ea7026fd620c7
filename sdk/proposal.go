package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// The ordering config and its parts, under the names an application needs.
type (
	Config          = ledger.Config
	ConfigMember    = ledger.Member
	ConfigValidator = ledger.Validator
	ConfigLimits    = ledger.Limits

	Proposal         = record.Proposal // a config that a member proposes to follow the one in force
	Approval         = record.Approval
	ProposalRefusal  = record.ProposalRefusal
	SuspensionReason = record.SuspensionReason
)

// Config returns the config in force, proven from genesis on by the votes and
// admin signatures of every change.
func (c *Client) Config(ctx context.Context) (*Config, error) {
	if _, err := c.Proofs().Header(ctx); err != nil {
		return nil, err
	}
	return c.trust.config(), nil
}

// SignedApproval is an admin's signature under a config, made with SignConfig or
// by whoever holds the key, anywhere.
type SignedApproval struct {
	Admin      Address `json:"admin"`
	ConfigHash Hash    `json:"configHash"`
	Signature  Bytes   `json:"signature"` // 65 bytes over ConfigDigest
	// Reason is not signed: why in spite of warnings; "": none.
	Reason string `json:"reason,omitempty"`
}

// ConfigDigest returns what an admin signs to approve config on a network. It
// needs no connection.
func ConfigDigest(chainID Hash, config *Config) Hash {
	u := ledger.Update{ChainID: chainID, Config: config}
	return u.ApprovalDigest()
}

// SignConfig approves a config with an admin key. It needs no connection.
func SignConfig(chainID Hash, config *Config, admin Signer) (*SignedApproval, error) {
	sig, err := admin.Sign(ConfigDigest(chainID, config))
	if err != nil {
		return nil, &ConfigError{What: fmt.Sprintf("sign config %d", config.Seq), Cause: err, Remedy: "Check the signer of the admin key."}
	}
	return &SignedApproval{Admin: admin.Address(), ConfigHash: config.Hash(), Signature: sig[:]}, nil
}

// Propose proposes next to follow the config in force, approved with the
// client's own key. summary tells people what changes and why; Summarise makes
// one. Role: admin. The error's code is ALREADY_EXISTS if somebody
// proposed the same: approve that.
func (m Members) Propose(ctx context.Context, next *Config, summary []string) (*Proposal, error) {
	if m.c.set.signer == nil {
		return nil, noIdentity("propose a config")
	}
	signed, err := SignConfig(m.c.chainID, next, m.c.set.signer)
	if err != nil {
		return nil, err
	}
	return m.ProposeSigned(ctx, next, summary, signed)
}

// ProposeSigned is Propose with an approval that another admin key of the member
// signed elsewhere.
func (m Members) ProposeSigned(ctx context.Context, next *Config, summary []string, a *SignedApproval) (*Proposal, error) {
	if err := next.Check(); err != nil {
		return nil, &ConfigError{What: "propose a config", Cause: err, Remedy: "Correct what is named; EditConfig makes configs that hold."}
	}
	if a.ConfigHash != next.Hash() {
		return nil, &ConfigError{What: fmt.Sprintf("the approval is of config %s, proposed is %s", a.ConfigHash, next.Hash()), Remedy: "Sign the config that is proposed."}
	}
	o, err := m.c.write(ctx, record.ContractMembership, "Propose", &record.ProposalSpec{
		Admin: a.Admin, Config: next.Encode(), Signature: record.Blob(a.Signature), Summary: summary,
	})
	return proposalOf(o, err)
}

// Approve approves a proposal with the client's own key, after fetching the
// proposed config and checking that it is the one that hash names and that it
// can follow the config in force. What it changes is for the caller to look at
// first: ProposedConfig and DiffConfigs. Role: admin.
func (m Members) Approve(ctx context.Context, hash Hash) (*Proposal, error) {
	return m.ApproveBecause(ctx, hash, "")
}

// ApproveBecause is Approve with a reason that stands in the proposal's record: why
// in spite of what the preflight warned of. It names no person.
func (m Members) ApproveBecause(ctx context.Context, hash Hash, reason string) (*Proposal, error) {
	if m.c.set.signer == nil {
		return nil, noIdentity("approve a config")
	}
	next, err := m.ProposedConfig(ctx, hash)
	if err != nil {
		return nil, err
	}
	current, err := m.c.Config(ctx)
	if err != nil {
		return nil, err
	}
	if err := follows(current, next); err != nil {
		return nil, err
	}
	signed, err := SignConfig(m.c.chainID, next, m.c.set.signer)
	if err != nil {
		return nil, err
	}
	signed.Reason = reason
	return m.ApproveSigned(ctx, signed)
}

// ApproveSigned brings an approval that was signed elsewhere. Roles: admin,
// operator.
func (m Members) ApproveSigned(ctx context.Context, a *SignedApproval) (*Proposal, error) {
	o, err := m.c.write(ctx, record.ContractMembership, "Approve", &record.ApprovalSpec{
		Admin: a.Admin, ConfigHash: a.ConfigHash, Reason: a.Reason, Signature: record.Blob(a.Signature),
	})
	return proposalOf(o, err)
}

// Withdraw takes back a proposal of the caller's own member that has not got its
// approvals. Role: admin.
func (m Members) Withdraw(ctx context.Context, hash Hash) (*Proposal, error) {
	o, err := m.c.Invoke(ctx, record.ContractMembership, "Withdraw", hash.Hex())
	return proposalOf(o, err)
}

// Proposal returns a proposal by the hash of its config.
func (m Members) Proposal(ctx context.Context, hash Hash) (*Proposal, error) {
	return read[record.Proposal](ctx, m.c, record.ContractMembership, "GetProposal", hash.Hex())
}

// ProposedConfig returns the config of a proposal, checked against its hash.
func (m Members) ProposedConfig(ctx context.Context, hash Hash) (*Config, error) {
	p, err := read[record.ProposedConfig](ctx, m.c, record.ContractMembership, "GetProposedConfig", hash.Hex())
	if err != nil {
		return nil, err
	}
	if got := ledger.Sum(p.Config); got != hash {
		return nil, &Untrusted{Node: "the node", What: "a proposed config", Cause: fmt.Errorf("its hash is %s, asked was %s", got, hash)}
	}
	next, err := ledger.DecodeConfig(p.Config)
	if err != nil {
		return nil, &Error{
			Code: "BAD_REQUEST", Where: fmt.Sprintf("proposal %s", hash), What: fmt.Sprintf("the proposed bytes are no config that can come into force: %v", err),
			Remedy: "Do not approve it; ask whoever proposed it.", Cause: err,
		}
	}
	return next, nil
}

// Proposals yields the proposals for a config sequence; 0 means those to follow
// the config in force.
func (m Members) Proposals(ctx context.Context, seq uint64) iter.Seq2[*Proposal, error] {
	return func(yield func(*Proposal, error) bool) {
		for bookmark := ""; ; {
			page, err := read[record.ProposalPage](ctx, m.c, record.ContractMembership, "ListProposals", strconv.FormatUint(seq, 10), "20", bookmark)
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range page.Proposals {
				if !yield(&page.Proposals[i], nil) {
					return
				}
			}
			if bookmark = page.Bookmark; bookmark == "" {
				return
			}
		}
	}
}

// AwaitInForce waits until the config that hash names is in force, proven, and
// returns it. The error's code is PROPOSAL_STALE if another one with its sequence
// came into force, WRONG_STATE if it was withdrawn or refused.
func (m Members) AwaitInForce(ctx context.Context, hash Hash) (*Config, error) {
	where := fmt.Sprintf("await proposal %s", hash)
	for attempt := 0; ; attempt++ {
		p, err := m.Proposal(ctx, hash)
		if err != nil {
			return nil, err
		}
		switch p.Status {
		case record.ProposalApplied:
			current, err := m.c.Config(ctx)
			if err != nil && !Retryable(err) {
				return nil, err
			}
			if err == nil && current.Seq >= p.ConfigSeq {
				return m.applied(where, hash, p.ConfigSeq, current)
			}
		case record.ProposalStale:
			return nil, notSent(where, "PROPOSAL_STALE", fmt.Sprintf("another config %d came into force", p.ConfigSeq), "Make the change anew on the config in force.")
		case record.ProposalRefused:
			return nil, notSent(where, "WRONG_STATE", RefusalText(p), "Mend the reason, for instance by upgrading the nodes, and propose it again.")
		case record.ProposalWithdrawn:
			return nil, notSent(where, "WRONG_STATE", "the proposal was withdrawn", "Ask the member that made it.")
		}
		if err := pause(ctx, min(attempt, 3), 0); err != nil {
			return nil, fmt.Errorf("%s: %d of %d approvals, not in force yet: %w", where, len(p.Approvals), p.Needed, err)
		}
	}
}

// RefusalText says which members' nodes cannot put a proposal in force and why, ""
// if none said so.
func RefusalText(p *Proposal) string {
	if len(p.Refusals) == 0 {
		return ""
	}
	names := make([]string, len(p.Refusals))
	for i := range p.Refusals {
		names[i] = string(p.Refusals[i].OrgID)
	}
	return fmt.Sprintf("the nodes of %s cannot put it in force: %s", strings.Join(names, ", "), clean(p.Refusals[0].Reason))
}

// applied holds the node's word that a proposal was applied against the proven
// config.
func (m Members) applied(where string, hash Hash, seq uint64, current *Config) (*Config, error) {
	if current.Seq == seq && current.Hash() != hash {
		return nil, &Untrusted{Node: "the node", What: where, Cause: fmt.Errorf("it says applied, yet config %d in force is %s", seq, current.Hash())}
	}
	return current, nil
}

// Suspend takes another member out of use until it is reinstated. Roles: admin,
// officer of a member with the role AUDITOR.
func (m Members) Suspend(ctx context.Context, org OrgID, why SuspensionReason) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractMembership, "SuspendMember", string(org), string(why))
}

// Reinstate ends a member's suspension. Roles: as Suspend.
func (m Members) Reinstate(ctx context.Context, org OrgID) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractMembership, "ReinstateMember", string(org))
}

func proposalOf(o *Outcome, err error) (*Proposal, error) {
	if err != nil {
		return nil, err
	}
	p, err := record.Load[record.Proposal](o.Payload)
	if err != nil {
		return nil, &Untrusted{Node: "the node", What: "a proposal", Cause: err}
	}
	return p, nil
}

func noIdentity(what string) error {
	return &ConfigError{What: what + ": the client has no identity", Remedy: "Dial with WithIdentity and an admin key of the member."}
}

// follows reports why next cannot follow current, in the words of the ordering
// level.
func follows(current, next *Config) error {
	err := next.Follows(current)
	if err == nil {
		return nil
	}
	code := Code("BAD_REQUEST")
	switch {
	case errors.Is(err, ledger.ErrStaleUpdate):
		code = record.CodeProposalStale
	case next.Protocol < current.Protocol:
		code = record.CodeDowngrade
	}
	return &Error{Code: code, Where: fmt.Sprintf("config %d", next.Seq), What: err.Error(), Remedy: "Make the change anew on the config in force (assent member propose).", Cause: err}
}
