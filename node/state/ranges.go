package state

import (
	"github.com/syndtr/goleveldb/leveldb/iterator"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/assent-network/assent/node/ledger"
)

// cursor walks rows in order of their keys. It stands before the first row
// until next was called.
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
	end    string
	cur    *version
	name   string
}

func newLayerCursor(l *layer, h ledger.Height, start, end string) *layerCursor {
	keys := l.keys()
	return &layerCursor{layer: l, height: h, keys: keys[seek(keys, start):], end: end}
}

func (c *layerCursor) next() bool {
	for len(c.keys) > 0 {
		k := c.keys[0]
		c.keys = c.keys[1:]
		if c.end != "" && k >= c.end {
			c.keys = nil
			return false
		}
		if v := c.layer.row(k, c.height); v != nil {
			c.cur, c.name = v, k
			return true
		}
	}
	return false
}

func (c *layerCursor) key() string         { return c.name }
func (c *layerCursor) row() ([]byte, bool) { return c.cur.value, c.cur.deleted }

// rangeRows merges cursors, newest first, with the database below v.
func rangeRows(v *View, above []cursor, start, end string, limit int) ([]Row, error) {
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
	below := &dbCursor{it: db}
	live := make([]cursor, 0, len(above)+1)
	for _, c := range append(above, below) {
		if c.next() {
			live = append(live, c)
		}
	}
	for len(live) > 0 && len(rows) < limit {
		first := live[0] // the newest of those with the lowest key
		for _, c := range live[1:] {
			if c.key() < first.key() {
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
	name string
}

func (c *dbCursor) next() bool {
	if !c.it.Next() {
		return false
	}
	c.name = string(c.it.Key()[1:])
	return true
}

func (c *dbCursor) key() string { return c.name }

func (c *dbCursor) row() ([]byte, bool) {
	return append([]byte{}, c.it.Value()...), false
}
