package badinput

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/node/api"
)

// TestBadInput runs everything over one network of four validator processes.
func TestBadInput(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a network of processes")
	}
	w := newWorld(t)
	ended := holdOn(t, w)
	for _, group := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"http", testHTTP},
		{"tokens", testTokens},
		{"transactions", testTransactions},
		{"calls", testCalls},
		{"arguments", testArguments},
		{"templates", testTemplates},
		{"requests", testRequests},
		{"life", testLife},
		{"totals", testTotals},
		{"cohorts", testCohorts},
		{"delivery", testDelivery},
		{"ports", testPorts},
		{"membership", testMembership},
		{"trials", testTrials},
		{"mappings", testMappings},
		{"vaults", testVaults},
	} {
		t.Run(group.name, func(t *testing.T) { group.run(t, w) })
	}
	ended()
	w.sameLedger(t)
}

// refusal is what a refused call must say.
type refusal struct {
	status  int
	connect string
	code    string
	says    []string // parts of the message, all of them
}

// check holds an answer against what it must be. Every refusal with a code has a
// remedy; none repeats what the caller may not want repeated.
func (want refusal) check(t *testing.T, r *reply, secrets ...string) {
	t.Helper()
	if r.status != want.status || r.connect != want.connect || r.code() != want.code {
		t.Errorf("answer is %d %s %s, want %d %s %s\n%s", r.status, r.connect, r.code(), want.status, want.connect, want.code, r.body)
		return
	}
	for _, s := range want.says {
		if !strings.Contains(r.message, s) {
			t.Errorf("the message lacks %q: %s", s, r.message)
		}
	}
	if r.message == "" {
		t.Errorf("the answer says nothing: %s", r.body)
	}
	if want.code != "" && len(r.detail.GetRemedy()) < 10 {
		t.Errorf("%s has no remedy: %q", want.code, r.detail.GetRemedy())
	}
	for _, s := range secrets {
		if strings.Contains(string(r.body), s) {
			t.Errorf("the answer repeats what was sent: %s", r.body)
		}
	}
}

// refused holds the outcome of an ordered transaction against the code and the
// words it must have. The remedy is the code's own.
func refused(t *testing.T, r *reply, o *outcome, code string, says ...string) {
	t.Helper()
	if o == nil {
		t.Errorf("turned away with %d %s %s, want to be ordered and refused with %s", r.status, r.code(), r.message, code)
		return
	}
	if o.Code != code {
		t.Errorf("outcome %s %q, want %s", o.Code, o.Message, code)
		return
	}
	for _, s := range says {
		if !strings.Contains(o.Message, s) {
			t.Errorf("the message lacks %q: %s", s, o.Message)
		}
	}
	if e := api.Lookup(api.FromLedger(code)); api.Name(e.Code) != code || e.Remedy == "" {
		t.Errorf("%s is not in the list of codes, or has no remedy", code)
	}
}
