package record

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Bounds of the ordering level on a config and on what carries one.
const (
	maxConfigAdmins   = 2048
	maxConfigAddrs    = 4
	maxConfigAddr     = 256
	maxConfigName     = 64
	maxConfigTitle    = 128
	maxValidatorID    = 65_535
	maxUpdateOverhead = 256  // an update's bytes beside the config and its approvals
	maxApprovalBytes  = 192  // one approval in an update
	proposalOverhead  = 1024 // a short proposal's bytes beside the config
	maxConfigRequest  = 256 << 10
	maxConfigBlock    = 4 << 20
	maxConfigRequests = 10_000
)

// Succession is a proposed config beside the one that it is to follow.
type Succession struct {
	inForce, next configParts
	size          int // bytes of next
}

type configParts struct {
	configRLP
	members    []configMemberRLP
	validators []configValidatorRLP
	shared     bool // two validators have one key
}

// ReadSuccession reads the bytes of the config in force and of a proposed one.
func ReadSuccession(inForce, next []byte) (*Succession, error) {
	s := &Succession{size: len(next)}
	for _, x := range []struct {
		b  []byte
		to *configParts
	}{{inForce, &s.inForce}, {next, &s.next}} {
		o, err := OutlineConfig(x.b)
		if err != nil {
			return nil, err
		}
		x.to.shared = o.SharedKeys
		if err := errors.Join(rlp.DecodeBytes(x.b, &x.to.configRLP), rlp.DecodeBytes(x.to.Members, &x.to.members), rlp.DecodeBytes(x.to.Validators, &x.to.validators)); err != nil {
			return nil, errors.New("config: not the encoding of an ordering config")
		}
	}
	return s, nil
}

// Check reports what keeps the proposed config from ever coming into force, in
// the rules of the ordering level (see the ledger's SPEC): the first reason, or
// nil. It leaves out one that time can mend: whether a node's program knows the
// protocol version.
func (s *Succession) Check() error {
	now, next := &s.inForce, &s.next
	switch {
	case next.Seq != now.Seq+1:
		return fmt.Errorf("config %d does not follow config %d, which is in force", next.Seq, now.Seq)
	case next.Network != now.Network || next.GenesisTime != now.GenesisTime:
		return errors.New("config: it changes the network's name or genesis time, which are fixed")
	case next.Limits.Records != now.Limits.Records:
		return fmt.Errorf("config: recordMillis %d, the genesis config fixed %d", next.Limits.Records, now.Limits.Records)
	case next.Protocol < now.Protocol || next.Protocol == 0:
		return fmt.Errorf("config: protocol version %d is in force, the config names %d", now.Protocol, next.Protocol)
	}
	if err := next.check(); err != nil {
		return err
	}
	for i := range next.validators {
		v := &next.validators[i]
		for j := range now.validators {
			switch old := &now.validators[j]; {
			case old.ID == v.ID && old.VoteKey != v.VoteKey:
				return fmt.Errorf("config: it gives validator %d another vote key: remove it and add one with a new id", v.ID)
			case old.ID != v.ID && old.VoteKey == v.VoteKey:
				return fmt.Errorf("config: it gives the vote key of validator %d to validator %d: a new id needs a vote key that has never voted", old.ID, v.ID)
			}
		}
	}
	if most := s.updateBytes(len(now.members)); most > now.Limits.Request {
		return fmt.Errorf("config: its update may have %d bytes, the network takes %d: raise limits.maxRequestBytes first", most, now.Limits.Request)
	}
	// The ordering level would take this one over, and could never be given another.
	if least := max(s.updateBytes(len(next.members)), uint64(4*s.size/3+proposalOverhead)); least > next.Limits.Request {
		return fmt.Errorf("config: maxRequestBytes %d would keep every later config out, want at least %d", next.Limits.Request, least)
	}
	return nil
}

// updateBytes bounds the update that carries the proposed config with the
// approvals of a number of members.
func (s *Succession) updateBytes(members int) uint64 {
	return uint64(s.size + maxUpdateOverhead + maxApprovalBytes*members)
}

