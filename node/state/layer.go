package state

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"

	"github.com/assent-network/assent/node/ledger"
)

// version is one value of a row; older versions hang behind newer ones.
type version struct {
	height  ledger.Height
	deleted bool
	value   []byte
	older   *version
}

func (v *version) at(h ledger.Height) *version {
	for v != nil && v.height > h {
		v = v.older
	}
	return v
}

// nodeVersion is one value of a trie node; no blob: deleted.
type nodeVersion struct {
	height ledger.Height
	hash   ledger.Hash
	blob   []byte
	older  *nodeVersion
}

func (v *nodeVersion) at(h ledger.Height) *nodeVersion {
	for v != nil && v.height > h {
		v = v.older
	}
	return v
}

// entryOverhead estimates what a map entry and its version cost beyond their bytes.
const entryOverhead = 120

// layer holds in memory what the blocks since a flush wrote, every version of
// it. Only the executor's goroutine writes, under mu; it may read without mu,
// everybody else reads under it. Values are never changed once inserted.
type layer struct {
	from ledger.Height // first height in the layer; what lies below is the state before it

	mu      sync.RWMutex
	records map[string]*version     // rows that the trie commits to
	plain   map[string]*version     // index rows
	logs    map[string]loggedRow    // log rows
	nodes   map[string]*nodeVersion // trie nodes by path
	index   map[ledger.Hash]txRef   // transactions
	tiles   map[tileID][]byte       // complete tiles of the receipt log
	first   uint64                  // log position of outcomes[0]
	outcome [][]byte                // encoded outcome rows
	heads   []headRow               // of its heights
	bytes   int                     // estimate of all of it
	history int                     // estimate of records and nodes alone

	fresh  []string // row keys not yet in sorted
	sorted []string // row keys in order; replaced, never changed
}

// newLayer returns an empty layer with room for as much as before holds, since as
// much is likely to come: growing maps costs more than filling them. before may be
// nil.
func newLayer(from ledger.Height, first uint64, before *layer) *layer {
	if before == nil {
		before = &layer{}
	}
	return &layer{
		from: from, first: first,
		records: make(map[string]*version, len(before.records)), plain: make(map[string]*version, len(before.plain)),
		logs: make(map[string]loggedRow, len(before.logs)), nodes: make(map[string]*nodeVersion, len(before.nodes)),
		index: make(map[ledger.Hash]txRef, len(before.index)), tiles: make(map[tileID][]byte, len(before.tiles)),
	}
}

// loggedRow is a log row; it has one version only.
type loggedRow struct {
	height ledger.Height
	ref    logRef
	value  []byte
}

// newest returns the newest value of a row, nil if the layer has none. It takes
// no lock: for the executor.
func (l *layer) newest(key string) *version {
	switch ledger.KeepingOf(key) {
	case ledger.KeepRecord:
		return l.records[key]
	case ledger.KeepIndex:
		return l.plain[key]
	}
	if r, ok := l.logs[key]; ok {
		return &version{height: r.height, value: r.value}
	}
	return nil
}

// row returns the value of a row after height, nil if the layer has none.
func (l *layer) row(key string, h ledger.Height) *version {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.newest(key).at(h)
}

func (l *layer) node(path string, h ledger.Height) *nodeVersion {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.nodes[path].at(h)
}

// putRowLocked adds the value of a record or index row after height, the newest
// so far.
func (l *layer) putRowLocked(h ledger.Height, w *ledger.Write, record bool) {
	rows, cost := l.plain, 0
	if record {
		rows = l.records
	}
	old := rows[w.Key]
	if old == nil {
		l.fresh = append(l.fresh, w.Key)
		cost = len(w.Key) + entryOverhead
	}
	rows[w.Key] = &version{height: h, deleted: w.Delete, value: w.Value, older: old}
	cost += len(w.Value) + 56
	l.bytes += cost
	if record {
		l.history += cost
	}
}

func (l *layer) putLogLocked(h ledger.Height, key string, ref logRef, value []byte) {
	if _, ok := l.logs[key]; !ok {
		l.fresh = append(l.fresh, key)
	}
	l.logs[key] = loggedRow{h, ref, value}
	l.bytes += len(key) + len(value) + entryOverhead
}

func (l *layer) putNodeLocked(h ledger.Height, path string, hash ledger.Hash, blob []byte) {
	l.nodes[path] = &nodeVersion{height: h, hash: hash, blob: blob, older: l.nodes[path]}
	cost := len(path) + len(blob) + entryOverhead
	l.bytes += cost
	l.history += cost
}

// keys returns all row keys of the layer in order. The slice is never changed;
// it may hold keys that are newer than the height the caller looks at.
func (l *layer) keys() []string {
	l.mu.RLock()
	if len(l.fresh) == 0 {
		defer l.mu.RUnlock()
		return l.sorted
	}
	l.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.fresh) == 0 {
		return l.sorted
	}
	slices.Sort(l.fresh)
	merged := make([]string, 0, len(l.sorted)+len(l.fresh))
	i, j := 0, 0
	for i < len(l.sorted) && j < len(l.fresh) {
		if l.sorted[i] < l.fresh[j] {
			merged = append(merged, l.sorted[i])
			i++
		} else {
			merged = append(merged, l.fresh[j])
			j++
		}
	}
	merged = append(append(merged, l.sorted[i:]...), l.fresh[j:]...)
	l.sorted, l.fresh = merged, nil
	return merged
}

// seek returns the first index of keys at or after start.
func seek(keys []string, start string) int {
	i, _ := slices.BinarySearchFunc(keys, start, strings.Compare)
	return i
}

// stored returns a value of the database as snap sees it, or nil if there is
// none.
func stored(snap *leveldb.Snapshot, what string, key []byte) ([]byte, error) {
	return read(snap, what, key, nil)
}

// passing reads without leaving the block in the database's cache: for what has
// a cache of its own, and has no neighbours that are read with it.
var passing = &opt.ReadOptions{DontFillCache: true}

func read(snap *leveldb.Snapshot, what string, key []byte, o *opt.ReadOptions) ([]byte, error) {
	v, err := snap.Get(key, o)
	if errors.Is(err, leveldb.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, storageError("read "+what, err)
	}
	if v == nil {
		v = []byte{}
	}
	return v, nil
}
