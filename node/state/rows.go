package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// formatVersion is the version of the bytes in the database. A reader refuses
// any other.
//
// 2: log rows begin with a tag and may hold their value. 3 adds what follows
// Payload in outcomeRow, pruned rows and Begin in metaRow. 4: a log row that holds
// its value says when it was written, and there is a row that says what was pruned.
const (
	formatVersion  = 4
	formatReadable = 4 // the oldest that this program reads
)

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
	Begin   ledger.Height `rlp:"optional"` // of the snapshot with which the state began; 0: it began with genesis
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
	// NoPayload: the contract returned something, but this node began with a
	// snapshot and does not know what: no root commits to it.
	NoPayload bool
}

// Receipt returns the leaf that the receipt log keeps of o.
func (o *Outcome) Receipt() ledger.Receipt {
	return ledger.Receipt{
		TxID: o.TxID, Height: o.Height, Index: o.Index, Code: o.Code,
		Events: ledger.HashEvents(o.Events), Writes: ledger.HashWrites(o.Writes),
	}
}

// maxSharedLogs is up to how many log rows of a transaction have their values in
// its outcome row. Reading one of them decodes all of that row; the thousand
// requests of a batch would cost a thousand times a thousand. So those of a
// transaction with more stand alone.
const maxSharedLogs = 4

// An outcomeRow holds an Outcome without repeating itself: contracts announce
// the very record they have just written, and log rows never change, so the
// values of at most maxSharedLogs of them stand here, and the row under a log key
// refers to here. If there are more, their values stand under their keys, and
// only their hashes here.
type outcomeRow struct {
	TxID    ledger.Hash
	Height  ledger.Height
	Index   uint64
	Time    uint64
	Code    string
	Message string
	Logs    [][]byte // values of the log rows written, in order; none if they stand alone
	Writes  []storedWrite
	Events  []storedEvent
	Payload []byte
	Same    uint64 `rlp:"optional"` // i+1: the payload is that of event i, and Payload is empty; unknownPayload: Outcome.NoPayload
}

// unknownPayload in outcomeRow.Same says that the payload was not carried over.
const unknownPayload = 1 << 32

// storedWrite is a WriteHash; for the i-th log row the hash is that of Logs[i]
// and is left out, unless log rows stand alone.
type storedWrite struct {
	Key  string
	Hash []byte
}

// storedEvent is an Event; Log i+1 means that the payload is Logs[i].
type storedEvent struct {
	Contract string
	Name     string
	Log      uint64
	Payload  []byte
}

// fill makes r of o; values are those of o.Writes. What r held before is gone; its
// slices are used again.
func (r *outcomeRow) fill(o *Outcome, values []ledger.Write) {
	*r = outcomeRow{
		TxID: o.TxID, Height: o.Height, Index: o.Index, Time: o.Time, Code: o.Code, Message: o.Message,
		Logs: r.Logs[:0], Writes: r.Writes[:0], Events: r.Events[:0], Payload: o.Payload,
	}
	alone := logsStandAlone(values)
	for i, w := range o.Writes {
		s := storedWrite{Key: w.Key}
		if ledger.KeepingOf(w.Key) == ledger.KeepLog && !alone {
			r.Logs = append(r.Logs, values[i].Value)
		} else {
			s.Hash = w.Value
		}
		r.Writes = append(r.Writes, s)
	}
	for i, e := range o.Events {
		s := storedEvent{Contract: e.Contract, Name: e.Name, Payload: e.Payload}
		if n := slices.IndexFunc(r.Logs, func(v []byte) bool { return bytes.Equal(v, e.Payload) }); n >= 0 {
			s.Log, s.Payload = uint64(n)+1, nil
		}
		r.Events = append(r.Events, s)
		if r.Same == 0 && len(o.Payload) > 0 && bytes.Equal(e.Payload, o.Payload) {
			r.Same, r.Payload = uint64(i)+1, nil
		}
	}
	if o.NoPayload {
		r.Same, r.Payload = unknownPayload, nil
	}
}

