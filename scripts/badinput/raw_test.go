package badinput

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/scripts/testnet"
)

// pinned is what a careful caller of curl does: it accepts the node's own TLS key
// and no other.
func pinned(x *testnet.Node) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // the key is compared below
		VerifyConnection: func(s tls.ConnectionState) error {
			spki, err := x509.MarshalPKIXPublicKey(s.PeerCertificates[0].PublicKey)
			if err != nil {
				return err
			}
			if sha256.Sum256(spki) != [32]byte(x.Card.SPKI) {
				return errors.New("another TLS key than the node's card names")
			}
			return nil
		},
	}
}

// raw talks to one node over plain net/http.
type raw struct {
	node *testnet.Node
	http *http.Client
}

func newRaw(x *testnet.Node) *raw {
	return &raw{x, &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: pinned(x), ForceAttemptHTTP2: true}}}
}

// reply is a node's answer, error or not.
type reply struct {
	status  int
	connect string // code of the Connect protocol, "" if none
	message string
	detail  *assentv1.ErrorDetail
	body    []byte
}

func (r *reply) code() string {
	if r.detail == nil {
		return ""
	}
	return api.Name(r.detail.Code)
}

const service = "/assent.v1."

// post sends a JSON body to a method, "LedgerService/Submit".
func (c *raw) post(t *testing.T, method, bearer string, body []byte) *reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+c.node.API+service+method, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return c.do(t, req)
}

func (c *raw) do(t *testing.T, req *http.Request) *reply {
	t.Helper()
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", req.URL.Path, err)
	}
	defer resp.Body.Close()
	r := &reply{status: resp.StatusCode}
	if r.body, err = io.ReadAll(io.LimitReader(resp.Body, 8<<20)); err != nil {
		t.Fatalf("%s: read the answer: %v", req.URL.Path, err)
	}
	if r.status != http.StatusOK {
		r.parse(t)
	}
	return r
}

// parse reads the error body of the Connect protocol.
func (r *reply) parse(t *testing.T) {
	t.Helper()
	var e struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Details []struct {
			Type  string `json:"type"`
			Value string `json:"value"`
		} `json:"details"`
	}
	if json.Unmarshal(r.body, &e) != nil {
		r.message = strings.TrimSpace(string(r.body)) // plain text
		return
	}
	r.connect, r.message = e.Code, e.Message
	for _, d := range e.Details {
		if d.Type != "assent.v1.ErrorDetail" {
			continue
		}
		b, err := base64.RawStdEncoding.DecodeString(d.Value)
		if err != nil {
			t.Fatalf("error detail: %v", err)
		}
		r.detail = new(assentv1.ErrorDetail)
		if err := proto.Unmarshal(b, r.detail); err != nil {
			t.Fatalf("error detail: %v", err)
		}
	}
}

// call is post with a body made of v.
func (c *raw) call(t *testing.T, method, bearer string, v any) *reply {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return c.post(t, method, bearer, b)
}

// outcome is what a Submit answered.
type outcome struct {
	TxID    string `json:"txId"`
	Height  string `json:"height"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Payload []byte `json:"payload"`
}

// submit hands signed bytes to the node and waits for the outcome.
func (c *raw) submit(t *testing.T, bearer string, tx []byte) (*reply, *outcome) {
	t.Helper()
	r := c.call(t, "LedgerService/Submit", bearer, map[string]any{"transaction": tx, "wait": "WAIT_COMMITTED", "timeoutMs": 20000})
	if r.status != http.StatusOK {
		return r, nil
	}
	var got struct {
		Outcome *outcome `json:"outcome"`
	}
	if err := json.Unmarshal(r.body, &got); err != nil || got.Outcome == nil {
		t.Fatalf("submit: no outcome in %s: %v", r.body, err)
	}
	return r, got.Outcome
}

// jwt signs any header and claims, right or wrong, as ES256K.
func jwt(t *testing.T, s ledger.Signer, header, claims map[string]any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	input := part(header) + "." + part(claims)
	sig, err := s.Sign(sha256.Sum256([]byte(input)))
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig[:64])
}

// claimsOf are those of a good token, to be spoilt.
func (w *world) claimsOf(p *person, x *testnet.Node) map[string]any {
	now := time.Now().Unix()
	var id [12]byte
	rand.Read(id[:])
	return map[string]any{
		"iss": strings.ToLower(p.key.Address().Hex()), "sub": p.org, "aud": token.Audience(w.chain, x.Card.NodeID),
		"iat": now, "exp": now + 240, "jti": base64.RawURLEncoding.EncodeToString(id[:]),
	}
}

// bearer makes a good token of p for a node.
func (w *world) bearer(t *testing.T, p *person, x *testnet.Node) string {
	t.Helper()
	now := time.Now()
	s, err := token.Sign(p.key, token.Claims{Org: p.org, Audience: token.Audience(w.chain, x.Card.NodeID), IssuedAt: now, Expires: now.Add(4 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// payload is a call that is right in everything but what is given, to be spoilt.
func (w *world) payload(p *person, contract, function string, args ...string) ledger.Payload {
	from := time.Now().Add(-30 * time.Second)
	out := ledger.Payload{
		ChainID: w.chain, Org: p.org, Key: p.key.Address(), Contract: contract, Function: function,
		NotBefore: uint64(from.UnixMilli()), ValidUntil: uint64(from.Add(10 * time.Minute).UnixMilli()),
	}
	for _, a := range args {
		out.Args = append(out.Args, []byte(a))
	}
	rand.Read(out.Nonce[:])
	return out
}

func sign(t *testing.T, p *person, payload ledger.Payload) *ledger.Transaction {
	t.Helper()
	tx := ledger.NewTransaction(payload)
	if err := tx.Sign(p.key); err != nil {
		t.Fatal(err)
	}
	return tx
}
