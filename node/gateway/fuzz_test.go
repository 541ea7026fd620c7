package gateway

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/token"
)

// An id has one text: what is accepted is written back the same.
func FuzzIDs(f *testing.F) {
	f.Add("0x" + strings.Repeat("ab", 32))
	f.Add("0X" + strings.Repeat("AB", 32))
	f.Add("0x" + strings.Repeat("ab", 20))
	f.Fuzz(func(t *testing.T, s string) {
		var a, b form
		if h := a.hash("id", s); a.err == nil && hex0x(h[:]) != s {
			t.Errorf("hash %q is written back as %s", s, hex0x(h[:]))
		}
		if x := b.address("id", s); b.err == nil && hex0x(x[:]) != s {
			t.Errorf("address %q is written back as %s", s, hex0x(x[:]))
		}
		for _, err := range []error{a.err, b.err} {
			if err != nil && (api.CodeOf(err) != assentv1.Code_CODE_BAD_REQUEST || len(s) > 8 && strings.Contains(err.Error(), s)) {
				t.Errorf("refused with %v", err)
			}
		}
	})
}

func FuzzBearer(f *testing.F) {
	f.Add("Bearer a.b.c")
	f.Add("bearer  x")
	f.Add("Basic x")
	f.Fuzz(func(t *testing.T, h string) {
		got, err := bearerOf(http.Header{"Authorization": {h}})
		if err == nil && (got == "" || len(got) > token.MaxBytes || !strings.HasSuffix(h, got)) {
			t.Errorf("%q gives %q", h, got)
		}
		if err != nil && api.CodeOf(err) != assentv1.Code_CODE_TOKEN_INVALID {
			t.Error(err)
		}
	})
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte(`{"consentId":"c","parties":[{"partyId":"p"}]}`), "c", "p")
	f.Add([]byte(`{"parties":{}}`), "", "p")
	f.Fuzz(func(t *testing.T, payload []byte, consent, party string) {
		x := filter{consent: consent, party: party}
		e := &Event{Payload: payload}
		if x.match(e) && (consent != "" || party != "") {
			wider := filter{consent: consent}
			if !wider.match(e) {
				t.Error("a filter that asks for less lets less through")
			}
		}
	})
}

// FuzzCalls sends what somebody with a registered key could send to each method: the
// server answers with a code, and goes on.
func FuzzCalls(f *testing.F) {
	paths := []string{
		"DeliveryService/PutSealedPart", "LedgerService/Submit", "LedgerService/GetOutcome", "LedgerService/Evaluate", "LedgerService/GetBlock",
		"LedgerService/GetHeader", "LedgerService/ProveRecord", "LedgerService/ProveReceipt", "LedgerService/GetConfigProofs", "NetworkService/Probe",
		"ProviderService/Bind", "ProviderService/Unbind", "ProviderService/BindConsent", "ProviderService/CheckTemplate",
	}
	r := newRig(f, func(c *Config) { c.Logger = slog.New(slog.DiscardHandler) })
	tok := r.token("clerk", "bank-a")
	f.Add(uint8(0), false, []byte(`{"consentId":"c","version":1,"recipient":"bank-b","sealed":"AAAA"}`))
	f.Add(uint8(1), false, []byte(`{"transaction":"+AAA"}`))
	f.Add(uint8(3), false, []byte(`{"contract":"membership","function":"GetMember","args":["bank-a"]}`))
	f.Add(uint8(9), false, []byte(`{"addr":"/ip4/127.0.0.1/tcp/1","hostKey":"AAAA"}`))
	f.Add(uint8(10), true, []byte{0x0a, 0x04, 'c', 'n', ':', '1'})
	f.Fuzz(func(t *testing.T, method uint8, binary bool, body []byte) {
		kind := "application/json"
		if binary {
			kind = "application/proto"
		}
		path := paths[int(method)%len(paths)]
		caller := &rig{t: t, url: r.url}
		status, answer, _ := caller.post(r.http, "/assent.v1."+path, tok, kind, string(body))
		if status != http.StatusOK && (!strings.Contains(answer, `"code"`) || strings.Contains(answer, "panic") || strings.Contains(answer, "goroutine")) {
			t.Errorf("%s answers %d %.300s", path, status, answer)
		}
	})
}
