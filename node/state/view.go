package state

import (
	"fmt"
	"slices"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/assent-network/assent/node/ledger"
)

// View is the state after one height. It never changes; any number of
// goroutines may use it. It needs no closing, but holding one for long makes
// the database keep old rows.
type View struct {
	layer    *layer            // blocks since snap, newer ones than the view's too
	snap     *leveldb.Snapshot // the database below the layer
	executed bool              // false: nothing was executed yet
	height   ledger.Height
	time     uint64
	roots    Roots
	edge     [][]ledger.Hash // incomplete tiles of the receipt log, by level
}

// Executed returns the height after which v shows the state. ok is false, and
// the state empty, if nothing was executed yet.
func (v *View) Executed() (h ledger.Height, ok bool) { return v.height, v.executed }

// Height is Executed without the distinction.
func (v *View) Height() ledger.Height { return v.height }

// Time returns the time of the block at the view's height, in Unix ms.
func (v *View) Time() uint64 { return v.time }

// Roots returns the roots after the view's height.
func (v *View) Roots() Roots { return v.roots }

// Get returns the value of a row. The bytes must not be changed. An error is a
// *Pruned, or means that the database cannot be read.
func (v *View) Get(key string) (value []byte, ok bool, err error) {
	if r := v.layer.row(key, v.height); r != nil {
		return r.value, !r.deleted, nil
	}
	value, err = storedRow(v, key, nil)
	return value, value != nil, err
}

// storedRow returns a row as the database below v's layer has it, nil if there
// is none.
func storedRow(v *View, key string, o *opt.ReadOptions) ([]byte, error) {
	b, err := read(v.snap, "row", keyRow(key), o)
	if err != nil || b == nil || ledger.KeepingOf(key) != ledger.KeepLog {
		return b, err
	}
	b, _, err = v.logValue(key, b)
	return b, err
}

// logValue returns the value of the log row stored as b, or the one it refers to,
// and the time of the block that wrote it. The error is a *Pruned if that is all
// there is.
func (v *View) logValue(key string, b []byte) (value []byte, time uint64, err error) {
	ref, value, err := decodeLogRow(b)
	if err != nil || ref.alone {
		return value, ref.time, err
	}
	if b, err = stored(v.snap, "outcome row", keyOutcome(ref.position)); err != nil {
		return nil, 0, err
	}
	if b == nil {
		gone, err := v.prunedRow(ref.position)
		if err != nil {
			return nil, 0, err
		}
		return nil, 0, gone.gone(key)
	}
	row, err := decodeOutcomeRow(ref.position, b)
	if err != nil {
		return nil, 0, err
	}
	if int(ref.ordinal) >= len(row.Logs) {
		return nil, 0, corrupt("log row", fmt.Errorf("%q is not in the outcome row %d it refers to", key, ref.position))
	}
	return row.Logs[ref.ordinal], row.Time, nil
}

// prunedRow returns what is left of the outcome at a position.
func (v *View) prunedRow(position uint64) (*prunedRow, error) {
	b, err := stored(v.snap, "pruned row", keyPruned(position))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, corrupt("receipt log", fmt.Errorf("row %d of %d is missing", position, v.roots.ReceiptsSize))
	}
	return decodePruned(position, b)
}

func (r *prunedRow) gone(key string) error {
	return &Pruned{Key: key, TxID: r.TxID, Height: r.Height, Time: r.Time}
}

func (r *prunedRow) receipt() ledger.Receipt {
	return ledger.Receipt{TxID: r.TxID, Height: r.Height, Index: r.Index, Code: r.Code, Events: r.Events, Writes: hashWrites(r.writes())}
}

// writes returns the write set's hashes.
func (r *prunedRow) writes() []ledger.WriteHash {
	out := make([]ledger.WriteHash, len(r.Writes))
	for i, w := range r.Writes {
		out[i] = ledger.WriteHash{Key: w.Key, Value: w.Hash}
	}
	return out
}

// Row is a row of a range.
type Row struct {
	Key   string
	Value []byte
}

