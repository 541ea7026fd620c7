package gateway

import (
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
