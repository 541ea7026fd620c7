package chaincode_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/assent-network/assent/chaincode"
	"github.com/assent-network/assent/chaincode/record"
)

func assembledDirect() (shim.Chaincode, error) { return chaincode.NewDirect() }

// directly lets the worlds of a test call the contracts as a node does.
func directly(t testing.TB) {
	t.Helper()
	before := assembled
	assembled = sync.OnceValues(assembledDirect)
	t.Cleanup(func() { assembled = before })
}

// TestDirectCallsComeOutTheSame tells every story again, and every refusal, through
// the shorter way; what should come of them is the same file and the same code.
func TestDirectCallsComeOutTheSame(t *testing.T) {
	if *rewrite {
		t.Skip("the results are written by the other way")
	}
	directly(t)
	t.Run("scenarios", TestScenarios)
	t.Run("names", TestOnlyTheExactNameAndArgumentCountReachAContract)
	t.Run("errors", TestErrorsRepeatNoArgument)
	t.Run("goroutines", TestOneChaincodeServesManyGoroutines)
}

// TestEveryFunctionIsReachedDirectly: with arguments that each function refuses by
// itself, both ways give the same response, word for word.
func TestEveryFunctionIsReachedDirectly(t *testing.T) {
	fabric := newWorld(t)
	directly(t)
	direct := newWorld(t)
	fabric.found()
	direct.found()
	for _, f := range chaincode.Functions() {
		for _, arg := range []string{"", "{}", "nobody", "1"} {
			args := make([]string, f.Args)
			for i := range args {
				args[i] = arg
			}
			for _, who := range []string{"lender-a-app", "bank-a-officer", "nobody"} {
				c := fabric.callAs("lender-a", who, f.Contract+":"+f.Name, args...)
				want, errWant := fabric.Try(c)
				got, errGot := direct.Try(c)
				if got.Code != want.Code || got.Message != want.Message || got.Payload != want.Payload || (errGot == nil) != (errWant == nil) {
					t.Errorf("%s(%q) as %s: directly %s %q %v, by contractapi %s %q %v", f.Name, arg, who, got.Code, got.Message, errGot, want.Code, want.Message, errWant)
				}
			}
		}
	}
}

// A panic reaches the caller either way: the node makes a code of it.
func TestAPanicReachesTheCaller(t *testing.T) {
	d, err := chaincode.NewDirect()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, errGone) {
			t.Errorf("recovered %v", err)
		}
	}()
	d.Invoke(panicking{})
	t.Error("the call returned")
}

var errGone = errors.New("gone")

// panicking is a stub that panics when a function reads.
type panicking struct{ shim.ChaincodeStubInterface }

func (panicking) GetFunctionAndParameters() (string, []string) {
	return record.ContractConsent + ":Get", []string{string(consentOf("c1"))}
}
func (panicking) GetState(string) ([]byte, error) { panic(errGone) }
