package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/ledger"
)

func TestEveryAuthenticationFailureHasItsCode(t *testing.T) {
	r := newRig(t)
	r.w.register("bank-a", "clerk", record.RoleAuditor)
	good := r.token("clerk", "bank-a")
	now := r.clock.now()
	cases := []struct {
		name, header string
		want         api.Code
	}{
		{"good", "Bearer " + good, 0},
		{"lower-case scheme", "bearer " + good, 0},
		{"none", "", assentv1.Code_CODE_TOKEN_MISSING},
		{"other scheme", "Basic YTpi", assentv1.Code_CODE_TOKEN_INVALID},
		{"empty", "Bearer ", assentv1.Code_CODE_TOKEN_INVALID},
		{"rubbish", "Bearer abc", assentv1.Code_CODE_TOKEN_INVALID},
		{"oversized", "Bearer " + strings.Repeat("a", token.MaxBytes+1), assentv1.Code_CODE_TOKEN_INVALID},
		{"changed", "Bearer " + good[:len(good)-6] + "AAAAAA", assentv1.Code_CODE_TOKEN_INVALID},
		{"expired", "Bearer " + r.token("clerk", "bank-a", func(c *token.Claims) {
			c.IssuedAt, c.Expires = now.Add(-time.Minute), now.Add(-time.Second)
		}), assentv1.Code_CODE_TOKEN_EXPIRED},
		{"from the future", "Bearer " + r.token("clerk", "bank-a", func(c *token.Claims) {
			c.IssuedAt, c.Expires = now.Add(time.Minute), now.Add(2*time.Minute)
		}), assentv1.Code_CODE_TOKEN_EXPIRED},
		{"other node", "Bearer " + r.token("clerk", "bank-a", func(c *token.Claims) {
			c.Audience = token.Audience(r.w.genesis.Hash(), "other")
		}), assentv1.Code_CODE_TOKEN_AUDIENCE},
		{"other chain", "Bearer " + r.token("clerk", "bank-a", func(c *token.Claims) {
			c.Audience = token.Audience(ledger.Hash{1}, nodeID)
		}), assentv1.Code_CODE_TOKEN_AUDIENCE},
		{"unknown key", "Bearer " + r.token("stranger", "bank-a"), assentv1.Code_CODE_UNKNOWN_KEY},
		{"other member", "Bearer " + r.token("clerk", "bank-b"), assentv1.Code_CODE_UNKNOWN_KEY},
	}
	for _, c := range cases {
		req := connect.NewRequest(&assentv1.EvaluateRequest{Contract: "catalog", Function: "GetProduct", Args: []string{"p"}})
		if c.header != "" {
			req.Header().Set("Authorization", c.header)
		}
		_, err := r.ledger().Evaluate(t.Context(), req)
		want(t, c.name, err, c.want)
		if err != nil && len(c.header) > 60 && strings.Contains(err.Error(), c.header[20:60]) {
			t.Errorf("%s: the error repeats the token", c.name)
		}
	}
	req := with(good, &assentv1.EvaluateRequest{Contract: "a", Function: "b"})
	req.Header().Add("Authorization", "Bearer "+good)
	_, err := r.ledger().Evaluate(t.Context(), req)
	want(t, "two headers", err, assentv1.Code_CODE_TOKEN_INVALID)
	if strings.Contains(r.log.String(), good[:40]) {
		t.Error("the log holds a token")
	}
}

