package sync

import (
	"fmt"

	"github.com/assent-network/assent/node/ledger"
)

// AskStatus returns the request with which anybody asks a node where it stands,
// and the nonce that the status will answer. It is for who has no ledger at hand
// to compare with, or a connection of its own.
func AskStatus() (request []byte, nonce ledger.Hash) {
	nonce = newNonce()
	return encode(&statusRequest{tagStatus, nonce}), nonce
}

// ReadStatus reads the answer to AskStatus. Nothing of it is checked but that it
// answers nonce on chain.
func ReadStatus(answer []byte, chain, nonce ledger.Hash) (*ledger.Status, error) {
	a, err := decodeStatusAnswer(answer)
	if err != nil {
		return nil, err
	}
	st, err := ledger.DecodeStatus(a.Status)
	if err != nil {
		return nil, err
	}
	if st.ChainID != chain || st.Nonce != nonce {
		return nil, fmt.Errorf("status is of chain %s for nonce %s", st.ChainID, st.Nonce)
	}
	return st, nil
}
