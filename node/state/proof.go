package state

import (
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"

	"github.com/assent-network/assent/node/ledger"
)

// moment is the records and trie as they were after one height: a layer, frozen
// or not, and the database below it.
type moment struct {
	height ledger.Height
	root   ledger.Hash
	row    func(key string) *version
	node   func(path string) *nodeVersion
	snap   *leveldb.Snapshot
}

// ProveState proves the record under key, present or absent, to the state root
// after a height. ErrProofTooOld: the node does not remember that height any
// more; ErrNotExecuted: it has not come so far.
func (db *DB) ProveState(at ledger.Height, key string) (*ledger.StateProof, error) {
	if _, _, err := ledger.SplitKey(key); err != nil {
		return nil, err
	}
	if ledger.KeepingOf(key) != ledger.KeepRecord {
		return nil, fmt.Errorf("prove %q: such rows are committed by receipts: ask for the receipt of the transaction that wrote it", key)
	}
	m, err := db.moment(at)
	if err != nil {
		return nil, fmt.Errorf("prove %q at height %d: %w", key, at, err)
	}
	p := &ledger.StateProof{Key: key}
	if p.Value, p.Present, err = m.get(key); err != nil {
		return nil, err
	}
	if p.Nodes, err = proveLeaf(m.root, m.readNode, ledger.TrieKey(key)); err != nil {
		return nil, fmt.Errorf("prove %q at height %d: %w", key, at, err)
	}
	return p, nil
}

// ProveReceipt is View.ProveReceipt on the newest state.
func (db *DB) ProveReceipt(id ledger.Hash, size uint64) (*ledger.ReceiptProof, error) {
	return db.View().ProveReceipt(id, size)
}

// moment finds where the state after a height can still be read.
func (db *DB) moment(at ledger.Height) (*moment, error) {
	v := db.View()
	if !v.executed || at > v.height {
		return nil, fmt.Errorf("this node has executed height %d: %w", v.height, ErrNotExecuted)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	r, ok := db.recent[at]
	if !ok {
		return nil, ErrProofTooOld
	}
	if r.Roots.State == v.roots.State {
		// Nothing was written since, as by a seal: the newest state is that one.
		// On an idle network it is the only one that a restarted node has, and no
		// later root will be certified before somebody writes.
		at = v.height
	}
	m := &moment{height: at, root: r.Roots.State}
	if at+1 >= v.layer.from {
		m.snap = v.snap
		m.row = func(key string) *version { return v.layer.row(key, at) }
		m.node = func(path string) *nodeVersion { return v.layer.node(path, at) }
		return m, nil
	}
	for _, p := range db.past {
		if at+1 >= p.from && at <= p.to { // the layers are frozen: no lock
			m.snap = p.snap
			m.row = func(key string) *version { return p.records[key].at(at) }
			m.node = func(path string) *nodeVersion { return p.nodes[path].at(at) }
			return m, nil
		}
	}
	return nil, ErrProofTooOld
}

func (m *moment) get(key string) ([]byte, bool, error) {
	if r := m.row(key); r != nil {
		return r.value, !r.deleted, nil
	}
	value, err := stored(m.snap, "row", keyRow(key))
	return value, value != nil, err
}

func (m *moment) readNode(path string, hash ledger.Hash) ([]byte, error) {
	if n := m.node(path); n != nil {
		if n.hash != hash {
			return nil, corrupt("state trie", fmt.Errorf("node at path %x has hash %s, its parent says %s", path, n.hash, hash))
		}
		return n.blob, nil
	}
	blob, err := stored(m.snap, "trie node", keyNode(path))
	if err != nil {
		return nil, err
	}
	return blob, checkNode(path, hash, blob)
}
