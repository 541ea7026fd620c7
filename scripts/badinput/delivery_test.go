package badinput

import (
	"net/http"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// testDelivery: sealed parts and answers that are somebody else's, and services
// that a node does not offer.
func testDelivery(t *testing.T, w *world) {
	c := w.granted(t, card, nil)
	other := w.granted(t, card, nil)
	good := func() map[string]any {
		return map[string]any{"consentId": c.id, "version": 1, "recipient": bank, "sealed": c.prepared.Sealed}
	}
	with := func(changes map[string]any) map[string]any {
		m := good()
		for k, v := range changes {
			m[k] = v
		}
		return m
	}
	spoilt := append([]byte(nil), c.prepared.Sealed...)
	spoilt[len(spoilt)-1] ^= 1
	bad := func(says ...string) refusal { return refusal{400, "invalid_argument", "BAD_REQUEST", says} }
	for name, k := range map[string]struct {
		who  string
		body map[string]any
		want refusal
	}{
		"by another lender":       {"rival/integration", good(), refusal{403, "permission_denied", "FORBIDDEN", []string{"no party of consent"}}},
		"by an officer":           {"lender/officer", good(), refusal{403, "permission_denied", "FORBIDDEN", []string{"is for the roles integration, operator"}}},
		"of a consent unknown":    {"lender/integration", with(map[string]any{"consentId": noConsent}), refusal{404, "not_found", "NOT_FOUND", []string{"not on the ledger of this node yet"}}},
		"of another consent":      {"lender/integration", with(map[string]any{"sealed": other.prepared.Sealed}), bad("another network, consent or recipient")},
		"for a stranger":          {"lender/integration", with(map[string]any{"recipient": rival}), refusal{404, "not_found", "NOT_FOUND", []string{`recipient "rival" is no party`}}},
		"for the lender itself":   {"lender/integration", with(map[string]any{"recipient": lender}), bad("recipient")},
		"without a version":       {"lender/integration", with(map[string]any{"version": 0}), bad("version is missing: the first is 1")},
		"of another version":      {"lender/integration", with(map[string]any{"version": 2}), bad("version")},
		"garbage":                 {"lender/integration", with(map[string]any{"sealed": []byte("garbage")}), bad()},
		"empty":                   {"lender/integration", with(map[string]any{"sealed": []byte{}}), bad("sealed is missing")},
		"too large":               {"lender/integration", with(map[string]any{"sealed": make([]byte, 40_000)}), bad("sealed has 40000 bytes, want 1 to 32768")},
		"another one than before": {"lender/integration", with(map[string]any{"sealed": spoilt}), refusal{409, "already_exists", "ALREADY_EXISTS", []string{"another sealed part"}}},
	} {
		t.Run("part "+name, func(t *testing.T) {
			p := w.as(k.who)
			x := w.nodes[p.org]
			k.want.check(t, x.call(t, "DeliveryService/PutSealedPart", w.bearer(t, p, x.node), k.body))
		})
	}
	t.Run("part that says another thing inside", func(t *testing.T) { testPartInside(t, w) })
	t.Run("answers", func(t *testing.T) { testAnswers(t, w, c) })
	t.Run("services of a bank", func(t *testing.T) { testServices(t, w) })
	w.commits(t)
}

// testPartInside: the envelope is right, what is sealed in it is about another
// customer than the consent commits to. The bank answers about neither, and in a
// way that does not tell why.
func testPartInside(t *testing.T, w *world) {
	c := w.prepare(t, card, nil)
	lend := w.client(t, lender, "integration")
	if _, err := lend.Invoke(t.Context(), "consent", "Create", encode(t, &c.prepared.Terms)); err != nil {
		t.Fatal(err)
	}
	part := c.prepared.Part
	part.SubjectID = customers[2][0]
	key, err := lend.DataKeys().Usable(t.Context(), bank)
	if err != nil {
		t.Fatal(err)
	}
	to, err := answer.ParsePublicKey(key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := answer.SealPart(to, bank, string(key.KeyID), &part)
	if err != nil {
		t.Fatal(err)
	}
	p := w.as("lender/integration")
	x := w.nodes[lender]
	r := x.call(t, "DeliveryService/PutSealedPart", w.bearer(t, p, x.node), map[string]any{"consentId": c.id, "version": 1, "recipient": bank, "sealed": sealed.Encode()})
	if r.status != http.StatusOK {
		t.Fatalf("the lender's own node, which cannot read it: %d %s", r.status, r.message)
	}
	w.authorise(t, c)
	got, err := lend.Query(t.Context(), sdk.QueryRequest{
		Consent: c.id, Template: band, Purpose: record.CreditChecking, Params: map[string]string{"at_least": "10000"},
	})
	if err != nil || got.Answer == nil || got.Answer.Value != "NO_RECORD" {
		t.Errorf("answer %+v, %v, want NO_RECORD", got, err)
	}
}

func testAnswers(t *testing.T, w *world, c *consent) {
	spec := ask(t, c)
	d, r, o := w.request(t, "lender/integration", &spec)
	if d == nil || d.Decision != record.Permit {
		t.Fatalf("request: %+v %s %+v", d, r.message, o)
	}
	unknown := string(record.NewRequestID(ledger.Hash{7}))
	for name, k := range map[string]struct {
		who, id string
		wait    int
		want    refusal
	}{
		"by another member":   {"rival/integration", string(d.RequestID), 2000, refusal{403, "permission_denied", "FORBIDDEN", []string{"made by another member"}}},
		"by the provider":     {"bank/integration", string(d.RequestID), 2000, refusal{403, "permission_denied", "FORBIDDEN", []string{"made by another member"}}},
		"by an auditor":       {"lender/auditor", string(d.RequestID), 0, refusal{403, "permission_denied", "FORBIDDEN", []string{"is for the roles"}}},
		"to nothing":          {"lender/integration", unknown, 0, refusal{404, "not_found", "NOT_FOUND", []string{"is not on the ledger"}}},
		"to a malformed id":   {"lender/integration", "0x12", 0, refusal{400, "invalid_argument", "BAD_REQUEST", []string{"request_id must be"}}},
		"waiting for an hour": {"lender/integration", unknown, 3_600_000, refusal{400, "invalid_argument", "BAD_REQUEST", []string{"timeout_ms is 3600000, at most 60000"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.as(k.who)
			x := w.nodes[p.org]
			k.want.check(t, x.call(t, "DeliveryService/AwaitAnswer", w.bearer(t, p, x.node), map[string]any{"requestId": k.id, "timeoutMs": k.wait}))
		})
	}
	p := w.as("lender/integration")
	x := w.nodes[lender]
	if r := x.call(t, "DeliveryService/AwaitAnswer", w.bearer(t, p, x.node), map[string]any{"requestId": d.RequestID, "timeoutMs": 15000}); r.status != http.StatusOK {
		t.Errorf("the lender itself: %d %s", r.status, r.message)
	}
}

// testServices: the bank's session with its own node, asked of the wrong node or
// in the wrong way. No answer repeats the customer's identifier.
func testServices(t *testing.T, w *world) {
	const address = "0x00000000000000000000000000000000000000ab"
	subject := customers[1][0]
	for name, k := range map[string]struct {
		who, method string
		body        map[string]any
		want        refusal
	}{
		"of a lender's node":    {"lender/integration", "Bind", map[string]any{"subject": subject, "wallet": address}, refusal{501, "unimplemented", "NOT_SERVED", nil}},
		"check on it":           {"lender/integration", "CheckTemplate", map[string]any{"templateJson": "{}"}, refusal{501, "unimplemented", "NOT_SERVED", nil}},
		"by an auditor":         {"bank/auditor", "Bind", map[string]any{"subject": subject, "wallet": address}, refusal{403, "permission_denied", "FORBIDDEN", []string{"is for the roles"}}},
		"no subject":            {"bank/officer", "Bind", map[string]any{"wallet": address}, refusal{400, "invalid_argument", "BAD_REQUEST", []string{"subject is missing"}}},
		"subject with a line":   {"bank/officer", "Bind", map[string]any{"subject": subject + "\n", "wallet": address}, refusal{400, "invalid_argument", "BAD_REQUEST", nil}},
		"subject too long":      {"bank/officer", "Bind", map[string]any{"subject": strings.Repeat(subject, 20), "wallet": address}, refusal{400, "invalid_argument", "BAD_REQUEST", []string{"subject has 360 bytes"}}},
		"no wallet":             {"bank/officer", "Bind", map[string]any{"subject": subject}, refusal{400, "invalid_argument", "BAD_REQUEST", []string{"wallet must be 0x and 40"}}},
		"wallet in capitals":    {"bank/officer", "Bind", map[string]any{"subject": subject, "wallet": strings.ToUpper(address)}, refusal{400, "invalid_argument", "BAD_REQUEST", []string{"wallet must be"}}},
		"check of no template":  {"bank/officer", "CheckTemplate", map[string]any{"templateJson": "{}"}, refusal{400, "invalid_argument", "BAD_REQUEST", []string{"template:"}}},
		"by another's officer":  {"lender/officer", "Unbind", map[string]any{"subject": subject}, refusal{501, "unimplemented", "NOT_SERVED", nil}},
		"check of what is huge": {"bank/officer", "CheckTemplate", map[string]any{"templateJson": strings.Repeat("x", 70_000)}, refusal{400, "invalid_argument", "BAD_REQUEST", []string{"template_json has 70000 bytes"}}},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.as(k.who)
			x := w.nodes[p.org]
			k.want.check(t, x.call(t, "ProviderService/"+k.method, w.bearer(t, p, x.node), k.body), subject)
		})
	}
}
