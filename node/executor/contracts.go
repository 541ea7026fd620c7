package executor

import (
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/assent-network/assent/chaincode"
)

// Function describes a contract function.
type Function struct {
	Read bool // it writes nothing; only read calls may name it
	Args int  // how many arguments it takes
}

// Contracts are the contracts of a network.
type Contracts struct {
	// Chaincode runs a call. Many goroutines call Invoke, each with its own stub.
	Chaincode shim.Chaincode
	// Lookup finds a function by its exact names.
	Lookup func(contract, function string) (Function, bool)
}

// assent returns the contracts of package chaincode.
func assent() (Contracts, error) {
	cc, err := chaincode.NewDirect()
	if err != nil {
		return Contracts{}, err
	}
	return Contracts{Chaincode: cc, Lookup: func(contract, function string) (Function, bool) {
		f, ok := chaincode.Lookup(contract, function)
		return Function{Read: f.Evaluate, Args: f.Args}, ok
	}}, nil
}
