package state

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assent-network/assent/node/ledger"
)

// Tx is what execution made of one transaction or config update.
type Tx struct {
	TxID    ledger.Hash
	Index   uint64 // position of the request in its block
	Code    string
	Message string // for people; not committed
	Events  []ledger.Event
	Writes  []ledger.Write // ascending by key, no key twice
	Payload []byte
}

// Block collects what the transactions of one block do. Begin → Apply … → Seal
// → Commit; there is no way back, so an error of any of these means that the
// database must be closed and opened again. It belongs to the executor.
type Block struct {
	db     *DB
	parent *View
	height ledger.Height
	time   uint64
	aged   uint64 // access records of blocks before that time are not read

	*blockMaps             // empty once it is committed
	newID      ledger.Hash // the last id that was looked for in the index and not found
	outcomes   [][]byte
	nodes      []nodeChange
	roots      Roots
	sealed     bool
}

// blockMaps are the maps of a block. Nobody else sees them, so the next block takes
// them over.
type blockMaps struct {
	rows   map[string]*ledger.Write
	logs   map[string]logRef
	leaves map[string][]byte // record key → keccak256 of its value; nil: removed
	index  map[ledger.Hash]txRef
	room   int // most rows that were in them
}

func newBlockMaps() *blockMaps {
	return &blockMaps{rows: map[string]*ledger.Write{}, logs: map[string]logRef{}, leaves: map[string][]byte{}, index: map[ledger.Hash]txRef{}}
}

// emptied returns m for a further block, or new ones if m was made large by a
// block that was much larger than this one: emptying takes time by size.
func (m *blockMaps) emptied() *blockMaps {
	m.room = max(m.room, len(m.rows))
	if m.room > 64 && len(m.rows) < m.room/8 {
		return newBlockMaps()
	}
	clear(m.rows)
	clear(m.logs)
	clear(m.leaves)
	clear(m.index)
	return m
}

// Begin starts the block at height, which must follow the last committed one;
// the first is 0. time is the block's, in Unix ms.
func (db *DB) Begin(height ledger.Height, time uint64) (*Block, error) {
	v := db.View()
	next := ledger.Height(0)
	if v.executed {
		next = v.height + 1
	}
	switch {
	case db.failed != nil:
		return nil, fmt.Errorf("begin block %d: %w", height, db.failed)
	case db.open != nil:
		return nil, db.fail(fmt.Errorf("begin block %d: block %d is not committed", height, db.open.height))
	case height != next:
		return nil, fmt.Errorf("begin block %d: the next one is %d", height, next)
	}
	db.known.forget(windowStart(time))
	maps := db.spare
	if maps == nil {
		maps = newBlockMaps()
	}
	db.spare = nil
	db.open = &Block{db: db, parent: v, height: height, time: time, blockMaps: maps}
	return db.open, nil
}

// fail remembers the first error; nothing is written after it.
func (db *DB) fail(err error) error {
	if db.failed == nil {
		db.failed = fmt.Errorf("state stopped after an earlier error: %w", err)
	}
	return err
}

// windowStart is the time of the oldest block whose transactions are known at time.
func windowStart(time uint64) uint64 {
	if time < ledger.KnownWindowMillis {
		return 0
	}
	return time - ledger.KnownWindowMillis
}

// Height returns the block's height.
func (b *Block) Height() ledger.Height { return b.height }

// Time returns the block's time in Unix ms.
func (b *Block) Time() uint64 { return b.time }

// Age says that transactions of b may not read access records (ledger.Ages) which
// blocks before a time wrote: Get and Range fail with ErrAged, whether this node
// has pruned them or not.
func (b *Block) Age(before uint64) { b.aged = before }