// Range returns up to limit rows with start ≤ key < end in order; end "" means
// no end. More may follow if it returns limit rows: go on from the last key
// with "\x00" appended.
func (v *View) Range(start, end string, limit int) ([]Row, error) {
	return rangeRows(v, []cursor{newLayerCursor(v.layer, v.height, start, end, false)}, start, end, limit, false)
}

// Last returns the last limit rows of a range, in falling order. More may precede them
// if it returns limit rows: go on with the last key as the end.
func (v *View) Last(start, end string, limit int) ([]Row, error) {
	return rangeRows(v, []cursor{newLayerCursor(v.layer, v.height, start, end, true)}, start, end, limit, true)
}

// Find returns where transaction id stands and what became of it, or an error
// that is ErrNotFound, or a *Pruned. A transaction that was sent again within the known
// window has further leaves with code DUPLICATE; Find returns the first.
func (v *View) Find(id ledger.Hash) (*Outcome, error) {
	ref, ok, err := v.ref(id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("transaction %s: %w", id, ErrNotFound)
	}
	return v.OutcomeAt(ref.position)
}

func (v *View) ref(id ledger.Hash) (txRef, bool, error) {
	v.layer.mu.RLock()
	ref, ok := v.layer.index[id]
	v.layer.mu.RUnlock()
	if ok {
		return ref, ref.height <= v.height, nil
	}
	b, err := stored(v.snap, "transaction index", keyIndex(id))
	if err != nil || b == nil {
		return txRef{}, false, err
	}
	ref, err = decodeTxRef(b)
	return ref, err == nil, err
}

// OutcomeAt returns the outcome whose leaf stands at a position of the receipt
// log, or an error that is ErrNotFound, or a *Pruned.
func (v *View) OutcomeAt(position uint64) (*Outcome, error) {
	o, gone, err := v.leafAt(position)
	if err == nil && gone != nil {
		err = gone.gone("")
	}
	return o, err
}

// ReceiptAt returns the leaf at a position of the receipt log, pruned or not, or an
// error that is ErrNotFound.
func (v *View) ReceiptAt(position uint64) (ledger.Receipt, error) {
	o, gone, err := v.leafAt(position)
	switch {
	case err != nil:
		return ledger.Receipt{}, err
	case gone != nil:
		return gone.receipt(), nil
	}
	return o.Receipt(), nil
}

// leafAt returns the outcome at a position, or what is left of it.
func (v *View) leafAt(position uint64) (*Outcome, *prunedRow, error) {
	if position >= v.roots.ReceiptsSize {
		return nil, nil, fmt.Errorf("receipt %d of %d: %w", position, v.roots.ReceiptsSize, ErrNotFound)
	}
	b, err := v.outcomeRow(position)
	if err != nil {
		return nil, nil, err
	}
	if b == nil {
		gone, err := v.prunedRow(position)
		return nil, gone, err
	}
	row, err := decodeOutcomeRow(position, b)
	if err != nil {
		return nil, nil, err
	}
	o, err := row.outcome(position)
	return o, nil, err
}

// outcomeRow returns the stored outcome at a position, nil if it was pruned.
func (v *View) outcomeRow(position uint64) ([]byte, error) {
	l := v.layer
	if position >= l.first {
		l.mu.RLock()
		defer l.mu.RUnlock()
		return l.outcome[position-l.first], nil
	}
	return stored(v.snap, "outcome row", keyOutcome(position))
}

// tile returns the hashes of a tile as far as the view knows them.
func (v *View) tile(id tileID) ([]ledger.Hash, error) {
	if id.number == v.roots.ReceiptsSize>>(tileBits*uint(id.level))/tileWidth {
		if int(id.level) < len(v.edge) {
			return v.edge[id.level], nil
		}
		return nil, nil
	}
	v.layer.mu.RLock()
	b := v.layer.tiles[id]
	v.layer.mu.RUnlock()
	if b == nil {
		var err error
		if b, err = stored(v.snap, "receipt log tile", keyTile(id)); err != nil {
			return nil, err
		}
	}
	return decodeTile(id, b)
}

func (v *View) clone() *View { c := *v; c.edge = slices.Clone(v.edge); return &c }
