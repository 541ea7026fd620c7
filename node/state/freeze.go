package state

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/ethereum/go-ethereum/rlp"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/assent-network/assent/node/ledger"
)

// ErrNotFrozen: the state after that height cannot be read as a whole at this
// moment. Try again after the next block.
var ErrNotFrozen = errors.New("the state after that height is not at hand as a whole")

// Frozen is the whole state after one height, to be copied while blocks are
// executed. It needs no closing, but holding one makes the database keep old
// rows.
type Frozen struct {
	view   *View
	rows   []change // rows, but those in receipts, that the database below the layer has otherwise; by key
	height ledger.Height
	time   uint64
}

// Freeze returns the state after height h, which must be one of the newest: it
// takes from memory what was not flushed. Any goroutine may call it.
func (db *DB) Freeze(h ledger.Height) (*Frozen, error) {
	v := db.View()
	db.mu.Lock()
	at, ok := db.recent[h]
	base, known := db.recent[v.layer.from-1]
	db.mu.Unlock()
	if !v.executed || h > v.height {
		return nil, fmt.Errorf("freeze height %d: this node has executed height %d: %w", h, v.height, ErrNotExecuted)
	}
	if !ok {
		return nil, fmt.Errorf("freeze height %d: %w", h, ErrNotFrozen)
	}
	w := *v
	w.height, w.time, w.roots, w.edge = h, at.Time, at.Roots, nil
	if h+1 < v.layer.from {
		// Nothing was written since, as by a seal: the flushed state is that one.
		if !known || base.Roots != at.Roots {
			return nil, fmt.Errorf("freeze height %d: %w", h, ErrNotFrozen)
		}
		w.height = v.layer.from - 1
	}
	return &Frozen{view: &w, rows: w.layer.rowsAt(w.height), height: h, time: at.Time}, nil
}

// rowsAt returns the rows of the layer after height, but those whose values stand
// in outcome rows, by key.
func (l *layer) rowsAt(h ledger.Height) []change {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []change
	for _, rows := range []map[string]*version{l.records, l.plain} {
		for key, newest := range rows { //archtest:order-free sorted below
			if v := newest.at(h); v != nil {
				out = append(out, change{[]byte(key), v.value, v.deleted})
			}
		}
	}
	for key, r := range l.logs { //archtest:order-free sorted below
		if r.ref.alone && r.height <= h {
			out = append(out, change{[]byte(key), dated(r.ref.time, r.value), false})
		}
	}
	slices.SortFunc(out, func(a, b change) int { return bytes.Compare(a.key, b.key) })
	return out
}

// Height returns the height after which f shows the state.
func (f *Frozen) Height() ledger.Height { return f.height }

// Time returns the time of the block at that height, Unix ms.
func (f *Frozen) Time() uint64 { return f.time }

// Roots returns the roots after that height.
func (f *Frozen) Roots() Roots { return f.view.roots }

// Rows yields the records, the index rows and the log rows that stand alone, by
// ascending key; before the value of the last stand eight bytes, the time of the
// block that wrote it. The bytes are valid until yield returns; its error ends the
// walk.
func (f *Frozen) Rows(yield func(key, value []byte) error) error {
	it := f.view.snap.NewIterator(util.BytesPrefix([]byte{prefixRow}), passing)
	defer it.Release()
	above := f.rows
	for ok := it.Next(); ok || len(above) > 0; {
		c := 1
		if ok {
			c = -1
			if len(above) > 0 {
				c = bytes.Compare(it.Key()[1:], above[0].key)
			}
		}
		var err error
		switch {
		case c < 0:
			err = yieldRow(it.Key()[1:], it.Value(), yield)
		case !above[0].gone:
			err = yield(above[0].key, above[0].value)
		}
		if err != nil {
			return err
		}
		if c >= 0 {
			above = above[1:]
		}
		if c <= 0 {
			ok = it.Next()
		}
	}
	if err := it.Error(); err != nil {
		return storageError("read all rows", err)
	}
	return nil
}

// yieldRow yields a stored row, unless it is a log row whose value its receipt
// carries.
func yieldRow(key, stored []byte, yield func(key, value []byte) error) error {
	if ledger.KeepingOf(string(key)) != ledger.KeepLog {
		return yield(key, stored)
	}
	ref, _, err := decodeLogRow(stored)
	if err != nil || !ref.alone {
		return err
	}
	return yield(key, stored[1:])
}

// dated returns a log row that stands alone as snapshots carry it.
func dated(time uint64, value []byte) []byte { return logRef{alone: true, time: time}.row(value)[1:] }

