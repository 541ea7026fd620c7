package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"

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
	// It is called concurrently.
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
	own      *Examiner     // of Row and Receipt
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
	r.own = r.Examiner()
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
	x, err := r.own.Row(key, value)
	if err != nil {
		return err
	}
	return r.TakeRow(x)
}

// TakeRow takes the next row, examined.
func (r *Restore) TakeRow(x *ExaminedRow) error {
	if r.position > 0 {
		return forged("row %.80q comes after receipts", x.key)
	}
	if r.lastRow != nil && bytes.Compare(r.lastRow, x.key) >= 0 {
		return forged("row %.80q does not come after %.80q", x.key, r.lastRow)
	}
	r.lastRow = append(r.lastRow[:0], x.key...)
	to := r.present
	if x.leaf {
		to = r.leaves
	}
	if err := to.add(x.at[:], x.hash[:]); err != nil {
		return err
	}
	return r.out.put(keyRow(string(x.key)), x.value)
}

// Receipt takes the next receipt of the log, as Frozen.Receipts yields it.
func (r *Restore) Receipt(item []byte) error {
	x, err := r.own.Receipt(r.position, item)
	if err != nil {
		return err
	}
	return r.TakeReceipt(x)
}

// TakeReceipt takes the next receipt, examined.
func (r *Restore) TakeReceipt(x *ExaminedReceipt) error {
	if x.position != r.position {
		return forged("receipt %d comes where %d is due", x.position, r.position)
	}
	if x.ref.height < r.at {
		return forged("receipt %d is of height %d, after %d", r.position, x.ref.height, r.at)
	}
	r.at = x.ref.height
	if err := r.log.append(x.leaf); err != nil {
		return corrupt("receipt log", err)
	}
	if err := r.keepTiles(); err != nil {
		return err
	}
	if err := r.out.put(x.key, x.row); err != nil {
		return err
	}
	if err := r.txs.add(x.id[:], x.ref.encode()); err != nil {
		return err
	}
	for i := range x.logs {
		if err := r.logRows.add(x.logs[i].key, x.logs[i].value); err != nil {
			return err
		}
	}
	for i := range x.written {
		if err := r.written.add(x.written[i].at[:], x.written[i].hash[:]); err != nil {
			return err
		}
	}
	if x.pruned != nil {
		r.pruned = *x.pruned
	}
	r.position++
	return nil
}
