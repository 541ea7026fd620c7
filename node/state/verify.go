package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/assent-network/assent/node/ledger"
)

// Progress tells how far Verify has come. Total is 0 while it is not known.
type Progress struct {
	Stage       string // "records", "receipts", "index rows"
	Done, Total uint64
}

// Report is what Verify found in order.
type Report struct {
	Height                   ledger.Height
	Roots                    Roots
	Records, LogRows, IxRows uint64
	TrieNodes, Transactions  uint64
}

// verifyChunk is how many rows Verify holds in memory at a time.
const verifyChunk = 1 << 20

// verifier checks one snapshot of the database.
type verifier struct {
	ctx      context.Context
	view     *View
	progress func(Progress)
	report   Report
}

// Verify checks everything that was flushed against the roots of its height:
// that the records give the state root and the trie holds exactly its nodes;
// that the receipts give the receipts root, and the tiles, the index of
// transactions, the log rows and the index rows are what the receipts say. It
// reads the whole database; progress, if not nil, is called every few thousand
// rows. An error that is ErrCorrupt names the first damage.
func (db *DB) Verify(ctx context.Context, progress func(Progress)) (*Report, error) {
	snap, err := db.ldb.GetSnapshot()
	if err != nil {
		return nil, storageError("verify", err)
	}
	defer snap.Release()
	v := &verifier{ctx: ctx, view: &View{snap: snap, roots: EmptyRoots}, progress: progress}
	if progress == nil {
		v.progress = func(Progress) {}
	}
	b, err := stored(snap, "head row", keyHead)
	if err != nil {
		return nil, err
	}
	if b != nil {
		var h headRow
		if err := decodeRow("head row", b, &h); err != nil {
			return nil, err
		}
		v.view.executed, v.view.height, v.view.roots = true, h.Height, h.Roots
	}
	v.view.layer = newLayer(v.view.height+1, v.view.roots.ReceiptsSize, nil)
	v.report.Height, v.report.Roots = v.view.height, v.view.roots
	for _, check := range []func() error{v.records, v.receipts, v.indexRows} {
		if err := check(); err != nil {
			return nil, fmt.Errorf("verify state at height %d: %w", v.view.height, err)
		}
	}
	return &v.report, nil
}

