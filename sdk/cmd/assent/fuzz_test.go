package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/sdk"
)

// FuzzProfile reads profiles, which people write and copy: an error, or settings
// that are the same when written and read again.
func FuzzProfile(f *testing.F) {
	f.Add([]byte(`{"endpoints":["https://localhost:7443#sha256=00"],"org":"quick-loan","key":"k.json","genesis":"g.json","pins":["00"],"wallet":"w.json"}`))
	f.Add([]byte(`{}{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := new(profile)
		if p.parse(b) != nil {
			return
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		twice := new(profile)
		if err := twice.parse(text); err != nil {
			t.Fatalf("%s was read, and not when written again: %v", text, err)
		}
		if again, err := json.Marshal(twice); err != nil || string(again) != string(text) {
			t.Fatalf("%s is read as %s (%v)", text, again, err)
		}
	})
}

// FuzzTicket reads a kept ticket: what is taken names one request, or none.
func FuzzTicket(f *testing.F) {
	f.Add([]byte(`{"transaction":"wA==","answerKey":"AA=="}`))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"query":{"Items":[{},{},{}]},"transaction":"wA==","answerKey":"AA=="}`))
	f.Add([]byte(`{"query":{"templates":["a","b","c"]},"transaction":"wA==","answerKey":"AA=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ticket, err := parseTicket(b); err == nil {
			_, _ = ticket.RequestID() // must not panic
		}
		if ticket, err := parseTotalTicket(b); err == nil && len(ticket.Query.Items) < exposure.MinBanks {
			t.Fatalf("a set of %d", len(ticket.Query.Items))
		}
		if ticket, err := parseCohortTicket(b); err == nil && len(ticket.Query.Templates) < sdk.MinCohortBanks {
			t.Fatalf("a set of %d", len(ticket.Query.Templates))
		}
	})
}

// FuzzArguments reads what people type: a value in one form only.
func FuzzArguments(f *testing.F) {
	f.Add("0x" + strings.Repeat("ab", 32))
	f.Add("0x" + strings.Repeat("ab", 20))
	f.Add("2027-01-31")
	f.Add("2027-01-31T12:00:00Z")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := parseHash(s); err == nil && !strings.EqualFold(strings.TrimPrefix(s, "0x"), h.Hex()[2:]) {
			t.Fatalf("%q is taken for %s", s, h.Hex())
		}
		if a, err := parseAddress(s); err == nil && !strings.EqualFold(strings.TrimPrefix(s, "0x"), a.Hex()[2:]) {
			t.Fatalf("%q is taken for %s", s, a.Hex())
		}
		if ms, err := parseTime(s); err == nil && s != "" {
			if again, err := parseTime(time.UnixMilli(ms).UTC().Format(time.RFC3339)); err != nil || again/1000 != ms/1000 && ms >= 0 {
				t.Fatalf("%q is %d, and that %d (%v)", s, ms, again, err)
			}
		}
	})
}

// FuzzBeacon reads beacons, which people copy: what is taken is long enough.
func FuzzBeacon(f *testing.F) {
	f.Add("0x" + strings.Repeat("11", 32))
	f.Add("zz")
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := parseBeacon(s); err == nil && (len(b) < exposure.MinBeacon || len(b) > 1024) {
			t.Fatalf("a beacon of %d bytes", len(b))
		}
	})
}
