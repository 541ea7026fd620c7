package sdk

import (
	"github.com/mr-tron/base58"

	"github.com/assent-network/assent/node/ledger"
)

// NodeIDOf returns the node id that belongs to a host key: its libp2p peer id, the
// identity multihash of the key in libp2p's protobuf form, in base58
// (github.com/libp2p/specs, peer-ids).
func NodeIDOf(key ledger.HostKey) NodeID {
	form := append([]byte{
		0x00, 4 + byte(len(key)), // identity multihash, length
		0x08, 0x02, // type: secp256k1
		0x12, byte(len(key)), // data
	}, key[:]...)
	return NodeID(base58.Encode(form))
}
