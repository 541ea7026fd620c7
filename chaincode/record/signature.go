package record

import (
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/crypto"
)

var (
	// ErrSignature: the bytes are not a signature in its one accepted form.
	ErrSignature = errors.New("signature: want 65 bytes r‖s‖v, low s, v of 0, 1, 27 or 28")
	// ErrSigner: a good signature, by somebody else or over something else.
	ErrSigner = errors.New("signature: not by the expected key over this content")
)

// Verify reports whether sig is key's signature over digest. Wallets write v as
// 27 or 28, our own tools as 0 or 1; both are taken. A signature with high s is
// refused: recovery alone would accept a second form of it.
func Verify(digest Hash, sig []byte, key Address) error {
	if len(sig) != 65 {
		return ErrSignature
	}
	var norm [65]byte
	copy(norm[:], sig)
	if norm[64] == 27 || norm[64] == 28 {
		norm[64] -= 27
	}
	r, s := new(big.Int).SetBytes(norm[:32]), new(big.Int).SetBytes(norm[32:64])
	if !crypto.ValidateSignatureValues(norm[64], r, s, true) {
		return ErrSignature
	}
	public, err := crypto.SigToPub(digest[:], norm[:])
	if err != nil {
		return ErrSignature
	}
	if key == (Address{}) || crypto.PubkeyToAddress(*public) != key {
		return ErrSigner
	}
	return nil
}
