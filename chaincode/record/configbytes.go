package record

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Domain tags of the ordering level. Its layout is described in the ledger's
// SPEC; what stands here is the little that a contract must see of it, held
// together by shared vectors.
const (
	DomainConfig   = "assent/config/1"
	DomainApproval = "assent/config-approval/1"
)

const maxConfigValidators = 128

// ApprovalDigest is what an admin signs to approve a config:
// keccak256(RLP [domain, chainID, seq, configHash]).
func ApprovalDigest(chainID Hash, seq uint64, configHash Hash) Hash {
	b, err := rlp.EncodeToBytes(&struct {
		Domain     string
		ChainID    Hash
		Seq        uint64
		ConfigHash Hash
	}{DomainApproval, chainID, seq, configHash})
	if err != nil {
		panic(err) // these types always have an encoding
	}
	return crypto.Keccak256Hash(b)
}

// ConfigHash names a config by its bytes.
func ConfigHash(config []byte) Hash { return crypto.Keccak256Hash(config) }

// ConfigOutline is what a contract sees of a proposed config.
type ConfigOutline struct {
	Network  string
	Seq      uint64
	Protocol uint64
	Members  []OrgID // strictly ascending
	// Validators is the member of each validator, by ascending id.
	Validators []OrgID
	// SharedKeys tells that two validators have the same vote or host key.
	SharedKeys bool
}

type configRLP struct {
	Domain, Network            string
	Seq, Protocol, GenesisTime uint64
	Members, Validators        rlp.RawValue
	Limits                     configLimitsRLP
}

type configLimitsRLP struct {
	Request, Block, Requests, Clock, Lag, Observers uint64
	Records                                         uint64 `rlp:"optional"` // 0: as the law says
}

type configMemberRLP struct {
	ID, Name string
	Roles    []string
	Admins   []Address
}

type configValidatorRLP struct {
	ID      uint64
	Member  string
	VoteKey Address
	HostKey [33]byte
	Addrs   []string
}

// OutlineConfig reads a config's bytes and reports what makes them none. The
// ordering level checks more before it takes a config.
func OutlineConfig(b []byte) (*ConfigOutline, error) {
	if len(b) > MaxConfigBytes {
		return nil, fmt.Errorf("config: more than %d bytes", MaxConfigBytes)
	}
	var r configRLP
	if err := rlp.DecodeBytes(b, &r); err != nil {
		return nil, errors.New("config: not the encoding of an ordering config")
	}
	if r.Domain != DomainConfig {
		return nil, errors.New("config: another domain tag than that of an ordering config of this version")
	}
	if again, err := rlp.EncodeToBytes(&r); err != nil || !bytes.Equal(again, b) {
		return nil, errors.New("config: recordMillis is 0 and not left out")
	}
	out := &ConfigOutline{Network: r.Network, Seq: r.Seq, Protocol: r.Protocol}
	if err := out.readMembers(r.Members); err != nil {
		return nil, err
	}
	return out, out.readValidators(r.Validators)
}

// countItems bounds a list before anything is allocated for its items.
func countItems(what string, list rlp.RawValue, most int) error {
	items, rest, err := rlp.SplitList(list)
	if err != nil || len(rest) != 0 {
		return fmt.Errorf("config: %s are not a list", what)
	}
	n, err := rlp.CountValues(items)
	if err != nil || n == 0 || n > most {
		return fmt.Errorf("config: want 1 to %d %s", most, what)
	}
	return nil
}

func (o *ConfigOutline) readMembers(list rlp.RawValue) error {
	if err := countItems("members", list, maxMembers); err != nil {
		return err
	}
	var members []configMemberRLP
	if err := rlp.DecodeBytes(list, &members); err != nil {
		return errors.New("config: a member is not in its form")
	}
	for i := range members {
		id := OrgID(members[i].ID)
		if err := id.Check(); err != nil {
			return fmt.Errorf("config: member %d: %w", i, err)
		}
		if i > 0 && o.Members[i-1] >= id {
			return errors.New("config: want members strictly ascending by id")
		}
		if n := len(members[i].Admins); n == 0 || n > maxAdminKeys {
			return fmt.Errorf("config: member %d: want 1 to %d admin keys", i, maxAdminKeys)
		}
		o.Members = append(o.Members, id)
	}
	return nil
}

// Quorum is how many of the config's validators decide a block:
// ceil((n+f+1)/2) of n, with f = floor((n-1)/3).
func (o *ConfigOutline) Quorum() int {
	n := len(o.Validators)
	f := (n - 1) / 3
	return (n + f + 2) / 2
}

func (o *ConfigOutline) readValidators(list rlp.RawValue) error {
	if err := countItems("validators", list, maxConfigValidators); err != nil {
		return err
	}
	var validators []configValidatorRLP
	if err := rlp.DecodeBytes(list, &validators); err != nil {
		return errors.New("config: a validator is not in its form")
	}
	for i := range validators {
		v := &validators[i]
		if i > 0 && validators[i-1].ID >= v.ID {
			return errors.New("config: want validators strictly ascending by id")
		}
		if !listed(OrgID(v.Member), o.Members) {
			return fmt.Errorf("config: validator %d is of a member that is not in it", v.ID)
		}
		o.Validators = append(o.Validators, OrgID(v.Member))
		for j := range i {
			if w := &validators[j]; w.VoteKey == v.VoteKey || w.HostKey == v.HostKey {
				o.SharedKeys = true
			}
		}
	}
	return nil
}
