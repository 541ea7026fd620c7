package membership

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// SetNode writes the endpoint record of a node of the caller's member. Argument:
// record.NodeSpec. For admins. The node's transaction key becomes a client key
// with the role node; a key the record no longer names is revoked.
func (*Contract) SetNode(ctx *call.Context, nodeJSON string) (string, error) {
	spec, err := call.Argument[record.NodeSpec](nodeJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleAdmin)
	if err != nil {
		return "", err
	}
	key := record.NodeKey(caller.OrgID(), spec.NodeID)
	last, err := call.Get[record.Node](ctx, key)
	if err != nil {
		return "", err
	}
	next := &record.Node{NodeSpec: *spec, OrgID: caller.OrgID(), UpdatedAt: caller.Now}
	next.HostProof = nil
	if err := holdHost(ctx, last, next, spec.HostProof); err != nil {
		return "", err
	}
	if err := countObservers(ctx, caller, last, next); err != nil {
		return "", err
	}
	if err := replaceTxKey(ctx, caller, last, next); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventNode, next)
}

// holdHost notes whose node runs under next's host key, and lets go of the one that
// last ran under. A key is one member's at a time: else it would depend on the order
// of their names to whom the network takes a peer to belong. And it is only the
// member's that has it: else anybody could keep a node of another member out.
func holdHost(ctx *call.Context, last, next *record.Node, proof *record.HostProof) error {
	key := record.HostOwnerKey(next.HostKey)
	owner, err := call.Get[record.HostOwner](ctx, key)
	if err != nil {
		return err
	}
	if owner != nil && owner.OrgID != next.OrgID && owner.FreeFrom == 0 {
		return record.Refuse(record.CodeDuplicateKey, "a node of another member runs under this host key: every node has one of its own (assentd init makes it)")
	}
	if owner == nil || owner.FreeFrom != 0 {
		if err := hasHost(ctx, next, proof); err != nil {
			return err
		}
	}
	if last != nil && record.HostOwnerKey(last.HostKey) != key {
		if err := letGo(ctx, last, next.UpdatedAt); err != nil {
			return err
		}
	}
	_, err = ctx.Put(key, &record.HostOwner{NodeID: next.NodeID, OrgID: next.OrgID})
	return err
}

// hasHost refuses a node whose member has not shown that it has the host key: by the
// key's signature, or by a validator that the members admitted under it.
func hasHost(ctx *call.Context, next *record.Node, proof *record.HostProof) error {
	config, err := call.Need[record.OrderingConfig](ctx, record.ConfigKey, record.CodeNotFound, "ordering config")
	if err != nil {
		return err
	}
	if proof != nil {
		if err := proof.Check(config.ChainID, next.OrgID, next.HostKey, next.UpdatedAt); err != nil {
			return record.Refuse(record.CodeBadSignature, "hostProof of this network, member and host key: %v", err)
		}
		return nil
	}
	inForce, err := call.Get[record.ProposedConfig](ctx, record.ProposedConfigKey(config.ConfigHash))
	if err != nil {
		return err
	}
	if inForce != nil {
		if runs, err := record.RunsValidatorUnder(inForce.Config, next.OrgID, next.HostKey); err != nil || runs {
			return err
		}
	}
	return record.Refuse(record.CodeBadSignature, "hostProof: wanted for a host key that is new here; assentd card --record makes it on the node")
}

// letGo frees a node's host key if it is still noted as that node's.
func letGo(ctx *call.Context, n *record.Node, now record.Millis) error {
	key := record.HostOwnerKey(n.HostKey)
	owner, err := call.Get[record.HostOwner](ctx, key)
	if err != nil || owner == nil || owner.OrgID != n.OrgID || owner.NodeID != n.NodeID {
		return err
	}
	owner.FreeFrom = now
	_, err = ctx.Put(key, owner)
	return err
}

// RemoveNode takes a node of the caller's member out of service: the network
// gate refuses it from then on, and its transaction key is revoked. For admins.
func (*Contract) RemoveNode(ctx *call.Context, nodeID string) (string, error) {
	if err := call.Identifier(record.NodeID(nodeID)); err != nil {
		return "", err
	}
	caller, err := ctx.CallerEvenSuspended(record.RoleAdmin)
	if err != nil {
		return "", err
	}
	key := record.NodeKey(caller.OrgID(), record.NodeID(nodeID))
	last, err := call.Need[record.Node](ctx, key, record.CodeNotFound, "node of this member")
	if err != nil {
		return "", err
	}
	if last.RemovedAt != 0 {
		return "", record.Refuse(record.CodeWrongState, "node is already removed")
	}
	if err := letGo(ctx, last, caller.Now); err != nil {
		return "", err
	}
	next := *last
	next.RemovedAt, next.UpdatedAt, next.TxKey, next.Answers = caller.Now, caller.Now, record.Address{}, false
	if err := countObservers(ctx, caller, last, &next); err != nil {
		return "", err
	}
	if err := replaceTxKey(ctx, caller, last, &next); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventNode, &next)
}

func observes(n *record.Node) bool {
	return n != nil && n.Kind == record.Observer && n.RemovedAt == 0
}

// countObservers keeps the member's count in step with one node's change.
func countObservers(ctx *call.Context, caller *call.Caller, last, next *record.Node) error {
	before, after := observes(last), observes(next)
	if before == after {
		return nil
	}
	member := caller.Member
	if before {
		member.Observers--
	} else {
		config, err := call.Need[record.OrderingConfig](ctx, record.ConfigKey, record.CodeNotFound, "ordering config")
		if err != nil {
			return err
		}
		limit := config.ObserversPerMember
		if limit == 0 {
			limit = record.DefaultObserversPerMember
		}
		if member.Observers >= limit {
			return record.Refuse(record.CodeLimitExceeded, "member already has its %d observers; remove one first", limit)
		}
		member.Observers++
	}
	_, err := ctx.Put(record.MemberKey(member.OrgID), &member)
	return err
}

func replaceTxKey(ctx *call.Context, caller *call.Caller, last, next *record.Node) error {
	var old record.Address
	if last != nil {
		old = last.TxKey
	}
	if old == next.TxKey {
		return nil
	}
	if old != (record.Address{}) {
		key := record.ClientKey(caller.OrgID(), old)
		client, err := call.Get[record.Client](ctx, key)
		if err != nil {
			return err
		}
		if client != nil && (client.RevokedAt == 0 || client.RevokedAt > caller.Now) {
			client.RevokedAt, client.RevokeReason = caller.Now, record.KeyConfig
			if _, err := ctx.Put(key, client); err != nil {
				return err
			}
		}
	}
	if next.TxKey == (record.Address{}) {
		return nil
	}
	key := record.ClientKey(caller.OrgID(), next.TxKey)
	if err := absent[record.Client](ctx, key, "client key"); err != nil {
		return err
	}
	_, err := ctx.Put(key, &record.Client{
		Address: next.TxKey, NodeID: next.NodeID, OrgID: caller.OrgID(),
		RegisteredAt: caller.Now, Roles: []record.ClientRole{record.RoleNode},
	})
	return err
}
