package badinput

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/api"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// ask is a request as the lender sends it.
func ask(t *testing.T, c *consent) record.RequestSpec {
	t.Helper()
	key, err := answer.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return record.RequestSpec{
		AnswerKey: key.PublicKey().Bytes(), ConsentID: c.id, Purpose: record.CreditChecking, TemplateID: c.prepared.Terms.TemplateIDs[0],
		Params: record.MakeParamValues(map[string]string{"at_least": "5000"}),
	}
}

// request puts a request on the ledger and returns the decision, or the refusal.
func (w *world) request(t *testing.T, who string, spec *record.RequestSpec) (*record.Decision, *reply, *outcome) {
	t.Helper()
	p := w.as(who)
	x := w.nodes[p.org]
	r, o := x.submit(t, w.bearer(t, p, x.node), sign(t, p, w.payload(p, "access", "Request", encode(t, spec))).Encode())
	if o == nil || o.Code != "OK" {
		return nil, r, o
	}
	d, err := record.Load[record.Decision](o.Payload)
	if err != nil {
		t.Fatalf("decision: %v", err)
	}
	return d, r, o
}

// denied asks and wants a DENY with the code: a successful transaction, whose
// record stands on the ledger and tells nothing that the caller made up.
func (w *world) denied(t *testing.T, spec *record.RequestSpec, code string) {
	t.Helper()
	d, r, o := w.request(t, "lender/integration", spec)
	if d == nil {
		t.Errorf("refused: %d %s %+v, want DENY %s", r.status, r.message, o, code)
		return
	}
	if d.Decision != record.Deny || string(d.Code) != code {
		t.Errorf("decision %s %s, want DENY %s", d.Decision, d.Code, code)
	}
	if e := api.Lookup(api.FromLedger(code)); api.Name(e.Code) != code || e.Remedy == "" {
		t.Errorf("%s has no remedy", code)
	}
	height, err := strconv.ParseUint(o.Height, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	b := w.read(t, overseer+"/auditor", height, "access", "GetRequest", string(d.RequestID))
	kept, err := record.Load[record.Request](b)
	if err != nil {
		t.Errorf("the denial is not on the ledger: %v", err)
		return
	}
	if len(kept.Params) != 0 || kept.TemplateID != "" && kept.TemplateID != band {
		t.Errorf("the denial records what the caller made up: %s", b)
	}
}

// testRequests: uses that a consent does not allow.
func testRequests(t *testing.T, w *world) {
	// First what has to run out while the rest is going on.
	short := w.granted(t, card, func(d *sdk.ConsentDraft) { d.Expires = time.Now().Add(4 * time.Second) })
	unanswered := w.agree(t, card, func(d *sdk.ConsentDraft) { d.Expires = time.Now().Add(4 * time.Second) })
	long := w.granted(t, card, nil)

	for name, c := range map[string]struct {
		change func(*record.RequestSpec)
		code   string
	}{
		"parameter outside the list": {func(s *record.RequestSpec) { s.Params = record.MakeParamValues(map[string]string{"at_least": "5001"}) }, "PARAMETER_NOT_ALLOWED"},
		"parameter missing":          {func(s *record.RequestSpec) { s.Params = nil }, "PARAMETER_NOT_ALLOWED"},
		"parameter too many": {func(s *record.RequestSpec) {
			s.Params = record.MakeParamValues(map[string]string{"at_least": "5000", "at_most": "9000"})
		}, "PARAMETER_NOT_ALLOWED"},
		"purpose not agreed":   {func(s *record.RequestSpec) { s.Purpose = record.CreditScoreEvaluation }, "PURPOSE_NOT_ALLOWED"},
		"purpose of others":    {func(s *record.RequestSpec) { s.Purpose = record.FraudManagement }, "PURPOSE_NOT_ALLOWED"},
		"template not agreed":  {func(s *record.RequestSpec) { s.TemplateID = "bank.slow.band" }, "TEMPLATE_NOT_ALLOWED"},
		"template of a person": {func(s *record.RequestSpec) { s.TemplateID = "900100199001010017" }, "TEMPLATE_NOT_ALLOWED"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := ask(t, long)
			c.change(&spec)
			w.denied(t, &spec, c.code)
		})
	}
	t.Run("awaiting", func(t *testing.T) {
		spec := ask(t, unanswered)
		w.denied(t, &spec, "CONSENT_NOT_AUTHORISED")
	})
	t.Run("not yet valid", func(t *testing.T) {
		spec := ask(t, w.granted(t, card, func(d *sdk.ConsentDraft) { d.ValidFrom = time.Now().Add(30 * time.Minute) }))
		w.denied(t, &spec, "NOT_YET_VALID")
	})
	t.Run("used up", func(t *testing.T) {
		c := w.granted(t, card, func(d *sdk.ConsentDraft) { d.MaxUses = 1 })
		spec := ask(t, c)
		if d, r, o := w.request(t, "lender/integration", &spec); d == nil || d.Decision != record.Permit {
			t.Fatalf("the first use: %+v %s %+v", d, r.message, o)
		}
		spec = ask(t, c)
		w.denied(t, &spec, "USES_EXHAUSTED")
	})
	t.Run("too often in a day", func(t *testing.T) {
		c := w.granted(t, card, func(d *sdk.ConsentDraft) { d.MaxUses, d.PerDay = 5, 1 })
		spec := ask(t, c)
		if d, r, o := w.request(t, "lender/integration", &spec); d == nil || d.Decision != record.Permit {
			t.Fatalf("the first use: %+v %s %+v", d, r.message, o)
		}
		spec = ask(t, c)
		w.denied(t, &spec, "FREQUENCY_EXCEEDED")
	})
	t.Run("revoked", func(t *testing.T) { testRevoked(t, w) })
	t.Run("rejected", func(t *testing.T) { testRejected(t, w) })
	t.Run("refused", func(t *testing.T) { testRefusedRequests(t, w, long) })
	t.Run("consents", func(t *testing.T) { testConsents(t, w, long) })
	t.Run("expired", func(t *testing.T) {
		end := time.NewTimer(time.Until(time.UnixMilli(max(short.prepared.Terms.ExpirationDateTime, unanswered.prepared.Terms.ExpirationDateTime) + 100)))
		defer end.Stop()
		<-end.C
		for _, c := range []*consent{short, unanswered} {
			spec := ask(t, c)
			w.denied(t, &spec, "CONSENT_EXPIRED")
		}
		_, err := w.client(t, bank, "integration").Consents().Authorise(t.Context(), unanswered.id, record.ProviderAuthenticated, record.Evidence{EvidenceHash: sdk.Hash{1}})
		if sdk.CodeOf(err) != "CONSENT_EXPIRED" {
			t.Errorf("authorise what has run out: %v", err)
		}
	})
	w.commits(t)
}

