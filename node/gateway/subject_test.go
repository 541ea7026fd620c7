package gateway

import (
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

func TestASubjectReadsItsOwnConsentAlone(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.AnonymousRate = 1000 })
	me, you := signerOf("me").Address(), signerOf("you").Address()
	mine, yours := "0x"+strings.Repeat("aa", 32), "0x"+strings.Repeat("bb", 32)
	r.w.consents["c-mine"], r.w.consents["c-yours"] = me, you
	r.w.requests[mine], r.w.requests[yours] = "c-mine", "c-yours"
	tok := r.token("me", "")
	const ok, hidden, forbidden = api.Code(0), assentv1.Code_CODE_NOT_FOUND, assentv1.Code_CODE_FORBIDDEN
	for call, code := range map[string]api.Code{
		"consent Get c-mine":                                   ok,
		"consent Get c-yours":                                  hidden,
		"consent Get c-none":                                   hidden,
		"access Usage c-mine":                                  ok,
		"access Usage c-yours":                                 hidden,
		"access GetRequest " + mine:                            ok,
		"access GetRequest " + yours:                           hidden,
		"access GetRequest 0x00":                               hidden,
		"access GetReceipt " + mine:                            ok,
		"access GetReceipt " + yours:                           hidden,
		"access ListByConsent c-mine 10 ":                      ok,
		"access ListByConsent c-yours 10 ":                     hidden,
		"consent ListByPrincipal " + record.FormatAddress(me):  ok,
		"consent ListByPrincipal " + record.FormatAddress(you): hidden,
		"consent ListByPrincipal " + strings.ToUpper(record.FormatAddress(me)): hidden,
		"consent ListByPrincipal":                                 assentv1.Code_CODE_UNKNOWN_FUNCTION,
		"consent ListByParty bank-a Authorised 10 ":               forbidden,
		"access ListByParty bank-a 10 ":                           forbidden,
		"membership ListClients bank-a":                           forbidden,
		"membership GetClient bank-a " + record.FormatAddress(me): forbidden,
		"catalog GetTemplate t":                                   ok,
		"membership ListDataKeys bank-a":                          ok,
		"other Anything x":                                        forbidden,
	} {
		f := strings.Split(call, " ")
		_, err := r.evaluate(tok, f[0], f[1], f[2:]...)
		want(t, call, err, code)
	}
	// What is hidden must not tell whether it exists.
	_, a := r.evaluate(tok, "consent", "Get", "c-yours")
	_, b := r.evaluate(tok, "consent", "Get", "c-none")
	if a == nil || b == nil || a.Error() != b.Error() {
		t.Errorf("another's consent: %v\nno consent: %v", a, b)
	}

	c := r.ledger()
	for key, code := range map[string]api.Code{
		"consent/rec/c-mine": ok, "consent/rec/c-yours": hidden, "access/usage/c-mine": ok, "access/usage/c-yours": hidden,
		"access/usage/": hidden, "catalog/template/t": ok, "membership/node/bank-a/n": ok, "membership/config": ok,
		"membership/client/bank-a/0xab": forbidden, "consent/other": forbidden,
	} {
		_, err := c.ProveRecord(t.Context(), with(tok, &assentv1.ProveRecordRequest{Key: key}))
		want(t, "prove "+key, err, code)
	}
	for id, code := range map[string]api.Code{mine: ok, yours: hidden, "0x" + strings.Repeat("cc", 32): hidden} {
		_, err := c.ProveReceipt(t.Context(), with(tok, &assentv1.ProveReceiptRequest{TxId: id}))
		want(t, "prove receipt "+id, err, code)
	}
	for id, code := range map[string]api.Code{"c-mine": ok, "c-yours": hidden, "": forbidden} {
		s, err := c.Events(t.Context(), with(tok, &assentv1.EventsRequest{ConsentId: id}))
		if err != nil {
			t.Fatal(err)
		}
		if s.Receive() {
			err = nil
		} else {
			err = s.Err()
		}
		want(t, "events of "+id, err, code)
		_ = s.Close()
	}
	// A client of a member is not restricted so.
	r.w.register("bank-a", "clerk", record.RoleAuditor)
	_, err := r.evaluate(r.token("clerk", "bank-a"), "consent", "Get", "c-yours")
	want(t, "a member's client", err, 0)
}

func TestSubjectReadsNameRealFunctions(t *testing.T) {
	for name := range subjectReads {
		contract, function, _ := strings.Cut(name, ".")
		f, ok := chaincode.Lookup(contract, function)
		if !ok || !f.Evaluate {
			t.Errorf("%s is no read function", name)
		}
		if kind := subjectReads[name]; kind != readDirectory && f.Args == 0 {
			t.Errorf("%s takes no argument to decide on", name)
		}
	}
}
