package token

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/assent-network/assent/node/ledger"
)

// es256k is RFC 8812 over go-ethereum's secp256k1, several times as fast as the
// library's own and without its build tag. Keys are a ledger.Signer to sign and
// a ledger.Address to verify, so that keys behind a remote signer work too.
type es256k struct{}

// register makes the JWT library use es256k. Its registry is the process's, so
// this happens once, when the first token is made or read.
var register = sync.OnceValue(func() error {
	if err := jws.RegisterSigner(jwa.ES256K(), es256k{}); err != nil {
		return fmt.Errorf("register ES256K signer: %w", err)
	}
	if err := jws.RegisterVerifier(jwa.ES256K(), es256k{}); err != nil {
		return fmt.Errorf("register ES256K verifier: %w", err)
	}
	return nil
})

func (es256k) Algorithm() jwa.SignatureAlgorithm { return jwa.ES256K() }

// Sign returns r ‖ s over sha256(payload).
func (es256k) Sign(key any, payload []byte) ([]byte, error) {
	s, ok := key.(ledger.Signer)
	if !ok {
		return nil, fmt.Errorf("es256k: key is a %T, want a ledger.Signer", key)
	}
	sig, err := s.Sign(sha256.Sum256(payload))
	if err != nil {
		return nil, err
	}
	return sig[:64], nil
}

var errNotSigned = errors.New("es256k: not signed by that address")

// Verify recovers both keys that the signature could be of. High-s signatures
// pass, as RFC 8812 wants: a token is no ledger object, and its two forms say
// the same.
func (es256k) Verify(key any, payload, signature []byte) error {
	want, ok := key.(ledger.Address)
	if !ok {
		return fmt.Errorf("es256k: key is a %T, want a ledger.Address", key)
	}
	if len(signature) != 64 {
		return errNotSigned
	}
	digest := sha256.Sum256(payload)
	sig := make([]byte, 65)
	copy(sig, signature)
	for v := range byte(2) {
		sig[64] = v
		pub, err := crypto.Ecrecover(digest[:], sig)
		if err == nil && ledger.Address(crypto.Keccak256(pub[1:])[12:]) == want {
			return nil
		}
	}
	return errNotSigned
}
