package keys

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
)

// Kind says what a key is for.
type Kind string

// The kinds of key.
const (
	Vote   Kind = "vote"   // a validator's votes, seals and status
	Host   Kind = "host"   // a node's network identity
	Client Kind = "client" // transactions and tokens; admins' approvals
	Data   Kind = "data"   // X25519: opens what is sealed to a member
	TLS    Kind = "tls"    // P-256: serves the API
)

type curve uint8

const (
	none curve = iota
	secp256k1
	x25519
	p256
)

func (k Kind) curve() curve {
	switch k {
	case Vote, Host, Client:
		return secp256k1
	case Data:
		return x25519
	case TLS:
		return p256
	}
	return none
}

func kindNames() string {
	return strings.Join([]string{string(Vote), string(Host), string(Client), string(Data), string(TLS)}, ", ")
}

// private is a key in memory.
type private struct {
	secp *ecdsa.PrivateKey
	data *ecdh.PrivateKey
	tls  *ecdsa.PrivateKey
}

// generate makes a new key and its secret bytes: the 32-byte scalar of secp256k1
// and X25519, PKCS #8 of P-256.
func generate(k Kind) ([]byte, error) {
	switch k.curve() {
	case secp256k1:
		key, err := crypto.GenerateKey()
		if err != nil {
			return nil, fmt.Errorf("generate %s key: %w", k, err)
		}
		return crypto.FromECDSA(key), nil
	case x25519:
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate %s key: %w", k, err)
		}
		return key.Bytes(), nil
	case p256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("generate %s key: %w", k, err)
		}
		return x509.MarshalPKCS8PrivateKey(key)
	}
	return nil, fmt.Errorf("generate key: kind %.20q is unknown: want one of %s", k, kindNames())
}

// read turns secret bytes into a key and what may be told about it. Its errors
// never hold the bytes, so those of the libraries are left out.
func read(k Kind, secret []byte) (private, Info, error) {
	info := Info{Kind: k}
	switch k.curve() {
	case secp256k1:
		key, err := crypto.ToECDSA(secret)
		if err != nil {
			return private{}, info, errors.New("not a secp256k1 private key of 32 bytes")
		}
		info.Address = crypto.PubkeyToAddress(key.PublicKey)
		info.PublicKey = hex0x(crypto.CompressPubkey(&key.PublicKey))
		return private{secp: key}, info, nil
	case x25519:
		key, err := ecdh.X25519().NewPrivateKey(secret)
		if err != nil {
			return private{}, info, errors.New("not an X25519 private key of 32 bytes")
		}
		info.PublicKey = hex0x(key.PublicKey().Bytes())
		return private{data: key}, info, nil
	case p256:
		parsed, err := x509.ParsePKCS8PrivateKey(secret)
		key, ok := parsed.(*ecdsa.PrivateKey)
		if err != nil || !ok || key.Curve != elliptic.P256() {
			return private{}, info, errors.New("not a P-256 private key in PKCS #8")
		}
		pub, err := key.PublicKey.Bytes()
		if err != nil {
			return private{}, info, errors.New("not a P-256 private key in PKCS #8")
		}
		info.PublicKey = hex0x(pub)
		return private{tls: key}, info, nil
	}
	return private{}, info, fmt.Errorf("kind %.20q is unknown: want one of %s", k, kindNames())
}

func hex0x(b []byte) string { return "0x" + hex.EncodeToString(b) }

// Signer signs with one key of the store. It prints as its address.
type Signer struct{ inner ledger.KeySigner }

var _ ledger.Signer = Signer{}

// Address returns the address of the key.
func (s Signer) Address() ledger.Address { return s.inner.Address() }

// Sign signs digest.
func (s Signer) Sign(digest ledger.Hash) (ledger.Signature, error) { return s.inner.Sign(digest) }

// String is what %v shows, so that logging a signer shows no key.
func (s Signer) String() string { return s.inner.Address().Hex() }

// Format keeps every verb, %#v and %x among them, away from the key.
func (s Signer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText makes encoders show the address.
func (s Signer) MarshalText() ([]byte, error) { return bytes.ToLower([]byte(s.String())), nil }
