package state

import (
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/assent-network/assent/node/ledger"
)

// bulkBytes is when a flush is written as tables at once instead of through
// the database's journal: then it is written once less.
const bulkBytes = 3 << 20

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

// writer is what a flush writes through: a batch or a transaction.
type writer interface {
	put(key, value []byte) error
	delete(key []byte) error
}

type batchWriter struct{ b *leveldb.Batch }

func (w batchWriter) put(k, v []byte) error { w.b.Put(k, v); return nil }
func (w batchWriter) delete(k []byte) error { w.b.Delete(k); return nil }

type bulkWriter struct{ t *leveldb.Transaction }

func (w bulkWriter) put(k, v []byte) error { return w.t.Put(k, v, nil) }
func (w bulkWriter) delete(k []byte) error { return w.t.Delete(k, nil) }

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
	db.past = append(db.past, &past{
		from: old.from, to: v.height, time: v.time,
		records: old.records, nodes: old.nodes, snap: db.snap, bytes: old.history,
	})
	db.trimPastLocked()
	db.mu.Unlock()
	db.snap, db.layer = snap, newLayer(v.height+1, v.roots.ReceiptsSize)
	db.dirty, db.dirtySince = 0, 0
	next := v.clone()
	next.layer, next.snap = db.layer, snap
	db.head.Store(next)
	return nil
}

func (db *DB) writeLayer(v *View) error {
	if db.layer.bytes < bulkBytes {
		b := leveldb.MakeBatch(db.layer.bytes)
		if err := db.putLayer(batchWriter{b}, v); err != nil {
			return err
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
	if err := db.putLayer(bulkWriter{t}, v); err != nil {
		t.Discard()
		return err
	}
	if err := t.Commit(); err != nil {
		return storageError("commit transaction", err)
	}
	return nil
}

// putLayer writes the newest version of everything in the layer. The order of
// writes within the atomic batch does not matter.
func (db *DB) putLayer(w writer, v *View) error {
	l := db.layer
	for _, rows := range []map[string]*version{l.records, l.plain} {
		for key, r := range rows { //archtest:order-free one atomic batch, each key once
			if err := putOrDelete(w, keyRow(key), r.value, r.deleted); err != nil {
				return err
			}
		}
	}
	for path, n := range l.nodes { //archtest:order-free one atomic batch, each key once
		if err := putOrDelete(w, keyNode(path), n.blob, n.blob == nil); err != nil {
			return err
		}
	}
	for i, row := range l.outcome {
		if err := w.put(keyOutcome(l.first+uint64(i)), row); err != nil {
			return storageError("write outcome", err)
		}
	}
	for id, ref := range l.index { //archtest:order-free one atomic batch, each key once
		if err := w.put(keyIndex(id), ref.encode()); err != nil {
			return storageError("write index", err)
		}
	}
	for id, tile := range l.tiles { //archtest:order-free one atomic batch, each key once
		if err := w.put(keyTile(id), tile); err != nil {
			return storageError("write tile", err)
		}
	}
	return db.putRoots(w, v)
}

func putOrDelete(w writer, key, value []byte, gone bool) error {
	err := error(nil)
	if gone {
		err = w.delete(key)
	} else {
		err = w.put(key, value)
	}
	if err != nil {
		return storageError("write row", err)
	}
	return nil
}

func (db *DB) putRoots(w writer, v *View) error {
	for h := db.layer.from; h <= v.height; h++ {
		db.mu.Lock()
		r, ok := db.recent[h]
		db.mu.Unlock()
		if !ok {
			continue // more blocks than rootsKept since the last flush
		}
		if err := w.put(keyRoots(h), encodeRow(&r)); err != nil {
			return storageError("write roots", err)
		}
		if h >= rootsKept {
			if err := w.delete(keyRoots(h - rootsKept)); err != nil {
				return storageError("delete roots", err)
			}
		}
	}
	if err := w.put(keyHead, encodeRow(&headRow{v.height, v.time, v.roots})); err != nil {
		return storageError("write head", err)
	}
	return nil
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
