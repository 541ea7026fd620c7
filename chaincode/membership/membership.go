// Package membership is the contract that keeps who takes part: members and
// their admin keys as the ordering config names them, the client keys and roles
// an admin gives out, node endpoints and HPKE data keys, suspensions by an
// authority, and the configs that members propose and approve.
//
// It promises that a member's keys change only by that member's admin or by the
// ordering config, that a key is refused from the block time its revocation
// names, that a member registers no more observers than the config allows, and
// that each approval of a proposed config is by an admin key of its member over
// that config on this network.
//
// It leaves to the node to take an approved config over, and to whoever approves
// to look whether the network it makes will work.
package membership

import (
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// Names of the events.
const (
	EventConfig  = "config"
	EventClient  = "client"
	EventNode    = "node"
	EventDataKey = "datakey"
	EventMember  = "member"
)

// Contract is the membership contract.
type Contract struct{ contractapi.Contract }

// New makes the contract.
func New() *Contract {
	c := new(Contract)
	c.Name = record.ContractMembership
	c.TransactionContextHandler = new(call.Context)
	return c
}

// GetEvaluateTransactions names the read functions.
func (*Contract) GetEvaluateTransactions() []string {
	return []string{"GetConfig", "GetMember", "ListMembers", "GetClient", "ListClients", "GetNode", "ListNodes", "ListDataKeys",
		"GetProposal", "GetProposedConfig", "ListProposals"}
}

// RegisterClient registers a key for the caller's member. Argument:
// record.ClientSpec; result: record.Client. For admins. A key is registered once
// and never comes back after its revocation.
func (*Contract) RegisterClient(ctx *call.Context, clientJSON string) (string, error) {
	spec, err := call.Argument[record.ClientSpec](clientJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleAdmin)
	if err != nil {
		return "", err
	}
	if spec.ValidUntil != 0 && spec.ValidUntil <= caller.Now {
		return "", record.Refuse(record.CodeBadRequest, "validUntil: already past")
	}
	if spec.ValidFrom <= caller.Now {
		spec.ValidFrom = 0 // in force from its registration
	}
	key := record.ClientKey(caller.OrgID(), spec.Address)
	if err := absent[record.Client](ctx, key, "client key"); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventClient, &record.Client{
		Address: spec.Address, Label: spec.Label, OrgID: caller.OrgID(), RegisteredAt: caller.Now,
		Roles: spec.Roles, ValidFrom: spec.ValidFrom, ValidUntil: spec.ValidUntil,
	})
}

// RevokeClient ends a key of the caller's member from block time effectiveAt on,
// "0" meaning now, so that an old and a new key can overlap. A revocation that
// is still ahead can be brought forward, never put off. For admins. Admin keys
// end with the ordering config.
func (*Contract) RevokeClient(ctx *call.Context, address, effectiveAt, reason string) (string, error) {
	target, err := record.ParseAddress(address)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	at, err := call.Integer("effectiveAt", effectiveAt)
	if err != nil {
		return "", err
	}
	if !record.HasItem(record.RevokeReasons(), record.KeyReason(reason)) {
		return "", record.Refuse(record.CodeBadRequest, "reason: want one of %v", record.RevokeReasons())
	}
	caller, err := ctx.CallerEvenSuspended(record.RoleAdmin)
	if err != nil {
		return "", err
	}
	when, err := effective(caller, at)
	if err != nil {
		return "", err
	}
	key := record.ClientKey(caller.OrgID(), target)
	client, err := call.Need[record.Client](ctx, key, record.CodeNotFound, "client key of this member")
	if err != nil {
		return "", err
	}
	if client.HasRole(record.RoleAdmin) {
		return "", record.Refuse(record.CodeWrongState, "an admin key changes with the ordering config")
	}
	if client.RevokedAt != 0 && client.RevokedAt <= when {
		return "", record.Refuse(record.CodeWrongState, "client key is already revoked from that time or earlier")
	}
	client.RevokedAt, client.RevokeReason = when, record.KeyReason(reason)
	return ctx.Publish(key, EventClient, client)
}

// effective is the time from which a key of the caller's member is to end; 0 means
// now.
func effective(caller *call.Caller, at uint64) (record.Millis, error) {
	when := record.Millis(at)
	if when == 0 {
		when = caller.Now
	}
	if when < caller.Now {
		return 0, record.Refuse(record.CodeBadRequest, "effectiveAt: already past")
	}
	return when, nil
}

// SetDataKey publishes an HPKE key to which sealed parts for the caller's member
// are encrypted. Argument: record.DataKeySpec. For admins and operators. A key
// never changes: rotation is a new key with an overlapping period.
func (*Contract) SetDataKey(ctx *call.Context, keyJSON string) (string, error) {
	spec, err := call.Argument[record.DataKeySpec](keyJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleAdmin, record.RoleOperator)
	if err != nil {
		return "", err
	}
	if spec.ValidUntil <= caller.Now {
		return "", record.Refuse(record.CodeBadRequest, "validUntil: already past")
	}
	key := record.DataKeyKey(caller.OrgID(), spec.KeyID)
	if err := absent[record.DataKey](ctx, key, "data key"); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventDataKey, &record.DataKey{DataKeySpec: *spec, OrgID: caller.OrgID(), SetAt: caller.Now})
}

// RevokeDataKey ends a data key of the caller's member from block time effectiveAt
// on, "0" meaning now, so that an old and a new key can overlap. A revocation that
// is still ahead can be brought forward, never put off. For admins and operators.
func (*Contract) RevokeDataKey(ctx *call.Context, keyID, effectiveAt string) (string, error) {
	if err := call.Identifier(record.DataKeyID(keyID)); err != nil {
		return "", err
	}
	at, err := call.Integer("effectiveAt", effectiveAt)
	if err != nil {
		return "", err
	}
	caller, err := ctx.CallerEvenSuspended(record.RoleAdmin, record.RoleOperator)
	if err != nil {
		return "", err
	}
	when, err := effective(caller, at)
	if err != nil {
		return "", err
	}
	key := record.DataKeyKey(caller.OrgID(), record.DataKeyID(keyID))
	data, err := call.Need[record.DataKey](ctx, key, record.CodeNotFound, "data key of this member")
	if err != nil {
		return "", err
	}
	if data.RevokedAt != 0 && data.RevokedAt <= when {
		return "", record.Refuse(record.CodeWrongState, "data key is already revoked from that time or earlier")
	}
	data.RevokedAt = when
	return ctx.Publish(key, EventDataKey, data)
}

func absent[T any, P interface {
	*T
	record.Record
}](ctx *call.Context, key, what string) error {
	v, err := call.Get[T, P](ctx, key)
	if err == nil && v != nil {
		return record.Refuse(record.CodeAlreadyExists, "%s exists and cannot be replaced", what)
	}
	return err
}
