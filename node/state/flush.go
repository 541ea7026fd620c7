package state

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/assent-network/assent/node/ledger"
)

// bulkBytes is when a flush is written as tables at once instead of through
// the database's journal: then it is written once less.
const bulkBytes = 2 << 20

// past is a flushed layer that records can still be proven from.
type past struct {
	from, to ledger.Height // heights in it; the state before from can be proven as well
	time     uint64        // of the block at to
	records  map[string]*version
	nodes    map[string]*nodeVersion
	snap     *leveldb.Snapshot // below it
	bytes    int
}

// FlushIfDue writes to disk what was committed since the last flush, if that is
// due: see Config. now is any clock in ms that the caller keeps to, never 0. It
// returns after how many ms to call again if no block is committed before; 0
// means that nothing is waiting. An error is fatal.
func (db *DB) FlushIfDue(now uint64) (wait uint64, err error) {
	if db.failed != nil {
		return 0, db.failed
	}
	if db.dirty == 0 {
		return 0, nil
	}
	if db.dirtySince == 0 {
		db.dirtySince = now
	}
	due := db.dirtySince + db.cfg.FlushMillis
	if db.dirty < db.cfg.FlushBlocks && db.layer.bytes < db.cfg.FlushBytes && now < due {
		return due - now, nil
	}
	return 0, db.Flush()
}

// change is one key of a flush; gone: it is deleted.
type change struct {
	key, value []byte
	gone       bool
}

// Flush writes to disk, atomically and synced, all that was committed since the
// last flush. An error is fatal.
func (db *DB) Flush() error {
	if db.failed != nil {
		return db.failed
	}
	if db.dirty == 0 {
		return nil
	}
	v := db.View()
	if err := db.writeLayer(v); err != nil {
		return db.fail(fmt.Errorf("flush up to height %d: %w", v.height, err))
	}
	if err := db.blocks.fit(db.ldb); err != nil {
		return db.fail(err)
	}
	snap, err := db.ldb.GetSnapshot()
	if err != nil {
		return db.fail(storageError("flush", err))
	}
	old := db.layer
	for key, r := range old.records { //archtest:order-free what a cache forgets changes no result
		if r.deleted {
			db.rowCache.put(key, nil)
		} else {
			db.rowCache.put(key, r.value)
		}
	}
	for path, n := range old.nodes { //archtest:order-free what a cache forgets changes no result
		if n.blob != nil {
			db.nodeCache.put(path, cachedNode{n.hash, n.blob})
		}
	}
	db.mu.Lock()
	db.flushes++
	db.past = append(db.past, &past{
		from: old.from, to: v.height, time: v.time,
		records: old.records, nodes: old.nodes, snap: db.snap, bytes: old.history,
	})
	db.trimPastLocked()
	db.mu.Unlock()
	db.snap, db.layer = snap, newLayer(v.height+1, v.roots.ReceiptsSize, db.layer)
	db.dirty, db.dirtySince = 0, 0
	next := v.clone()
	next.layer, next.snap = db.layer, snap
	db.head.Store(next)
	return nil
}

func (db *DB) writeLayer(v *View) error {
	changes := db.changes(v)
	if db.layer.bytes < bulkBytes {
		b := leveldb.MakeBatch(db.layer.bytes)
		for _, c := range changes {
			if c.gone {
				b.Delete(c.key)
			} else {
				b.Put(c.key, c.value)
			}
		}
		if err := db.ldb.Write(b, &opt.WriteOptions{Sync: true}); err != nil {
			return storageError("write batch", err)
		}
		return nil
	}
	t, err := db.ldb.OpenTransaction()
	if err != nil {
		return storageError("open transaction", err)
	}
	for _, c := range changes {
		if c.gone {
			err = t.Delete(c.key, nil)
		} else {
			err = t.Put(c.key, c.value, nil)
		}
		if err != nil {
			t.Discard()
			return storageError("write to transaction", err)
		}
	}
	if err := t.Commit(); err != nil {
		t.Discard()
		return storageError("commit transaction", err)
	}
	return nil
}

// changes returns the newest version of everything in the layer, by key: the
// tables of a bulk write then cover narrow ranges, which later reads need not
// look into.
func (db *DB) changes(v *View) []change {
	l := db.layer
	var keys chunks
	cs := make([]change, 0, len(l.records)+len(l.plain)+len(l.logs)+len(l.nodes)+len(l.outcome)+len(l.index)+len(l.tiles)+256)
	for _, rows := range []map[string]*version{l.records, l.plain} {
		for key, r := range rows { //archtest:order-free sorted below
			cs = append(cs, change{keys.key(prefixRow, key), r.value, r.deleted})
		}
	}
	for key, r := range l.logs { //archtest:order-free sorted below
		cs = append(cs, change{keys.key(prefixRow, key), r.ref.row(r.value), false})
	}
	for path, n := range l.nodes { //archtest:order-free sorted below
		cs = append(cs, change{keys.key(prefixNode, path), n.blob, n.blob == nil})
	}
	for i, row := range l.outcome {
		cs = append(cs, change{keyOutcome(l.first + uint64(i)), row, false})
	}
	for id, ref := range l.index { //archtest:order-free sorted below
		cs = append(cs, change{keyIndex(id), ref.encode(), false})
	}
	for id, tile := range l.tiles { //archtest:order-free sorted below
		cs = append(cs, change{keyTile(id), tile, false})
	}
	for i := range l.heads {
		h := &l.heads[i]
		cs = append(cs, change{keyRoots(h.Height), encodeRow(h), false})
		if h.Height >= rootsStored {
			cs = append(cs, change{keyRoots(h.Height - rootsStored), nil, true})
		}
	}
	cs = append(cs, change{keyHead, encodeRow(&headRow{v.height, v.time, v.roots}), false})
	if db.meta.Version < formatVersion { // from here on an older program cannot read it
		db.meta.Version = formatVersion
		cs = append(cs, change{keyMeta, encodeRow(&db.meta), false})
	}
	slices.SortFunc(cs, func(a, b change) int { return bytes.Compare(a.key, b.key) })
	return cs
}

// chunks gives out room for the many small keys of a flush, which live and die
// together.
type chunks struct{ rest []byte }

const chunkBytes = 32 << 10

// key returns prefix and name as a slice of its own.
func (c *chunks) key(prefix byte, name string) []byte {
	n := 1 + len(name)
	if len(c.rest) < n {
		c.rest = make([]byte, max(n, chunkBytes))
	}
	k := c.rest[:n:n]
	c.rest = c.rest[n:]
	k[0] = prefix
	copy(k[1:], name)
	return k
}

// trimPastLocked forgets flushed layers that are older than the last certified
// height and beyond what Config grants.
func (db *DB) trimPastLocked() {
	total := 0
	for _, p := range db.past {
		total += p.bytes
	}
	newest := db.head.Load().time
	for len(db.past) > 0 {
		p := db.past[0]
		// The state after p.to can also be proven from what follows.
		old := p.time+db.cfg.ProofMillis < newest || total > db.cfg.ProofBytes
		if !old || p.to > db.certified {
			return
		}
		total -= p.bytes
		db.past = db.past[1:]
	}
}
