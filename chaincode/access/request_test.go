package access

import (
	"strings"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

type idStub struct {
	shim.ChaincodeStubInterface
	id string
}

func (s idStub) GetTxID() string { return s.id }

// TestRequestIDIsTheSameOnBothNetworks: Fabric writes a transaction id without
// "0x", our ledger with it.
func TestRequestIDIsTheSameOnBothNetworks(t *testing.T) {
	digits := strings.Repeat("0a", 32)
	for _, id := range []string{digits, "0x" + digits} {
		ctx := new(call.Context)
		ctx.SetStub(idStub{id: id})
		got := record.NewRequestID(transactionID(ctx))
		if string(got) != "0x"+digits || got.Check() != nil {
			t.Errorf("%s gives %s", id, got)
		}
	}
}
