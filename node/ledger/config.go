package ledger

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/crypto"
)

// Bounds of a config.
const (
	MaxConfigBytes = 128 << 10 // encoded
	MaxMembers     = 256
	MaxAdmins      = 2048 // of all members together: executing an update writes each old and new key
	MaxValidators  = 128
)

// Config is the ordering-level configuration: who belongs, who orders, with
// which keys, addresses and limits. It changes only by an Update, alone in its
// block. The genesis config names the network: its hash is the chain id.
type Config struct {
	Domain      string      `json:"-"`
	Network     string      `json:"network"`     // a name for people
	Seq         uint64      `json:"seq"`         // 0 at genesis, +1 per update
	Protocol    uint64      `json:"protocol"`    // 1 to Protocol; never falls
	GenesisTime uint64      `json:"genesisTime"` // Unix ms; the time of block 0
	Members     []Member    `json:"members"`     // ascending by ID
	Validators  []Validator `json:"validators"`  // ascending by ID
	Limits      Limits      `json:"limits"`
}

// Member is an organisation.
type Member struct {
	ID     string    `json:"id"`     // name of [A-Za-z0-9._-] that begins with a letter or digit, at most MaxNameBytes
	Name   string    `json:"name"`   // for people; no control characters
	Roles  []string  `json:"roles"`  // DATA_PROVIDER, DATA_CONSUMER, CREDIT_REPORTING_AGENCY, AUDITOR; ascending
	Admins []Address `json:"admins"` // keys that approve config updates and register the member's clients; ascending
}

// HostKey is the compressed secp256k1 public key of a node's libp2p identity.
type HostKey [33]byte

// MarshalText returns the key as 0x-hex.
func (k HostKey) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(k[:])), nil }

// UnmarshalText reads 0x-hex of exactly 33 bytes.
func (k *HostKey) UnmarshalText(text []byte) error {
	if len(text) != 2+2*len(k) || text[0] != '0' || text[1] != 'x' {
		return fmt.Errorf("host key text has %d characters, want 0x and %d hex digits", len(text), 2*len(k))
	}
	_, err := hex.Decode(k[:], text[2:])
	return err
}

// Validator is a node that orders and votes.
type Validator struct {
	ID      uint64   `json:"id"` // 1…65535; never reused for another key
	Member  string   `json:"member"`
	VoteKey Address  `json:"voteKey"` // signs votes, seals and status; never the host key
	HostKey HostKey  `json:"hostKey"`
	Addrs   []string `json:"addrs"` // multiaddresses, at most 4
}

// Limits bound what the network accepts. Zero is not a default here: the
// genesis builder fills every field.
type Limits struct {
	MaxRequestBytes    uint64 `json:"maxRequestBytes"`
	MaxBlockBytes      uint64 `json:"maxBlockBytes"`
	MaxBlockRequests   uint64 `json:"maxBlockRequests"`
	ClockToleranceMs   uint64 `json:"clockToleranceMs"` // |header time − own clock| a validator votes for
	MaxExecLag         uint64 `json:"maxExecLag"`       // height − execHeight
	ObserversPerMember uint64 `json:"observersPerMember"`
	// RecordMillis is for how long every node keeps access records, and
	// transactions may read them; 0: LawfulRecordMillis. Fixed for good.
	RecordMillis uint64 `json:"recordMillis,omitempty" rlp:"optional"`
}

// LawfulRecordMillis is three years. Only the genesis config of a test network
// names less.
const LawfulRecordMillis = 1096 * 24 * 3600 * 1000

// RecordAge returns from which age on, in ms of block time, a transaction may no
// longer read an access record: see Ages.
func (l Limits) RecordAge() uint64 {
	if l.RecordMillis == 0 {
		return LawfulRecordMillis
	}
	return l.RecordMillis
}

// DefaultLimits returns the limits of a new network.
func DefaultLimits() Limits {
	return Limits{
		MaxRequestBytes:    MaxRequestBytes,
		MaxBlockBytes:      2 << 20,
		MaxBlockRequests:   2000,
		ClockToleranceMs:   5000,
		MaxExecLag:         64,
		ObserversPerMember: 4,
	}
}

// Encode returns the canonical bytes.
func (c *Config) Encode() []byte {
	d := *c
	d.Domain = domainConfig
	return mustEncode(&d)
}

