package sdk

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/assent-network/assent/chaincode/record"
)

// read runs a read function and decodes its record.
func read[T any, P interface {
	*T
	record.Record
}](ctx context.Context, c *Client, contract, function string, args ...string) (*T, error) {
	b, err := c.Evaluate(ctx, contract, function, args...)
	if err != nil {
		return nil, err
	}
	v, err := record.Load[T, P](b)
	if err != nil {
		return nil, fmt.Errorf("read %s.%s: the node's answer: %w", contract, function, err)
	}
	return v, nil
}

// write invokes a function whose single argument is a record.
func (c *Client) write(ctx context.Context, contract, function string, spec record.Checked) (*Outcome, error) {
	b, err := encodeChecked(contract+"."+function, spec)
	if err != nil {
		return nil, err
	}
	return c.Invoke(ctx, contract, function, b)
}

func encodeChecked(what string, spec record.Checked) (string, error) {
	b, err := record.Encode(spec)
	if err == nil {
		err = spec.Check()
	}
	if err != nil {
		return "", &ConfigError{What: what, Cause: err, Remedy: "Correct the field that is named."}
	}
	return string(b), nil
}

// all yields a list that is read in one call.
func all[T any](list func() ([]T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		items, err := list()
		if err != nil {
			yield(nil, err)
			return
		}
		for i := range items {
			if !yield(&items[i], nil) {
				return
			}
		}
	}
}

// Members reads the member organisations.
type Members struct{ c *Client }

// Members returns the reader of member organisations.
func (c *Client) Members() Members { return Members{c} }

// Get returns a member.
func (m Members) Get(ctx context.Context, org OrgID) (*Member, error) {
	return read[record.Member](ctx, m.c, record.ContractMembership, "GetMember", string(org))
}

// List yields every member, ascending by id.
func (m Members) List(ctx context.Context) iter.Seq2[*Member, error] {
	return all(func() ([]Member, error) {
		l, err := read[record.MemberList](ctx, m.c, record.ContractMembership, "ListMembers")
		if err != nil {
			return nil, err
		}
		return l.Members, nil
	})
}

// Clients manages the client keys of members.
type Clients struct{ c *Client }

// Clients returns the manager of client keys.
func (c *Client) Clients() Clients { return Clients{c} }

// Register registers a key of the caller's own member. Role: admin.
func (m Clients) Register(ctx context.Context, spec ClientSpec) (*Outcome, error) {
	return m.c.write(ctx, record.ContractMembership, "RegisterClient", &spec)
}

// Revoke ends a key of the caller's own member at a block time, not in the past;
// the zero time means at once. Role: admin.
func (m Clients) Revoke(ctx context.Context, key Address, at time.Time, why KeyReason) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractMembership, "RevokeClient", record.FormatAddress(key), millisOf(at), string(why))
}

// millisOf is a time as contracts take it; the zero time is "0".
func millisOf(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// Get returns a client key of a member.
func (m Clients) Get(ctx context.Context, org OrgID, key Address) (*Registered, error) {
	return read[record.Client](ctx, m.c, record.ContractMembership, "GetClient", string(org), record.FormatAddress(key))
}

// List yields the client keys of a member.
func (m Clients) List(ctx context.Context, org OrgID) iter.Seq2[*Registered, error] {
	return all(func() ([]Registered, error) {
		l, err := read[record.ClientList](ctx, m.c, record.ContractMembership, "ListClients", string(org))
		if err != nil {
			return nil, err
		}
		return l.Clients, nil
	})
}

// Nodes manages the endpoint records of nodes.
type Nodes struct{ c *Client }

// Nodes returns the manager of node records.
func (c *Client) Nodes() Nodes { return Nodes{c} }

// Set writes the record of a node of the caller's own member. Role: admin.
func (m Nodes) Set(ctx context.Context, spec NodeSpec) (*Outcome, error) {
	return m.c.write(ctx, record.ContractMembership, "SetNode", &spec)
}

// Remove removes a node of the caller's own member. Role: admin.
func (m Nodes) Remove(ctx context.Context, id NodeID) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractMembership, "RemoveNode", string(id))
}

// Get returns a node of a member.
func (m Nodes) Get(ctx context.Context, org OrgID, id NodeID) (*Node, error) {
	return read[record.Node](ctx, m.c, record.ContractMembership, "GetNode", string(org), string(id))
}

// List yields the nodes of every member.
func (m Nodes) List(ctx context.Context) iter.Seq2[*Node, error] {
	return all(func() ([]Node, error) {
		l, err := read[record.NodeList](ctx, m.c, record.ContractMembership, "ListNodes")
		if err != nil {
			return nil, err
		}
		return l.Nodes, nil
	})
}

// DataKeys manages the keys to which sealed parts for a member are encrypted.
type DataKeys struct{ c *Client }

// DataKeys returns the manager of data keys.
func (c *Client) DataKeys() DataKeys { return DataKeys{c} }

// Set publishes a data key of the caller's own member. Roles: admin, operator.
func (m DataKeys) Set(ctx context.Context, spec DataKeySpec) (*Outcome, error) {
	return m.c.write(ctx, record.ContractMembership, "SetDataKey", &spec)
}

// Revoke ends a data key of the caller's own member at a block time, not in the
// past; the zero time means at once. Roles: admin, operator.
func (m DataKeys) Revoke(ctx context.Context, id DataKeyID, at time.Time) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractMembership, "RevokeDataKey", string(id), millisOf(at))
}

// List yields the data keys of a member.
func (m DataKeys) List(ctx context.Context, org OrgID) iter.Seq2[*DataKey, error] {
	return all(func() ([]DataKey, error) {
		l, err := read[record.DataKeyList](ctx, m.c, record.ContractMembership, "ListDataKeys", string(org))
		if err != nil {
			return nil, err
		}
		return l.DataKeys, nil
	})
}

// Usable returns the data key of a member that is in force and began last. It is
// proven against a certified state: a node that swaps in a key of its own could
// read what is sealed to it.
func (m DataKeys) Usable(ctx context.Context, org OrgID) (*DataKey, error) {
	now := m.c.set.now().UnixMilli()
	var best *DataKey
	for k, err := range m.List(ctx, org) {
		if err != nil {
			return nil, err
		}
		if k.Usable(now) && (best == nil || k.ValidFrom > best.ValidFrom) {
			best = k
		}
	}
	if best == nil {
		return nil, &Error{
			Code: "NOT_FOUND", Where: "data key of " + string(org), What: "the member has no data key in force",
			Remedy: "Ask the member to publish one (assent member key add).",
		}
	}
	proven, err := m.c.Proofs().Record(ctx, record.DataKeyKey(org, best.KeyID))
	if err != nil {
		return nil, err
	}
	if !proven.Present {
		return nil, &Untrusted{Node: "the node", What: "a data key of " + string(org), Cause: fmt.Errorf("the ledger holds no key %q", best.KeyID)}
	}
	key, err := record.Load[record.DataKey](proven.Value)
	if err != nil {
		return nil, err
	}
	if !key.Usable(now) {
		return nil, &Error{
			Code: "WRONG_STATE", Where: "data key of " + string(org), What: fmt.Sprintf("key %q is not in force", key.KeyID),
			Remedy: "Ask the member to publish a new one.", retryable: true,
		}
	}
	return key, nil
}
