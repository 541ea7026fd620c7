package sdk

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/node/ledger"
)

// ConfigEditor makes the config that follows another. Its methods change one
// thing each and may be chained; the first complaint of each is kept until
// Config, which joins them.
type ConfigEditor struct {
	base  *Config
	next  *Config
	maxID uint64 // highest validator id ever given
	errs  []error
}

// EditConfig begins the config that follows current. Ids of validators are never
// used again; this editor knows those of current alone, Members().Edit all.
func EditConfig(current *Config) *ConfigEditor {
	next, err := ledger.DecodeConfig(current.Encode())
	e := &ConfigEditor{base: current, next: next}
	if err != nil {
		e.next = &Config{}
		e.errs = append(e.errs, err)
		return e
	}
	e.next.Seq++
	e.maxID = highestValidator(current)
	return e
}

// Edit begins the config that follows the one in force.
func (m Members) Edit(ctx context.Context) (*ConfigEditor, error) {
	current, err := m.c.Config(ctx)
	if err != nil {
		return nil, err
	}
	e := EditConfig(current)
	e.maxID = max(e.maxID, m.c.trust.highestValidator())
	return e, nil
}

func highestValidator(c *Config) uint64 {
	id := uint64(0)
	for i := range c.Validators {
		id = max(id, c.Validators[i].ID)
	}
	return id
}

// highestValidator is the highest id of a validator in any config so far.
func (t *trust) highestValidator() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := highestValidator(t.genesis)
	for _, b := range t.walked {
		p, err := ledger.DecodeConfigProof(b)
		if err != nil {
			continue // it was decoded when it was taken
		}
		if u, err := ledger.DecodeUpdate(p.Update); err == nil {
			id = max(id, highestValidator(u.Config))
		}
	}
	return id
}

// Base returns the config that the edited one follows.
func (e *ConfigEditor) Base() *Config { return e.base }

// Config returns the edited config, or everything that is wrong with it.
func (e *ConfigEditor) Config() (*Config, error) {
	err := errors.Join(e.errs...)
	if err == nil {
		if bytes.Equal(withSeq(e.next, 0), withSeq(e.base, 0)) {
			err = errors.New("it changes nothing")
		} else {
			err = e.next.Follows(e.base)
		}
	}
	if err != nil {
		return nil, &ConfigError{What: fmt.Sprintf("config %d", e.next.Seq), Cause: err, Remedy: "Correct what is named; assent member config shows the one in force."}
	}
	return e.next, nil
}

func withSeq(c *Config, seq uint64) []byte {
	d := *c
	d.Seq = seq
	return d.Encode()
}

func (e *ConfigEditor) complain(format string, args ...any) *ConfigEditor {
	e.errs = append(e.errs, fmt.Errorf(format, args...))
	return e
}

func (e *ConfigEditor) member(id OrgID) *ConfigMember {
	if m := e.next.Member(string(id)); m != nil {
		return m
	}
	e.complain("there is no member %.64q", id)
	return nil
}

func (e *ConfigEditor) validator(id uint64) *ConfigValidator {
	if v := e.next.Validator(id); v != nil {
		return v
	}
	e.complain("there is no validator %d", id)
	return nil
}

// AddMember adds an organisation.
func (e *ConfigEditor) AddMember(m ConfigMember) *ConfigEditor {
	if e.next.Member(m.ID) != nil {
		return e.complain("member %.64q is in the config already", m.ID)
	}
	m.Roles, m.Admins = slices.Clone(m.Roles), slices.Clone(m.Admins)
	slices.Sort(m.Roles)
	slices.SortFunc(m.Admins, Address.Cmp)
	e.next.Members = append(e.next.Members, m)
	slices.SortFunc(e.next.Members, func(a, b ConfigMember) int { return strings.Compare(a.ID, b.ID) })
	return e
}

// RemoveMember removes an organisation and its validators.
func (e *ConfigEditor) RemoveMember(id OrgID) *ConfigEditor {
	if e.member(id) == nil {
		return e
	}
	e.next.Members = slices.DeleteFunc(e.next.Members, func(m ConfigMember) bool { return m.ID == string(id) })
	e.next.Validators = slices.DeleteFunc(e.next.Validators, func(v ConfigValidator) bool { return v.Member == string(id) })
	return e
}

