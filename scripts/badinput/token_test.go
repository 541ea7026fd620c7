package badinput

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

var es256k = map[string]any{"alg": "ES256K", "typ": "JWT"}

// testTokens: who may not call, and why.
func testTokens(t *testing.T, w *world) {
	x := w.nodes[lender]
	p := w.as("lender/integration")
	with := func(changes map[string]any) string {
		c := w.claimsOf(p, x.node)
		maps.Copy(c, changes)
		maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		return jwt(t, p.key, es256k, c)
	}
	now := time.Now().Unix()
	good := with(nil)
	spoilt := good[:len(good)-4] + "AAAA"
	head, rest, _ := strings.Cut(good, ".")
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(rest, ".")[0] + "."
	strange, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger := &person{lender, "integration", ledger.NewKeySigner(strange)}
	for name, c := range map[string]struct {
		bearer string
		want   refusal
	}{
		"none":                    {"", refusal{401, "unauthenticated", "TOKEN_MISSING", []string{"needs a token"}}},
		"garbage":                 {"garbage", refusal{401, "unauthenticated", "TOKEN_INVALID", nil}},
		"huge":                    {strings.Repeat("a", 2000), refusal{401, "unauthenticated", "TOKEN_INVALID", []string{"2000 bytes, at most 1536"}}},
		"signature spoilt":        {spoilt, refusal{401, "unauthenticated", "TOKEN_INVALID", []string{"not signed by its issuer"}}},
		"no signature":            {unsigned, refusal{401, "unauthenticated", "TOKEN_INVALID", []string{"ES256K"}}},
		"another algorithm":       {jwt(t, p.key, map[string]any{"alg": "HS256"}, w.claimsOf(p, x.node)), refusal{401, "unauthenticated", "TOKEN_INVALID", []string{"the algorithm must be ES256K"}}},
		"another issuer":          {with(map[string]any{"iss": "0x1111111111111111111111111111111111111111"}), refusal{401, "unauthenticated", "TOKEN_INVALID", []string{"not signed by its issuer"}}},
		"no issuer":               {with(map[string]any{"iss": nil}), refusal{401, "unauthenticated", "TOKEN_INVALID", []string{"iss must be"}}},
		"no times":                {with(map[string]any{"iat": nil}), refusal{401, "unauthenticated", "TOKEN_INVALID", []string{"iat, exp and jti"}}},
		"another node":            {with(map[string]any{"aud": w.chain.Hex() + "/" + w.nodes[bank].node.Card.NodeID}), refusal{401, "unauthenticated", "TOKEN_AUDIENCE", []string{"another network or node", x.node.Card.NodeID}}},
		"another network":         {with(map[string]any{"aud": "0x" + strings.Repeat("0", 64) + "/" + x.node.Card.NodeID}), refusal{401, "unauthenticated", "TOKEN_AUDIENCE", nil}},
		"expired":                 {with(map[string]any{"iat": now - 300, "exp": now - 60}), refusal{401, "unauthenticated", "TOKEN_EXPIRED", []string{"expired 1m"}}},
		"of tomorrow":             {with(map[string]any{"iat": now + 3600, "exp": now + 3700}), refusal{401, "unauthenticated", "TOKEN_EXPIRED", []string{"in this node's future"}}},
		"too long":                {with(map[string]any{"exp": now + 3600}), refusal{401, "unauthenticated", "TOKEN_LIFETIME", []string{"1h0m0s", "at most 5m0s"}}},
		"claims a role":           {with(map[string]any{"role": "admin"}), refusal{401, "unauthenticated", "TOKEN_INVALID", []string{"a client's roles stand on the ledger"}}},
		"another member's org":    {with(map[string]any{"sub": bank}), refusal{403, "permission_denied", "UNKNOWN_KEY", []string{"not registered for the member that the token names"}}},
		"a member that is none":   {with(map[string]any{"sub": "nobody"}), refusal{403, "permission_denied", "UNKNOWN_KEY", nil}},
		"an unknown key":          {jwt(t, stranger.key, es256k, w.claimsOf(stranger, x.node)), refusal{403, "permission_denied", "UNKNOWN_KEY", nil}},
		"a subject submits":       {with(map[string]any{"sub": nil, "role": "subject"}), refusal{403, "permission_denied", "FORBIDDEN", []string{"not for subjects"}}},
		"a role that only reads":  {w.bearer(t, w.as("lender/auditor"), x.node), refusal{403, "permission_denied", "FORBIDDEN", []string{"is for the roles admin, operator, officer, integration, node"}}},
		"a client of another one": {jwt(t, w.as("bank/integration").key, es256k, w.claimsOf(w.as("bank/integration"), x.node)), refusal{403, "permission_denied", "FORBIDDEN", []string{"this node serves lender"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := x.call(t, "LedgerService/Submit", c.bearer, map[string]any{"transaction": []byte{0xc0}})
			secret := head + "." + strings.Split(rest, ".")[0]
			c.want.check(t, r, secret)
		})
	}
	t.Run("another scheme", func(t *testing.T) {
		for _, value := range [][]string{{"Basic bGVuZGVyOnNlY3JldA=="}, {"Bearer"}, {"Bearer " + good, "Bearer " + good}} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+x.node.API+service+"LedgerService/Submit", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header["Authorization"] = value
			refusal{401, "unauthenticated", "TOKEN_INVALID", []string{`not "Bearer <token>"`}}.check(t, x.do(t, req), "bGVuZGVyOnNlY3JldA")
		}
	})
	t.Run("a key revoked while its token is remembered", func(t *testing.T) { testRevokedKey(t, w) })
	w.commits(t)
}