// Hash returns keccak256 of the encoding. The genesis config's is the chain id.
func (c *Config) Hash() Hash { return Sum(c.Encode()) }

// DecodeConfig reads canonical bytes and checks them.
func DecodeConfig(b []byte) (*Config, error) {
	c := new(Config)
	if err := decode("config", b, MaxConfigBytes, c); err != nil {
		return nil, err
	}
	if err := wantDomain("config", c.Domain, domainConfig); err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Limits.RecordMillis == 0 && !bytes.Equal(c.Encode(), b) { // a zero written out
		return nil, fmt.Errorf("decode config: recordMillis is 0 and not left out")
	}
	return c, nil
}

// Check reports the first thing that makes c unusable.
func (c *Config) Check() error {
	if err := checkName("network", c.Network); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if n := len(c.Members); n == 0 || n > MaxMembers {
		return fmt.Errorf("config: %d members, want 1 to %d", n, MaxMembers)
	}
	if n := len(c.Validators); n == 0 || n > MaxValidators {
		return fmt.Errorf("config: %d validators, want 1 to %d", n, MaxValidators)
	}
	if c.Protocol == 0 || c.Protocol > Protocol {
		return fmt.Errorf("config: protocol version %d, this program knows 1 to %d: update the program of this node first", c.Protocol, Protocol)
	}
	admins := 0
	for i := range c.Members {
		if err := c.checkMember(i); err != nil {
			return fmt.Errorf("config: member %q: %w", c.Members[i].ID, err)
		}
		admins += len(c.Members[i].Admins)
	}
	if admins > MaxAdmins {
		return fmt.Errorf("config: %d admin keys of all members together, at most %d", admins, MaxAdmins)
	}
	for i := range c.Validators {
		if err := c.checkValidator(i); err != nil {
			return fmt.Errorf("config: validator %d: %w", c.Validators[i].ID, err)
		}
	}
	return c.Limits.check()
}

var memberRoles = []string{"AUDITOR", "CREDIT_REPORTING_AGENCY", "DATA_CONSUMER", "DATA_PROVIDER"}

func (c *Config) checkMember(i int) error {
	m := &c.Members[i]
	if err := checkName("id", m.ID); err != nil {
		return err
	}
	if strings.IndexByte("._-", m.ID[0]) >= 0 {
		return fmt.Errorf("id begins with %q, want a letter or digit", m.ID[0])
	}
	if i > 0 && c.Members[i-1].ID >= m.ID {
		return fmt.Errorf("ids must ascend without repeats, %q comes after %q", m.ID, c.Members[i-1].ID)
	}
	if len(m.Name) == 0 || len(m.Name) > 128 || !utf8.ValidString(m.Name) {
		return fmt.Errorf("name has %d bytes, want 1 to 128 of UTF-8", len(m.Name))
	}
	if !printable(m.Name) {
		return fmt.Errorf("name has a control character")
	}
	for j, r := range m.Roles {
		if !slices.Contains(memberRoles, r) {
			return fmt.Errorf("role %.40q is not one of %s", r, strings.Join(memberRoles, ", "))
		}
		if j > 0 && m.Roles[j-1] >= r {
			return fmt.Errorf("roles must ascend without repeats")
		}
	}
	if len(m.Admins) == 0 || len(m.Admins) > 16 {
		return fmt.Errorf("%d admin keys, want 1 to 16", len(m.Admins))
	}
	if m.Admins[0] == (Address{}) {
		return fmt.Errorf("an admin key is zero, which nobody has")
	}
	for j := 1; j < len(m.Admins); j++ {
		if bytes.Compare(m.Admins[j-1][:], m.Admins[j][:]) >= 0 {
			return fmt.Errorf("admin keys must ascend without repeats")
		}
	}
	return nil
}

