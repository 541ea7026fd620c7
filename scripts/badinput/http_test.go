package badinput

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// testHTTP: what does not even become a call.
func testHTTP(t *testing.T, w *world) {
	x := w.nodes[lender]
	p := w.as("lender/integration")
	bearer := w.bearer(t, p, x.node)
	const submit = "LedgerService/Submit"
	request := func(method, path, contentType, body string) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+x.node.API+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		return req
	}
	const json = "application/json"
	gzip := request(http.MethodPost, service+submit, json, "{}")
	gzip.Header.Set("Content-Encoding", "gzip")
	for name, c := range map[string]struct {
		req  *http.Request
		want refusal
	}{
		"body is no JSON":             {request(http.MethodPost, service+submit, json, "{"), refusal{400, "invalid_argument", "", []string{"unmarshal"}}},
		"body is empty":               {request(http.MethodPost, service+submit, json, ""), refusal{400, "invalid_argument", "", nil}},
		"field of another type":       {request(http.MethodPost, service+submit, json, `{"transaction":7}`), refusal{400, "invalid_argument", "", []string{"transaction"}}},
		"bytes not in base64":         {request(http.MethodPost, service+submit, json, `{"transaction":"%%%"}`), refusal{400, "invalid_argument", "", []string{"transaction"}}},
		"field twice":                 {request(http.MethodPost, service+submit, json, `{"wait":1,"wait":2}`), refusal{400, "invalid_argument", "", []string{"wait"}}},
		"no transaction":              {request(http.MethodPost, service+submit, json, `{}`), refusal{400, "invalid_argument", "BAD_REQUEST", []string{"transaction is missing"}}},
		"transaction too large":       {request(http.MethodPost, service+submit, json, `{"transaction":"`+strings.Repeat("AAAA", 87_382)+`"}`), refusal{400, "invalid_argument", "BAD_REQUEST", []string{"transaction has 262146 bytes, want 1 to 262144"}}},
		"message too large":           {request(http.MethodPost, service+submit, json, `{"transaction":"`+strings.Repeat("A", 600_000)+`"}`), refusal{429, "resource_exhausted", "TOO_LARGE", []string{"at most 524288 are allowed"}}},
		"waits too long":              {request(http.MethodPost, service+submit, json, `{"transaction":"AAAA","wait":"WAIT_COMMITTED","timeoutMs":60001}`), refusal{400, "invalid_argument", "BAD_REQUEST", []string{"timeout_ms is 60001, at most 60000"}}},
		"compressed":                  {gzip, refusal{501, "unimplemented", "", []string{"gzip"}}},
		"content type of something":   {request(http.MethodPost, service+submit, "text/csv", "a,b"), refusal{415, "", "", []string{"BAD_REQUEST", `Send POST with a JSON object as the body and the header "Content-Type: application/json"`}}},
		"what curl -d sends":          {request(http.MethodPost, service+submit, "application/x-www-form-urlencoded", "{}"), refusal{415, "", "", []string{`"Content-Type: application/json"`}}},
		"GET of what changes things":  {request(http.MethodGet, service+submit, json, ""), refusal{405, "", "", []string{"Send POST"}}},
		"GET of what only reads":      {request(http.MethodGet, service+"LedgerService/GetStatus", "", ""), refusal{405, "", "", []string{"Send POST"}}},
		"unknown method":              {request(http.MethodPost, service+"LedgerService/Sumbit", json, "{}"), refusal{501, "unimplemented", "UNKNOWN_METHOD", []string{"no such path"}}},
		"unknown service":             {request(http.MethodPost, "/assent.v2.LedgerService/Submit", json, "{}"), refusal{501, "unimplemented", "UNKNOWN_METHOD", nil}},
		"a browser looking around":    {request(http.MethodGet, "/wp-login.php", "", ""), refusal{501, "unimplemented", "UNKNOWN_METHOD", []string{"no such path"}}},
		"path that climbs":            {request(http.MethodGet, "/../../etc/passwd", "", ""), refusal{501, "unimplemented", "UNKNOWN_METHOD", []string{"no such path"}}},
		"read call for a huge height": {request(http.MethodPost, service+"LedgerService/GetBlock", json, `{"height":"18446744073709551615"}`), refusal{404, "not_found", "NOT_FOUND", []string{"above"}}},
		"height that is no number":    {request(http.MethodPost, service+"LedgerService/GetBlock", json, `{"height":"-1"}`), refusal{400, "invalid_argument", "", []string{"height"}}},
		"checkpoint beyond the chain": {request(http.MethodPost, service+"LedgerService/ProveRecord", json, `{"key":"membership/member/bank","minHeight":"999999999"}`), refusal{503, "unavailable", "NOT_CERTIFIED", nil}},
		"key of no contract":          {request(http.MethodPost, service+"LedgerService/ProveRecord", json, `{"key":"nothing"}`), refusal{400, "invalid_argument", "BAD_REQUEST", []string{`key must be "<contract>/<rest>"`}}},
		"proof of a row not provable": {request(http.MethodPost, service+"LedgerService/ProveRecord", json, `{"key":"access/ix/party/bank"}`), refusal{400, "invalid_argument", "BAD_REQUEST", []string{"no record"}}},
		"outcome of a malformed id":   {request(http.MethodPost, service+"LedgerService/GetOutcome", json, `{"txId":"0xABCD"}`), refusal{400, "invalid_argument", "BAD_REQUEST", []string{"tx_id must be 0x and 64 lower-case hex digits"}}},
		"outcome of nothing":          {request(http.MethodPost, service+"LedgerService/GetOutcome", json, `{"txId":"0x`+strings.Repeat("0", 64)+`"}`), refusal{404, "not_found", "NOT_COMMITTED", nil}},
		"receipt of nothing":          {request(http.MethodPost, service+"LedgerService/ProveReceipt", json, `{"txId":"0x`+strings.Repeat("0", 64)+`"}`), refusal{404, "not_found", "NOT_COMMITTED", []string{"in no block"}}},
	} {
		t.Run(name, func(t *testing.T) { c.want.check(t, x.do(t, c.req), bearer) })
	}
	t.Run("pages", func(t *testing.T) { testPages(t, x, bearer) })
	t.Run("headers too large", func(t *testing.T) {
		req := request(http.MethodPost, service+submit, json, "{}")
		req.Header.Set("X-Filler", strings.Repeat("x", 64<<10))
		resp, err := x.http.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("status %d, want 431 or a closed connection", resp.StatusCode)
			}
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		resp, err := http.Post("http://"+x.node.API+service+submit, json, bytes.NewReader([]byte("{}")))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d, want 400", resp.StatusCode)
		}
	})
	w.commits(t)
}
