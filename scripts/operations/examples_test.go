package operations

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api/openapi"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

var rewrite = flag.Bool("rewrite", false, "record the examples of node/api/openapi anew; run node/api/generate.sh afterwards")

const examplesFile = "../../node/api/openapi/examples.json"

// example is one method with a request that a running network answers.
type example struct {
	method  string // "LedgerService/Submit"
	member  string // whose node is asked
	role    sdk.ClientRole
	request map[string]any
}

// recorded is a call that was made and what it was answered.
type recorded struct {
	Request  any `json:"request"`
	Response any `json:"response"`
}

// testExamples makes every call of the description by plain HTTP, as curl would,
// and holds what is sent and answered against the committed examples and schemas.
// Then it sends the committed requests as they stand: none may be unreadable.
func testExamples(t *testing.T, w *world) {
	var doc document
	if err := json.Unmarshal(openapi.JSON, &doc); err != nil {
		t.Fatal(err)
	}
	fresh := make(map[string]recorded)
	for _, e := range w.examples(t) {
		status, body := w.post(t, e.member, w.bearer(t, e.member, e.role), e.method, encode(t, e.request))
		if status != http.StatusOK {
			t.Errorf("%s: %d %s", e.method, status, body)
			continue
		}
		fresh["assent.v1."+e.method] = recorded{decode(t, encode(t, e.request)), decode(t, body)}
	}
	fresh["assent.v1.LedgerService/Events"] = w.events(t)
	fresh["assent.v1.LedgerService/SubmitMany"] = w.together(t)
	fresh["assent.v1.ProviderService/BuildAnswers"] = w.built(t)
	fresh["assent.v1.ProviderService/TryTemplate"] = w.tried(t)
	if *rewrite {
		b, err := json.MarshalIndent(fresh, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(examplesFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for path, item := range doc.Paths {
		name := strings.TrimPrefix(path, "/")
		if item.Post == nil {
			continue // health
		}
		got, ok := fresh[name]
		if !ok {
			t.Errorf("%s is described and this test does not call it", name)
			continue
		}
		request, response := item.Post.RequestBody.media(t), item.Post.Responses["200"].media(t)
		compare(t, name+" request", request.Example, got.Request)
		compare(t, name+" response", response.Example, got.Response)
		for _, v := range []any{request.Example, got.Request} {
			doc.check(t, name+" request", request.Schema, v)
		}
		for _, v := range each(response.Example, got.Response) {
			doc.check(t, name+" response", response.Schema, v)
		}
		delete(fresh, name)
	}
	for name := range fresh {
		t.Errorf("%s is called and not described", name)
	}
	w.sendAsTheyStand(t, &doc)
}

// each flattens the lists of messages that stand for a stream.
func each(values ...any) []any {
	var out []any
	for _, v := range values {
		if list, ok := v.([]any); ok {
			out = append(out, list...)
		} else {
			out = append(out, v)
		}
	}
	return out
}

// sendAsTheyStand posts the committed examples to this network, which is another
// than the one they were recorded on.
func (w *world) sendAsTheyStand(t *testing.T, doc *document) {
	for _, e := range w.examples(t) {
		body := encode(t, doc.Paths["/assent.v1."+e.method].Post.RequestBody.media(t).Example)
		status, answer := w.post(t, e.member, w.bearer(t, e.member, e.role), e.method, body)
		if status == http.StatusOK {
			continue
		}
		var failed struct {
			Details []struct {
				Debug struct {
					Code   string `json:"code"`
					What   string `json:"what"`
					Remedy string `json:"remedy"`
				} `json:"debug"`
			} `json:"details"`
		}
		if err := json.Unmarshal(answer, &failed); err != nil || len(failed.Details) != 1 {
			t.Errorf("%s: %d %s", e.method, status, answer)
			continue
		}
		d := failed.Details[0].Debug
		if d.Code == "CODE_BAD_REQUEST" || d.Code == "CODE_INTERNAL" || d.Remedy == "" {
			t.Errorf("%s as it stands in the description: %s %s", e.method, d.Code, d.What)
		}
		doc.check(t, e.method+" failure", schema{Ref: "#/components/schemas/connect.error"}, decode(t, answer))
	}
}

// registration is a signed transaction that registers a further key.
func (w *world) registration(t *testing.T, tag byte) *ledger.Transaction {
	t.Helper()
	admin := w.signer(t, lender, "admin")
	arg, err := record.Encode(auditor(w, tag))
	if err != nil {
		t.Fatal(err)
	}
	from := time.Now().Add(-30 * time.Second)
	tx := ledger.NewTransaction(ledger.Payload{
		ChainID: w.net.Genesis().Hash(), Org: lender, Key: admin.Address(), Contract: "membership", Function: "RegisterClient", Args: [][]byte{arg},
		NotBefore: uint64(from.UnixMilli()), ValidUntil: uint64(from.Add(10 * time.Minute).UnixMilli()),
	})
	if err := tx.Sign(admin); err != nil {
		t.Fatal(err)
	}
	return tx
}

func auditor(w *world, tag byte) *sdk.ClientSpec {
	return &sdk.ClientSpec{Address: ledger.Address{tag, byte(len(w.secrets))}, Roles: []sdk.ClientRole{"auditor"}, Label: "yearly audit"}
}

// examples lists every unary method with a request for this network.
func (w *world) examples(t *testing.T) []example {
	tx, spec := w.registration(t, 0xab), auditor(w, 0xab)
	return []example{
		{"LedgerService/GetStatus", lender, "integration", map[string]any{}},
		{"LedgerService/GetGenesis", lender, "integration", map[string]any{}},
		{"LedgerService/Submit", lender, "admin", map[string]any{"transaction": tx.Encode(), "wait": "WAIT_COMMITTED", "timeoutMs": 20000}},
		{"LedgerService/GetOutcome", lender, "integration", map[string]any{"txId": tx.ID().Hex(), "waitMs": 1000}},
		{"LedgerService/ProveReceipt", lender, "integration", map[string]any{"txId": tx.ID().Hex(), "waitMs": 5000, "keys": []string{record.ClientKey(lender, spec.Address)}}},
		{"LedgerService/ProveRecord", lender, "integration", map[string]any{"key": record.ClientKey(lender, spec.Address), "waitMs": 5000}},
		{"LedgerService/Evaluate", lender, "integration", map[string]any{"contract": "catalog", "function": "GetProduct", "args": []string{string(product)}, "minHeight": "1", "waitMs": 5000}},
		{"LedgerService/GetHeader", lender, "integration", map[string]any{"height": "2"}},
		{"LedgerService/GetBlock", lender, "integration", map[string]any{"height": "2"}},
		{"LedgerService/GetConfigProofs", lender, "integration", map[string]any{"fromSeq": "1"}},
		{"NetworkService/GetPeers", lender, "operator", map[string]any{}},
		{"NetworkService/Probe", lender, "operator", map[string]any{"addr": w.net.First(bank).P2P, "hostKey": w.net.First(bank).Card.HostKey[:]}},
		{"DeliveryService/PutSealedPart", lender, "integration", map[string]any{"consentId": w.consent, "version": 1, "recipient": bank, "sealed": w.sealed}},
		{"DeliveryService/AwaitAnswer", lender, "integration", map[string]any{"requestId": w.request, "timeoutMs": 5000}},
		{"ProviderService/Bind", bank, "officer", map[string]any{"subject": people[1].identity, "wallet": strings.ToLower(w.wallet.Hex())}},
		{"ProviderService/BindConsent", bank, "officer", map[string]any{"consentId": w.consent, "subject": people[0].identity}},
		{"ProviderService/Unbind", bank, "officer", map[string]any{"subject": people[1].identity}},
		{"ProviderService/CheckTemplate", bank, "officer", map[string]any{"templateJson": strings.Replace(w.published, `late > 1`, `income > 1`, 1)}},
	}
}

// post sends a call as curl does: a JSON object and two headers.
func (w *world) post(t *testing.T, member, bearer, method string, body []byte) (int, []byte) {
	t.Helper()
	x := w.net.First(member)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+x.API+"/assent.v1."+method, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bearer)
	status, text := do(t, pinned(x), req)
	return status, []byte(text)
}

// events reads the first messages of a stream.
func (w *world) events(t *testing.T) recorded {
	t.Helper()
	request := map[string]any{"from": map[string]any{"height": "1"}, "contracts": []string{"access"}, "consentId": w.consent}
	return w.stream(t, lender, "LedgerService/Events", "integration", request, func(messages []any) bool { return len(messages) == 2 })
}

// together submits two transactions in one call.
func (w *world) together(t *testing.T) recorded {
	t.Helper()
	request := map[string]any{"transactions": [][]byte{w.registration(t, 0xcd).Encode(), w.registration(t, 0xce).Encode()}, "timeoutMs": 20000}
	return w.stream(t, lender, "LedgerService/SubmitMany", "admin", request, func(messages []any) bool {
		n := 0
		for _, m := range messages {
			results, _ := m.(map[string]any)["results"].([]any)
			n += len(results)
		}
		return n == 2
	})
}

// built works out the answers of the bank's next epoch.
func (w *world) built(t *testing.T) recorded {
	t.Helper()
	request := map[string]any{"templateId": "harbour-bank.late", "epoch": "2"}
	return w.stream(t, bank, "ProviderService/BuildAnswers", "officer", request, func(messages []any) bool {
		return len(messages) > 0 && messages[len(messages)-1].(map[string]any)["result"] != nil
	})
}

// tried runs the bank's template over its customers.
func (w *world) tried(t *testing.T) recorded {
	t.Helper()
	request := map[string]any{"templateJson": w.published, "k": "20"}
	return w.stream(t, bank, "ProviderService/TryTemplate", "officer", request, func(messages []any) bool {
		return len(messages) > 0 && messages[len(messages)-1].(map[string]any)["result"] != nil
	})
}

// stream makes a call of a member and reads messages until they are enough:
// each is a byte of flags and four of length, then JSON.
func (w *world) stream(t *testing.T, member, method string, role sdk.ClientRole, request any, enough func([]any) bool) recorded {
	t.Helper()
	x := w.net.First(member)
	frame := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...) }
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+x.API+"/assent.v1."+method, bytes.NewReader(frame(encode(t, request))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/connect+json")
	req.Header.Set("Authorization", "Bearer "+w.bearer(t, member, role))
	resp, err := pinned(x).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var messages []any
	for !enough(messages) {
		var head [5]byte
		if _, err := io.ReadFull(resp.Body, head[:]); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(resp.Body, body); err != nil || head[0] != 0 {
			t.Fatalf("%s: flags %x, %v, %s", method, head[0], err, body)
		}
		messages = append(messages, decode(t, body))
	}
	return recorded{decode(t, encode(t, request)), messages}
}

// pinned trusts the node's own TLS key and no other.
func pinned(x *testnet.Node) *http.Client {
	c := x.HTTPClient()
	c.Timeout = time.Minute
	return c
}

func do(t *testing.T, c *http.Client, req *http.Request) (int, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", req.URL, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		t.Fatalf("%s: %v", req.URL, err)
	}
	return resp.StatusCode, string(b)
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %.200s", err, b)
	}
	return v
}

// compare holds two values against each other: the same names, the same types.
func compare(t *testing.T, where string, want, got any) {
	t.Helper()
	if w, g := shape(want), shape(got); w != g {
		t.Errorf("%s: the description's example has the shape\n%s\nthis network has\n%s", where, w, g)
	}
}

// sometimes are fields that are left out when they are zero, which they may be.
var sometimes = []string{"index", "viewAgeMs", "pool", "view", "notReadyBecause", "rttUs", "lastError", "validator", "sinceMs"}

func shape(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if !slices.Contains(sometimes, k) {
				fmt.Fprintf(&b, "%s:%s ", k, shape(v[k]))
			}
		}
		return "{" + b.String() + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		return "[" + shape(v[0]) + "]"
	}
	return fmt.Sprintf("%T", v)
}
