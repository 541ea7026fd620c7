// Package token owns the bearer token with which a client shows a node who it
// is: an ES256K JSON web token (RFC 7519, RFC 8812) signed by the client's own
// key, made for one network and one node, for at most five minutes.
//
// Claims: iss is the address of the signing key; sub the member in whose name it
// acts; aud the chain id, "/", and the node id; iat and exp whole seconds; jti
// random. A subject, who belongs to no member, leaves sub out and claims
// "role": "subject"; its key is the principalKey of its consent.
//
// The package promises that Verify accepts nothing but a compact token of that
// form, signed by the key its iss names, whose audience and times fit; and that
// errors hold no part of a token. It leaves to others whether the key may act
// (gateway) and where it is kept (keys).
package token

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"github.com/assent-network/assent/node/ledger"
)

const (
	// MaxLifetime bounds exp − iat.
	MaxLifetime = 5 * time.Minute
	// MaxBytes bounds a token.
	MaxBytes = 1536
	// Skew is how far the clocks of client and node may differ.
	Skew = 30 * time.Second

	roleClaim   = "role"
	roleSubject = "subject"
	maxIDBytes  = 64
)

// Why a token is refused.
var (
	ErrMalformed = errors.New("token is malformed")
	ErrSignature = errors.New("token is not signed by its issuer")
	ErrAudience  = errors.New("token was made for another network or node")
	ErrExpired   = errors.New("token has expired")
	ErrNotYet    = errors.New("token is not valid yet")
	ErrLifetime  = errors.New("token is valid for too long")
)

// Claims is what a token says.
type Claims struct {
	Address  ledger.Address // of the signing key
	Org      string         // member; empty for a subject
	Subject  bool
	Audience string // Audience(chain, node)
	IssuedAt time.Time
	Expires  time.Time
	ID       string // random; Sign fills it if empty
}

// Audience returns the audience of tokens for a node of a network.
func Audience(chain ledger.Hash, nodeID string) string {
	return hexHash(chain) + "/" + nodeID
}

func hexHash(h ledger.Hash) string { return "0x" + hex.EncodeToString(h[:]) }

// Sign makes the token that c describes. c.Address is taken from signer. Times
// are cut to whole seconds.
func Sign(signer ledger.Signer, c Claims) (string, error) {
	if err := register(); err != nil {
		return "", err
	}
	if c.Subject == (c.Org != "") {
		return "", errors.New("sign token: a token names either a member or, for a subject, none")
	}
	if c.Expires.Sub(c.IssuedAt) > MaxLifetime || !c.Expires.After(c.IssuedAt) {
		return "", fmt.Errorf("sign token: lasts %s, want more than 0 and at most %s", c.Expires.Sub(c.IssuedAt), MaxLifetime)
	}
	if c.ID == "" {
		var id [12]byte
		rand.Read(id[:])
		c.ID = hex.EncodeToString(id[:])
	}
	b := jwt.NewBuilder().
		Issuer(strings.ToLower(signer.Address().Hex())).
		Audience([]string{c.Audience}).
		IssuedAt(c.IssuedAt.Truncate(time.Second)).
		Expiration(c.Expires.Truncate(time.Second)).
		JwtID(c.ID)
	if c.Subject {
		b = b.Claim(roleClaim, roleSubject)
	} else {
		b = b.Subject(c.Org)
	}
	t, err := b.Build()
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	out, err := jwt.Sign(t, jwt.WithKey(jwa.ES256K(), signer))
	if err != nil {
		return "", fmt.Errorf("sign token with %s: %w", signer.Address(), err)
	}
	return string(out), nil
}

