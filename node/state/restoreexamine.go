package state

import (
	"encoding/binary"
	"fmt"

	"github.com/ethereum/go-ethereum/rlp"

	"github.com/assent-network/assent/node/ledger"
)

// Examiner does what a restore costs most, decoding and hashing, for which an item
// needs no other. So several goroutines examine, each with an Examiner of its own, while
// one takes what they examined in order. It reads what NewRestore set, and nothing that
// Take changes; Target.TimeOf is called concurrently.
type Examiner struct {
	r      *Restore
	height ledger.Height // of the block whose time was asked for last
	time   uint64
	asked  bool
}

// Examiner returns one for one goroutine.
func (r *Restore) Examiner() *Examiner { return &Examiner{r: r} }

// ExaminedRow is a row that may be taken.
type ExaminedRow struct {
	key, value []byte // as it is kept; they are the caller's until TakeRow has returned
	leaf       bool   // of the trie
	at, hash   ledger.Hash
}

// Row checks what can be checked of a row alone.
func (e *Examiner) Row(key, value []byte) (*ExaminedRow, error) {
	name := string(key)
	if _, _, err := ledger.SplitKey(name); err != nil {
		return nil, forged("%w", err)
	}
	if len(value) == 0 {
		return nil, forged("row %.80q is empty", name)
	}
	x := &ExaminedRow{key: key, value: value}
	switch ledger.KeepingOf(name) {
	case ledger.KeepRecord:
		x.leaf, x.at, x.hash = true, ledger.TrieKey(name), ledger.Sum(value)
	case ledger.KeepLog:
		if len(value) <= timeBytes {
			return nil, forged("log row %.80q has %d bytes, its time and a value are needed", name, len(value))
		}
		x.at, x.hash = ledger.Sum(key), e.r.datedHash(binary.BigEndian.Uint64(value), ledger.Sum(value[timeBytes:]))
		x.value = append([]byte{tagAlone}, value...)
	default:
		x.at, x.hash = ledger.Sum(key), ledger.Sum(value)
	}
	return x, nil
}

// datedHash commits to a log row's time and value; a check knows no times.
func (r *Restore) datedHash(time uint64, value ledger.Hash) ledger.Hash {
	if r.ldb == nil {
		return value
	}
	return ledger.Sum(binary.BigEndian.AppendUint64(value[:], time))
}

// ExaminedReceipt is a receipt that may be taken.
type ExaminedReceipt struct {
	position uint64
	id       ledger.Hash
	ref      txRef
	leaf     []byte // hash of the log's leaf
	key, row []byte
	logs     []keptRow
	written  []writtenRow
	pruned   *pruneRow // nil: it is whole
}

type keptRow struct{ key, value []byte }

type writtenRow struct{ at, hash ledger.Hash }

// Receipt checks what can be checked of the receipt at a position of the log alone.
func (e *Examiner) Receipt(position uint64, item []byte) (*ExaminedReceipt, error) {
	r := e.r
	if position >= r.target.Roots.ReceiptsSize {
		return nil, forged("more than the %d receipts that the header names", r.target.Roots.ReceiptsSize)
	}
	if len(item) > maxStoredBytes {
		return nil, forged("receipt %d has %d bytes", position, len(item))
	}
	c := new(carried)
	if err := rlp.DecodeBytes(item, c); err != nil {
		return nil, forged("receipt %d: %w", position, err)
	}
	if c.Height > r.target.Height {
		return nil, forged("receipt %d is of height %d, above %d", position, c.Height, r.target.Height)
	}
	at, err := e.timeOf(c.Height)
	if err != nil {
		return nil, err
	}
	x := &ExaminedReceipt{position: position, id: c.TxID, ref: txRef{c.Height, c.Index, position, at}}
	receipt, writes, err := r.unpack(x, c)
	if err != nil {
		return nil, err
	}
	x.leaf = ledger.LogHasher{}.HashLeaf(receipt.Encode())
	return x, r.index(x, c, writes)
}

// timeOf looks up the time of a receipt's block; a check needs none.
func (e *Examiner) timeOf(h ledger.Height) (_ uint64, err error) {
	if e.r.ldb == nil || e.asked && e.height == h {
		return e.time, nil
	}
	if e.time, err = e.r.target.TimeOf(h); err != nil {
		return 0, fmt.Errorf("time of block %d: %w", h, err)
	}
	e.height, e.asked = h, true
	return e.time, nil
}