func (c *Config) checkValidator(i int) error {
	v := &c.Validators[i]
	if v.ID == 0 || v.ID > 65535 {
		return fmt.Errorf("id must be 1 to 65535")
	}
	if i > 0 && c.Validators[i-1].ID >= v.ID {
		return fmt.Errorf("ids must ascend without repeats")
	}
	if c.Member(v.Member) == nil {
		return fmt.Errorf("member %.64q is not in the config", v.Member)
	}
	if v.VoteKey == (Address{}) {
		return fmt.Errorf("vote key is missing")
	}
	if _, err := crypto.DecompressPubkey(v.HostKey[:]); err != nil {
		return fmt.Errorf("host key is not a compressed secp256k1 public key")
	}
	if len(v.Addrs) == 0 || len(v.Addrs) > 4 {
		return fmt.Errorf("%d addresses, want 1 to 4", len(v.Addrs))
	}
	for _, a := range v.Addrs {
		if len(a) == 0 || len(a) > 256 || !utf8.ValidString(a) {
			return fmt.Errorf("an address has %d bytes, want 1 to 256 of UTF-8", len(a))
		}
		if a[0] != '/' || !printable(a) {
			return fmt.Errorf("address %.64q is no multiaddress such as /ip4/10.0.0.7/tcp/7400", a)
		}
	}
	for j := range i {
		if o := &c.Validators[j]; o.VoteKey == v.VoteKey || o.HostKey == v.HostKey {
			return fmt.Errorf("shares a key with validator %d: every validator has its own", o.ID)
		}
	}
	return nil
}

// printable reports that s has no control characters.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

func (l Limits) check() error {
	switch {
	case l.MaxRequestBytes < 4<<10 || l.MaxRequestBytes > MaxRequestBytes:
		return fmt.Errorf("config: maxRequestBytes %d, want 4096 to %d", l.MaxRequestBytes, MaxRequestBytes)
	case l.MaxBlockBytes < l.MaxRequestBytes || l.MaxBlockBytes > MaxBlockBytes:
		return fmt.Errorf("config: maxBlockBytes %d, want maxRequestBytes to %d", l.MaxBlockBytes, MaxBlockBytes)
	case l.MaxBlockRequests < 1 || l.MaxBlockRequests > MaxBlockRequests:
		return fmt.Errorf("config: maxBlockRequests %d, want 1 to %d", l.MaxBlockRequests, MaxBlockRequests)
	case l.ClockToleranceMs < 100 || l.ClockToleranceMs > 60_000:
		return fmt.Errorf("config: clockToleranceMs %d, want 100 to 60000", l.ClockToleranceMs)
	case l.MaxExecLag < 1 || l.MaxExecLag > 64:
		return fmt.Errorf("config: maxExecLag %d, want 1 to 64", l.MaxExecLag)
	case l.RecordMillis != 0 && (l.RecordMillis < 1000 || l.RecordMillis > 100*365*24*3600*1000):
		return fmt.Errorf("config: recordMillis %d, want 0 for three years, or 1000 (for tests alone) to a hundred years", l.RecordMillis)
	case l.ObserversPerMember > 64:
		return fmt.Errorf("config: observersPerMember %d, want at most 64", l.ObserversPerMember)
	}
	return nil
}

// Member returns the member with id, or nil.
func (c *Config) Member(id string) *Member {
	i, ok := slices.BinarySearchFunc(c.Members, id, func(m Member, id string) int { return strings.Compare(m.ID, id) })
	if !ok {
		return nil
	}
	return &c.Members[i]
}

// Validator returns the validator with id, or nil.
func (c *Config) Validator(id uint64) *Validator {
	for i := range c.Validators {
		if c.Validators[i].ID == id {
			return &c.Validators[i]
		}
	}
	return nil
}

// ValidatorByVoteKey returns the validator whose vote key is a, or nil.
func (c *Config) ValidatorByVoteKey(a Address) *Validator {
	for i := range c.Validators {
		if c.Validators[i].VoteKey == a {
			return &c.Validators[i]
		}
	}
	return nil
}

// ValidatorsHash commits to who votes and with which keys.
func (c *Config) ValidatorsHash() Hash {
	type entry struct {
		ID      uint64
		VoteKey Address
	}
	list := struct {
		Domain  string
		Entries []entry
	}{Domain: domainValidators}
	for _, v := range c.Validators {
		list.Entries = append(list.Entries, entry{v.ID, v.VoteKey})
	}
	return hashOf(&list)
}

// Faults returns f: how many of n validators may be faulty.
func Faults(n int) int { return (n - 1) / 3 }

// Quorum returns how many of n validators make a certificate: ceil((n+f+1)/2).
func Quorum(n int) int { return (n + Faults(n) + 2) / 2 }