// Verify returns what raw says if it is a token for audience that holds at now.
// Errors wrap one of this package's; they hold facts, never the token.
func Verify(raw []byte, audience string, now time.Time) (Claims, error) {
	if err := register(); err != nil {
		return Claims{}, err
	}
	if len(raw) > MaxBytes {
		return Claims{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMalformed, len(raw), MaxBytes)
	}
	c, err := parse(raw)
	if err != nil {
		return Claims{}, err
	}
	if err := c.check(audience, now); err != nil { // before the signature: an expired token is worth no curve operation
		return Claims{}, err
	}
	if _, err := jws.Verify(raw, jws.WithKey(jwa.ES256K(), c.Address), jws.WithCompact()); err != nil {
		return Claims{}, fmt.Errorf("%w: issuer %s", ErrSignature, c.Address)
	}
	return c, nil
}

// parse reads the claims without believing them.
func parse(raw []byte) (Claims, error) {
	msg, err := jws.Parse(raw, jws.WithCompact())
	if err != nil {
		return Claims{}, fmt.Errorf("%w: not a compact JWS", ErrMalformed)
	}
	sigs := msg.Signatures()
	if len(sigs) != 1 {
		return Claims{}, fmt.Errorf("%w: %d signatures, want 1", ErrMalformed, len(sigs))
	}
	if alg, ok := sigs[0].ProtectedHeaders().Algorithm(); !ok || alg != jwa.ES256K() {
		return Claims{}, fmt.Errorf("%w: the algorithm must be ES256K", ErrMalformed)
	}
	if sigs[0].ProtectedHeaders().Has(jws.CriticalKey) {
		return Claims{}, fmt.Errorf("%w: critical header extensions are not supported", ErrMalformed)
	}
	t := jwt.New()
	if err := json.Unmarshal(msg.Payload(), t); err != nil {
		return Claims{}, fmt.Errorf("%w: claims are not those of a JWT", ErrMalformed)
	}
	return claimsOf(t)
}

func claimsOf(t jwt.Token) (Claims, error) {
	var c Claims
	iss, _ := t.Issuer()
	if len(iss) != 42 || !common.IsHexAddress(iss) {
		return c, fmt.Errorf("%w: iss must be the 0x-address of the signing key", ErrMalformed)
	}
	c.Address = common.HexToAddress(iss)
	c.Org, _ = t.Subject()
	if t.Has(roleClaim) {
		var role string
		if err := t.Get(roleClaim, &role); err != nil || role != roleSubject {
			return c, fmt.Errorf("%w: the only role a token may claim is %q; a client's roles stand on the ledger", ErrMalformed, roleSubject)
		}
		c.Subject = true
	}
	if c.Subject == (c.Org != "") || len(c.Org) > ledger.MaxNameBytes {
		return c, fmt.Errorf("%w: sub must be a member of at most %d bytes, or absent for a subject", ErrMalformed, ledger.MaxNameBytes)
	}
	aud, _ := t.Audience()
	if len(aud) != 1 {
		return c, fmt.Errorf("%w: %d audiences, want 1", ErrMalformed, len(aud))
	}
	c.Audience = aud[0]
	var ok [3]bool
	c.IssuedAt, ok[0] = t.IssuedAt()
	c.Expires, ok[1] = t.Expiration()
	c.ID, ok[2] = t.JwtID()
	if !ok[0] || !ok[1] || !ok[2] || c.ID == "" || len(c.ID) > maxIDBytes {
		return c, fmt.Errorf("%w: iat, exp and jti (1 to %d bytes) are required", ErrMalformed, maxIDBytes)
	}
	return c, nil
}

func (c Claims) check(audience string, now time.Time) error {
	switch life := c.Expires.Sub(c.IssuedAt); {
	case c.Audience != audience:
		return fmt.Errorf("%w: this node's is %s", ErrAudience, audience)
	case life > MaxLifetime || life <= 0:
		return fmt.Errorf("%w: %s, want more than 0 and at most %s", ErrLifetime, life, MaxLifetime)
	case !now.Before(c.Expires):
		return fmt.Errorf("%w %s ago", ErrExpired, now.Sub(c.Expires).Round(time.Second))
	case c.IssuedAt.Sub(now) > Skew:
		return fmt.Errorf("%w: issued %s in this node's future", ErrNotYet, c.IssuedAt.Sub(now).Round(time.Second))
	}
	return nil
}
