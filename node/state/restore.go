package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/assent-network/assent/node/ledger"
)

// Target is the state that a Restore must come to. All of it follows from
// certified headers.
type Target struct {
	Height ledger.Height
	Time   uint64 // of the block at Height
	Roots  Roots  // that a certified header names for Height
	// RecordAge is Limits.RecordAge of the config: younger outcomes must be there
	// whole, or this node could not execute what the others do. 0: all must.
	RecordAge uint64
	// Earlier are the roots of lower heights that headers above Height name:
	// executing those blocks compares them.
	Earlier []Certified
	// TimeOf returns the time of a block at or below Height.
	TimeOf func(ledger.Height) (uint64, error)
}

// Certified are the roots after a height, as a certified header names them.
type Certified struct {
	Height ledger.Height
	Time   uint64
	Roots  Roots
}

// ErrForged: what was to be restored is not the state that the headers certify.
var ErrForged = errors.New("this is not the state that the headers certify")

func forged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrForged, fmt.Errorf(format, args...))
}

// Restore fills a new state from what somebody claims to be the state after a
// certified height. Nobody is believed: the trie, the log's tree and every index
// are computed here, and the roots must be those of the target. Before Finish has
// returned nil the directory cannot be opened as a state. Memory is bounded
// whatever the size; sorting takes files in a scratch directory.
//
// Rows come first, by ascending key, then receipts in order, then Finish.
type Restore struct {
	cfg    Config
	target Target
	ldb    *leveldb.DB
	files  storage.Storage
	out    bulk

	lastRow  []byte
	leaves   *spill    // trie key, keccak256 of the value
	present  *spill    // keccak256 of an index row's key, of its value
	written  *spill    // likewise, by receipts in order; a zero hash for a deletion
	txs      *spill    // transaction id, txRef
	logRows  rowFile   // in the order of receipts: their keys would tear apart the order of the rows between which they come
	tiles    []rowFile // by level
	scratch  string
	log      *receiptLog
	position uint64
	pruned   pruneRow
	at       ledger.Height // of the last receipt
	atTime   uint64
}

// NewRestore begins a state in cfg.Dir, which must be empty or missing, and keeps
// files for sorting in scratch, which must exist.
func NewRestore(cfg Config, scratch string, target Target) (_ *Restore, err error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(cfg.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("restore state in %s: the directory is not empty", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("restore state: %w", err)
	}
	r, err := NewCheck(scratch, target)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("restore state: %w", err), r.Close())
		}
	}()
	r.cfg = cfg
	if r.files, err = storage.OpenFile(cfg.Dir, false); err != nil {
		return nil, err
	}
	if cfg.Files != nil {
		r.files = cfg.Files(r.files)
	}
	o := options(&blockCache{most: cfg.BlockCache})
	o.ErrorIfExist = true
	o.WriteBuffer, o.CompactionTableSize = 16<<20, 16<<20 // rows come in order: large tables, moved and not merged
	if r.ldb, err = leveldb.Open(r.files, o); err != nil {
		return nil, storageError("create database", err)
	}
	r.out.ldb = r.ldb
	return r, nil
}

// NewCheck is NewRestore without a state: it only finds out whether one could be
// made.
func NewCheck(scratch string, target Target) (_ *Restore, err error) {
	r := &Restore{scratch: scratch, target: target, log: &receiptLog{tree: ledger.NewLog(), done: map[tileID][]byte{}}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("check state: %w", err), r.Close())
		}
	}()
	for _, s := range []struct {
		to   **spill
		size int
	}{{&r.leaves, 64}, {&r.present, 64}, {&r.written, 64}, {&r.txs, 64}} {
		if *s.to, err = newSpill(scratch, s.size); err != nil {
			return nil, err
		}
	}
	if err := r.logRows.open(scratch); err != nil {
		return nil, err
	}
	return r, nil
}

// Close frees what NewRestore took, finished or not.
func (r *Restore) Close() error {
	var errs []error
	r.out.discard()
	for _, s := range []*spill{r.leaves, r.present, r.written, r.txs} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	errs = append(errs, r.logRows.close())
	for i := range r.tiles {
		errs = append(errs, r.tiles[i].close())
	}
	if r.ldb != nil {
		errs = append(errs, r.ldb.Close())
	}
	if r.files != nil {
		errs = append(errs, r.files.Close())
	}
	return errors.Join(errs...)
}

