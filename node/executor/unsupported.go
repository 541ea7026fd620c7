package executor

import (
	"fmt"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// What Fabric's stub offers and this ledger does not have. Each says so and
// what to do; none of them refuses the transaction by itself.

func unsupported(what, instead string) error {
	return fmt.Errorf("%s: this ledger has none: %s", what, instead)
}

const (
	offLedger   = "keep private data off the ledger and a commitment on it"
	readOthers  = "read the other contract's records instead"
	indexRows   = "range over index rows"
	noPolicies  = "every member executes every transaction"
	keepHistory = "read the receipts of the transactions that wrote the record"
)

func (s *stub) InvokeChaincode(string, [][]byte, string) *peer.Response {
	return shim.Error(unsupported("calls from contract to contract", readOthers).Error())
}

func (s *stub) GetQueryResult(string) (shim.StateQueryIteratorInterface, error) {
	return nil, unsupported("rich queries", indexRows)
}

func (s *stub) GetQueryResultWithPagination(string, int32, string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	return nil, nil, unsupported("rich queries", indexRows)
}

func (s *stub) GetHistoryForKey(string) (shim.HistoryQueryIteratorInterface, error) {
	return nil, unsupported("the history of a key", keepHistory)
}

func (s *stub) SetStateValidationParameter(string, []byte) error {
	return unsupported("endorsement policies", noPolicies)
}

func (s *stub) GetStateValidationParameter(string) ([]byte, error) {
	return nil, unsupported("endorsement policies", noPolicies)
}

func (s *stub) GetPrivateData(string, string) ([]byte, error) {
	return nil, unsupported("private data", offLedger)
}

func (s *stub) GetMultiplePrivateData(string, ...string) ([][]byte, error) {
	return nil, unsupported("private data", offLedger)
}

func (s *stub) GetPrivateDataHash(string, string) ([]byte, error) {
	return nil, unsupported("private data", offLedger)
}

func (s *stub) PutPrivateData(string, string, []byte) error {
	return unsupported("private data", offLedger)
}

func (s *stub) DelPrivateData(string, string) error { return unsupported("private data", offLedger) }

func (s *stub) PurgePrivateData(string, string) error { return unsupported("private data", offLedger) }

func (s *stub) SetPrivateDataValidationParameter(string, string, []byte) error {
	return unsupported("private data", offLedger)
}

func (s *stub) GetPrivateDataValidationParameter(string, string) ([]byte, error) {
	return nil, unsupported("private data", offLedger)
}

func (s *stub) GetPrivateDataByRange(string, string, string) (shim.StateQueryIteratorInterface, error) {
	return nil, unsupported("private data", offLedger)
}

func (s *stub) GetPrivateDataByPartialCompositeKey(string, string, []string) (shim.StateQueryIteratorInterface, error) {
	return nil, unsupported("private data", offLedger)
}

func (s *stub) GetPrivateDataQueryResult(string, string) (shim.StateQueryIteratorInterface, error) {
	return nil, unsupported("private data", offLedger)
}

// GetTransient returns nothing: whatever a transaction carries is on the ledger.
func (s *stub) GetTransient() (map[string][]byte, error) { return nil, nil }

func (s *stub) GetBinding() ([]byte, error) {
	return nil, unsupported("proposal bindings", "the transaction id binds caller and call")
}

func (s *stub) GetSignedProposal() (*peer.SignedProposal, error) {
	return nil, unsupported("signed proposals", "use GetCreator and GetTxID")
}

// GetDecorations returns nothing: peers add nothing to a call here.
func (s *stub) GetDecorations() map[string][]byte { return nil }

// StartWriteBatch does nothing: writes leave the stub together anyway.
func (s *stub) StartWriteBatch() {}

// FinishWriteBatch does nothing.
func (s *stub) FinishWriteBatch() error { return nil }
