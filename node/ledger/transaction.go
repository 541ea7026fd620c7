package ledger

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"
)

// Bounds of a transaction. Limits of the config may be tighter, never wider.
const (
	MaxRequestBytes   = 256 << 10         // of the signed bytes of any ordered request
	MaxArgs           = 16                // arguments of a call
	MaxNameBytes      = 64                // org, contract, function
	MaxValidityMillis = 10 * 60 * 1000    // validUntil − notBefore
	PoolMarginMillis  = 60 * 1000         // remaining validity a node wants before it admits a transaction
	KnownWindowMillis = MaxValidityMillis // a txID is known while its block is younger than this in block time
)

// Kind tells what an ordered request is.
type Kind uint8

// The kinds of ordered request.
const (
	KindUnknown Kind = iota
	KindTransaction
	KindUpdate // a configuration update
	KindSeal
)

func (k Kind) String() string {
	switch k {
	case KindTransaction:
		return "transaction"
	case KindUpdate:
		return "config update"
	case KindSeal:
		return "seal"
	}
	return "unknown"
}

// KindOf reads the domain tag of an ordered request without decoding it.
func KindOf(b []byte) Kind {
	outer, rest, err := rlp.SplitList(b)
	if err != nil || len(rest) != 0 {
		return KindUnknown
	}
	body, _, err := rlp.SplitList(outer)
	if err != nil {
		return KindUnknown
	}
	tag, _, err := rlp.SplitString(body)
	if err != nil {
		return KindUnknown
	}
	switch string(tag) {
	case domainTransaction:
		return KindTransaction
	case domainUpdate:
		return KindUpdate
	case domainSeal:
		return KindSeal
	}
	return KindUnknown
}

// SenderOf reads the member and the key that a transaction names without decoding
// or checking anything else of it; ok is false for bytes that are no transaction.
// org is a part of b.
func SenderOf(b []byte) (org []byte, key Address, ok bool) {
	outer, _, err := rlp.SplitList(b)
	if err != nil {
		return nil, key, false
	}
	rest, _, err := rlp.SplitList(outer)
	if err != nil {
		return nil, key, false
	}
	var fields [4][]byte // domain, chain id, member, key
	for i := range fields {
		if fields[i], rest, err = rlp.SplitString(rest); err != nil {
			return nil, key, false
		}
	}
	if string(fields[0]) != domainTransaction || len(fields[3]) != len(key) {
		return nil, key, false
	}
	return fields[2], Address(fields[3]), true
}

// Payload is what a transaction's signer signs: a call of one contract function
// in the name of one member.
type Payload struct {
	Domain     string
	ChainID    Hash
	Org        string  // member in whose name the key acts
	Key        Address // the signing key; must be a client key of Org when executed
	Contract   string
	Function   string
	Args       [][]byte
	Nonce      [16]byte // random: makes equal calls distinct
	NotBefore  uint64   // Unix ms; the block's time must lie in
	ValidUntil uint64   // [NotBefore, ValidUntil], at most MaxValidityMillis apart
}

// Transaction is a signed payload. Make one with NewTransaction and Sign or
// with DecodeTransaction; do not change it afterwards.
type Transaction struct {
	Payload Payload
	Sig     Signature

	id Hash // keccak256 of the payload's encoding; filled by Sign and DecodeTransaction
}

// NewTransaction returns an unsigned transaction over p; it fills in the domain.
func NewTransaction(p Payload) *Transaction {
	p.Domain = domainTransaction
	return &Transaction{Payload: p, id: hashOf(&p)}
}

// ID returns keccak256(payload): the transaction's name and the digest that is
// signed.
func (t *Transaction) ID() Hash { return t.id }

// Sign signs the transaction with s, whose address must be Payload.Key.
func (t *Transaction) Sign(s Signer) error {
	if s.Address() != t.Payload.Key {
		return fmt.Errorf("sign transaction: %w: payload names %s, signer is %s", ErrWrongSigner, t.Payload.Key, s.Address())
	}
	sig, err := s.Sign(t.id)
	if err != nil {
		return fmt.Errorf("sign transaction %s: %w", t.id, err)
	}
	t.Sig = sig
	return nil
}

