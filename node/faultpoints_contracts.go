//go:build faultpoints

package node

import (
	"crypto/rand"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/assent-network/assent/node/executor"
	"github.com/assent-network/assent/node/fault"
)

// withFaultyContracts lets this node's contracts do what contract= says, in every
// registration of a client key:
//
//	differs  a row of random bytes is written
//	panics   the contract panics, on this node alone
//	hangs    the contract does not return
func withFaultyContracts(c executor.Contracts) executor.Contracts {
	c.Chaincode = faultyContracts{c.Chaincode}
	return c
}

type faultyContracts struct{ shim.Chaincode }

func (f faultyContracts) Invoke(s shim.ChaincodeStubInterface) *pb.Response {
	got := f.Chaincode.Invoke(s)
	if name, _ := s.GetFunctionAndParameters(); name != "membership:RegisterClient" || !fault.Armed() {
		return got
	}
	if fault.Value("contract") != "" {
		fault.Did()
	}
	switch fault.Value("contract") {
	case "differs":
		var b [16]byte
		rand.Read(b[:])
		if err := s.PutState("membership/fault", b[:]); err != nil {
			return shim.Error(err.Error())
		}
	case "panics":
		panic("fault point: a contract that panics here and nowhere else")
	case "hangs":
		select {}
	}
	return got
}
