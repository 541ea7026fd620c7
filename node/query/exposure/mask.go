package exposure

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"log/slog"

	"io"
)

// PairSecret is what two banks derive from their data keys. It serves all their
// sessions under these keys and does not print itself.
type PairSecret struct{ z [32]byte }

// Format implements fmt.Formatter: every verb shows a mark.
func (PairSecret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[pair secret]") }

// LogValue implements slog.LogValuer in the same way.
func (PairSecret) LogValue() slog.Value { return slog.StringValue("[pair secret]") }

// NewPairSecret is X25519 of a bank's own data key (32 private bytes) and another
// bank's public one.
func NewPairSecret(own, peer []byte) (PairSecret, error) {
	private, err := ecdh.X25519().NewPrivateKey(own)
	if err != nil {
		return PairSecret{}, fmt.Errorf("%w: data key: want 32 bytes", ErrKey)
	}
	public, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		return PairSecret{}, fmt.Errorf("%w: the other bank's data key: want 32 bytes", ErrKey)
	}
	z, err := private.ECDH(public)
	if err != nil {
		return PairSecret{}, fmt.Errorf("%w: the other bank's data key is of small order", ErrKey)
	}
	return PairSecret{[32]byte(z)}, nil
}

// mask hides one pair's contribution to both their shares: the bank that comes
// first adds it, the other takes it away.
type mask struct{ value, blinding Scalar }

func (m mask) commitment() Point { return pedersen(m.value, m.blinding) }

// mask derives the pair's mask for a session: 128 bytes of HKDF-SHA256, bound to
// the session's digest and the two seats.
func (s PairSecret) mask(session Hash, first, second int) mask {
	info := join(domainMask, []byte{byte(first), byte(second)})
	okm, err := hkdf.Key(sha256.New, s.z[:], session[:], string(info), 128)
	if err != nil { // only for lengths beyond what HKDF gives
		panic(fmt.Sprintf("exposure: derive mask: %v", err))
	}
	return mask{wideScalar([64]byte(okm[:64])), wideScalar([64]byte(okm[64:]))}
}