// testRevokedKey: the same token worked a moment before.
func testRevokedKey(t *testing.T, w *world) {
	x := w.nodes[lender]
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	p := &person{lender, "integration", ledger.NewKeySigner(key)}
	admin := w.client(t, lender, "admin")
	o, err := admin.Clients().Register(t.Context(), sdk.ClientSpec{Address: p.key.Address(), Roles: []sdk.ClientRole{"integration"}, Label: "to be revoked"})
	if err != nil {
		t.Fatal(err)
	}
	bearer := w.bearer(t, p, x.node)
	read := map[string]any{"contract": "membership", "function": "GetMember", "args": []string{lender}, "minHeight": o.Height, "waitMs": 5000}
	if r := x.call(t, "LedgerService/Evaluate", bearer, read); r.status != http.StatusOK {
		t.Fatalf("before: %d %s", r.status, r.message)
	}
	o, err = admin.Clients().Revoke(t.Context(), p.key.Address(), time.Time{}, "COMPROMISED")
	if err != nil {
		t.Fatal(err)
	}
	read["minHeight"] = o.Height
	refusal{403, "permission_denied", "KEY_REVOKED", nil}.check(t, x.call(t, "LedgerService/Evaluate", bearer, read))
	// A colleague's token does not help the key to sign.
	tx := sign(t, p, w.payload(p, "consent", "Expire", "0x"+strings.Repeat("1", 32)))
	r, out := x.submit(t, w.bearer(t, w.as("lender/integration"), x.node), tx.Encode())
	if out != nil { // remembered as usable a moment ago: ordered, and refused by the contract
		refused(t, r, out, "KEY_REVOKED")
	} else {
		refusal{403, "permission_denied", "KEY_REVOKED", []string{"may not act any more"}}.check(t, r)
	}
	// Nor is it registered again.
	spec := sdk.ClientSpec{Address: p.key.Address(), Roles: []sdk.ClientRole{"integration"}, Label: "again"}
	r, out = x.submit(t, w.bearer(t, w.as("lender/admin"), x.node), sign(t, w.as("lender/admin"), w.payload(w.as("lender/admin"), "membership", "RegisterClient", encode(t, &spec))).Encode())
	refused(t, r, out, "ALREADY_EXISTS", "cannot be replaced")
	var never ledger.Address
	rand.Read(never[:])
	if _, err := admin.Clients().Revoke(t.Context(), never, time.Time{}, "ROTATED"); sdk.CodeOf(err) != "NOT_FOUND" {
		t.Errorf("revoke a key that was never registered: %v", err)
	}
}