// Get returns the value of a row as the transactions applied so far left it.
// The bytes must not be changed. ErrAged: see Age.
func (b *Block) Get(key string) (value []byte, ok bool, err error) {
	if w := b.rows[key]; w != nil {
		return w.Value, !w.Delete, nil
	}
	db := b.db
	if ledger.KeepingOf(key) == ledger.KeepLog {
		return b.logRow(key)
	}
	if v := db.layer.newest(key); v != nil {
		return v.value, !v.deleted, nil
	}
	if value, ok := db.rowCache.get(key); ok {
		return value, value != nil, nil
	}
	value, err = storedRow(b.parent, key, passing)
	if err != nil {
		return nil, false, db.fail(err)
	}
	if value != nil && ledger.KeepingOf(key) == ledger.KeepRecord {
		db.rowCache.put(key, value)
	}
	return value, value != nil, nil
}

// logRow is Get for a log row that an earlier block wrote.
func (b *Block) logRow(key string) (value []byte, ok bool, err error) {
	r, here := b.db.layer.logs[key]
	value, time := r.value, r.ref.time
	if !here {
		var row []byte
		if row, err = read(b.parent.snap, "row", keyRow(key), passing); row != nil {
			value, time, err = b.parent.logValue(key, row)
		}
		if err == nil && row == nil {
			return nil, false, nil
		}
	}
	if err = b.agedError(key, time, err); err != nil {
		return nil, false, err
	}
	return value, true, nil
}

// agedError reports a log row that is too old to be read, or was pruned: err says
// that, or why it cannot be read.
func (b *Block) agedError(key string, time uint64, err error) error {
	gone := new(Pruned)
	pruned := errors.As(err, &gone)
	if pruned {
		time = gone.Time
	} else if err != nil {
		return b.db.fail(err)
	}
	switch {
	case time < b.aged && ledger.Ages(key):
		return fmt.Errorf("row %q: %w", key, ErrAged)
	case pruned: // nobody prunes what is not aged
		return b.db.fail(corrupt("log row", fmt.Errorf("%q of time %d is pruned, access records are kept from %d on", key, time, b.aged)))
	}
	return nil
}

