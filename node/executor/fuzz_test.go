package executor

import (
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/record"
)

// FuzzContractCall sends calls as a client can: any function, any arguments, by a
// key of any role. Whatever comes, the contract refuses with a code of the closed
// list or does it; it never panics, and a read call writes nothing.
func FuzzContractCall(f *testing.F) {
	const apart = "\x1f" // between arguments
	n := newNetwork(f, Contracts{})
	n.found()
	n.addCreate("one", 9, 9)
	n.commit()
	n.addAuthorise("one", 9, 9)
	n.commit()
	who := []struct{ org, key string }{
		{"lender-a", "lender-a-app"}, {"bank-a", "bank-a-officer"}, {"bank-a", "bank-a-app"}, {"bank-a", "bank-a-admin"}, {"lender-b", "stranger"},
	}
	functions := chaincode.Functions()
	for i, fn := range functions {
		for w := range who {
			f.Add(uint8(i), uint8(w), "")
			f.Add(uint8(i), uint8(w), strings.TrimSuffix(strings.Repeat(string(consentID("one"))+apart, fn.Args), apart))
		}
	}
	call := func(contract, function string, w int, args ...string) {
		i := slices.IndexFunc(functions, func(fn chaincode.Function) bool { return fn.Contract == contract && fn.Name == function })
		if i < 0 {
			f.Fatalf("no function %s.%s", contract, function)
		}
		f.Add(uint8(i), uint8(w), strings.Join(args, apart))
	}
	call("consent", "Create", 0, encode(f, terms(f, "two", 3, 3)))
	call("access", "Request", 0, requestSpec(f, "one"))
	call("catalog", "PublishNotice", 1, encode(f, notice()))
	call("catalog", "ProposeTemplate", 1, encode(f, template()))
	call("catalog", "OpenEpoch", 2, "income", "2")
	call("membership", "RegisterClient", 3, encode(f, &record.ClientSpec{Address: signer("new").Address(), Roles: []record.ClientRole{record.RoleOfficer}}))
	f.Fuzz(func(t *testing.T, function, by uint8, text string) {
		n.t = t
		fn, me := functions[int(function)%len(functions)], who[int(by)%len(who)]
		var args []string
		if text != "" {
			args = strings.Split(text, apart)
		}
		before := n.db.View().Roots()
		o := n.submit(me.org, me.key, fn.Contract, fn.Name, args...)
		if o.Code == string(record.CodePanic) {
			t.Fatalf("%s.%s as %s panicked with arguments %q", fn.Contract, fn.Name, me.key, args)
		}
		if !slices.Contains(record.Codes(), record.Code(o.Code)) {
			t.Fatalf("%s.%s ends with %s, which is no code of the list", fn.Contract, fn.Name, o.Code)
		}
		if after := n.db.View().Roots(); fn.Evaluate && after.State != before.State {
			t.Fatalf("%s.%s is a read function and changed the state", fn.Contract, fn.Name)
		}
		if _, code := n.evaluate(fn.Contract, fn.Name, args...); code == record.CodePanic {
			t.Fatalf("%s.%s panicked when evaluated with arguments %q", fn.Contract, fn.Name, args)
		}
	})
}