// each walks the rows under a prefix.
func (v *verifier) each(stage string, prefix byte, total uint64, f func(key, value []byte) error) error {
	it := v.view.snap.NewIterator(util.BytesPrefix([]byte{prefix}), nil)
	defer it.Release()
	n := uint64(0)
	for it.Next() {
		if n%4096 == 0 {
			if err := v.ctx.Err(); err != nil {
				return err
			}
			v.progress(Progress{stage, n, total})
		}
		n++
		if err := f(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return storageError("read "+stage, err)
	}
	v.progress(Progress{stage, n, n})
	return nil
}

func (v *verifier) records() error {
	r := &v.report
	err := v.each("records", prefixRow, 0, func(key, _ []byte) error {
		switch ledger.KeepingOf(string(key[1:])) {
		case ledger.KeepRecord:
			r.Records++
		case ledger.KeepLog:
			r.LogRows++
		default:
			r.IxRows++
		}
		return nil
	})
	if err != nil {
		return err
	}
	root, nodes, err := rebuildTrie(v.leaves, r.Records/verifyChunk+1, func(path string, blob []byte) error {
		b, err := stored(v.view.snap, "trie node", keyNode(path))
		if err == nil && !bytes.Equal(b, blob) {
			err = corrupt("state trie", fmt.Errorf("node at path %x is not the one the records give", path))
		}
		return err
	})
	if err != nil {
		return err
	}
	if root != v.view.roots.State {
		return corrupt("records", fmt.Errorf("they give state root %s, the head row says %s", root, v.view.roots.State))
	}
	err = v.each("records", prefixNode, nodes, func([]byte, []byte) error { r.TrieNodes++; return nil })
	if err == nil && r.TrieNodes != nodes {
		err = corrupt("state trie", fmt.Errorf("%d nodes are stored, the records give %d", r.TrieNodes, nodes))
	}
	return err
}

// leaves calls f with the trie leaves of all records.
func (v *verifier) leaves(f func(leaf)) error {
	return v.each("records", prefixRow, v.report.Records+v.report.LogRows+v.report.IxRows, func(key, value []byte) error {
		if name := string(key[1:]); ledger.KeepingOf(name) == ledger.KeepRecord {
			h := ledger.Sum(value)
			f(leaf{ledger.TrieKey(name), h[:]})
		}
		return nil
	})
}

func (v *verifier) receipts() error {
	log := &receiptLog{tree: ledger.NewLog(), done: map[tileID][]byte{}}
	size, next, tiles, logRows := v.view.roots.ReceiptsSize, uint64(0), uint64(0), uint64(0)
	pruning, err := loadPruning(v.view.snap)
	if err != nil {
		return err
	}
	err = v.eachLeaf("receipts", func(position uint64, row *outcomeRow, gone *prunedRow) error {
		next++
		var r ledger.Receipt
		leaf := &storedLeaf{position: position, gone: gone != nil}
		if gone != nil {
			if position >= pruning.Swept {
				return corrupt("receipt log", fmt.Errorf("row %d is pruned, the pruning row says that it went to %d", position, pruning.Swept))
			}
			r, leaf.writes, leaf.time = gone.receipt(), gone.writes(), gone.Time
		} else {
			o, err := row.outcome(position)
			if err != nil {
				return err
			}
			r, leaf.writes, leaf.time, leaf.alone = o.Receipt(), o.Writes, o.Time, len(row.Logs) == 0
		}
		leaf.txID, leaf.height, leaf.index = r.TxID, r.Height, r.Index
		if err := log.append(leafHash(&r)); err != nil {
			return corrupt("receipt log", err)
		}
		for id, want := range log.done { //archtest:order-free each is checked alone
			tiles++
			b, err := stored(v.view.snap, "tile", keyTile(id))
			if err != nil {
				return err
			}
			if !bytes.Equal(b, want) {
				return corrupt("receipt log", fmt.Errorf("tile %d of level %d is not the one the receipts give", id.number, id.level))
			}
			delete(log.done, id)
		}
		n, err := v.checkReferences(leaf)
		logRows += n
		return err
	})
	if err != nil {
		return err
	}
	root, err := ledger.LogRoot(log.tree)
	if err != nil {
		return corrupt("receipt log", err)
	}
	if next != size || root != v.view.roots.Receipts {
		return corrupt("receipt log", fmt.Errorf("%d receipts give root %s, the head row says %d and %s", next, root, size, v.view.roots.Receipts))
	}
	if logRows != v.report.LogRows {
		return corrupt("log rows", fmt.Errorf("%d are stored, receipts name %d", v.report.LogRows, logRows))
	}
	if err := v.countRows("tiles", prefixTile, tiles); err != nil {
		return err
	}
	return v.countRows("transaction index", prefixIndex, v.report.Transactions)
}

// eachLeaf walks the receipt log, and ends at its end or at the first thing stored
// that does not belong to it.
func (v *verifier) eachLeaf(stage string, f func(position uint64, whole *outcomeRow, gone *prunedRow) error) error {
	leaves, size := newStoredLeaves(v.view.snap), v.view.roots.ReceiptsSize
	defer leaves.close()
	for leaves.more() {
		if leaves.next%4096 == 0 {
			if err := v.ctx.Err(); err != nil {
				return err
			}
			v.progress(Progress{stage, leaves.next, size})
		}
		position, whole, gone, err := leaves.leaf()
		if err == nil {
			err = f(position, whole, gone)
		}
		if err != nil {
			return err
		}
	}
	if err := errors.Join(leaves.whole.Error(), leaves.gone.Error()); err != nil {
		return storageError("read "+stage, err)
	}
	v.progress(Progress{stage, leaves.next, size})
	return nil
}

// storedLeaf is a leaf of the receipt log, for those that refer to it.
type storedLeaf struct {
	position    uint64
	txID        ledger.Hash
	height      ledger.Height
	index, time uint64
	writes      []ledger.WriteHash
	alone       bool // the values of log rows stand under their keys
	gone        bool // pruned
}

// checkReferences checks the rows that refer to an outcome. It returns how many
// log rows do.
func (v *verifier) checkReferences(o *storedLeaf) (uint64, error) {
	ref, ok, err := v.view.ref(o.txID)
	if err != nil {
		return 0, err
	}
	want := txRef{o.height, o.index, o.position, o.time}
	switch {
	case ok && ref == want:
		v.report.Transactions++
	case !ok || ref.position > o.position && ref.time <= o.time+ledger.KnownWindowMillis:
		return 0, corrupt("transaction index", fmt.Errorf("transaction %s at receipt %d is not found by its id", o.txID, o.position))
	}
	logs := uint32(0)
	for _, w := range o.writes {
		if ledger.KeepingOf(w.Key) != ledger.KeepLog {
			continue
		}
		b, err := stored(v.view.snap, "log row", keyRow(w.Key))
		if err != nil {
			return 0, err
		}
		want := logRef{position: o.position, ordinal: logs}.row(nil)
		if o.alone && !o.gone {
			ref, value, err := decodeLogRow(b)
			if err != nil {
				return 0, err
			}
			if !ref.alone || ref.time != o.time {
				return 0, corrupt("log rows", fmt.Errorf("%q is of time %d, receipt %d of %d", w.Key, ref.time, o.position, o.time))
			}
			h := ledger.Sum(value)
			want, b = w.Value, h[:]
		}
		if !bytes.Equal(b, want) {
			return 0, corrupt("log rows", fmt.Errorf("%q is not what receipt %d says", w.Key, o.position))
		}
		logs++
	}
	return uint64(logs), nil
}

func (v *verifier) countRows(what string, prefix byte, want uint64) error {
	n := uint64(0)
	err := v.each("receipts", prefix, want, func([]byte, []byte) error { n++; return nil })
	if err == nil && n != want {
		err = corrupt(what, fmt.Errorf("%d rows are stored, the receipts give %d", n, want))
	}
	return err
}

// indexRows compares every index row with the last receipt that wrote it, a
// share of the keys at a time.
func (v *verifier) indexRows() error {
	shares := v.report.IxRows/verifyChunk + 1
	for share := range shares {
		last := map[string][]byte{} // key → hash of the value last written
		mine := func(key string) bool {
			h := fnv.New64a()
			_, _ = h.Write([]byte(key)) // never fails
			return ledger.KeepingOf(key) == ledger.KeepIndex && h.Sum64()%shares == share
		}
		err := v.eachLeaf("index rows", func(_ uint64, row *outcomeRow, gone *prunedRow) error {
			var writes []storedWrite
			if gone != nil {
				writes = gone.Writes
			} else {
				writes = row.Writes
			}
			for _, w := range writes {
				if !mine(w.Key) {
					continue
				}
				if len(w.Hash) == 0 {
					delete(last, w.Key)
				} else {
					last[w.Key] = w.Hash
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := v.compareIndexRows(last, mine); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) compareIndexRows(last map[string][]byte, mine func(string) bool) error {
	err := v.each("index rows", prefixRow, 0, func(key, value []byte) error {
		name := string(key[1:])
		if !mine(name) {
			return nil
		}
		if h := ledger.Sum(value); !bytes.Equal(last[name], h[:]) {
			return corrupt("index rows", fmt.Errorf("%q is not what the receipts say", name))
		}
		delete(last, name)
		return nil
	})
	if err == nil && len(last) > 0 {
		err = corrupt("index rows", fmt.Errorf("%d rows that receipts name are missing", len(last)))
	}
	return err
}
