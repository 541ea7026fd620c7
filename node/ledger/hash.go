package ledger

import (
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Hash is a keccak256 digest.
type Hash = common.Hash

// Address names a secp256k1 key: the last 20 bytes of keccak256(public key).
type Address = common.Address

// Height numbers blocks; genesis is 0.
type Height uint64

// Domain tags. Each is the first element of the RLP list it names, so that the
// bytes of one object can never be taken for another's.
const (
	domainTransaction = "assent/transaction/1"
	domainConfig      = "assent/config/1"
	domainUpdate      = "assent/config-update/1"
	domainApproval    = "assent/config-approval/1"
	domainSeal        = "assent/seal/1"
	domainHeader      = "assent/header/1"
	domainVote        = "assent/vote/2"
	domainValidators  = "assent/validators/1"
	domainMeta        = "assent/engine-meta/1"
	domainEngine      = "assent/engine-message/1"
	domainStatus      = "assent/status/1"
	domainReceipt     = "assent/receipt/1"
	domainEvents      = "assent/events/1"
	domainWrites      = "assent/writes/1"
)

// Sum returns keccak256 over the concatenation of parts.
func Sum(parts ...[]byte) Hash {
	k := hashers.Get().(*hasher)
	k.Reset()
	for _, p := range parts {
		k.Write(p)
	}
	return k.done()
}

// hasher computes one hash after the other. The result is read into it, because
// what is handed to an interface would be allocated anew each time.
type hasher struct {
	crypto.KeccakState
	sum Hash
}

var hashers = sync.Pool{New: func() any { return &hasher{KeccakState: crypto.NewKeccakState()} }}

// done returns the hash of what was written and gives k back.
func (k *hasher) done() Hash {
	if _, err := k.Read(k.sum[:]); err != nil {
		panic(fmt.Sprintf("ledger: read keccak state: %v", err)) // never fails
	}
	h := k.sum
	hashers.Put(k)
	return h
}

// mustEncode encodes values of this package's own types, which RLP can always
// encode; an error is a bug in this package.
func mustEncode(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil {
		panic(fmt.Sprintf("ledger: encode %T: %v", v, err))
	}
	return b
}

// hashOf is Sum(mustEncode(v)), without the bytes in between.
func hashOf(v any) Hash { return hashBehind(nil, v) }

// hashBehind is Sum(prefix, mustEncode(v)).
func hashBehind(prefix []byte, v any) Hash {
	k := hashers.Get().(*hasher)
	k.Reset()
	k.Write(prefix)
	if err := rlp.Encode(k.KeccakState, v); err != nil {
		panic(fmt.Sprintf("ledger: encode %T: %v", v, err))
	}
	return k.done()
}

// decode fills v from b and refuses anything that is not the one canonical
// encoding within limit bytes.
func decode(what string, b []byte, limit int, v any) error {
	if len(b) > limit {
		return fmt.Errorf("decode %s: %d bytes, more than the limit of %d: split it or send less", what, len(b), limit)
	}
	if err := rlp.DecodeBytes(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

// decodeListed is decode for an object with a list whose elements may be tiny: it
// refuses b first when the list at path has more than most elements.
func decodeListed(what string, b []byte, limit int, v any, most int, path ...int) error {
	if len(b) <= limit {
		if err := checkCount(what, b, most, path...); err != nil {
			return err
		}
	}
	return decode(what, b, limit, v)
}

// checkCount refuses b when the list at path (indexes from the outermost list
// inwards) has more than limit elements. RLP writes an empty element in one
// byte, for which decoding would take up to 40.
func checkCount(what string, b []byte, limit int, path ...int) error {
	list, _, err := rlp.SplitList(b)
	for _, i := range path {
		for ; err == nil && i > 0; i-- {
			_, _, list, err = rlp.Split(list)
		}
		if err == nil {
			list, _, err = rlp.SplitList(list)
		}
	}
	n := 0
	if err == nil {
		n, err = rlp.CountValues(list)
	}
	if err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	if n > limit {
		return fmt.Errorf("decode %s: a list has %d elements, more than the limit of %d", what, n, limit)
	}
	return nil
}

func wantDomain(what, got, want string) error {
	if got != want {
		return fmt.Errorf("decode %s: domain tag %.40q, want %q: not a %s of this version", what, got, want, what)
	}
	return nil
}
