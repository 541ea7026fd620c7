package chaincode

import (
	"fmt"
	"reflect"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/assent-network/assent/chaincode/call"
)

// Direct is the chaincode of New with a shorter way to its functions, for a node,
// which calls them for every transaction. contractapi finds a function anew for each
// call, hands every argument through a goroutine and a channel, and asks for a
// certificate that our callers do not have; none of that changes what comes out.
//
// A call by an exact name with its exact number of arguments goes straight to the
// contract; every other one goes through contractapi, which refuses it. Tests hold
// both ways against each other.
type Direct struct {
	functions map[string]function // by "contract:Function"
	otherwise shim.Chaincode
}

// function is a contract's method; args are as many as it takes.
type function func(ctx *call.Context, args []string) (string, error)

var _ shim.Chaincode = (*Direct)(nil)

// NewDirect assembles the chaincode. Its Invoke is safe for use by many goroutines,
// each with its own stub.
func NewDirect() (*Direct, error) {
	otherwise, err := New()
	if err != nil {
		return nil, err
	}
	d := &Direct{functions: make(map[string]function, len(table)), otherwise: otherwise}
	contracts := make(map[string]contractapi.ContractInterface)
	for _, c := range assemble() {
		contracts[c.GetName()] = c
	}
	for _, f := range table {
		m, err := method(contracts[f.Contract], f)
		if err != nil {
			return nil, fmt.Errorf("assemble chaincode: %w", err)
		}
		d.functions[f.Contract+":"+f.Name] = m
	}
	return d, nil
}

// Init implements shim.Chaincode.
func (d *Direct) Init(stub shim.ChaincodeStubInterface) *peer.Response { return d.otherwise.Init(stub) }

// Invoke implements shim.Chaincode.
func (d *Direct) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	name, args := stub.GetFunctionAndParameters()
	f, ok := d.functions[name]
	if !ok || len(args) != functions[name].Args {
		return d.otherwise.Invoke(stub)
	}
	ctx := new(call.Context)
	ctx.SetStub(stub)
	result, err := f(ctx, args)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success([]byte(result))
}

// method finds a function's method. All of them take and return strings.
func method(contract contractapi.ContractInterface, f Function) (function, error) {
	m := reflect.ValueOf(contract).MethodByName(f.Name)
	if !m.IsValid() {
		return nil, fmt.Errorf("contract %s has no function %s", f.Contract, f.Name)
	}
	var take int
	var run function
	switch m := m.Interface().(type) {
	case func(*call.Context) (string, error):
		take, run = 0, func(ctx *call.Context, _ []string) (string, error) { return m(ctx) }
	case func(*call.Context, string) (string, error):
		take, run = 1, func(ctx *call.Context, a []string) (string, error) { return m(ctx, a[0]) }
	case func(_ *call.Context, _, _ string) (string, error):
		take, run = 2, func(ctx *call.Context, a []string) (string, error) { return m(ctx, a[0], a[1]) }
	case func(_ *call.Context, _, _, _ string) (string, error):
		take, run = 3, func(ctx *call.Context, a []string) (string, error) { return m(ctx, a[0], a[1], a[2]) }
	case func(_ *call.Context, _, _, _, _ string) (string, error):
		take, run = 4, func(ctx *call.Context, a []string) (string, error) { return m(ctx, a[0], a[1], a[2], a[3]) }
	default:
		return nil, fmt.Errorf("function %s of contract %s is a %s: functions take up to four strings and return one", f.Name, f.Contract, m)
	}
	if take != f.Args {
		return nil, fmt.Errorf("function %s of contract %s takes %d arguments, the table says %d", f.Name, f.Contract, take, f.Args)
	}
	return run, nil
}
