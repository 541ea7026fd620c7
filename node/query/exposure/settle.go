package exposure

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"fmt"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"

	"github.com/assent-network/assent/node/query/pair"
)

// PairOpening shows a pair's secret and proves that it belongs to one bank's
// registered data key and the other's: the logarithm of the data key to the base
// point is the logarithm of the secret to the other's key (Chaum and Pedersen's
// proof on the Edwards form of X25519's curve, where an X25519 key is a point but
// for its sign).
//
// It tells whoever gets it every mask between the two banks under these keys: they
// replace their data keys afterwards, and the opening goes to an authority, not to
// the lender, who with all other banks could take the two figures apart.
type PairOpening struct {
	Sign      byte     // of the opener's key as an Edwards point
	Secret    [32]byte // the common point, Edwards encoding
	Challenge [32]byte
	Response  [32]byte
}

// PairOpeningSize is the length of an encoded opening.
const PairOpeningSize = 1 + 32 + 32 + 32

// OpenPair opens the secret between a bank's data key and another's.
func OpenPair(own, peer []byte) (PairOpening, error) {
	if len(own) != 32 {
		return PairOpening{}, fmt.Errorf("%w: data key: want 32 bytes", ErrKey)
	}
	x, err := new(edwards25519.Scalar).SetBytesWithClamping(own)
	if err != nil {
		return PairOpening{}, fmt.Errorf("%w: data key", ErrKey)
	}
	lifted, err := liftKey(peer, 0)
	if err != nil {
		return PairOpening{}, err
	}
	// The clamped key is eight times eighth, and multiplying by eight first clears
	// whatever of small order the other's key may have.
	eighth := new(edwards25519.Scalar).Multiply(x, inverseOf8())
	g := new(edwards25519.Point).MultByCofactor(edwards25519.NewGeneratorPoint())
	q := new(edwards25519.Point).MultByCofactor(lifted)
	a := new(edwards25519.Point).ScalarMult(eighth, g)
	e := new(edwards25519.Point).ScalarMult(eighth, q)

	var seed [64]byte
	_, _ = rand.Read(seed[:]) // does not fail
	nonce, err := new(edwards25519.Scalar).SetUniformBytes(seed[:])
	if err != nil {
		return PairOpening{}, fmt.Errorf("%w: nonce", ErrKey)
	}
	c := pairChallenge(a, q, e, new(edwards25519.Point).ScalarMult(nonce, g), new(edwards25519.Point).ScalarMult(nonce, q))
	response := new(edwards25519.Scalar).MultiplyAdd(c, eighth, nonce)
	return PairOpening{
		Sign: a.Bytes()[31] >> 7, Secret: [32]byte(e.Bytes()), Challenge: [32]byte(c.Bytes()), Response: [32]byte(response.Bytes()),
	}, nil
}

// verify returns the secret that an opening shows, or ErrProof.
func (o PairOpening) verify(opener, peer []byte) (pair.Secret, error) {
	fail := func(what string) (pair.Secret, error) {
		return pair.Secret{}, fmt.Errorf("%w: opening of a pair: %s", ErrProof, what)
	}
	if o.Sign > 1 {
		return fail("sign")
	}
	a, err := liftKey(opener, o.Sign)
	if err != nil {
		return pair.Secret{}, err
	}
	lifted, err := liftKey(peer, 0)
	if err != nil {
		return pair.Secret{}, err
	}
	e, err := new(edwards25519.Point).SetBytes(o.Secret[:])
	if err != nil || !bytes.Equal(e.Bytes(), o.Secret[:]) || !primeOrder(e) || !primeOrder(a) {
		return fail("no points of the group")
	}
	c, err1 := new(edwards25519.Scalar).SetCanonicalBytes(o.Challenge[:])
	s, err2 := new(edwards25519.Scalar).SetCanonicalBytes(o.Response[:])
	if err1 != nil || err2 != nil {
		return fail("no scalars")
	}
	g := new(edwards25519.Point).MultByCofactor(edwards25519.NewGeneratorPoint())
	q := new(edwards25519.Point).MultByCofactor(lifted)
	minus := new(edwards25519.Scalar).Negate(c)
	r1 := new(edwards25519.Point).VarTimeMultiScalarMult([]*edwards25519.Scalar{s, minus}, []*edwards25519.Point{g, a})
	r2 := new(edwards25519.Point).VarTimeMultiScalarMult([]*edwards25519.Scalar{s, minus}, []*edwards25519.Point{q, e})
	if pairChallenge(a, q, e, r1, r2).Equal(c) != 1 {
		return fail("the proof does not hold")
	}
	return pair.Shared([32]byte(e.BytesMontgomery())), nil
}

