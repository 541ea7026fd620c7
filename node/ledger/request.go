package ledger

import (
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"
)

// RequestID returns the name of an ordered request of any kind without decoding
// it: keccak256 of its first element, which is what its signers sign over. It
// equals the ID method of the decoded request.
func RequestID(b []byte) (Hash, error) {
	outer, rest, err := rlp.SplitList(b)
	if err != nil || len(rest) != 0 {
		return Hash{}, fmt.Errorf("request id: the %d bytes are not one RLP list", len(b))
	}
	kind, _, tail, err := rlp.Split(outer)
	if err != nil || kind != rlp.List {
		return Hash{}, fmt.Errorf("request id: the first element is not an RLP list")
	}
	return Sum(outer[:len(outer)-len(tail)]), nil
}

// Roots commit to everything executed from genesis to one height.
type Roots struct {
	State        Hash
	Receipts     Hash
	ReceiptsSize uint64
}

// EngineDigest is what a validator signs of the ordering engine's own messages
// (view changes): keccak256(RLP [domain, chainID, message]). It can never be a
// vote.
func EngineDigest(chain Hash, msg []byte) Hash {
	return hashOf(&struct {
		Domain  string
		ChainID Hash
		Message []byte
	}{domainEngine, chain, msg})
}