func testRevoked(t *testing.T, w *world) {
	c := w.granted(t, card, nil)
	lend := w.client(t, lender, "integration")
	no, err := w.wallet.Revoke(c.id, record.ReasonWithdrawn)
	if err != nil {
		t.Fatal(err)
	}
	// A signature of another consent's key, and one that was tampered with.
	other := w.granted(t, card, nil)
	wrong, err := w.wallet.Revoke(other.id, record.ReasonWithdrawn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lend.Consents().Revoke(t.Context(), c.id, wrong.Reason, wrong.Evidence()); sdk.CodeOf(err) != "BAD_SIGNATURE" {
		t.Errorf("with another consent's signature: %v", err)
	}
	e := no.Evidence()
	e.Signature = append(record.Blob(nil), e.Signature...)
	highSBlob(e.Signature)
	if _, err := lend.Consents().Revoke(t.Context(), c.id, no.Reason, e); sdk.CodeOf(err) != "BAD_SIGNATURE" {
		t.Errorf("with a high s: %v", err)
	}
	if _, err := lend.Consents().Revoke(t.Context(), c.id, no.Reason, record.Evidence{EvidenceHash: sdk.Hash{1}}); sdk.CodeOf(err) != "METHOD_NOT_ALLOWED" {
		t.Errorf("in another way than it was given: %v", err)
	}
	if _, err := lend.Consents().Revoke(t.Context(), c.id, no.Reason, no.Evidence()); err != nil {
		t.Fatal(err)
	}
	spec := ask(t, c)
	w.denied(t, &spec, "CONSENT_REVOKED")
	if _, err := lend.Consents().Revoke(t.Context(), c.id, no.Reason, no.Evidence()); sdk.CodeOf(err) != "WRONG_STATE" {
		t.Errorf("revoke twice: %v", err)
	}
}

// highSBlob is highS for a signature as wallets write it, with v of 27 or 28.
func highSBlob(b []byte) {
	s := ledger.Signature(b)
	s[64] -= 27
	highS(&s)
	s[64] += 27
	copy(b, s[:])
}

func testRejected(t *testing.T, w *world) {
	c := w.agree(t, card, nil)
	if _, err := w.client(t, bank, "integration").Consents().Reject(t.Context(), c.id, record.Evidence{EvidenceHash: sdk.Hash{1}}); err != nil {
		t.Fatal(err)
	}
	spec := ask(t, c)
	w.denied(t, &spec, "CONSENT_REJECTED")
	if _, err := w.client(t, bank, "integration").Consents().Authorise(t.Context(), c.id, record.ProviderAuthenticated, record.Evidence{EvidenceHash: sdk.Hash{1}}); sdk.CodeOf(err) != "WRONG_STATE" {
		t.Errorf("authorise what was rejected: %v", err)
	}
}

// testRefusedRequests: what does not even leave a record, because the caller has
// no business with the consent or the request has no sense.
func testRefusedRequests(t *testing.T, w *world, c *consent) {
	good := ask(t, c)
	for name, x := range map[string]struct {
		who    string
		change func(*record.RequestSpec)
		code   string
		says   string
	}{
		"unknown consent":   {"lender/integration", func(s *record.RequestSpec) { s.ConsentID = noConsent }, "CONSENT_UNKNOWN", ""},
		"another lender":    {"rival/integration", nil, "FORBIDDEN", "not the consent's DATA_CONSUMER"},
		"the bank itself":   {"bank/integration", nil, "FORBIDDEN", "not the consent's DATA_CONSUMER"},
		"role that may not": {"lender/officer", nil, "FORBIDDEN", "none of the roles [integration]"},
		"key of zeros":      {"lender/integration", func(s *record.RequestSpec) { s.AnswerKey = make([]byte, 32) }, "BAD_REQUEST", "answerKey: zero"},
		"deadline too soon": {"lender/integration", func(s *record.RequestSpec) { s.DeadlineMs = 1 }, "BAD_REQUEST", "deadlineMs: out of range"},
		"consent id of two": {"lender/integration", func(s *record.RequestSpec) { s.ConsentID = "two" }, "BAD_REQUEST", ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := good
			if x.change != nil {
				x.change(&spec)
			}
			text, err := json.Marshal(struct{}{})
			if b, e := record.Encode(&spec); e == nil {
				text, err = b, nil
			}
			if err != nil {
				t.Fatal(err)
			}
			p := w.as(x.who)
			n := w.nodes[p.org]
			r, o := n.submit(t, w.bearer(t, p, n.node), sign(t, p, w.payload(p, "access", "Request", string(text))).Encode())
			refused(t, r, o, x.code, x.says)
		})
	}
	// Receipts are the provider's, of permitted requests, and one each.
	receipt := func(who string, spec record.ReceiptSpec) (*reply, *outcome) {
		p := w.as(who)
		n := w.nodes[p.org]
		return n.submit(t, w.bearer(t, p, n.node), sign(t, p, w.payload(p, "access", "Receipt", encode(t, &spec))).Encode())
	}
	d, r, o := w.request(t, "lender/integration", &good)
	if d == nil || d.Decision != record.Permit {
		t.Fatalf("a good request: %+v %s %+v", d, r.message, o)
	}
	r, o = receipt("rival/integration", record.ReceiptSpec{RequestID: d.RequestID, Outcome: record.Overdue})
	refused(t, r, o, "FORBIDDEN", "receipts are the provider's")
	r, o = receipt("lender/integration", record.ReceiptSpec{RequestID: d.RequestID, Outcome: record.Overdue})
	if o == nil || o.Code != "WRONG_STATE" && o.Code != "ALREADY_EXISTS" {
		t.Errorf("OVERDUE before the deadline: %d %s %+v", r.status, r.message, o)
	}
	r, o = receipt("bank/integration", record.ReceiptSpec{RequestID: record.NewRequestID(ledger.Hash{1}), Outcome: record.Overdue})
	refused(t, r, o, "NOT_FOUND", "request")
}