// Row takes the next record, index row or log row that stands alone.
func (r *Restore) Row(key, value []byte) error {
	name := string(key)
	if r.position > 0 {
		return forged("row %.80q comes after receipts", name)
	}
	if _, _, err := ledger.SplitKey(name); err != nil {
		return forged("%w", err)
	}
	if r.lastRow != nil && bytes.Compare(r.lastRow, key) >= 0 {
		return forged("row %.80q does not come after %.80q", name, r.lastRow)
	}
	if len(value) == 0 {
		return forged("row %.80q is empty", name)
	}
	r.lastRow = append(r.lastRow[:0], key...)
	switch ledger.KeepingOf(name) {
	case ledger.KeepRecord:
		at, h := ledger.TrieKey(name), ledger.Sum(value)
		if err := r.leaves.add(at[:], h[:]); err != nil {
			return err
		}
	case ledger.KeepLog:
		if len(value) <= timeBytes {
			return forged("log row %.80q has %d bytes, its time and a value are needed", name, len(value))
		}
		at, h := ledger.Sum(key), r.datedHash(binary.BigEndian.Uint64(value), ledger.Sum(value[timeBytes:]))
		if err := r.present.add(at[:], h[:]); err != nil {
			return err
		}
		value = append([]byte{tagAlone}, value...)
	default:
		at, h := ledger.Sum(key), ledger.Sum(value)
		if err := r.present.add(at[:], h[:]); err != nil {
			return err
		}
	}
	return r.out.put(keyRow(name), value)
}

// datedHash commits to a log row's time and value; a check knows no times.
func (r *Restore) datedHash(time uint64, value ledger.Hash) ledger.Hash {
	if r.ldb == nil {
		return value
	}
	return ledger.Sum(binary.BigEndian.AppendUint64(value[:], time))
}

// Receipt takes the next receipt of the log, as Frozen.Receipts yields it.
func (r *Restore) Receipt(item []byte) error {
	if r.position >= r.target.Roots.ReceiptsSize {
		return forged("more than the %d receipts that the header names", r.target.Roots.ReceiptsSize)
	}
	if len(item) > maxStoredBytes {
		return forged("receipt %d has %d bytes", r.position, len(item))
	}
	c := new(carried)
	if err := rlp.DecodeBytes(item, c); err != nil {
		return forged("receipt %d: %w", r.position, err)
	}
	if c.Height < r.at || c.Height > r.target.Height {
		return forged("receipt %d is of height %d, after %d", r.position, c.Height, r.at)
	}
	if c.Height != r.at || r.position == 0 {
		if err := r.timeOf(c.Height); err != nil {
			return err
		}
		r.at = c.Height
	}
	o, key, row, err := r.unpack(c)
	if err != nil {
		return err
	}
	leaf := o.receipt.Encode()
	if err := r.log.append(ledger.LogHasher{}.HashLeaf(leaf)); err != nil {
		return corrupt("receipt log", err)
	}
	if err := r.keepTiles(); err != nil {
		return err
	}
	if err := r.out.put(key, row); err != nil {
		return err
	}
	if err := r.index(c, o.writes); err != nil {
		return err
	}
	r.position++
	return nil
}

// timeOf looks up the time of a receipt's block; a check needs none.
func (r *Restore) timeOf(h ledger.Height) (err error) {
	if r.ldb == nil {
		return nil
	}
	if r.atTime, err = r.target.TimeOf(h); err != nil {
		return fmt.Errorf("time of block %d: %w", h, err)
	}
	return nil
}

// unpacked is what a carried receipt commits to.
type unpacked struct {
	receipt ledger.Receipt
	writes  []ledger.WriteHash
}