func TestARevokedKeyIsRefusedAtOnceDespiteItsCachedToken(t *testing.T) {
	r := newRig(t)
	r.w.register("bank-a", "clerk", record.RoleAuditor)
	tok := r.token("clerk", "bank-a")
	_, err := r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "before", err, 0)
	at := record.Millis(r.clock.now().UnixMilli())

	r.w.revoke("bank-a", "clerk", at+60_000) // rotation with overlap
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "during the overlap", err, 0)

	r.w.mu.Lock()
	r.w.blockTime = at + 60_000 // the ledger's time is ahead of this node's clock
	r.w.mu.Unlock()
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "by block time", err, assentv1.Code_CODE_KEY_REVOKED)

	r.w.mu.Lock()
	r.w.blockTime = 0 // an idle network: only the clock moves
	r.w.mu.Unlock()
	r.clock.advance(61 * time.Second)
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "by the clock", err, assentv1.Code_CODE_KEY_REVOKED)

	c := r.w.register("bank-a", "clerk", record.RoleAuditor)
	c.ValidUntil = at + 1
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "registration over", err, assentv1.Code_CODE_KEY_EXPIRED)
}

func TestACachedTokenExpires(t *testing.T) {
	r := newRig(t)
	r.w.register("bank-a", "clerk", record.RoleAuditor)
	tok := r.token("clerk", "bank-a")
	_, err := r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "fresh", err, 0)
	r.clock.advance(token.MaxLifetime)
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "after five minutes", err, assentv1.Code_CODE_TOKEN_EXPIRED)
}

