package executor

import (
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// applyConfigFunction takes over an ordering config; only the node calls it.
const applyConfigFunction = "ApplyConfig"

// applyConfig hands config to the membership contract in the name of the node.
func (e *Executor) applyConfig(b *state.Block, r *Result, id ledger.Hash, index uint64, config *ledger.Config) error {
	known, err := b.Known(id)
	if err != nil {
		return err
	}
	if known {
		return e.apply(b, r, refused(id, index, record.CodeDuplicate, "this config update stands in an earlier block"))
	}
	f, ok := e.contracts.Lookup(record.ContractMembership, applyConfigFunction)
	if !ok || f.Args != 1 || f.Read {
		return fmt.Errorf("contracts have no %s.%s of one argument", record.ContractMembership, applyConfigFunction)
	}
	arg, err := record.Encode(orderingConfig(e.chain, config))
	if err != nil {
		return e.apply(b, r, refused(id, index, record.CodeBadRequest, fmt.Sprintf("config %d has no record form: %v", config.Seq, err)))
	}
	creator, err := record.Encode(record.SystemCreator())
	if err != nil {
		return err
	}
	before := len(r.Outcomes)
	err = e.call(b, r, index, invocation{
		call: Call{record.ContractMembership, applyConfigFunction, id}, args: [][]byte{arg}, creator: creator,
	})
	if err == nil && r.Outcomes[before].Code != string(record.OK) {
		e.log.Error("the membership contract refused a config that is in force",
			"configSeq", config.Seq, "code", r.Outcomes[before].Code, "message", r.Outcomes[before].Message)
	}
	return err
}

// orderingConfig is what contracts see of a config: members and their admins, and
// the bytes that hold how the network orders.
func orderingConfig(chain ledger.Hash, c *ledger.Config) *record.OrderingConfig {
	out := &record.OrderingConfig{
		ChainID: chain, Config: c.Encode(), ConfigHash: c.Hash(), ConfigSeq: c.Seq,
		ObserversPerMember: c.Limits.ObserversPerMember, ProtocolVersion: c.Protocol,
	}
	for _, m := range c.Members {
		member := record.ConfigMember{OrgID: record.OrgID(m.ID), Title: m.Name, AdminKeys: m.Admins}
		for _, role := range m.Roles {
			member.Roles = append(member.Roles, record.MemberRole(role))
		}
		out.Members = append(out.Members, member)
	}
	return out
}