// Check reports why DecodeTransaction would refuse what Encode writes.
func (t *Transaction) Check() error {
	if n := len(t.Payload.Args); n > MaxArgs {
		return fmt.Errorf("transaction has %d arguments, at most %d are allowed", n, MaxArgs)
	}
	if err := t.Payload.check(); err != nil {
		return fmt.Errorf("transaction: %w", err)
	}
	if n := len(t.Encode()); n > MaxRequestBytes {
		return fmt.Errorf("transaction of %d bytes, more than the limit of %d: split it or send less", n, MaxRequestBytes)
	}
	return nil
}

type transactionRLP struct {
	Payload Payload
	Sig     Signature
}

// Encode returns the signed bytes: RLP [payload, signature].
func (t *Transaction) Encode() []byte { return mustEncode(&transactionRLP{t.Payload, t.Sig}) }

// DecodeTransaction reads signed bytes and checks every bound that needs no
// chain: it does not check the signature.
func DecodeTransaction(b []byte) (*Transaction, error) {
	var r transactionRLP
	if err := decodeListed("transaction", b, MaxRequestBytes, &r, MaxArgs, 0, 6); err != nil {
		return nil, err
	}
	if err := wantDomain("transaction", r.Payload.Domain, domainTransaction); err != nil {
		return nil, err
	}
	if err := r.Payload.check(); err != nil {
		return nil, fmt.Errorf("decode transaction: %w", err)
	}
	outer, _, _ := rlp.SplitList(b)
	_, _, rest, _ := rlp.Split(outer)
	return &Transaction{Payload: r.Payload, Sig: r.Sig, id: Sum(outer[:len(outer)-len(rest)])}, nil
}

func (p *Payload) check() error {
	for _, n := range []struct{ what, s string }{{"org", p.Org}, {"contract", p.Contract}, {"function", p.Function}} {
		if err := checkName(n.what, n.s); err != nil {
			return err
		}
	}
	if p.ValidUntil < p.NotBefore || p.ValidUntil-p.NotBefore > MaxValidityMillis {
		return fmt.Errorf("validity from %d to %d ms: must end after it begins and last at most %d ms", p.NotBefore, p.ValidUntil, MaxValidityMillis)
	}
	return nil
}

// checkName admits what may stand in a name: 1 to MaxNameBytes of [A-Za-z0-9._-].
func checkName(what, s string) error {
	if len(s) == 0 || len(s) > MaxNameBytes {
		return fmt.Errorf("%s has %d bytes, want 1 to %d", what, len(s), MaxNameBytes)
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' {
			continue
		}
		return fmt.Errorf("%s has byte 0x%02x at %d: only letters, digits, '.', '_' and '-' are allowed", what, c, i)
	}
	return nil
}

// ErrWrongChain means that an object belongs to another network.
var ErrWrongChain = errors.New("made for another network: check the chain id of the client against the node's")

// Verify reports why t may not stand in a block of chain: another chain or a
// signature that is not the named key's. Whether the key may act, and whether
// the block's time fits, is not its business.
func (t *Transaction) Verify(chain Hash) error {
	if t.Payload.ChainID != chain {
		return fmt.Errorf("transaction %s: %w (it names %s, this is %s)", t.id, ErrWrongChain, t.Payload.ChainID, chain)
	}
	if err := VerifySignature(t.id, t.Sig, t.Payload.Key); err != nil {
		return fmt.Errorf("transaction %s: %w", t.id, err)
	}
	return nil
}

// ValidAt reports whether a block of time ms may hold t.
func (t *Transaction) ValidAt(ms uint64) bool {
	return t.Payload.NotBefore <= ms && ms <= t.Payload.ValidUntil
}