// Range is View.Range over the state as the transactions applied so far left it.
func (b *Block) Range(start, end string, limit int) ([]Row, error) {
	cursors := []cursor{newBlockCursor(b.rows, start, end), newLayerCursor(b.db.layer, b.height, start, end, false)}
	rows, err := rangeRows(b.parent, cursors, start, end, limit, false)
	if gone := new(Pruned); errors.As(err, &gone) {
		return nil, b.agedError(gone.Key, gone.Time, err)
	}
	if err != nil {
		return nil, b.db.fail(err)
	}
	for i := range rows {
		if ledger.Ages(rows[i].Key) && b.rows[rows[i].Key] == nil { // no contract of ours reads such a range
			if _, _, err := b.logRow(rows[i].Key); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

// blockCursor walks the rows of an unfinished block.
type blockCursor struct {
	rows map[string]*ledger.Write
	keys []string
	cur  string
}

func newBlockCursor(rows map[string]*ledger.Write, start, end string) *blockCursor {
	c := &blockCursor{rows: rows}
	for k := range rows { //archtest:order-free sorted below
		if k >= start && (end == "" || k < end) {
			c.keys = append(c.keys, k)
		}
	}
	slices.Sort(c.keys)
	return c
}

func (c *blockCursor) next() bool {
	if len(c.keys) == 0 {
		return false
	}
	c.cur, c.keys = c.keys[0], c.keys[1:]
	return true
}

func (c *blockCursor) key() string         { return c.cur }
func (c *blockCursor) row() ([]byte, bool) { w := c.rows[c.cur]; return w.Value, w.Delete }

// Known reports whether transaction id stands earlier in this block or in a
// block of the last ten minutes of block time.
func (b *Block) Known(id ledger.Hash) (bool, error) {
	if _, ok := b.index[id]; ok {
		return true, nil
	}
	from := windowStart(b.time)
	if id == b.newID || !b.db.known.mayHold(id, from) {
		return false, nil
	}
	ref, ok, err := b.parent.ref(id)
	if err != nil {
		return false, b.db.fail(err)
	}
	if ok && ref.time >= from {
		return true, nil
	}
	b.newID = id
	return false, nil
}

// Apply adds what execution made of a transaction and returns its outcome; its
// writes are visible to what follows. ErrLogRowExists means that it was not
// applied, because it would change a row that is written once; any other error
// is fatal. The block keeps the slices of tx.
func (b *Block) Apply(tx *Tx) (*Outcome, error) {
	if b.db.failed != nil {
		return nil, b.db.failed
	}
	if b.sealed {
		return nil, b.db.fail(fmt.Errorf("apply transaction %s: block %d is sealed", tx.TxID, b.height))
	}
	if err := b.checkWrites(tx); err != nil {
		return nil, fmt.Errorf("apply transaction %s: %w", tx.TxID, err)
	}
	o := &Outcome{
		TxID: tx.TxID, Height: b.height, Index: tx.Index, Time: b.time,
		Position: b.parent.roots.ReceiptsSize + uint64(len(b.outcomes)),
		Code:     tx.Code, Message: tx.Message, Events: tx.Events,
		Writes: ledger.HashedWrites(tx.Writes), Payload: tx.Payload,
	}
	b.addWrites(o, tx.Writes)
	if _, ok := b.index[tx.TxID]; !ok {
		known, err := b.Known(tx.TxID)
		if err != nil {
			return nil, err
		}
		if !known {
			b.index[tx.TxID] = txRef{b.height, tx.Index, o.Position, b.time}
		}
	}
	r := ledger.Receipt{
		TxID: o.TxID, Height: o.Height, Index: o.Index, Code: o.Code,
		Events: hashEvents(o.Events), Writes: hashWrites(o.Writes),
	}
	if err := b.db.log.append(leafHash(&r)); err != nil {
		return nil, b.db.fail(corrupt("receipt log", err))
	}
	b.db.row.fill(o, tx.Writes)
	b.outcomes = append(b.outcomes, encodeRow(&b.db.row))
	if cap(b.db.row.Writes) > 64 { // a batch: not to be kept in memory
		b.db.row = outcomeRow{}
	}
	return o, nil
}

// addWrites makes writes visible to what follows.
func (b *Block) addWrites(o *Outcome, writes []ledger.Write) {
	logs, alone := uint32(0), logsStandAlone(writes)
	for i := range writes {
		w := &writes[i]
		b.rows[w.Key] = w
		switch ledger.KeepingOf(w.Key) {
		case ledger.KeepRecord:
			b.leaves[w.Key] = o.Writes[i].Value
		case ledger.KeepLog:
			b.logs[w.Key] = logRef{o.Position, logs, alone, b.time}
			logs++
		}
	}
}

var (
	noEvents = ledger.HashEvents(nil)
	noWrites = ledger.HashWrites(nil)
)

func hashEvents(events []ledger.Event) ledger.Hash {
	if len(events) == 0 {
		return noEvents
	}
	return ledger.HashEvents(events)
}

func hashWrites(writes []ledger.WriteHash) ledger.Hash {
	if len(writes) == 0 {
		return noWrites
	}
	return ledger.HashWrites(writes)
}

// checkWrites refuses a write set that is not in order or changes a log row. A
// log row whose name ends in the transaction's own id is new by construction,
// as long as contracts do not name log rows by ids that callers make up; it is
// not looked up, which saves a search of the whole database per request.
func (b *Block) checkWrites(tx *Tx) error {
	writes, own := tx.Writes, tx.TxID.Hex()
	for i := range writes {
		w := &writes[i]
		if _, _, err := ledger.SplitKey(w.Key); err != nil {
			return b.db.fail(err)
		}
		if i > 0 && writes[i-1].Key >= w.Key {
			return b.db.fail(fmt.Errorf("writes must ascend by key without repeats, %q comes after %q", w.Key, writes[i-1].Key))
		}
		if w.Delete && len(w.Value) > 0 {
			return b.db.fail(fmt.Errorf("write of %q deletes and carries a value", w.Key))
		}
		if ledger.KeepingOf(w.Key) != ledger.KeepLog || !w.Delete && strings.HasSuffix(w.Key, own) {
			continue
		}
		_, exists, err := b.Get(w.Key)
		if err != nil && !errors.Is(err, ErrAged) {
			return err
		}
		if exists || err != nil || w.Delete {
			return fmt.Errorf("%w: %q", ErrLogRowExists, w.Key)
		}
	}
	return nil
}

// Seal ends the block and returns the roots after it.
func (b *Block) Seal() (Roots, error) {
	db := b.db
	if db.failed != nil {
		return Roots{}, db.failed
	}
	if b.sealed {
		return b.roots, nil
	}
	leaves := make([]leaf, 0, len(b.leaves))
	for key, value := range b.leaves { //archtest:order-free updateTrie sorts them
		leaves = append(leaves, leaf{ledger.TrieKey(key), value})
	}
	root, nodes, err := updateTrie(b.parent.roots.State, db.readNode, leaves)
	if err != nil {
		return Roots{}, db.fail(fmt.Errorf("seal block %d: %w", b.height, err))
	}
	log, err := ledger.LogRoot(db.log.tree)
	if err != nil {
		return Roots{}, db.fail(fmt.Errorf("seal block %d: %w", b.height, err))
	}
	b.nodes, b.sealed = nodes, true
	b.roots = Roots{State: root, Receipts: log, ReceiptsSize: db.log.tree.End()}
	return b.roots, nil
}

// readNode finds a trie node of the newest state.
func (db *DB) readNode(path string, hash ledger.Hash) ([]byte, error) {
	if n := db.layer.nodes[path]; n != nil {
		if n.hash != hash {
			return nil, corrupt("state trie", fmt.Errorf("node at path %x has hash %s, its parent says %s", path, n.hash, hash))
		}
		return n.blob, nil
	}
	if n, ok := db.nodeCache.get(path); ok && n.hash == hash {
		return n.blob, nil
	}
	blob, err := stored(db.snap, "trie node", keyNode(path))
	if err != nil {
		return nil, err
	}
	if err := checkNode(path, hash, blob); err != nil {
		return nil, err
	}
	db.nodeCache.put(path, cachedNode{hash, blob})
	return blob, nil
}

// Commit makes the sealed block the newest state. It is in memory only until
// the next flush.
func (b *Block) Commit() error {
	db := b.db
	if db.failed != nil {
		return db.failed
	}
	if !b.sealed {
		return db.fail(errors.New("commit of a block that is not sealed"))
	}
	l := db.layer
	l.mu.Lock()
	for key, w := range b.rows { //archtest:order-free into a map
		if ref, ok := b.logs[key]; ok {
			l.putLogLocked(b.height, key, ref, w.Value)
			continue
		}
		_, record := b.leaves[key]
		l.putRowLocked(b.height, w, record)
	}
	for i := range b.nodes {
		n := &b.nodes[i]
		l.putNodeLocked(b.height, n.path, n.hash, n.blob)
	}
	for id, ref := range b.index { //archtest:order-free into a map and a set
		l.index[id] = ref
		db.known.add(id, b.time)
	}
	for _, row := range b.outcomes {
		l.bytes += len(row) + 2*entryOverhead
	}
	l.outcome = append(l.outcome, b.outcomes...)
	l.heads = append(l.heads, headRow{b.height, b.time, b.roots})
	for id, tile := range db.log.done { //archtest:order-free into a map
		l.tiles[id] = tile
		l.bytes += len(tile) + entryOverhead
	}
	l.mu.Unlock()
	clear(db.log.done)
	db.publish(&View{
		layer: l, snap: db.snap, executed: true, height: b.height, time: b.time,
		roots: b.roots, edge: slices.Clone(db.log.edge),
	})
	db.open, db.spare, b.blockMaps = nil, b.emptied(), &blockMaps{}
	db.dirty++
	return nil
}

// publish makes v the newest view.
func (db *DB) publish(v *View) {
	db.mu.Lock()
	db.recent[v.height] = headRow{v.height, v.time, v.roots}
	if v.height >= rootsKept {
		delete(db.recent, v.height-rootsKept)
	}
	db.mu.Unlock()
	db.head.Store(v)
}
