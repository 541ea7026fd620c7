package membership

import (
	"sort"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// ApplyConfig takes over the members and admin keys of the ordering config.
// Argument and result: record.OrderingConfig. The node alone calls it, at
// genesis and in each config block. A member that left is kept, inactive; an
// admin key that left is revoked, or loses the role if it has others.
func (*Contract) ApplyConfig(ctx *call.Context, configJSON string) (string, error) {
	next, err := call.Argument[record.OrderingConfig](configJSON)
	if err != nil {
		return "", err
	}
	now, err := ctx.System()
	if err != nil {
		return "", err
	}
	last, err := call.Get[record.OrderingConfig](ctx, record.ConfigKey)
	if err != nil {
		return "", err
	}
	if last == nil {
		last = new(record.OrderingConfig)
	} else if next.ConfigSeq <= last.ConfigSeq || next.ChainID != last.ChainID {
		return "", record.Refuse(record.CodeWrongState, "config does not follow the one in force")
	}
	for i := range next.Members {
		if err := putMember(ctx, &next.Members[i], next.ConfigSeq, true); err != nil {
			return "", err
		}
		for _, key := range next.Members[i].AdminKeys {
			if err := admit(ctx, next.Members[i].OrgID, key, now); err != nil {
				return "", err
			}
		}
	}
	for i := range last.Members {
		old := &last.Members[i]
		kept := memberOf(next, old.OrgID)
		if kept == nil {
			if err := putMember(ctx, old, next.ConfigSeq, false); err != nil {
				return "", err
			}
		}
		for _, key := range old.AdminKeys {
			if kept != nil && record.HasItem(kept.AdminKeys, key) {
				continue
			}
			if err := dismiss(ctx, old.OrgID, key, now); err != nil {
				return "", err
			}
		}
	}
	if err := closeProposal(ctx, next, now); err != nil {
		return "", err
	}
	if err := keepConfig(ctx, next); err != nil {
		return "", err
	}
	next.Config = nil
	return ctx.Publish(record.ConfigKey, EventConfig, next)
}

// keepConfig keeps the bytes of a config that no member proposed here, such as
// the genesis config: proposals are held against them.
func keepConfig(ctx *call.Context, next *record.OrderingConfig) error {
	if len(next.Config) == 0 {
		return nil
	}
	key := record.ProposedConfigKey(next.ConfigHash)
	kept, err := call.Get[record.ProposedConfig](ctx, key)
	if err != nil || kept != nil {
		return err
	}
	_, err = ctx.Put(key, &record.ProposedConfig{Config: next.Config})
	return err
}

func memberOf(config *record.OrderingConfig, org record.OrgID) *record.ConfigMember {
	for i := range config.Members {
		if config.Members[i].OrgID == org {
			return &config.Members[i]
		}
	}
	return nil
}

func putMember(ctx *call.Context, m *record.ConfigMember, seq uint64, active bool) error {
	key := record.MemberKey(m.OrgID)
	member, err := call.Get[record.Member](ctx, key)
	if err != nil {
		return err
	}
	if member == nil {
		member = &record.Member{OrgID: m.OrgID}
	}
	member.Active, member.ConfigSeq, member.Roles, member.Title = active, seq, m.Roles, m.Title
	_, err = ctx.Put(key, member)
	return err
}

// admit makes key an admin. The config overrules an earlier revocation: more
// than two thirds of the members signed it.
func admit(ctx *call.Context, org record.OrgID, address record.Address, now record.Millis) error {
	key := record.ClientKey(org, address)
	client, err := call.Get[record.Client](ctx, key)
	if err != nil {
		return err
	}
	if client == nil {
		client = &record.Client{Address: address, OrgID: org, RegisteredAt: now}
	}
	if client.HasRole(record.RoleAdmin) && client.RevokedAt == 0 {
		return nil
	}
	if !client.HasRole(record.RoleAdmin) {
		client.Roles = append(client.Roles, record.RoleAdmin)
		sort.Slice(client.Roles, func(i, j int) bool { return client.Roles[i] < client.Roles[j] })
	}
	client.RevokedAt, client.RevokeReason, client.ValidUntil = 0, "", 0
	_, err = ctx.Put(key, client)
	return err
}

func dismiss(ctx *call.Context, org record.OrgID, address record.Address, now record.Millis) error {
	key := record.ClientKey(org, address)
	client, err := call.Get[record.Client](ctx, key)
	if err != nil || client == nil {
		return err
	}
	var others []record.ClientRole
	for _, role := range client.Roles {
		if role != record.RoleAdmin {
			others = append(others, role)
		}
	}
	if len(others) != 0 {
		client.Roles = others
	} else {
		client.RevokedAt, client.RevokeReason = now, record.KeyConfig
	}
	_, err = ctx.Put(key, client)
	return err
}
