// Package call is what a contract sees of one call: who makes it, at what block
// time, and the records it reads and writes.
//
// It promises that a caller is a key in force of a member in force before a
// contract does anything for it, that time is block time, and that records go
// in and out in their one canonical form. A read sees the state after the
// previous transaction and never the transaction's own writes; contracts are
// written for that.
//
// It leaves to each contract which role may call what. An error of this package
// is a refusal (record.Refuse) or says that the state could not be read; the
// second kind has no code and is the node's to handle.
package call

import (
	"fmt"
	"strconv"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"

	"github.com/assent-network/assent/chaincode/record"
)

// Context is the transaction context of every contract. It serves one call.
type Context struct {
	contractapi.TransactionContext
}

// Caller is who makes a call: a key in force, and its member. Their lists are
// shared with other calls and must not be changed.
type Caller struct {
	Client record.Client
	Member record.Member
	Now    record.Millis // block time
}

// OrgID is the caller's member.
func (c *Caller) OrgID() record.OrgID { return c.Client.OrgID }

// Now is the time of the block the call is in.
func (c *Context) Now() (record.Millis, error) {
	ts, err := c.GetStub().GetTxTimestamp()
	if err != nil {
		return 0, fmt.Errorf("read block time: %w", err)
	}
	return ts.GetSeconds()*1000 + int64(ts.GetNanos())/1_000_000, nil
}

// Creator is who signed the call, not yet looked up.
func (c *Context) Creator() (*record.Creator, error) {
	data, err := c.GetStub().GetCreator()
	if err != nil {
		return nil, fmt.Errorf("read creator: %w", err)
	}
	who := new(record.Creator)
	if err := record.Decode(data, who); err != nil {
		return nil, record.Refuse(record.CodeUnknownKey, "creator is not in the form of this ledger")
	}
	return who, nil
}

// System refuses everybody but the node itself, and returns block time.
func (c *Context) System() (record.Millis, error) {
	who, err := c.Creator()
	if err != nil {
		return 0, err
	}
	if !who.System() {
		return 0, record.Refuse(record.CodeForbidden, "only the node itself calls this, for a config block")
	}
	return c.Now()
}

// Caller looks up who calls and refuses a key that is unknown or not in force, a
// member that is not in the config or is suspended, and a key with none of the
// roles. Without roles, any key in force passes.
func (c *Context) Caller(anyOf ...record.ClientRole) (*Caller, error) {
	caller, err := c.CallerEvenSuspended(anyOf...)
	if err != nil {
		return nil, err
	}
	if err := caller.Member.Usable(); err != nil {
		return nil, err
	}
	return caller, nil
}

// CallerEvenSuspended is Caller for what a suspended member may still do: end
// what it has (keys, nodes, consents), record what became of earlier requests,
// and vote on the config.
func (c *Context) CallerEvenSuspended(anyOf ...record.ClientRole) (*Caller, error) {
	who, err := c.Creator()
	if err != nil {
		return nil, err
	}
	key, err := record.ParseAddress(who.Address)
	if err != nil || who.OrgID.Check() != nil {
		return nil, record.Refuse(record.CodeUnknownKey, "creator is no client key of a member")
	}
	caller := new(Caller)
	if caller.Now, err = c.Now(); err != nil {
		return nil, err
	}
	client, err := Shared[record.Client](c, record.ClientKey(who.OrgID, key))
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, record.Refuse(record.CodeUnknownKey, "client key is not registered; an admin of the member registers it")
	}
	if err := client.Usable(caller.Now); err != nil {
		return nil, err
	}
	member, err := Shared[record.Member](c, record.MemberKey(who.OrgID))
	if err != nil {
		return nil, err
	}
	if member == nil || !member.Active {
		return nil, record.Refuse(record.CodeForbidden, "member is not in the config in force")
	}
	caller.Client, caller.Member = *client, *member
	if len(anyOf) != 0 && !caller.Client.HasRole(anyOf...) {
		return nil, record.Refuse(record.CodeForbidden, "client key has none of the roles %v", anyOf)
	}
	return caller, nil
}

// MemberActive returns a member, or refuses one that is unknown, not in the
// config in force, or suspended by an authority.
func (c *Context) MemberActive(org record.OrgID) (*record.Member, error) {
	member, err := Need[record.Member](c, record.MemberKey(org), record.CodeNotFound, "member")
	if err != nil {
		return nil, err
	}
	if err := member.Usable(); err != nil {
		return nil, err
	}
	return member, nil
}

// MustBe refuses a caller whose member has none of the roles.
func (c *Caller) MustBe(anyOf ...record.MemberRole) error {
	for _, role := range anyOf {
		if record.HasItem(c.Member.Roles, role) {
			return nil
		}
	}
	return record.Refuse(record.CodeForbidden, "member has none of the roles %v", anyOf)
}

// Argument reads a structured argument and refuses one that breaks its rules.
func Argument[T any, P interface {
	*T
	record.Checked
}](arg string) (*T, error) {
	v, err := record.Parse[T, P](arg)
	if err != nil {
		return nil, record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return v, nil
}

// Integer reads an integer argument: decimal, 0…record.MaxInt, in its one spelling.
func Integer(name, arg string) (uint64, error) {
	n, err := strconv.ParseUint(arg, 10, 64)
	if err != nil || n > record.MaxInt || strconv.FormatUint(n, 10) != arg {
		return 0, record.Refuse(record.CodeBadRequest, "%s: want an integer from 0 to 2^53−1", name)
	}
	return n, nil
}

// Identifier refuses an identifier that is not in its form.
func Identifier(id interface{ Check() error }) error {
	if err := id.Check(); err != nil {
		return record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return nil
}
