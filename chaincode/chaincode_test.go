package chaincode_test

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/access"
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/catalog"
	"github.com/assent-network/assent/chaincode/consent"
	"github.com/assent-network/assent/chaincode/internal/memledger"
	"github.com/assent-network/assent/chaincode/membership"
	"github.com/assent-network/assent/chaincode/record"
)

func TestFunctionTableIsWhatTheContractsHave(t *testing.T) {
	contracts := map[string]interface{ GetEvaluateTransactions() []string }{
		record.ContractMembership: membership.New(), record.ContractCatalog: catalog.New(),
		record.ContractConsent: consent.New(), record.ContractAccess: access.New(),
	}
	want := 0
	for name, contract := range contracts {
		kind := reflect.TypeOf(contract)
		reads := contract.GetEvaluateTransactions()
		for _, read := range reads {
			if _, exists := kind.MethodByName(read); !exists {
				t.Errorf("%s names the read function %s, which it does not have", name, read)
			}
		}
		for i := range kind.NumMethod() {
			m := kind.Method(i)
			if m.Type.NumIn() < 2 || m.Type.In(1) != reflect.TypeFor[*call.Context]() {
				continue
			}
			want++
			f, found := chaincode.Lookup(name, m.Name)
			if !found {
				t.Errorf("%s:%s is not in the table", name, m.Name)
				continue
			}
			if f.Args != m.Type.NumIn()-2 {
				t.Errorf("%s:%s: table says %d arguments, the method takes %d", name, m.Name, f.Args, m.Type.NumIn()-2)
			}
			if f.Evaluate != record.HasItem(reads, m.Name) {
				t.Errorf("%s:%s: table says evaluate %v", name, m.Name, f.Evaluate)
			}
		}
	}
	if got := len(chaincode.Functions()); got != want {
		t.Errorf("table has %d functions, the contracts have %d", got, want)
	}
}

func TestOnlyTheExactNameAndArgumentCountReachAContract(t *testing.T) {
	w := newWorld(t)
	w.found()
	w.consent(terms("c1"), "c1")
	spec := encode(t, request("c1"))
	for _, c := range []struct {
		function string
		args     []string
	}{
		{"access:request", []string{spec}},
		{"access:Request", nil},
		{"access:Request", []string{spec, ""}},
		{"access:Nothing", []string{spec}},
		{"access:GetName", nil},
		{"access:GetEvaluateTransactions", nil},
	} {
		r := w.submit("lender-a", "lender-a-app", c.function, c.args...)
		if r.Code != record.CodeUnknownFunction {
			t.Errorf("%s with %d arguments: got %s, want UNKNOWN_FUNCTION", c.function, len(c.args), r.Code)
		}
	}
	for _, name := range []string{"Request", ":Request", "nothing:Request"} {
		if _, err := w.Submit(w.callAs("lender-a", "lender-a-app", name, spec)); err == nil {
			t.Errorf("%q reached a contract", name)
		}
	}
	if r := w.submit("lender-a", "lender-a-app", "access:Request", spec); r.Code != record.OK {
		t.Errorf("the exact call: %s", r.Message)
	}
}

func TestErrorsRepeatNoArgument(t *testing.T) {
	w := newWorld(t)
	w.found()
	const secret = "SECRET 110101199001011237"
	for _, f := range chaincode.Functions() {
		for _, arg := range []string{secret, `{"` + secret + `":1}`, `{"address":"` + secret + `"}`} {
			args := make([]string, f.Args)
			for i := range args {
				args[i] = arg
			}
			c := w.callAs("lender-a", "lender-a-app", f.Contract+":"+f.Name, args...)
			run := w.Submit
			if f.Evaluate {
				run = w.Evaluate
			}
			r, err := run(c)
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
			if strings.Contains(r.Message, secret) {
				t.Errorf("%s repeats its argument: %s", f.Name, r.Message)
			}
			if f.Args > 0 && r.Code == record.OK {
				t.Errorf("%s accepts nonsense", f.Name)
			}
		}
	}
}

func TestLookupWantsContractAndFunctionApart(t *testing.T) {
	if f, found := chaincode.Lookup("access", "Request"); !found || f.Evaluate || f.Args != 1 {
		t.Errorf("access, Request: got %+v, %v", f, found)
	}
	if f, found := chaincode.Lookup("access", "GetRequest"); !found || !f.Evaluate {
		t.Errorf("access, GetRequest: got %+v, %v", f, found)
	}
	for _, name := range [][2]string{{"", "access:Request"}, {"access:Request", ""}, {"access", "request"}, {"org.hyperledger.fabric", "GetMetadata"}} {
		if _, found := chaincode.Lookup(name[0], name[1]); found {
			t.Errorf("%q is found", name)
		}
	}
}

func TestMetadataFileInTheWorkingDirectoryIsRefused(t *testing.T) {
	for _, folder := range []string{"contract-metadata", "META-INF"} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, folder, "metadata.json"), []byte(`{"contracts":{}}`), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Chdir(dir)
		if _, err := chaincode.New(); err == nil {
			t.Errorf("%s/metadata.json was taken", folder)
		}
	}
}

func TestASuccessfulCallEmitsWhatItWrote(t *testing.T) {
	w := newWorld(t)
	w.found()
	r := w.must("lender-a", "lender-a-app", "consent:Create", encode(t, terms("c1")))
	if r.Event.Name != consent.EventConsent || string(r.Event.Payload) != r.Payload {
		t.Errorf("event %s does not carry the record", r.Event.Name)
	}
	if got := string(w.State[record.ConsentKey(consentOf("c1"))]); got != r.Payload {
		t.Error("the result is not the record in the state")
	}
}

// TestOneChaincodeServesManyGoroutines is for the race detector: read calls run
// beside the executor, each with a stub of its own.
func TestOneChaincodeServesManyGoroutines(t *testing.T) {
	first := newWorld(t)
	first.found()
	first.consent(terms("c1"), "c1")
	var wg sync.WaitGroup
	for range 4 {
		beside := &memledger.Ledger{Chaincode: first.Chaincode, State: maps.Clone(first.State), Now: first.Now}
		request := first.callAs("lender-a", "lender-a-app", "access:Request", encode(t, request("c1")))
		wg.Go(func() {
			for range 20 {
				if r, err := beside.Try(request); err != nil || r.Code != record.OK {
					t.Error(r.Message, err)
				}
				read := memledger.Call{Creator: request.Creator, Function: "consent:Get", Args: []string{string(consentOf("c1"))}}
				if r, err := beside.Evaluate(read); err != nil || r.Code != record.OK {
					t.Error(r.Message, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestRequestAllocatesLittle keeps the hot path from growing unnoticed: time
// depends on the machine, allocations do not.
func TestRequestAllocatesLittle(t *testing.T) {
	w := newWorld(t)
	w.found()
	c := terms("c1")
	c.AccessLimits = record.AccessLimits{FrequencyPerDay: record.MaxUses, MaxUses: record.MaxUses}
	w.consent(c, "c1")
	call := w.callAs("lender-a", "lender-a-app", "access:Request", encode(t, request("c1")))
	got := testing.AllocsPerRun(200, func() {
		if r, err := w.Try(call); err != nil || r.Code != record.OK {
			t.Fatal(r.Message, err)
		}
	})
	if got > 120 {
		t.Errorf("a request makes %.0f allocations, want at most 120", got)
	}
}