// testConsents: terms that could never be used as they read.
func testConsents(t *testing.T, w *world, c *consent) {
	p := w.as("lender/integration")
	x := w.nodes[lender]
	for name, k := range map[string]struct {
		who    string
		change func(*record.ConsentTerms)
		code   string
		says   string
	}{
		"id is taken":           {"lender/integration", func(*record.ConsentTerms) {}, "ALREADY_EXISTS", "consent id is taken"},
		"of another lender":     {"rival/integration", fresh, "FORBIDDEN", "not the DATA_CONSUMER party"},
		"ended before it began": {"lender/integration", func(v *record.ConsentTerms) { fresh(v); v.ExpirationDateTime = v.ValidFrom - 1 }, "BAD_REQUEST", "expirationDateTime"},
		"already past":          {"lender/integration", func(v *record.ConsentTerms) { fresh(v); v.ValidFrom, v.ExpirationDateTime = 1, 2 }, "CONSENT_EXPIRED", "already past"},
		"unknown notice":        {"lender/integration", func(v *record.ConsentTerms) { fresh(v); v.NoticeHash[0] ^= 1 }, "NOT_FOUND", "notice"},
		"unknown product":       {"lender/integration", func(v *record.ConsentTerms) { fresh(v); v.ProductID = "bank.none" }, "NOT_FOUND", "product"},
		"purpose not accepted":  {"lender/integration", func(v *record.ConsentTerms) { fresh(v); v.Purposes = []record.Purpose{record.FraudManagement} }, "PURPOSE_NOT_ALLOWED", "product does not accept"},
		"question of others":    {"lender/integration", func(v *record.ConsentTerms) { fresh(v); v.TemplateIDs = []record.TemplateID{"bank.slow.band"} }, "TEMPLATE_NOT_ALLOWED", "template 0"},
		"no use at all":         {"lender/integration", func(v *record.ConsentTerms) { fresh(v); v.AccessLimits.MaxUses = 0 }, "BAD_REQUEST", ""},
	} {
		t.Run(name, func(t *testing.T) {
			terms := c.prepared.Terms
			k.change(&terms)
			b, err := record.Encode(&terms)
			if err != nil {
				t.Fatal(err)
			}
			p, x := p, x
			if k.who != "lender/integration" {
				p = w.as(k.who)
				x = w.nodes[p.org]
			}
			r, o := x.submit(t, w.bearer(t, p, x.node), sign(t, p, w.payload(p, "consent", "Create", string(b))).Encode())
			refused(t, r, o, k.code, k.says)
		})
	}
}

func fresh(v *record.ConsentTerms) {
	v.ConsentID = record.NewConsentID([16]byte{0xfe, byte(time.Now().UnixNano()), byte(time.Now().UnixNano() >> 8)})
}