// unpack computes the receipt that is a leaf, its writes, and the row to keep of it.
func (r *Restore) unpack(x *ExaminedReceipt, c *carried) (*ledger.Receipt, []ledger.WriteHash, error) {
	if len(c.EventsHash) > 0 {
		if len(c.EventsHash) != 32 || len(c.Logs) > 0 || len(c.Events) > 0 {
			return nil, nil, forged("receipt %d is neither whole nor pruned", x.position)
		}
		p := &prunedRow{TxID: c.TxID, Height: c.Height, Index: c.Index, Time: x.ref.time, Code: c.Code, Events: ledger.Hash(c.EventsHash), Writes: c.Writes}
		if err := r.checkPruned(x.position, p); err != nil {
			return nil, nil, err
		}
		x.pruned = &pruneRow{Swept: x.position + 1, Height: p.Height + 1, Time: p.Time, Compacted: x.position + 1}
		x.key, x.row = keyPruned(x.position), encodeRow(p)
		receipt := p.receipt()
		return &receipt, p.writes(), nil
	}
	row := &outcomeRow{
		TxID: c.TxID, Height: c.Height, Index: c.Index, Time: x.ref.time, Code: c.Code,
		Logs: c.Logs, Writes: c.Writes, Events: c.Events,
	}
	if c.Code == codeOK {
		row.Same = unknownPayload
	}
	o, err := row.outcome(x.position)
	if err != nil {
		return nil, nil, forged("receipt %d lacks what it refers to", x.position)
	}
	if err := checkForm(x.position, c); err != nil {
		return nil, nil, err
	}
	x.key, x.row = keyOutcome(x.position), encodeRow(row)
	receipt := o.Receipt()
	return &receipt, o.Writes, nil
}

// checkPruned reports a pruned receipt that every node keeps whole: a state
// without it would stop at the first transaction that reads what it wrote.
func (r *Restore) checkPruned(position uint64, p *prunedRow) error {
	for _, w := range p.Writes {
		if ledger.KeepingOf(w.Key) == ledger.KeepLog && !ledger.Ages(w.Key) {
			return forged("receipt %d is pruned although it wrote %.80q, which every node keeps", position, w.Key)
		}
	}
	t := &r.target
	if r.ldb != nil && (t.RecordAge == 0 || t.Time < t.RecordAge || p.Time >= t.Time-t.RecordAge) {
		return forged("receipt %d of time %d is pruned although every node keeps it at time %d", position, p.Time, t.Time)
	}
	return nil
}

// checkForm reports a receipt that keeps its log rows in another form than
// execution would.
func checkForm(position uint64, c *carried) error {
	logs, hashes := 0, 0
	for _, w := range c.Writes {
		if ledger.KeepingOf(w.Key) == ledger.KeepLog {
			logs++
			if len(w.Hash) > 0 {
				hashes++
			}
		}
	}
	switch alone := logs > maxSharedLogs; {
	case alone && (hashes != logs || len(c.Logs) > 0), !alone && (hashes > 0 || len(c.Logs) != logs):
		return forged("receipt %d carries %d values and %d hashes for %d log rows", position, len(c.Logs), hashes, logs)
	}
	for _, v := range c.Logs {
		if len(v) == 0 {
			return forged("receipt %d carries an empty log row", position)
		}
	}
	return nil
}

// codeOK is the code of a transaction that was not refused.
const codeOK = "OK"

// index notes what follows from a receipt for other rows.
func (r *Restore) index(x *ExaminedReceipt, c *carried, writes []ledger.WriteHash) error {
	alone := len(c.Logs) == 0
	for _, w := range writes {
		if len(w.Value) != 0 && len(w.Value) != 32 {
			return forged("receipt %d writes a value whose hash has %d bytes", x.position, len(w.Value))
		}
		keeping := ledger.KeepingOf(w.Key)
		if keeping == ledger.KeepRecord {
			continue // the trie tells
		}
		if keeping == ledger.KeepLog && (x.pruned != nil || !alone) {
			x.logs = append(x.logs, keptRow{keyRow(w.Key), logRef{position: x.position, ordinal: uint32(len(x.logs))}.row(nil)})
			continue
		}
		var h ledger.Hash
		copy(h[:], w.Value)
		if keeping == ledger.KeepLog {
			h = r.datedHash(x.ref.time, h)
		}
		x.written = append(x.written, writtenRow{ledger.Sum([]byte(w.Key)), h})
	}
	return nil
}
