package state

import (
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/assent-network/assent/node/ledger"
)

// cursor walks rows in order of their keys, rising or falling. It stands before the
// first row until next was called.
type cursor interface {
	next() bool
	key() string
	row() (value []byte, deleted bool)
}

// layerCursor walks the rows of a layer as they were after height.
type layerCursor struct {
	layer  *layer
	height ledger.Height
	keys   []string // what is left
	back   bool     // from the last to the first
	cur    *version
	name   string
}

func newLayerCursor(l *layer, h ledger.Height, start, end string, back bool) *layerCursor {
	keys := l.keys()
	if end != "" {
		keys = keys[:seek(keys, end)]
	}
	return &layerCursor{layer: l, height: h, keys: keys[seek(keys, start):], back: back}
}

func (c *layerCursor) next() bool {
	for len(c.keys) > 0 {
		at, rest := 0, c.keys[1:]
		if c.back {
			at, rest = len(c.keys)-1, c.keys[:len(c.keys)-1]
		}
		k := c.keys[at]
		c.keys = rest
		if v := c.layer.row(k, c.height); v != nil {
			c.cur, c.name = v, k
			return true
		}
	}
	return false
}

func (c *layerCursor) key() string         { return c.name }
func (c *layerCursor) row() ([]byte, bool) { return c.cur.value, c.cur.deleted }

// rangeRows merges cursors, newest first, with the database below v. All of them walk
// the same way.
func rangeRows(v *View, above []cursor, start, end string, limit int, back bool) ([]Row, error) {
	if limit <= 0 || end != "" && end <= start {
		return nil, nil
	}
	slice := &util.Range{Start: keyRow(start), Limit: keyRow(end)}
	if end == "" {
		slice.Limit = []byte{prefixRow + 1}
	}
	db := v.snap.NewIterator(slice, nil)
	defer db.Release()
	var rows []Row
	below := &dbCursor{it: db, step: db.Next}
	if back {
		below.step = func() bool {
			below.step = db.Prev
			return db.Last()
		}
	}
	live := make([]cursor, 0, len(above)+1)
	for _, c := range append(above, below) {
		if c.next() {
			live = append(live, c)
		}
	}
	for len(live) > 0 && len(rows) < limit {
		first := live[0] // the newest of those with the key that comes first
		for _, c := range live[1:] {
			if c.key() != first.key() && (c.key() < first.key()) != back {
				first = c
			}
		}
		key := first.key()
		value, deleted := first.row()
		if first == cursor(below) && ledger.KeepingOf(key) == ledger.KeepLog {
			var err error
			if value, _, err = v.logValue(key, value); err != nil {
				return nil, err
			}
		}
		if !deleted {
			rows = append(rows, Row{key, value})
		}
		kept := live[:0]
		for _, c := range live {
			if c.key() != key || c.next() {
				kept = append(kept, c)
			}
		}
		live = kept
	}
	if err := db.Error(); err != nil {
		return nil, storageError("read a range of rows", err)
	}
	return rows, nil
}

// dbCursor walks rows of the database.
type dbCursor struct {
	it   iterator.Iterator
	step func() bool
	name string
}

func (c *dbCursor) next() bool {
	if !c.step() {
		return false
	}
	c.name = string(c.it.Key()[1:])
	return true
}

func (c *dbCursor) key() string { return c.name }

func (c *dbCursor) row() ([]byte, bool) {
	return append([]byte{}, c.it.Value()...), false
}
