package ledger

import (
	"errors"
	"fmt"
	"slices"
)

// Approval is one member's signature under a config update.
type Approval struct {
	Member string
	Admin  Address
	Sig    Signature
}

// Update replaces the config. It carries the approvals of admins of more than
// two thirds of the members of the config it replaces.
type Update struct {
	ChainID   Hash
	Config    *Config
	Approvals []Approval // ascending by member
}

type updateBody struct {
	Domain  string
	ChainID Hash
	Seq     uint64
	Config  []byte
}

type updateRLP struct {
	Body      updateBody
	Approvals []Approval
}

func (u *Update) body() updateBody {
	return updateBody{domainUpdate, u.ChainID, u.Config.Seq, u.Config.Encode()}
}

// ID names the update by what it changes, whoever approved or submitted it.
func (u *Update) ID() Hash { b := u.body(); return hashOf(&b) }

// ApprovalDigest returns what an admin signs:
// keccak256(RLP [domain, chainID, seq, keccak256(config)]), a domain of its own.
func (u *Update) ApprovalDigest() Hash {
	return hashOf(&struct {
		Domain     string
		ChainID    Hash
		Seq        uint64
		ConfigHash Hash
	}{domainApproval, u.ChainID, u.Config.Seq, u.Config.Hash()})
}

// Encode returns RLP [body, approvals].
func (u *Update) Encode() []byte { return mustEncode(&updateRLP{u.body(), u.Approvals}) }

// DecodeUpdate reads an encoded update; it does not check the approvals.
func DecodeUpdate(b []byte) (*Update, error) {
	var r updateRLP
	if err := decodeListed("config update", b, MaxRequestBytes, &r, MaxMembers, 1); err != nil {
		return nil, err
	}
	if err := wantDomain("config update", r.Body.Domain, domainUpdate); err != nil {
		return nil, err
	}
	c, err := DecodeConfig(r.Body.Config)
	if err != nil {
		return nil, fmt.Errorf("decode config update: %w", err)
	}
	if c.Seq != r.Body.Seq {
		return nil, fmt.Errorf("decode config update: it names sequence %d but holds config %d", r.Body.Seq, c.Seq)
	}
	return &Update{ChainID: r.Body.ChainID, Config: c, Approvals: r.Approvals}, nil
}

// ErrStaleUpdate means that another config is in force than the one that the
// update was made for.
var ErrStaleUpdate = errors.New("does not follow config")

// Follows reports why next may not follow current, whoever approves it.
func (next *Config) Follows(current *Config) error {
	switch {
	case next.Seq != current.Seq+1:
		return fmt.Errorf("config update %d %w %d: propose it anew on the config in force", next.Seq, ErrStaleUpdate, current.Seq)
	case next.Network != current.Network || next.GenesisTime != current.GenesisTime:
		return fmt.Errorf("config update %d changes the network's name or genesis time, which are fixed", next.Seq)
	case next.Limits.RecordMillis != current.Limits.RecordMillis:
		return fmt.Errorf("config update %d sets recordMillis %d, the genesis config fixed %d: nodes may have pruned by it", next.Seq, next.Limits.RecordMillis, current.Limits.RecordMillis)
	case next.Protocol < current.Protocol:
		return fmt.Errorf("config update %d sets protocol version %d, in force is %d: the protocol version never falls", next.Seq, next.Protocol, current.Protocol)
	}
	if err := next.Check(); err != nil {
		return fmt.Errorf("config update %d: %w", next.Seq, err)
	}
	for _, v := range next.Validators {
		if old := current.Validator(v.ID); old != nil && old.VoteKey != v.VoteKey {
			return fmt.Errorf("config update %d gives validator %d another vote key: remove it and add one with a new id", next.Seq, v.ID)
		}
		if old := current.ValidatorByVoteKey(v.VoteKey); old != nil && old.ID != v.ID {
			return fmt.Errorf("config update %d gives the vote key of validator %d to validator %d: a new id needs a vote key that has never voted", next.Seq, old.ID, v.ID)
		}
	}
	return nil
}

// Verify reports why u may not follow the config current of chain.
func (u *Update) Verify(chain Hash, current *Config) error {
	if u.ChainID != chain {
		return fmt.Errorf("config update: %w", ErrWrongChain)
	}
	if err := u.Config.Follows(current); err != nil {
		return err
	}
	digest := u.ApprovalDigest()
	for i, a := range u.Approvals {
		if i > 0 && u.Approvals[i-1].Member >= a.Member {
			return fmt.Errorf("config update %d: approvals must ascend by member without repeats", u.Config.Seq)
		}
		m := current.Member(a.Member)
		if m == nil || !slices.Contains(m.Admins, a.Admin) {
			return fmt.Errorf("config update %d: %s is not an admin key of member %.64q", u.Config.Seq, a.Admin, a.Member)
		}
		if err := VerifySignature(digest, a.Sig, a.Admin); err != nil {
			return fmt.Errorf("config update %d: approval of %q: %w", u.Config.Seq, a.Member, err)
		}
	}
	if 3*len(u.Approvals) <= 2*len(current.Members) {
		return fmt.Errorf("config update %d has %d approvals of %d members, more than two thirds are needed: ask further members to approve", u.Config.Seq, len(u.Approvals), len(current.Members))
	}
	return nil
}

// Seal asks for one more block, so that the root after Height is certified. It
// changes nothing and leaves no receipt.
type Seal struct {
	ChainID   Hash
	Height    Height  // of the newest block that is not a seal
	Validator Address // vote key
	Sig       Signature
}

type sealBody struct {
	Domain  string
	ChainID Hash
	Height  Height
}

type sealRLP struct {
	Body      sealBody
	Validator Address
	Sig       Signature
}

// ID names the seal of a height, whoever signed it: validators that seal the
// same height send the pool one request.
func (s *Seal) ID() Hash { return hashOf(&sealBody{domainSeal, s.ChainID, s.Height}) }

// NewSeal signs a seal of height with a validator's vote key.
func NewSeal(chain Hash, h Height, vote Signer) (*Seal, error) {
	s := &Seal{ChainID: chain, Height: h, Validator: vote.Address()}
	sig, err := vote.Sign(s.ID())
	if err != nil {
		return nil, fmt.Errorf("sign seal of height %d: %w", h, err)
	}
	s.Sig = sig
	return s, nil
}

// Encode returns RLP [[domain, chainID, height], validator, signature].
func (s *Seal) Encode() []byte {
	return mustEncode(&sealRLP{sealBody{domainSeal, s.ChainID, s.Height}, s.Validator, s.Sig})
}

// DecodeSeal reads an encoded seal; it does not check the signature.
func DecodeSeal(b []byte) (*Seal, error) {
	var r sealRLP
	if err := decode("seal", b, 512, &r); err != nil {
		return nil, err
	}
	if err := wantDomain("seal", r.Body.Domain, domainSeal); err != nil {
		return nil, err
	}
	return &Seal{r.Body.ChainID, r.Body.Height, r.Validator, r.Sig}, nil
}

// Verify reports why s is not a seal by a validator of current.
func (s *Seal) Verify(chain Hash, current *Config) error {
	if s.ChainID != chain {
		return fmt.Errorf("seal: %w", ErrWrongChain)
	}
	if current.ValidatorByVoteKey(s.Validator) == nil {
		return fmt.Errorf("seal of height %d: %s is not a validator's vote key", s.Height, s.Validator)
	}
	if err := VerifySignature(s.ID(), s.Sig, s.Validator); err != nil {
		return fmt.Errorf("seal of height %d: %w", s.Height, err)
	}
	return nil
}
