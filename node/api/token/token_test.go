package token

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
)

var (
	testKey  = mustKey("0101010101010101010101010101010101010101010101010101010101010101")
	otherKey = mustKey("0202020202020202020202020202020202020202020202020202020202020202")
	signer   = ledger.NewKeySigner(testKey)
	chain    = ledger.Sum([]byte("chain"))
	aud      = Audience(chain, "16Uiu2node")
	now      = time.Unix(1_800_000_000, 0)
)

func mustKey(h string) *ecdsa.PrivateKey {
	k, err := crypto.HexToECDSA(h)
	if err != nil {
		panic(err)
	}
	return k
}

func claims(change func(*Claims)) Claims {
	c := Claims{Org: "bank-a", Audience: aud, IssuedAt: now, Expires: now.Add(MaxLifetime)}
	if change != nil {
		change(&c)
	}
	return c
}

func sign(t testing.TB, c Claims) []byte {
	t.Helper()
	s, err := Sign(signer, c)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(s)
}

// raw signs any header and payload, as a hostile client would.
func raw(header, payload string) []byte {
	in := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sig, _ := signer.Sign(sha256.Sum256([]byte(in)))
	return []byte(in + "." + base64.RawURLEncoding.EncodeToString(sig[:64]))
}

func body(change map[string]string) string {
	f := map[string]string{
		"iss": `"` + strings.ToLower(signer.Address().Hex()) + `"`, "sub": `"bank-a"`, "aud": `"` + aud + `"`,
		"iat": fmt.Sprint(now.Unix()), "exp": fmt.Sprint(now.Unix() + 300), "jti": `"x"`,
	}
	for k, v := range change {
		if v == "" {
			delete(f, k)
		} else {
			f[k] = v
		}
	}
	var parts []string
	for k, v := range f {
		parts = append(parts, `"`+k+`":`+v)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

const header = `{"alg":"ES256K","typ":"JWT"}`

func TestTokenSaysWhatWasSigned(t *testing.T) {
	for _, c := range []Claims{claims(nil), claims(func(c *Claims) { c.Org, c.Subject = "", true })} {
		got, err := Verify(sign(t, c), aud, now.Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		if got.Address != signer.Address() || got.Org != c.Org || got.Subject != c.Subject || !got.Expires.Equal(c.Expires) || got.ID == "" {
			t.Errorf("signed %+v, read %+v", c, got)
		}
	}
	a, b := sign(t, claims(nil)), sign(t, claims(nil))
	if string(a) == string(b) {
		t.Error("two tokens of the same claims are equal: the id is not random")
	}
	if len(a) > MaxBytes/2 {
		t.Errorf("a token has %d bytes", len(a))
	}
}

func TestTokenOfAnotherImplementationIsAccepted(t *testing.T) {
	if _, err := Verify(raw(header, body(nil)), aud, now); err != nil {
		t.Fatal(err)
	}
	// High-s: the other signature of the same key over the same bytes.
	tok := string(raw(header, body(nil)))
	dot := strings.LastIndexByte(tok, '.')
	sig, _ := base64.RawURLEncoding.DecodeString(tok[dot+1:])
	s := new(big.Int).Sub(crypto.S256().Params().N, new(big.Int).SetBytes(sig[32:]))
	s.FillBytes(sig[32:])
	if _, err := Verify([]byte(tok[:dot+1]+base64.RawURLEncoding.EncodeToString(sig)), aud, now); err != nil {
		t.Errorf("a high-s token is refused: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	good := string(sign(t, claims(nil)))
	parts := strings.Split(good, ".")
	cases := []struct {
		name string
		tok  []byte
		at   time.Time
		want error
	}{
		{"empty", nil, now, ErrMalformed},
		{"no dots", []byte("abc"), now, ErrMalformed},
		{"oversized", []byte(strings.Repeat("a", MaxBytes+1)), now, ErrMalformed},
		{"JSON form", []byte(`{"payload":"e30","signatures":[]}`), now, ErrMalformed},
		{"no signature", []byte(parts[0] + "." + parts[1] + "."), now, ErrMalformed},
		{"signature of other bytes", []byte(parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(body(nil))) + "." + parts[2]), now, ErrSignature},
		{"short signature", []byte(good[:len(good)-8]), now, ErrSignature},
		{"none", []byte(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."), now, ErrMalformed},
		{"HS256", raw(`{"alg":"HS256"}`, body(nil)), now, ErrMalformed},
		{"ES256", raw(`{"alg":"ES256"}`, body(nil)), now, ErrMalformed},
		{"crit", raw(`{"alg":"ES256K","crit":["x"],"x":1}`, body(nil)), now, ErrMalformed},
		{"unencoded payload", raw(`{"alg":"ES256K","b64":false,"crit":["b64"]}`, body(nil)), now, ErrMalformed},
		{"claims are a list", raw(header, `[]`), now, ErrMalformed},
		{"no iss", raw(header, body(map[string]string{"iss": ""})), now, ErrMalformed},
		{"iss is a name", raw(header, body(map[string]string{"iss": `"bank-a"`})), now, ErrMalformed},
		{"iss of another key", raw(header, body(map[string]string{"iss": `"` + crypto.PubkeyToAddress(otherKey.PublicKey).Hex() + `"`})), now, ErrSignature},
		{"no sub, no role", raw(header, body(map[string]string{"sub": ""})), now, ErrMalformed},
		{"sub and subject", raw(header, body(map[string]string{"role": `"subject"`})), now, ErrMalformed},
		{"role admin", raw(header, body(map[string]string{"role": `"admin"`})), now, ErrMalformed},
		{"role is a number", raw(header, body(map[string]string{"role": `7`, "sub": ""})), now, ErrMalformed},
		{"two audiences", raw(header, body(map[string]string{"aud": `["` + aud + `","b"]`})), now, ErrMalformed},
		{"no audience", raw(header, body(map[string]string{"aud": ""})), now, ErrMalformed},
		{"other node", raw(header, body(map[string]string{"aud": `"` + Audience(chain, "other") + `"`})), now, ErrAudience},
		{"other chain", raw(header, body(map[string]string{"aud": `"` + Audience(ledger.Hash{}, "16Uiu2node") + `"`})), now, ErrAudience},
		{"no iat", raw(header, body(map[string]string{"iat": ""})), now, ErrMalformed},
		{"no exp", raw(header, body(map[string]string{"exp": ""})), now, ErrMalformed},
		{"no jti", raw(header, body(map[string]string{"jti": ""})), now, ErrMalformed},
		{"exp before iat", raw(header, body(map[string]string{"exp": fmt.Sprint(now.Unix() - 1)})), now, ErrLifetime},
		{"301 seconds", raw(header, body(map[string]string{"exp": fmt.Sprint(now.Unix() + 301)})), now, ErrLifetime},
		{"far future", raw(header, body(map[string]string{"exp": "99999999999"})), now, ErrLifetime},
		{"negative iat", raw(header, body(map[string]string{"iat": "-99999999999"})), now, ErrMalformed},
		{"expired", []byte(good), now.Add(MaxLifetime), ErrExpired},
		{"not yet", []byte(good), now.Add(-Skew - time.Second), ErrNotYet},
	}
	for _, c := range cases {
		_, err := Verify(c.tok, aud, c.at)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err != nil && len(c.tok) > 20 && strings.Contains(err.Error(), string(c.tok[:20])) {
			t.Errorf("%s: the error repeats the token: %v", c.name, err)
		}
	}
	if _, err := Verify([]byte(good), aud, now.Add(-Skew)); err != nil {
		t.Errorf("within the skew: %v", err)
	}
}

func TestSignRefusesWhatVerifyWould(t *testing.T) {
	for name, change := range map[string]func(*Claims){
		"too long":        func(c *Claims) { c.Expires = now.Add(MaxLifetime + time.Second) },
		"empty time":      func(c *Claims) { c.Expires = now },
		"no member":       func(c *Claims) { c.Org = "" },
		"member, subject": func(c *Claims) { c.Subject = true },
	} {
		if _, err := Sign(signer, claims(change)); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

type brokenSigner struct{ ledger.KeySigner }

func (brokenSigner) Sign(ledger.Hash) (ledger.Signature, error) {
	return ledger.Signature{}, errors.New("remote signer is away")
}

func TestSignerFailureIsReported(t *testing.T) {
	if _, err := Sign(brokenSigner{signer}, claims(nil)); err == nil || !strings.Contains(err.Error(), "away") {
		t.Errorf("got %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(sign(f, claims(nil)))
	f.Add(sign(f, claims(func(c *Claims) { c.Org, c.Subject = "", true })))
	f.Add(raw(`{"alg":"none"}`, body(nil)))
	f.Add(raw(header, `{"aud":[]}`))
	f.Add([]byte("a.b.c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Verify(b, aud, now)
		if err == nil && (c.Address != signer.Address() || c.Audience != aud || c.Expires.Sub(c.IssuedAt) > MaxLifetime) {
			t.Errorf("accepted %+v", c)
		}
	})
}

// What an attacker signs herself must hold every rule too.
func FuzzSignedClaims(f *testing.F) {
	f.Add(header, body(nil))
	f.Add(header, body(map[string]string{"role": `"subject"`, "sub": ""}))
	f.Add(`{"alg":"ES256K","b64":false,"crit":["b64"]}`, body(nil))
	f.Add(header, `{"iss":null,"aud":{},"exp":1e400}`)
	f.Fuzz(func(t *testing.T, h, p string) {
		c, err := Verify(raw(h, p), aud, now)
		if err != nil {
			return
		}
		if c.Address != signer.Address() || c.Audience != aud || c.Subject == (c.Org != "") || c.ID == "" ||
			!now.Before(c.Expires) || c.Expires.Sub(c.IssuedAt) > MaxLifetime {
			t.Errorf("accepted %+v", c)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	tok := sign(b, claims(nil))
	for b.Loop() {
		if _, err := Verify(tok, aud, now); err != nil {
			b.Fatal(err)
		}
	}
}
