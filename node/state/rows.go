package state

import (
	"encoding/binary"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// formatVersion is the version of the bytes in the database. A reader refuses
// any other.
const formatVersion = 1

// maxStoredBytes bounds any stored row a decoder accepts.
const maxStoredBytes = 8 << 20

// Roots commit to the state after a height.
type Roots struct {
	State        ledger.Hash // of the trie over mutable records
	Receipts     ledger.Hash // of the log of all receipts from genesis on
	ReceiptsSize uint64      // leaves in that log
}

// EmptyRoots are the roots before anything was executed.
var EmptyRoots = Roots{State: ledger.EmptyStateRoot, Receipts: ledger.EmptyLogRoot}

type metaRow struct {
	Version uint64
	ChainID ledger.Hash
}

// headRow says what the database holds: the state after Height.
type headRow struct {
	Height ledger.Height
	Time   uint64
	Roots  Roots
}

// Outcome is what became of one ordered transaction or config update: its
// receipt, opened. All but Message is the same on every node.
type Outcome struct {
	TxID     ledger.Hash
	Height   ledger.Height
	Index    uint64 // position of the request in its block
	Position uint64 // of its leaf in the receipt log
	Time     uint64 // of its block, Unix ms
	Code     string // "OK", or why it was refused
	Message  string // why, for people; kept by this node, committed by no root
	Events   []ledger.Event
	Writes   []ledger.WriteHash // ascending by key
	Payload  []byte             // what the contract returned
}

// Receipt returns the leaf that the receipt log keeps of o.
func (o *Outcome) Receipt() ledger.Receipt {
	return ledger.Receipt{
		TxID: o.TxID, Height: o.Height, Index: o.Index, Code: o.Code,
		Events: ledger.HashEvents(o.Events), Writes: ledger.HashWrites(o.Writes),
	}
}

// storedEvent is an Event whose payload may stand elsewhere: contracts announce
// the very record they have just written, and a log row never changes, so it
// need not be stored twice.
type storedEvent struct {
	Contract string
	Name     string
	Payload  []byte
	FromRow  string // key of the log row whose value is the payload, or ""
}

type outcomeRow struct {
	TxID    ledger.Hash
	Height  ledger.Height
	Index   uint64
	Time    uint64
	Code    string
	Message string
	Events  []storedEvent
	Writes  []ledger.WriteHash
	Payload []byte
}

func encodeRow(v any) []byte {
	b, err := rlp.EncodeToBytes(v)
	if err != nil { // only this package's own types come here
		panic(fmt.Sprintf("state: encode %T: %v", v, err))
	}
	return b
}

func decodeRow(what string, b []byte, v any) error {
	if len(b) > maxStoredBytes {
		return corrupt(what, fmt.Errorf("%d bytes, more than any version wrote", len(b)))
	}
	if err := rlp.DecodeBytes(b, v); err != nil {
		return corrupt(what, err)
	}
	return nil
}

// txRef says where a transaction stands.
type txRef struct {
	height   ledger.Height
	index    uint64 // in its block
	position uint64 // in the receipt log
	time     uint64 // of its block
}

const txRefBytes = 32

func (r txRef) encode() []byte {
	b := make([]byte, 0, txRefBytes)
	b = binary.BigEndian.AppendUint64(b, uint64(r.height))
	b = binary.BigEndian.AppendUint64(b, r.index)
	b = binary.BigEndian.AppendUint64(b, r.position)
	return binary.BigEndian.AppendUint64(b, r.time)
}

func decodeTxRef(b []byte) (txRef, error) {
	if len(b) != txRefBytes {
		return txRef{}, corrupt("transaction index row", fmt.Errorf("%d bytes, want %d", len(b), txRefBytes))
	}
	return txRef{
		height:   ledger.Height(binary.BigEndian.Uint64(b)),
		index:    binary.BigEndian.Uint64(b[8:]),
		position: binary.BigEndian.Uint64(b[16:]),
		time:     binary.BigEndian.Uint64(b[24:]),
	}, nil
}
