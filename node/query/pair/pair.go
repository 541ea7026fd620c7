// Package pair is what two banks have in common without having spoken: the secret
// that each derives from its own data key and the other's public one, and what is
// drawn from it.
//
// It promises that both find the same, that a key of small order or another length
// is refused, and that a secret does not print itself. What is drawn, for which
// session and how it hides a figure, is for the protocols that use it (exposure,
// cohort).
package pair

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// ErrKey means that a data key is none, or shares nothing.
var ErrKey = errors.New("pair: no usable key")

// Secret is what two banks derive from their data keys. It serves all their
// sessions under these keys and does not print itself.
type Secret struct{ z [32]byte }

// Format implements fmt.Formatter: every verb shows a mark.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[pair secret]") }

// LogValue implements slog.LogValuer in the same way.
func (Secret) LogValue() slog.Value { return slog.StringValue("[pair secret]") }

// New is X25519 of a bank's own data key (32 private bytes) and another bank's
// public one. Errors: ErrKey.
func New(own, peer []byte) (Secret, error) {
	private, err := ecdh.X25519().NewPrivateKey(own)
	if err != nil {
		return Secret{}, fmt.Errorf("%w: data key: want 32 bytes", ErrKey)
	}
	public, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		return Secret{}, fmt.Errorf("%w: the other bank's data key: want 32 bytes", ErrKey)
	}
	z, err := private.ECDH(public)
	if err != nil {
		return Secret{}, fmt.Errorf("%w: the other bank's data key is of small order", ErrKey)
	}
	return Secret{[32]byte(z)}, nil
}

// Among is a bank's secrets with those at the other seats of a session, whose public
// data keys are given in the order of the seats; the place of its own is left empty.
// Errors: ErrKey.
func Among(own hpke.PrivateKey, seat int, keys [][]byte) ([]Secret, error) {
	private, err := own.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: the own data key has no bytes", ErrKey)
	}
	defer clear(private)
	out := make([]Secret, len(keys))
	for i, key := range keys {
		if i == seat {
			continue
		}
		if out[i], err = New(private, key); err != nil {
			return nil, fmt.Errorf("seat %d: %w", i, err)
		}
	}
	return out, nil
}

// Shared is the secret whose X25519 output is known: one of the two has opened it.
func Shared(z [32]byte) Secret { return Secret{z} }

// Derive draws n bytes, at most 8,160, by HKDF-SHA256 (RFC 5869). Other salts and
// other infos give bytes that have nothing to do with each other.
func (s Secret) Derive(salt []byte, info string, n int) []byte {
	out, err := hkdf.Key(sha256.New, s.z[:], salt, info, n)
	if err != nil { // only for lengths beyond what HKDF gives
		panic(fmt.Sprintf("pair: derive %d bytes: %v", n, err))
	}
	return out
}
