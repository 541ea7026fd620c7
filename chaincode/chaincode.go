// Package chaincode assembles the contracts membership, catalog, consent and
// access into one Fabric chaincode, and says what can be called in it.
//
// It promises that a call reaches a contract only by its exact name and with
// its exact number of arguments, that arguments are passed on untouched, that
// no error repeats an argument, and that nothing outside the code, such as a
// metadata file in the working directory, changes any of that.
//
// It leaves to whoever calls Invoke to recover a panic, to keep read functions
// from writing and transactions from naming them (Lookup tells which is which),
// and to give a stub whose reads see the state after the previous transaction.
package chaincode

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
	"github.com/hyperledger/fabric-contract-api-go/v2/metadata"

	"github.com/assent-network/assent/chaincode/access"
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/catalog"
	"github.com/assent-network/assent/chaincode/consent"
	"github.com/assent-network/assent/chaincode/membership"
	"github.com/assent-network/assent/chaincode/record"
)

// New assembles the chaincode. Its Invoke is safe for use by many goroutines,
// each with its own stub. The first argument of a call is "contract:Function",
// both in their exact spelling; there is no default contract.
//
// It fails when contract-metadata/metadata.json or META-INF/metadata.json exists
// in the working directory: contractapi would read it and let it replace what
// the code says.
func New() (*contractapi.ContractChaincode, error) {
	if _, err := metadata.ReadMetadataFile(); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("assemble chaincode: contract-metadata/metadata.json or META-INF/metadata.json in the working directory would replace what the contracts say; remove it or start elsewhere")
	}
	cc, err := contractapi.NewChaincode(assemble()...)
	if err != nil {
		return nil, fmt.Errorf("assemble chaincode: %w", err)
	}
	cc.DefaultContract = ""
	cc.TransactionSerializer = Serializer{}
	return cc, nil
}

// assemble makes the contracts.
func assemble() []contractapi.ContractInterface {
	m, k, c, a := membership.New(), catalog.New(), consent.New(), access.New()
	m.BeforeTransaction, k.BeforeTransaction = strict, strict
	c.BeforeTransaction, a.BeforeTransaction = strict, strict
	return []contractapi.ContractInterface{m, k, c, a}
}

// strict runs before every function. Without it contractapi would take
// "access:request" for "access:Request" and drop surplus arguments.
func strict(ctx *call.Context) error {
	name, args := ctx.GetStub().GetFunctionAndParameters()
	f, found := functions[name]
	if !found {
		return record.Refuse(record.CodeUnknownFunction, "no such function")
	}
	if len(args) != f.Args {
		return record.Refuse(record.CodeUnknownFunction, "function takes %d arguments, not %d", f.Args, len(args))
	}
	return nil
}