// unpack computes the leaf of a receipt, and the row to keep of it.
func (r *Restore) unpack(c *carried) (*unpacked, []byte, []byte, error) {
	u := &unpacked{receipt: ledger.Receipt{TxID: c.TxID, Height: c.Height, Index: c.Index, Code: c.Code}}
	if len(c.EventsHash) > 0 {
		if len(c.EventsHash) != 32 || len(c.Logs) > 0 || len(c.Events) > 0 {
			return nil, nil, nil, forged("receipt %d is neither whole nor pruned", r.position)
		}
		p := &prunedRow{TxID: c.TxID, Height: c.Height, Index: c.Index, Time: r.atTime, Code: c.Code, Events: ledger.Hash(c.EventsHash), Writes: c.Writes}
		if err := r.checkPruned(p); err != nil {
			return nil, nil, nil, err
		}
		u.writes, u.receipt = p.writes(), p.receipt()
		return u, keyPruned(r.position), encodeRow(p), nil
	}
	row := &outcomeRow{
		TxID: c.TxID, Height: c.Height, Index: c.Index, Time: r.atTime, Code: c.Code,
		Logs: c.Logs, Writes: c.Writes, Events: c.Events,
	}
	if c.Code == codeOK {
		row.Same = unknownPayload
	}
	o, err := row.outcome(r.position)
	if err != nil {
		return nil, nil, nil, forged("receipt %d lacks what it refers to", r.position)
	}
	if err := r.checkForm(c); err != nil {
		return nil, nil, nil, err
	}
	u.writes, u.receipt = o.Writes, o.Receipt()
	return u, keyOutcome(r.position), encodeRow(row), nil
}

// checkPruned reports a pruned receipt that every node keeps whole: a state
// without it would stop at the first transaction that reads what it wrote.
func (r *Restore) checkPruned(p *prunedRow) error {
	for _, w := range p.Writes {
		if ledger.KeepingOf(w.Key) == ledger.KeepLog && !ledger.Ages(w.Key) {
			return forged("receipt %d is pruned although it wrote %.80q, which every node keeps", r.position, w.Key)
		}
	}
	t := &r.target
	if r.ldb != nil && (t.RecordAge == 0 || t.Time < t.RecordAge || p.Time >= t.Time-t.RecordAge) {
		return forged("receipt %d of time %d is pruned although every node keeps it at time %d", r.position, p.Time, t.Time)
	}
	r.pruned = pruneRow{Swept: r.position + 1, Height: p.Height + 1, Time: p.Time, Compacted: r.position + 1}
	return nil
}

// checkForm reports a receipt that keeps its log rows in another form than
// execution would.
func (r *Restore) checkForm(c *carried) error {
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
		return forged("receipt %d carries %d values and %d hashes for %d log rows", r.position, len(c.Logs), hashes, logs)
	}
	for _, v := range c.Logs {
		if len(v) == 0 {
			return forged("receipt %d carries an empty log row", r.position)
		}
	}
	return nil
}

// codeOK is the code of a transaction that was not refused.
const codeOK = "OK"

// index notes what follows from a receipt for other rows.
func (r *Restore) index(c *carried, writes []ledger.WriteHash) error {
	ref := txRef{c.Height, c.Index, r.position, r.atTime}
	if err := r.txs.add(c.TxID[:], ref.encode()); err != nil {
		return err
	}
	pruned, alone, logs := len(c.EventsHash) > 0, len(c.Logs) == 0, uint32(0)
	for _, w := range writes {
		if len(w.Value) != 0 && len(w.Value) != 32 {
			return forged("receipt %d writes a value whose hash has %d bytes", r.position, len(w.Value))
		}
		keeping := ledger.KeepingOf(w.Key)
		if keeping == ledger.KeepRecord {
			continue // the trie tells
		}
		if keeping == ledger.KeepLog && (pruned || !alone) {
			if err := r.logRows.add(keyRow(w.Key), logRef{position: r.position, ordinal: logs}.row(nil)); err != nil {
				return err
			}
			logs++
			continue
		}
		var h ledger.Hash
		copy(h[:], w.Value)
		if keeping == ledger.KeepLog {
			h = r.datedHash(r.atTime, h)
		}
		at := ledger.Sum([]byte(w.Key))
		if err := r.written.add(at[:], h[:]); err != nil {
			return err
		}
	}
	return nil
}