// SetMember replaces a member's name and roles; what is empty stays.
func (e *ConfigEditor) SetMember(id OrgID, name string, roles []string) *ConfigEditor {
	m := e.member(id)
	if m == nil {
		return e
	}
	if name != "" {
		m.Name = name
	}
	if len(roles) != 0 {
		m.Roles = slices.Sorted(slices.Values(roles))
	}
	return e
}

// AddAdmin adds an admin key of a member.
func (e *ConfigEditor) AddAdmin(id OrgID, key Address) *ConfigEditor {
	m := e.member(id)
	if m == nil {
		return e
	}
	if slices.Contains(m.Admins, key) {
		return e.complain("%s is an admin key of %s already", strings.ToLower(key.Hex()), id)
	}
	m.Admins = append(m.Admins, key)
	slices.SortFunc(m.Admins, Address.Cmp)
	return e
}

// RemoveAdmin removes an admin key of a member.
func (e *ConfigEditor) RemoveAdmin(id OrgID, key Address) *ConfigEditor {
	m := e.member(id)
	if m == nil {
		return e
	}
	if !slices.Contains(m.Admins, key) {
		return e.complain("%s is no admin key of %s", strings.ToLower(key.Hex()), id)
	}
	m.Admins = slices.DeleteFunc(m.Admins, func(a Address) bool { return a == key })
	return e
}

// ReplaceAdmin puts a new admin key in the place of an old one, which may be
// lost: the approvals of the other members are what counts.
func (e *ConfigEditor) ReplaceAdmin(id OrgID, old, key Address) *ConfigEditor {
	return e.AddAdmin(id, key).RemoveAdmin(id, old)
}

// AddValidator adds a node by its card, under an id that was never used.
func (e *ConfigEditor) AddValidator(card *NodeCard) *ConfigEditor {
	return e.addValidator(ConfigValidator{Member: string(card.Member), VoteKey: card.VoteKey, HostKey: card.HostKey, Addrs: slices.Clone(card.Addrs)})
}

func (e *ConfigEditor) addValidator(v ConfigValidator) *ConfigEditor {
	if (v.VoteKey == Address{}) {
		return e.complain("the node's card names no vote key: it is of an observer")
	}
	for i := range e.next.Validators {
		if o := &e.next.Validators[i]; o.VoteKey == v.VoteKey || o.HostKey == v.HostKey {
			return e.complain("validator %d of %s has the same vote key or host key: every validator has its own", o.ID, o.Member)
		}
	}
	e.maxID++
	v.ID = e.maxID
	e.next.Validators = append(e.next.Validators, v)
	slices.SortFunc(e.next.Validators, func(a, b ConfigValidator) int { return cmp.Compare(a.ID, b.ID) })
	return e
}

// RemoveValidator removes a validator. Its node may go on as an observer once its
// member has registered it as one.
func (e *ConfigEditor) RemoveValidator(id uint64) *ConfigEditor {
	if e.validator(id) == nil {
		return e
	}
	e.next.Validators = slices.DeleteFunc(e.next.Validators, func(v ConfigValidator) bool { return v.ID == id })
	return e
}

// RotateVoteKey gives a validator another vote key, and with it another id: the
// old one leaves and the new one enters in the same change.
func (e *ConfigEditor) RotateVoteKey(id uint64, key Address) *ConfigEditor {
	v := e.validator(id)
	if v == nil {
		return e
	}
	next := *v
	next.VoteKey = key
	return e.RemoveValidator(id).addValidator(next)
}

// RotateHostKey gives a validator another host key.
func (e *ConfigEditor) RotateHostKey(id uint64, key ledger.HostKey) *ConfigEditor {
	if v := e.validator(id); v != nil {
		v.HostKey = key
	}
	return e
}

// SetAddrs changes the addresses of a validator.
func (e *ConfigEditor) SetAddrs(id uint64, addrs []string) *ConfigEditor {
	if v := e.validator(id); v != nil {
		v.Addrs = slices.Clone(addrs)
	}
	return e
}

// SetLimits changes the network's limits.
func (e *ConfigEditor) SetLimits(change func(*ConfigLimits)) *ConfigEditor {
	change(&e.next.Limits)
	return e
}

// SetProtocol raises the protocol version.
func (e *ConfigEditor) SetProtocol(version uint64) *ConfigEditor {
	e.next.Protocol = version
	return e
}