// outcome puts the Outcome at position together again.
func (r *outcomeRow) outcome(position uint64) (*Outcome, error) {
	o := &Outcome{
		TxID: r.TxID, Height: r.Height, Index: r.Index, Position: position, Time: r.Time,
		Code: r.Code, Message: r.Message, Payload: r.Payload,
		Writes: make([]ledger.WriteHash, len(r.Writes)), Events: make([]ledger.Event, len(r.Events)),
	}
	logs := r.Logs
	for i, w := range r.Writes {
		o.Writes[i] = ledger.WriteHash{Key: w.Key, Value: w.Hash}
		if ledger.KeepingOf(w.Key) != ledger.KeepLog || len(w.Hash) > 0 {
			continue
		}
		if len(logs) == 0 {
			return nil, corrupt("receipt log", fmt.Errorf("row %d lacks the value of a log row", position))
		}
		h := ledger.Sum(logs[0])
		o.Writes[i].Value, logs = h[:], logs[1:]
	}
	for i, e := range r.Events {
		o.Events[i] = ledger.Event{Contract: e.Contract, Name: e.Name, Payload: e.Payload}
		if e.Log > uint64(len(r.Logs)) {
			return nil, corrupt("receipt log", fmt.Errorf("row %d lacks the payload of an event", position))
		}
		if e.Log > 0 {
			o.Events[i].Payload = r.Logs[e.Log-1]
		}
	}
	switch {
	case r.Same == unknownPayload:
		o.NoPayload = true
	case r.Same > uint64(len(o.Events)):
		return nil, corrupt("receipt log", fmt.Errorf("row %d lacks the payload", position))
	case r.Same > 0:
		o.Payload = o.Events[r.Same-1].Payload
	}
	return o, nil
}

// logsStandAlone tells how the log rows among a transaction's writes are kept.
func logsStandAlone(writes []ledger.Write) bool {
	logs := 0
	for i := range writes {
		if ledger.KeepingOf(writes[i].Key) == ledger.KeepLog {
			logs++
		}
	}
	return logs > maxSharedLogs
}

// logRef says where the value of a log row stands: Logs[ordinal] of the outcome
// row at position, or, if it stands alone, under its key. Of a pruned outcome only
// the place is left.
type logRef struct {
	position uint64
	ordinal  uint32
	alone    bool
	time     uint64 // of the block that wrote it; of one that stands alone also on disk
}

// A stored log row is one of these tags, then position and ordinal, or the time
// and the value. (1 was a value without its time.)
const (
	tagShared = 0
	tagAlone  = 2

	sharedLogBytes = 1 + 8 + 4
	timeBytes      = 8
)

// row returns the stored form of the log row with a value.
func (r logRef) row(value []byte) []byte {
	if r.alone {
		b := append(make([]byte, 0, 1+timeBytes+len(value)), tagAlone)
		return append(binary.BigEndian.AppendUint64(b, r.time), value...)
	}
	b := append(make([]byte, 0, sharedLogBytes), tagShared)
	b = binary.BigEndian.AppendUint64(b, r.position)
	return binary.BigEndian.AppendUint32(b, r.ordinal)
}

// decodeLogRow returns where the value of a stored log row stands, and the value
// itself, part of b, if that is here.
func decodeLogRow(b []byte) (logRef, []byte, error) {
	switch {
	case len(b) > 1+timeBytes && b[0] == tagAlone:
		return logRef{alone: true, time: binary.BigEndian.Uint64(b[1:])}, b[1+timeBytes:], nil
	case len(b) == sharedLogBytes && b[0] == tagShared:
		return logRef{position: binary.BigEndian.Uint64(b[1:]), ordinal: binary.BigEndian.Uint32(b[9:])}, nil, nil
	}
	return logRef{}, nil, corrupt("log row", fmt.Errorf("%d bytes are neither a value nor a place", len(b)))
}

func decodeOutcomeRow(position uint64, b []byte) (*outcomeRow, error) {
	r := new(outcomeRow)
	if err := decodeRow(fmt.Sprintf("outcome row %d", position), b, r); err != nil {
		return nil, err
	}
	return r, nil
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