// check repeats what the ordering level demands of a config by itself, beyond its
// outline.
func (c *configParts) check() error {
	if err := checkConfigName("network", c.Network); err != nil {
		return err
	}
	if c.shared {
		return errors.New("config: two validators share a key: every validator has its own")
	}
	admins := 0
	for i := range c.members {
		if err := c.members[i].check(); err != nil {
			return fmt.Errorf("config: member %q: %w", c.members[i].ID, err)
		}
		admins += len(c.members[i].Admins)
	}
	if admins > maxConfigAdmins {
		return fmt.Errorf("config: %d admin keys of all members together, at most %d", admins, maxConfigAdmins)
	}
	for i := range c.validators {
		if err := c.validators[i].check(); err != nil {
			return fmt.Errorf("config: validator %d: %w", c.validators[i].ID, err)
		}
	}
	return c.checkLimits()
}

func checkConfigName(what, s string) error {
	if len(s) == 0 || len(s) > maxConfigName {
		return fmt.Errorf("config: %s has %d bytes, want 1 to %d", what, len(s), maxConfigName)
	}
	for i := range len(s) {
		if c := s[i]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return fmt.Errorf("config: %s has a character other than letters, digits, '.', '_' and '-'", what)
		}
	}
	return nil
}

func (m *configMemberRLP) check() error {
	if err := checkConfigName("id", m.ID); err != nil {
		return err
	}
	if strings.IndexByte("._-", m.ID[0]) >= 0 {
		return errors.New("id: want a letter or digit first")
	}
	if len(m.Name) == 0 || len(m.Name) > maxConfigTitle || !utf8.ValidString(m.Name) || !printable(m.Name) {
		return fmt.Errorf("name: want 1 to %d bytes of UTF-8 without control characters", maxConfigTitle)
	}
	for i, role := range m.Roles {
		if !listed(MemberRole(role), memberRoles) {
			return fmt.Errorf("role %.40q is none", role)
		}
		if i > 0 && m.Roles[i-1] >= role {
			return errors.New("roles: want strictly ascending order")
		}
	}
	if m.Admins[0] == (Address{}) {
		return errors.New("an admin key is zero, which nobody has")
	}
	for i := range m.Admins {
		if i > 0 && m.Admins[i-1].Cmp(m.Admins[i]) >= 0 {
			return errors.New("admin keys: want strictly ascending order")
		}
	}
	return nil
}

func (v *configValidatorRLP) check() error {
	switch {
	case v.ID == 0 || v.ID > maxValidatorID:
		return fmt.Errorf("id: want 1 to %d", maxValidatorID)
	case v.VoteKey == (Address{}):
		return errors.New("vote key is missing")
	case len(v.Addrs) == 0 || len(v.Addrs) > maxConfigAddrs:
		return fmt.Errorf("%d addresses, want 1 to %d", len(v.Addrs), maxConfigAddrs)
	}
	if _, err := crypto.DecompressPubkey(v.HostKey[:]); err != nil {
		return errors.New("host key is not a compressed secp256k1 public key")
	}
	for _, a := range v.Addrs {
		if len(a) == 0 || len(a) > maxConfigAddr || a[0] != '/' || !utf8.ValidString(a) || !printable(a) {
			return fmt.Errorf("address %.64q is no multiaddress such as /ip4/10.0.0.7/tcp/7400", a)
		}
	}
	return nil
}

func (c *configParts) checkLimits() error {
	l := &c.Limits
	for _, x := range []struct {
		name            string
		is, least, most uint64
	}{
		{"maxRequestBytes", l.Request, 4 << 10, maxConfigRequest},
		{"maxBlockBytes", l.Block, l.Request, maxConfigBlock},
		{"maxBlockRequests", l.Requests, 1, maxConfigRequests},
		{"clockToleranceMs", l.Clock, 100, 60_000},
		{"maxExecLag", l.Lag, 1, 64},
		{"observersPerMember", l.Observers, 0, 64},
	} {
		if x.is < x.least || x.is > x.most {
			return fmt.Errorf("config: %s %d, want %d to %d", x.name, x.is, x.least, x.most)
		}
	}
	return nil
}