// carried is a receipt as a snapshot carries it: all that its leaf commits to,
// and nothing else. Of a pruned one Logs and Events are gone and EventsHash
// stands for the latter.
type carried struct {
	TxID       ledger.Hash
	Height     ledger.Height
	Index      uint64
	Code       string
	Logs       [][]byte
	Writes     []storedWrite
	Events     []storedEvent
	EventsHash []byte // 32 bytes of a pruned receipt, else none
}

// prunedRow is what is left of an outcome that was pruned.
type prunedRow struct {
	TxID   ledger.Hash
	Height ledger.Height
	Index  uint64
	Time   uint64
	Code   string
	Events ledger.Hash
	Writes []storedWrite // all with their hashes
}

// Receipts yields every receipt of the log in order, as Restore.Receipt takes
// it.
func (f *Frozen) Receipts(yield func(item []byte) error) error {
	leaves := newStoredLeaves(f.view.snap)
	defer leaves.close()
	var item []byte
	for position := range f.view.roots.ReceiptsSize {
		var row []byte
		var gone bool
		var err error
		if position >= f.view.layer.first {
			row, err = f.view.outcomeRow(position)
		} else {
			_, row, gone, err = leaves.row()
		}
		switch {
		case err != nil:
		case gone:
			var p *prunedRow
			if p, err = decodePruned(position, row); err == nil {
				item = encodeRow(p.carried())
			}
		default:
			item, err = appendCarried(item[:0], position, row)
		}
		if err != nil {
			return storageError("read all receipts", err)
		}
		if err := yield(item); err != nil {
			return err
		}
	}
	return nil
}

// Fields of a stored outcomeRow, by their place.
const (
	fieldTime = 3 + iota
	fieldCode
	fieldMessage
	fieldLogs
	fieldWrites
	fieldEvents
	fieldPayload
	fieldSame
)

// appendCarried appends what a snapshot carries of an outcome row, as encoding
// a carried of it would. The bytes of every field are the same in both, so they
// are copied: taking millions of rows apart and putting them together again would
// be half of what a snapshot costs the node that serves meanwhile.
func appendCarried(to []byte, position uint64, row []byte) ([]byte, error) {
	what := func() string { return fmt.Sprintf("outcome row %d", position) }
	if len(row) > maxStoredBytes {
		return nil, corrupt(what(), fmt.Errorf("%d bytes, more than any version wrote", len(row)))
	}
	fields, rest, err := rlp.SplitList(row)
	if err != nil {
		return nil, corrupt(what(), err)
	}
	if len(rest) > 0 {
		return nil, corrupt(what(), fmt.Errorf("%d bytes follow it", len(rest)))
	}
	var starts [fieldSame + 2]int // of the fields, and the end
	n := 0
	for at := 0; at < len(fields); n++ {
		if n > fieldSame {
			return nil, corrupt(what(), fmt.Errorf("more than %d fields", n))
		}
		kind, _, rest, err := rlp.Split(fields[at:])
		if err != nil {
			return nil, corrupt(what(), err)
		}
		if list := n >= fieldLogs && n <= fieldEvents; (kind == rlp.List) != list {
			return nil, corrupt(what(), fmt.Errorf("field %d is not of its kind", n))
		}
		at = len(fields) - len(rest)
		starts[n+1] = at
	}
	if n < fieldSame { // the last is optional
		return nil, corrupt(what(), fmt.Errorf("%d fields", n))
	}
	place, code, said := fields[:starts[fieldTime]], fields[starts[fieldCode]:starts[fieldMessage]], fields[starts[fieldLogs]:starts[fieldPayload]]
	w := rlp.NewEncoderBuffer(nil)
	list := w.List()
	for _, raw := range [][]byte{place, code, said} {
		if _, err := w.Write(raw); err != nil {
			return nil, err
		}
	}
	w.WriteBytes(nil) // EventsHash
	w.ListEnd(list)
	to = w.AppendToBytes(to)
	return to, w.Flush() // gives the buffer back
}

func (r *prunedRow) carried() *carried {
	return &carried{TxID: r.TxID, Height: r.Height, Index: r.Index, Code: r.Code, Writes: r.Writes, EventsHash: r.Events[:]}
}

func decodePruned(position uint64, b []byte) (*prunedRow, error) {
	r := new(prunedRow)
	if err := decodeRow(fmt.Sprintf("pruned row %d", position), b, r); err != nil {
		return nil, err
	}
	return r, nil
}
