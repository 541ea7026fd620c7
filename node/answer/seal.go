package answer

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/hex"
	"fmt"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
)

const (
	// padUnit is the multiple to which every plaintext is padded.
	padUnit = 512
	// answerSize is what every answer is padded to: the largest content there can
	// be fits, with an opening or without, so that no identifier and no output shows in the length.
	answerSize = 6 * padUnit
	// sealOverhead is the encapsulated key and the tag around a plaintext.
	sealOverhead = 32 + 16

	maxContent = answerSize - 1
	maxID      = 64 // of members and keys

	// MaxSealed bounds the wire form of a sealed answer, in bytes.
	MaxSealed = answerSize + sealOverhead + 512
)

// GenerateKey makes a key pair of record.SuiteX25519.
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

// pad appends 0x80 and zeros up to size, or beyond it to the next multiple of
// padUnit: always at least one byte, so that it can be undone without a length.
func pad(b []byte, size int) []byte {
	if len(b) >= size {
		size = (len(b)/padUnit + 1) * padUnit
	}
	out := make([]byte, size)
	copy(out, b)
	out[len(b)] = 0x80
	return out
}

func unpad(b []byte) ([]byte, error) {
	i := len(b) - 1
	for i >= 0 && b[i] == 0 {
		i--
	}
	if i < 0 || b[i] != 0x80 || len(b)%padUnit != 0 {
		return nil, fmt.Errorf("%w: padding", ErrMalformed)
	}
	return b[:i], nil
}

func seal(to hpke.PublicKey, info, padded []byte) ([]byte, error) {
	box, err := hpke.Seal(to, hpke.HKDFSHA256(), hpke.AES256GCM(), info, padded)
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

// boxOK reports whether a box can be a padded plaintext of at most max bytes.
func boxOK(box []byte, max int) bool {
	n := len(box) - sealOverhead
	return n > 0 && n <= max && n%padUnit == 0
}

// Context is what a sealed answer is bound to. All of it goes into HPKE's info.
type Context struct {
	ChainID   Hash
	RequestID record.RequestID
	Recipient record.OrgID // the lender
	KeyID     string       // KeyID of the answer key
}

func (c Context) info() []byte {
	return encode(struct {
		Domain    string
		ChainID   Hash
		RequestID string
		Recipient string
		KeyID     string
	}{domainInfo, c.ChainID, string(c.RequestID), string(c.Recipient), c.KeyID})
}

// Sealed is a sealed answer on its way. The fields that nodes see say whom it is
// for, never what it says.
type Sealed struct {
	RequestID record.RequestID
	Recipient record.OrgID
	KeyID     string
	Box       []byte
}

type wireSealed struct {
	Domain    string
	RequestID string
	Recipient string
	KeyID     string
	Box       []byte
}

// Seal encrypts a to the request's answer key. Everything sealed to one recipient
// has the same length.
func Seal(to hpke.PublicKey, c Context, a Answer) (Sealed, error) {
	if a.Body.RequestID != c.RequestID || a.Body.ChainID != c.ChainID {
		return Sealed{}, fmt.Errorf("%w: seal: the answer belongs to another request or chain", ErrMismatch)
	}
	if err := a.checkProof(); err != nil {
		return Sealed{}, err
	}
	plain, err := a.encode()
	if err != nil {
		return Sealed{}, err
	}
	box, err := seal(to, c.info(), pad(plain, answerSize))
	if err != nil {
		return Sealed{}, err
	}
	return Sealed{RequestID: c.RequestID, Recipient: c.Recipient, KeyID: c.KeyID, Box: box}, nil
}

// Encode returns the canonical wire form.
func (s Sealed) Encode() []byte {
	return encode(wireSealed{domainSealed, string(s.RequestID), string(s.Recipient), s.KeyID, s.Box})
}

// DecodeSealed reads a sealed answer's wire form. It checks the form only: who
// may send it, and for which request, is for the caller.
func DecodeSealed(b []byte) (Sealed, error) {
	var w wireSealed
	if err := decode(b, MaxSealed, &w); err != nil {
		return Sealed{}, err
	}
	s := Sealed{record.RequestID(w.RequestID), record.OrgID(w.Recipient), w.KeyID, w.Box}
	if w.Domain != domainSealed {
		return Sealed{}, fmt.Errorf("%w: not a sealed answer of this version", ErrMalformed)
	}
	if s.RequestID.Check() != nil || s.Recipient.Check() != nil || !idOK(s.KeyID) || !boxOK(s.Box, answerSize) {
		return Sealed{}, fmt.Errorf("%w: sealed answer with an impossible field", ErrMalformed)
	}
	return s, nil
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
	a, err := decodeAnswer(plain)
	if err != nil {
		return Answer{}, err
	}
	if a.Body.RequestID != c.RequestID || a.Body.ChainID != c.ChainID {
		return Answer{}, fmt.Errorf("%w: the answer inside belongs to another request or chain", ErrSealed)
	}
	return a, nil
}

func idOK(s string) bool { return s != "" && len(s) <= maxID }
