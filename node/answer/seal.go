package answer

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/hex"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"
)

// Suite names the one HPKE suite of this version, as key records spell it:
// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
const Suite = "X25519-HKDF-SHA256-AES256GCM"

// padUnit is the multiple to which every plaintext is padded.
const padUnit = 512

// sealOverhead is the encapsulated key and the tag around a plaintext.
const sealOverhead = 32 + 16

const (
	maxAnswerBytes = 2 * padUnit
	// MaxSealedAnswer bounds the wire form of a sealed answer, in bytes.
	MaxSealedAnswer = maxAnswerBytes + padUnit + sealOverhead + 512
)

// GenerateKey makes a key pair of the suite.
func GenerateKey() (hpke.PrivateKey, error) { return hpke.DHKEM(ecdh.X25519()).GenerateKey() }

// ParsePublicKey reads a 32-byte X25519 public key.
func ParsePublicKey(b []byte) (hpke.PublicKey, error) {
	pub, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("answer: X25519 public key of %d bytes: %w", len(b), err)
	}
	return pub, nil
}

// ParsePrivateKey reads a 32-byte X25519 private key.
func ParsePrivateKey(b []byte) (hpke.PrivateKey, error) {
	key, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(b)
	if err != nil { // the cause may quote key material: do not pass it on
		return nil, fmt.Errorf("answer: X25519 private key of %d bytes cannot be read", len(b))
	}
	return key, nil
}

// KeyID names a request's answer key: the first 16 bytes of keccak256 of the
// public key, in hex. Data keys have the identifiers of their ledger records.
func KeyID(publicKey []byte) string {
	return hex.EncodeToString(crypto.Keccak256(publicKey)[:16])
}

// pad appends 0x80 and zeros up to the next multiple of padUnit: always at least
// one byte, so that it can be undone without a length.
func pad(b []byte) []byte {
	n := (len(b)/padUnit + 1) * padUnit
	out := make([]byte, n)
	copy(out, b)
	out[len(b)] = 0x80
	return out
}

// unpad accepts only what pad writes.
func unpad(b []byte) ([]byte, error) {
	i := len(b) - 1
	for i >= 0 && b[i] == 0 {
		i--
	}
	if i < 0 || b[i] != 0x80 || len(b)%padUnit != 0 || len(b)-i > padUnit {
		return nil, fmt.Errorf("%w: padding", ErrMalformed)
	}
	return b[:i], nil
}

func seal(to hpke.PublicKey, info, plain []byte) ([]byte, error) {
	box, err := hpke.Seal(to, hpke.HKDFSHA256(), hpke.AES256GCM(), info, pad(plain))
	if err != nil {
		return nil, fmt.Errorf("answer: seal: %w", err)
	}
	return box, nil
}

func open(key hpke.PrivateKey, info, box []byte) ([]byte, error) {
	padded, err := hpke.Open(key, hpke.HKDFSHA256(), hpke.AES256GCM(), info, box)
	if err != nil {
		return nil, ErrSealed
	}
	return unpad(padded)
}

// Context is what a sealed answer is bound to. All of it goes into HPKE's info.
type Context struct {
	ChainID   Hash
	RequestID Hash
	Recipient string // the lender's member id
	KeyID     string // KeyID of the answer key
}

func (c Context) info() []byte {
	return encode(struct {
		Domain    string
		ChainID   Hash
		RequestID Hash
		Recipient string
		KeyID     string
	}{domainAnswerInfo, c.ChainID, c.RequestID, c.Recipient, c.KeyID})
}

// Sealed is a sealed answer on its way. Its node-visible fields say whom it is
// for, never what it says.
type Sealed struct {
	RequestID Hash
	Recipient string
	KeyID     string
	Box       []byte
}

type wireSealed struct {
	Domain    string
	RequestID Hash
	Recipient string
	KeyID     string
	Box       []byte
}

// Seal encrypts a to the request's answer key. Answers to one recipient whose
// consent ids are equally long have the same length, whatever they say.
func Seal(to hpke.PublicKey, c Context, a Answer) (Sealed, error) {
	if a.RequestID != c.RequestID {
		return Sealed{}, fmt.Errorf("answer: seal: the answer belongs to another request")
	}
	plain, err := a.Encode()
	if err != nil {
		return Sealed{}, err
	}
	box, err := seal(to, c.info(), plain)
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{RequestID: c.RequestID, Recipient: c.Recipient, KeyID: c.KeyID, Box: box}, nil
}

// Encode returns the canonical wire form.
func (s Sealed) Encode() []byte {
	return encode(wireSealed{domainSealedAnswer, s.RequestID, s.Recipient, s.KeyID, s.Box})
}

// DecodeSealed reads a sealed answer's wire form. It checks the form only: who
// may send it, and for which request, is for the caller.
func DecodeSealed(b []byte) (Sealed, error) {
	var w wireSealed
	if err := decode(b, MaxSealedAnswer, &w); err != nil {
		return Sealed{}, err
	}
	switch {
	case w.Domain != domainSealedAnswer:
		return Sealed{}, fmt.Errorf("%w: not a sealed answer of this version", ErrMalformed)
	case !idOK(w.Recipient) || !idOK(w.KeyID):
		return Sealed{}, fmt.Errorf("%w: recipient or key id", ErrMalformed)
	case len(w.Box) < padUnit+sealOverhead || (len(w.Box)-sealOverhead)%padUnit != 0:
		return Sealed{}, fmt.Errorf("%w: box of %d bytes", ErrMalformed, len(w.Box))
	}
	return Sealed{w.RequestID, w.Recipient, w.KeyID, w.Box}, nil
}

// Open decrypts a sealed answer with the request's answer key. c is what the
// lender expects; the envelope's own fields are checked against it.
func Open(key hpke.PrivateKey, c Context, s Sealed) (Answer, error) {
	if s.RequestID != c.RequestID || s.Recipient != c.Recipient || s.KeyID != c.KeyID {
		return Answer{}, fmt.Errorf("%w: the envelope names another request, recipient or key", ErrSealed)
	}
	plain, err := open(key, c.info(), s.Box)
	if err != nil {
		return Answer{}, err
	}
	a, err := DecodeAnswer(plain)
	if err != nil {
		return Answer{}, err
	}
	if a.RequestID != c.RequestID {
		return Answer{}, fmt.Errorf("%w: the answer inside belongs to another request", ErrSealed)
	}
	return a, nil
}

func idOK(s string) bool { return s != "" && len(s) <= MaxIDBytes }