func TestTokenCacheIsBounded(t *testing.T) {
	signer := signerOf("x")
	now := time.Unix(1_800_000_000, 0)
	cache := newTokens("aud", 8)
	allow := func() error { return nil }
	raw := func(at time.Time) string {
		s, err := token.Sign(signer, token.Claims{Org: "o", Audience: "aud", IssuedAt: at, Expires: at.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for range 20 {
		if _, err := cache.verify(raw(now), now, allow); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(cache.good); n > 8 {
		t.Errorf("%d tokens are kept, at most 8 are allowed", n)
	}
	later := now.Add(2 * time.Minute)
	if _, err := cache.verify(raw(later), later, allow); err != nil {
		t.Fatal(err)
	}
	if n := len(cache.good); n != 1 {
		t.Errorf("%d tokens are kept, of which all but one have expired", n)
	}
}

func TestManyCallsWithOneNewTokenCheckItOnce(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	cache := newTokens("aud", 8)
	s, err := token.Sign(signerOf("x"), token.Claims{Org: "o", Audience: "aud", IssuedAt: now, Expires: now.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	checked := 0
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := cache.verify(s, now, func() error { mu.Lock(); defer mu.Unlock(); checked++; return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if checked != 1 {
		t.Errorf("checked %d times", checked)
	}
}

// Every method, every kind of caller: who may call what.
func TestRoles(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Guests = []string{"guest"} })
	callers := map[string]string{"anonymous": "", "subject": r.token("subject", "")}
	for _, role := range []record.ClientRole{record.RoleAdmin, record.RoleOperator, record.RoleOfficer, record.RoleIntegration, record.RoleAuditor, record.RoleNode} {
		r.w.register("bank-a", string(role), role)
		callers[string(role)] = r.token(string(role), "bank-a")
	}
	r.w.register("bank-b", "stranger", record.RoleIntegration)
	r.w.register("guest", "guest", record.RoleIntegration)
	r.w.register("guest", "guest admin", record.RoleAdmin)
	r.w.register("bank-b", "strange admin", record.RoleAdmin)
	callers["stranger"], callers["guest"] = r.token("stranger", "bank-b"), r.token("guest", "guest")
	callers["guest admin"], callers["strange admin"] = r.token("guest admin", "guest"), r.token("strange admin", "bank-b")
	hostKey := ledger.HostKey{2, 5}
	r.w.propose("/ip4/10.0.0.1/tcp/1", hostKey, record.ProposalOpen)

	c, d, p := r.ledger(), assentv1connect.NewDeliveryServiceClient(r.http, r.url), assentv1connect.NewProviderServiceClient(r.http, r.url)
	n := assentv1connect.NewNetworkServiceClient(r.http, r.url)
	ctx := t.Context()
	id := "0x" + strings.Repeat("ab", 32)
	r.w.consents["c1"] = signerOf("subject").Address()
	r.w.requests[id] = "c1"
	all := []string{"admin", "operator", "officer", "integration", "auditor", "node", "stranger", "guest", "strange admin", "guest admin"}
	methods := []struct {
		name    string
		call    func(tok string) error
		allowed []string
	}{
		{"Submit", func(tok string) error {
			_, err := c.Submit(ctx, with(tok, &assentv1.SubmitRequest{Transaction: []byte{1}}))
			return err
		}, []string{"admin", "operator", "officer", "integration", "node", "guest", "guest admin"}},
		{"SubmitMany", func(tok string) error {
			_, err := r.submitMany(ctx, tok, &assentv1.SubmitManyRequest{Transactions: [][]byte{{1}}})
			return err
		}, []string{"admin", "operator", "officer", "integration", "node", "guest", "guest admin"}},
		{"GetOutcome", func(tok string) error {
			_, err := c.GetOutcome(ctx, with(tok, &assentv1.GetOutcomeRequest{TxId: id}))
			return err
		}, all},
		{"Evaluate", func(tok string) error {
			_, err := c.Evaluate(ctx, with(tok, &assentv1.EvaluateRequest{Contract: "catalog", Function: "GetProduct", Args: []string{"p"}}))
			return err
		}, append([]string{"subject"}, all...)},
		{"GetStatus", func(tok string) error {
			_, err := c.GetStatus(ctx, with(tok, &assentv1.GetStatusRequest{}))
			return err
		}, append([]string{"subject", "anonymous"}, all...)},
		{"GetGenesis", func(tok string) error {
			_, err := c.GetGenesis(ctx, with(tok, &assentv1.GetGenesisRequest{}))
			return err
		}, append([]string{"subject", "anonymous"}, all...)},
		{"GetBlock", func(tok string) error {
			_, err := c.GetBlock(ctx, with(tok, &assentv1.GetBlockRequest{}))
			return err
		}, all},
		{"GetHeader", func(tok string) error {
			_, err := c.GetHeader(ctx, with(tok, &assentv1.GetHeaderRequest{}))
			return err
		}, append([]string{"subject"}, all...)},
		{"ProveRecord", func(tok string) error {
			_, err := c.ProveRecord(ctx, with(tok, &assentv1.ProveRecordRequest{Key: "consent/rec/c1"}))
			return err
		}, append([]string{"subject"}, all...)},
		{"ProveReceipt", func(tok string) error {
			_, err := c.ProveReceipt(ctx, with(tok, &assentv1.ProveReceiptRequest{TxId: id}))
			return err
		}, append([]string{"subject"}, all...)},
		{"GetConfigProofs", func(tok string) error {
			_, err := c.GetConfigProofs(ctx, with(tok, &assentv1.GetConfigProofsRequest{}))
			return err
		}, append([]string{"subject"}, all...)},
		{"Events", func(tok string) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			s, err := c.Events(ctx, with(tok, &assentv1.EventsRequest{ConsentId: "c1"}))
			if err != nil {
				return err
			}
			defer s.Close()
			if !s.Receive() {
				return s.Err()
			}
			return nil
		}, append([]string{"subject"}, all...)},
		{"PutSealedPart", func(tok string) error {
			_, err := d.PutSealedPart(ctx, with(tok, &assentv1.PutSealedPartRequest{ConsentId: "c1", Version: 1, Recipient: "b", Sealed: []byte{1}}))
			return err
		}, []string{"operator", "integration", "guest"}},
		{"AwaitAnswer", func(tok string) error {
			_, err := d.AwaitAnswer(ctx, with(tok, &assentv1.AwaitAnswerRequest{RequestId: id}))
			return err
		}, []string{"operator", "integration", "guest"}},
		{"Bind", func(tok string) error {
			_, err := p.Bind(ctx, with(tok, &assentv1.BindRequest{Subject: "s", Wallet: "0x" + strings.Repeat("ab", 20)}))
			return err
		}, []string{"operator", "officer", "integration"}},
		{"BindConsent", func(tok string) error {
			_, err := p.BindConsent(ctx, with(tok, &assentv1.BindConsentRequest{Subject: "s", ConsentId: "c"}))
			return err
		}, []string{"operator", "officer", "integration"}},
		{"Unbind", func(tok string) error {
			_, err := p.Unbind(ctx, with(tok, &assentv1.UnbindRequest{Subject: "s"}))
			return err
		}, []string{"operator", "officer", "integration"}},
		{"CheckTemplate", func(tok string) error {
			_, err := p.CheckTemplate(ctx, with(tok, &assentv1.CheckTemplateRequest{TemplateJson: "{}"}))
			return err
		}, []string{"admin", "operator", "officer", "integration"}},
		{"BuildAnswers", func(tok string) error {
			s, err := p.BuildAnswers(ctx, with(tok, &assentv1.BuildAnswersRequest{TemplateId: "band", Epoch: 2}))
			if err != nil {
				return err
			}
			defer s.Close()
			for s.Receive() {
			}
			return s.Err()
		}, []string{"officer", "integration"}},
		{"TryTemplate", func(tok string) error {
			s, err := p.TryTemplate(ctx, with(tok, &assentv1.TryTemplateRequest{TemplateJson: "{}"}))
			if err != nil {
				return err
			}
			defer s.Close()
			for s.Receive() {
			}
			return s.Err()
		}, []string{"officer"}},
		{"GetPeers", func(tok string) error {
			_, err := n.GetPeers(ctx, with(tok, &assentv1.GetPeersRequest{}))
			return err
		}, []string{"admin", "operator", "officer", "integration", "auditor", "node", "guest admin"}},
		{"Probe", func(tok string) error {
			_, err := n.Probe(ctx, with(tok, &assentv1.ProbeRequest{Addr: "/ip4/10.0.0.1/tcp/1", HostKey: hostKey[:]}))
			return err
		}, []string{"admin", "operator", "guest admin"}},
	}
	if len(methods) != len(rules) {
		t.Errorf("%d methods are tested, %d exist", len(methods), len(rules))
	}
	for _, m := range methods {
		for name, tok := range callers {
			code := assentv1.Code_CODE_FORBIDDEN
			if name == "anonymous" {
				code = assentv1.Code_CODE_TOKEN_MISSING
			}
			for _, a := range m.allowed {
				if a == name {
					code = 0
				}
			}
			want(t, m.name+" by "+name, m.call(tok), code)
		}
	}
}

func TestAnswersDoNotDependOnTheTokenOfStatus(t *testing.T) {
	r := newRig(t)
	r.w.register("bank-a", "clerk", record.RoleAuditor)
	open, err := r.ledger().GetStatus(t.Context(), with("", &assentv1.GetStatusRequest{}))
	want(t, "anonymous", err, 0)
	full, err := r.ledger().GetStatus(t.Context(), with(r.token("clerk", "bank-a"), &assentv1.GetStatusRequest{}))
	want(t, "clerk", err, 0)
	if open.Msg.ChainId != full.Msg.ChainId || open.Msg.NodeId != nodeID || open.Msg.Member != "bank-a" {
		t.Errorf("anonymous status: %v", open.Msg)
	}
	if open.Msg.Height != 0 || open.Msg.Peers != 0 || open.Msg.Ready || open.Msg.Role != 0 {
		t.Errorf("anonymous status tells more than it must: %v", open.Msg)
	}
	if full.Msg.Height != 9 || !full.Msg.Ready || full.Msg.ViewAgeMs != 1500 || full.Msg.Role != assentv1.NodeRole_NODE_ROLE_VALIDATOR {
		t.Errorf("status: %v", full.Msg)
	}
	// What the open answer says is enough to make a token.
	if aud := open.Msg.ChainId + "/" + open.Msg.NodeId; aud != r.audience() {
		t.Errorf("audience from status is %s, want %s", aud, r.audience())
	}
}

func TestRates(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.ClientRate, c.Limits.ClientBurst, c.Limits.AnonymousRate = 2, 3, 1 })
	r.w.register("bank-a", "clerk", record.RoleAuditor)
	r.w.register("bank-a", "other", record.RoleAuditor)
	tok := r.token("clerk", "bank-a")
	for i := range 3 {
		_, err := r.evaluate(tok, "catalog", "GetProduct", "p")
		want(t, fmt.Sprint("call ", i), err, 0)
	}
	_, err := r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "one too many", err, assentv1.Code_CODE_RATE_LIMITED)
	if e := api.FromConnect(err); e.RetryAfter <= 0 || e.RetryAfter > 500*time.Millisecond || !e.Retryable() {
		t.Errorf("retry after %s", e.RetryAfter)
	}
	_, err = r.evaluate(r.token("other", "bank-a"), "catalog", "GetProduct", "p")
	want(t, "another client", err, 0)
	r.clock.advance(500 * time.Millisecond)
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "after waiting", err, 0)

	var last error
	for range 15 { // burst of strangers is ten times the rate
		_, last = r.ledger().GetGenesis(t.Context(), with("", &assentv1.GetGenesisRequest{}))
	}
	want(t, "stranger", last, assentv1.Code_CODE_RATE_LIMITED)
	if code, _, _ := r.post(r.http, "/nowhere", "", "application/json", "{}"); code != 429 {
		t.Errorf("an unknown path is answered %d under overload", code)
	}
	r.clock.advance(time.Second)
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "a known client beside the strangers", err, 0)
	_, err = r.evaluate(r.token("clerk", "bank-a"), "catalog", "GetProduct", "p")
	want(t, "a new token takes from the strangers' share", err, 0)
	_, err = r.evaluate(r.token("clerk", "bank-a"), "catalog", "GetProduct", "p")
	want(t, "tokens nobody has seen are not checked without limit", err, assentv1.Code_CODE_RATE_LIMITED)
}

func TestOpenCallsPerClientAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.ClientStreams = 2 })
	r.w.register("bank-a", "clerk", record.RoleAuditor)
	tok := r.token("clerk", "bank-a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 2 {
		s, err := r.ledger().Events(ctx, with(tok, &assentv1.EventsRequest{}))
		if err != nil || !s.Receive() {
			t.Fatal(err, s.Err())
		}
		defer s.Close()
	}
	_, err := r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "a third call", err, assentv1.Code_CODE_RATE_LIMITED)
	cancel()
	m := r.srv.clients.of(signerOf("clerk").Address(), r.clock.now())
	for m.open.Load() != 0 {
		if t.Context().Err() != nil {
			t.Fatal("ended streams still count")
		}
		runtime.Gosched()
	}
	_, err = r.evaluate(tok, "catalog", "GetProduct", "p")
	want(t, "after they ended", err, 0)
}

func TestMetersAreBounded(t *testing.T) {
	m := newMeters[int](1, 1, 16)
	now := time.Unix(1, 0)
	busy := m.of(-1, now)
	if err := busy.enter(1); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		now = now.Add(time.Millisecond)
		m.of(i, now)
	}
	if len(m.all) > 16 {
		t.Errorf("%d meters, at most 16 are allowed", len(m.all))
	}
	if m.of(-1, now) != busy {
		t.Error("a meter with open calls was forgotten")
	}
}

func TestNetworks(t *testing.T) {
	for in, want := range map[string]string{
		"10.1.2.3:99":             "10.1.2.3/32",
		"[::ffff:10.1.2.3]:99":    "10.1.2.3/32",
		"[2001:db8:1:2:3::4]:1":   "2001:db8:1:2::/64",
		"[fe80::1%eth0]:1":        "fe80::/64",
		"unix socket, or nothing": "invalid Prefix",
	} {
		if got := network(in); got.String() != want {
			t.Errorf("%s counts under %s, want %s", in, got, want)
		}
	}
	if network("x") != (netip.Prefix{}) {
		t.Error("unreadable addresses are not counted together")
	}
}
