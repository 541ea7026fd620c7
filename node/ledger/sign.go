package ledger

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/crypto"
)

// Signature is r ‖ s ‖ v: 32 + 32 + 1 bytes, low-s only, v 0 or 1.
type Signature [65]byte

// Errors of signature checks.
var (
	ErrBadSignature = errors.New("signature is not a low-s recoverable secp256k1 signature with v 0 or 1")
	ErrWrongSigner  = errors.New("signature was made by another key than the one named")
)

// Signer holds a secp256k1 key, in this process or behind a remote signer.
type Signer interface {
	Address() Address
	// Sign signs a 32-byte digest. An error means that nothing was signed.
	Sign(digest Hash) (Signature, error)
}

// KeySigner is a Signer over a key in memory.
type KeySigner struct {
	key  *ecdsa.PrivateKey
	addr Address
}

// NewKeySigner returns a Signer that signs with key.
func NewKeySigner(key *ecdsa.PrivateKey) KeySigner {
	return KeySigner{key: key, addr: crypto.PubkeyToAddress(key.PublicKey)}
}

// Address returns the address of the key.
func (s KeySigner) Address() Address { return s.addr }

// Sign signs digest.
func (s KeySigner) Sign(digest Hash) (Signature, error) {
	b, err := crypto.Sign(digest[:], s.key)
	if err != nil {
		return Signature{}, fmt.Errorf("sign with %s: %w", s.addr, err)
	}
	return Signature(b), nil
}

// Recover returns the address whose key signed digest. It refuses high-s
// signatures, which recovery alone would accept and which would give one
// transaction two encodings.
func Recover(digest Hash, sig Signature) (Address, error) {
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64])
	if !crypto.ValidateSignatureValues(sig[64], r, s, true) {
		return Address{}, ErrBadSignature
	}
	pub, err := crypto.Ecrecover(digest[:], sig[:])
	if err != nil {
		return Address{}, fmt.Errorf("%w: %v", ErrBadSignature, err)
	}
	return Address(crypto.Keccak256(pub[1:])[12:]), nil
}

// VerifySignature reports why sig is not signer's signature over digest.
func VerifySignature(digest Hash, sig Signature, signer Address) error {
	got, err := Recover(digest, sig)
	if err != nil {
		return err
	}
	if got != signer {
		return fmt.Errorf("%w: want %s, recovered %s", ErrWrongSigner, signer, got)
	}
	return nil
}

// MarshalText returns the signature as 0x-hex.
func (s Signature) MarshalText() ([]byte, error) {
	return []byte("0x" + hex.EncodeToString(s[:])), nil
}

// UnmarshalText reads 0x-hex of exactly 65 bytes.
func (s *Signature) UnmarshalText(text []byte) error {
	if len(text) != 2+2*len(s) || text[0] != '0' || text[1] != 'x' {
		return fmt.Errorf("signature text has %d characters, want 0x and %d hex digits", len(text), 2*len(s))
	}
	_, err := hex.Decode(s[:], text[2:])
	return err
}