// Bytes is the opening's encoding.
func (o PairOpening) Bytes() []byte {
	return append(append(append([]byte{o.Sign}, o.Secret[:]...), o.Challenge[:]...), o.Response[:]...)
}

// DecodePairOpening reads an opening's form.
func DecodePairOpening(b []byte) (PairOpening, error) {
	if len(b) != PairOpeningSize || b[0] > 1 {
		return PairOpening{}, fmt.Errorf("%w: opening of a pair: want %d bytes and a sign", ErrFormat, PairOpeningSize)
	}
	return PairOpening{Sign: b[0], Secret: [32]byte(b[1:33]), Challenge: [32]byte(b[33:65]), Response: [32]byte(b[65:97])}, nil
}

// Settle says which of two banks stated a false mask. Each hands in its share of
// the session and an opening of the pair's secret; nil stands for a bank that
// refuses, and whose fault it then is. The result is empty if neither lied.
func Settle(s *Session, first, second int, shares [2]*Share, openings [2]*PairOpening) ([]Fault, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if first < 0 || first >= second || second >= len(s.Seats) {
		return nil, fmt.Errorf("%w: no pair of seats: %d and %d", ErrSession, first, second)
	}
	digest, seats := s.Digest(), [2]int{first, second}
	var truth *mask
	var faults []Fault
	for i, seat := range seats {
		bank, other := &s.Seats[seat], &s.Seats[seats[1-i]]
		detail := "did not open the pair's secret"
		if openings[i] != nil {
			secret, err := openings[i].verify(bank.Key, other.Key)
			if err == nil {
				m := maskOf(secret, digest, first, second)
				truth = &m
				continue
			}
			detail = "its opening of the pair's secret does not hold"
		}
		faults = append(faults, Fault{Bank: bank.Bank, Kind: WrongShare, With: other.Bank, Detail: detail})
	}
	if truth == nil {
		return faults, nil
	}
	want := truth.commitment()
	for i, seat := range seats {
		bank, other := s.Seats[seat].Bank, seats[1-i]
		h := shares[i]
		if h == nil || h.Session != digest || h.Seat != seat || len(h.Masks) != len(s.Seats)-1 {
			return nil, fmt.Errorf("%w: the share of %s is not of this session", ErrSession, bank)
		}
		if !h.mask(other).Equal(want) {
			faults = append(faults, Fault{Bank: bank, Kind: WrongShare, With: s.Seats[other].Bank, Detail: "stated another mask than the pair's"})
		}
	}
	return faults, nil
}

// liftKey is an X25519 public key as a point of the Edwards curve with the given
// sign: y = (u-1)/(u+1). Keys on the twist have none and are refused.
func liftKey(key []byte, sign byte) (*edwards25519.Point, error) {
	if len(key) != 32 {
		return nil, fmt.Errorf("%w: %d bytes, want an X25519 public key of 32", ErrKey, len(key))
	}
	u, err := new(field.Element).SetBytes(key)
	if err != nil || !bytes.Equal(u.Bytes(), key) {
		return nil, fmt.Errorf("%w: not a reduced X25519 public key", ErrKey)
	}
	one := new(field.Element).One()
	den := new(field.Element).Add(u, one)
	y := new(field.Element).Multiply(new(field.Element).Subtract(u, one), den.Invert(den))
	encoded := y.Bytes()
	encoded[31] |= sign << 7
	p, err := new(edwards25519.Point).SetBytes(encoded)
	if err != nil {
		return nil, fmt.Errorf("%w: an X25519 public key that no private key has", ErrKey)
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, fmt.Errorf("%w: an X25519 public key of small order", ErrKey)
	}
	return p, nil
}

// primeOrder reports whether p has no part of small order: (l-1)·p = -p.
func primeOrder(p *edwards25519.Point) bool {
	one, _ := new(edwards25519.Scalar).SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	minusOne := new(edwards25519.Scalar).Negate(one)
	return new(edwards25519.Point).ScalarMult(minusOne, p).Equal(new(edwards25519.Point).Negate(p)) == 1
}

func inverseOf8() *edwards25519.Scalar {
	eight, _ := new(edwards25519.Scalar).SetCanonicalBytes(append([]byte{8}, make([]byte, 31)...))
	return eight.Invert(eight)
}

func pairChallenge(points ...*edwards25519.Point) *edwards25519.Scalar {
	parts := make([][]byte, len(points))
	for i, p := range points {
		parts[i] = p.Bytes()
	}
	digest := sha512.Sum512(join("assent exposure pair 1", parts...))
	c, _ := new(edwards25519.Scalar).SetUniformBytes(digest[:]) // 64 bytes: cannot fail
	return c
}
