package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/syndtr/goleveldb/leveldb"
	lerrors "github.com/syndtr/goleveldb/leveldb/errors"
	"github.com/syndtr/goleveldb/leveldb/filter"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/assent-network/assent/node/ledger"
)

const (
	// rootsKept is how many heights RootsAt remembers; also after a restart.
	rootsKept = 256
	// rootsStored is how many heights have a roots row. No journal holds the
	// flushes of more, so a gap in them tells that a flush was lost.
	rootsStored = 1 << 15
)

// Config tells where a state lives and how much memory it may take. Zero means
// the default.
type Config struct {
	Dir     string      // of its own; required
	ChainID ledger.Hash // required; a state of another chain is refused

	FlushBlocks int    // flush after so many blocks; default 100
	FlushMillis uint64 // … or so long after the first of them, by the clock given to FlushIfDue; default 1000
	FlushBytes  int    // … or when they take so much memory; default 3 MiB

	ProofMillis uint64 // how far back, in block time, records can be proven at least while ProofBytes allow; default 10,000
	ProofBytes  int    // memory for that; default 2 MiB. The last certified height is always kept

	RowCacheBytes  int // rows of the executor, the large ones packed; default 12 MiB: some 15,000 consents with their usage
	NodeCacheBytes int // trie nodes read by the executor; default 8 MiB
	BlockCache     int // of the database, shared by all readers: a sixteenth of its size, at least 2 MiB, at most this; default 64 MiB

	Files func(storage.Storage) storage.Storage // wraps the database's files; nil: the file system as it is
}

func (c *Config) fill() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("Dir is empty"))
	}
	if c.ChainID == (ledger.Hash{}) {
		errs = append(errs, errors.New("ChainID is zero"))
	}
	for _, d := range []struct {
		name  string
		v     *int
		value int
	}{
		{"FlushBlocks", &c.FlushBlocks, 100}, {"FlushBytes", &c.FlushBytes, 3 << 20},
		{"ProofBytes", &c.ProofBytes, 2 << 20}, {"RowCacheBytes", &c.RowCacheBytes, 12 << 20},
		{"NodeCacheBytes", &c.NodeCacheBytes, 8 << 20}, {"BlockCache", &c.BlockCache, 64 << 20},
	} {
		if *d.v < 0 {
			errs = append(errs, fmt.Errorf("%s is %d", d.name, *d.v))
		}
		if *d.v == 0 {
			*d.v = d.value
		}
	}
	if c.FlushMillis == 0 {
		c.FlushMillis = 1000
	}
	if c.ProofMillis == 0 {
		c.ProofMillis = 10_000
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("state config: %w", err)
	}
	return nil
}

// DB is the state of one node. Begin, its Block, FlushIfDue, Flush, Known and
// Close belong to one goroutine, the executor's; all other methods may be
// called from any.
type DB struct {
	cfg    Config
	ldb    *leveldb.DB
	files  io.Closer // holds the lock of the directory
	meta   metaRow   // as stored; written by the flush that raises its version
	blocks *blockCache

	// Owned by the executor.
	layer      *layer
	snap       *leveldb.Snapshot
	log        *receiptLog
	known      knownFilter
	rowCache   *rowCache
	nodeCache  *cache[cachedNode]
	open       *Block
	spare      *blockMaps // of the block before; nil while one is open
	row        outcomeRow // room for the one that is being encoded
	dirty      int        // blocks since the last flush
	dirtySince uint64     // caller's clock when the first of them was seen; 0 = not yet seen
	failed     error      // after the first error nothing is written any more

	head atomic.Pointer[View]

	pruning sync.Mutex               // held by the one call of Prune or Free
	pruned  atomic.Pointer[pruneRow] // immutable; replaced under pruning

	mu        sync.Mutex // guards what follows; no I/O under it
	flushes   uint64     // since opening
	sweptAt   uint64     // flushes when something was pruned last
	certified ledger.Height
	recent    map[ledger.Height]headRow // the last rootsKept heights
	past      []*past                   // flushed layers that can still be proven from, oldest first
}

// cachedNode is a trie node whose hash is known to be right.
type cachedNode struct {
	hash ledger.Hash
	blob []byte
}

// Create makes a new, empty state. It refuses a directory that holds anything.
func Create(ctx context.Context, cfg Config) (*DB, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(cfg.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("create state in %s: the directory is not empty: open it instead, or remove it", cfg.Dir)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create state: %w", err)
	}
	return withDir(ctx, cfg, create)
}

// Open opens a state that Create made. It refuses a directory without one, a
// state of another chain, and bytes of another format version.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, "CURRENT")); err != nil {
		return nil, fmt.Errorf("open state in %s: there is none: check the path, or create the node's data first: %w", cfg.Dir, err)
	}
	return withDir(ctx, cfg, open)
}

func withDir(ctx context.Context, cfg Config, f func(Config, storage.Storage) (*DB, error)) (*DB, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	files, err := storage.OpenFile(cfg.Dir, false)
	if err != nil {
		return nil, fmt.Errorf("open state in %s: %w: is another process using it?", cfg.Dir, err)
	}
	if cfg.Files != nil {
		files = cfg.Files(files)
	}
	db, err := f(cfg, files)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open state in %s: %w", cfg.Dir, err), files.Close())
	}
	db.files = files
	return db, nil
}

func options(cache *blockCache) *opt.Options {
	return &opt.Options{
		WriteBuffer:            1 << 20,
		BlockSize:              16<<10 - 5, // a block in memory takes twice that and 10 bytes: 32 KiB, not 40 as the next size that Go allocates
		BlockCacher:            cache,
		BlockCacheCapacity:     blockCacheLeast,
		BlockCacheEvictRemoved: true, // blocks of tables that compaction has removed
		OpenFilesCacheCapacity: 160,
		CompactionTableSize:    4 << 20,
		CompactionL0Trigger:    64,
		WriteL0SlowdownTrigger: 104,
		WriteL0PauseTrigger:    128,
		CompactionTotalSize:    4 << 20, // times ten for each level: 40 MiB at level 1
		Filter:                 filter.NewBloomFilter(10),
		DisableSeeksCompaction: true,
		Strict:                 opt.DefaultStrict | opt.StrictJournal | opt.StrictManifest,
	}
}

func create(cfg Config, files storage.Storage) (*DB, error) {
	cache := &blockCache{most: cfg.BlockCache}
	o := options(cache)
	o.ErrorIfExist = true
	ldb, err := leveldb.Open(files, o)
	if err != nil {
		return nil, storageError("create database", err)
	}
	meta := encodeRow(&metaRow{Version: formatVersion, ChainID: cfg.ChainID})
	if err := ldb.Put(keyMeta, meta, &opt.WriteOptions{Sync: true}); err != nil {
		return nil, errors.Join(storageError("write format version", err), ldb.Close())
	}
	return start(cfg, ldb, cache)
}

func open(cfg Config, files storage.Storage) (*DB, error) {
	cache := &blockCache{most: cfg.BlockCache}
	o := options(cache)
	o.ErrorIfMissing = true
	ldb, err := leveldb.Open(files, o)
	if err == nil {
		return start(cfg, ldb, cache)
	}
	var damage *lerrors.ErrCorrupted
	if !errors.As(err, &damage) || damage.Fd.Type&(storage.TypeJournal|storage.TypeManifest) == 0 {
		return nil, storageError("open database", err)
	}
	// A crash in the midst of a flush leaves a torn end, which is as if the
	// flush had not begun; but damage anywhere else looks the same. So read on
	// past it, and then look whether anything is missing.
	o.Strict = opt.DefaultStrict
	if ldb, err = leveldb.Open(files, o); err != nil {
		return nil, storageError("open database", err)
	}
	db, err := start(cfg, ldb, cache)
	if err != nil {
		return nil, err
	}
	if damage.Fd.Type == storage.TypeManifest {
		_, err = db.Verify(context.Background(), nil)
	} else {
		err = db.checkNoGap()
	}
	if err != nil {
		return nil, errors.Join(err, ldb.Close())
	}
	return db, nil
}

// checkNoGap reports a flush that is missing between others.
func (db *DB) checkNoGap() error {
	v := db.View()
	it := v.snap.NewIterator(util.BytesPrefix([]byte{prefixRoots}), nil)
	defer it.Release()
	var last ledger.Height
	n := 0
	for ; it.Next(); n++ {
		h, err := parseNumbered(prefixRoots, it.Key())
		if err != nil {
			return corrupt("roots", err)
		}
		// Below the snapshot that the state began with stand only those heights
		// that later headers name.
		if n > 0 && ledger.Height(h) != last+1 && ledger.Height(h) > db.meta.Begin {
			return corrupt("journal", fmt.Errorf("what height %d to %d wrote is missing", last+1, h-1))
		}
		last = ledger.Height(h)
	}
	if err := it.Error(); err != nil {
		return storageError("read roots", err)
	}
	if v.executed != (n > 0) || n > 0 && last != v.height {
		return corrupt("journal", fmt.Errorf("roots end at height %d, the head row says %d", last, v.height))
	}
	return nil
}

// start reads the head and builds what is kept in memory. It closes ldb if it
// fails.
func start(cfg Config, ldb *leveldb.DB, cache *blockCache) (_ *DB, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, ldb.Close())
		}
	}()
	if err := cache.fit(ldb); err != nil {
		return nil, err
	}
	snap, err := ldb.GetSnapshot()
	if err != nil {
		return nil, storageError("open database", err)
	}
	meta, err := readMeta(cfg, snap)
	if err != nil {
		return nil, err
	}
	v := &View{snap: snap, roots: EmptyRoots}
	b, err := stored(snap, "head row", keyHead)
	if err != nil {
		return nil, err
	}
	var from ledger.Height
	if b != nil {
		var h headRow
		if err := decodeRow("head row", b, &h); err != nil {
			return nil, err
		}
		v.executed, v.height, v.time, v.roots = true, h.Height, h.Time, h.Roots
		from = h.Height + 1
	}
	db := &DB{
		cfg: cfg, meta: *meta, ldb: ldb, blocks: cache, snap: snap,
		layer:     newLayer(from, v.roots.ReceiptsSize, nil),
		rowCache:  newRowCache(cfg.RowCacheBytes),
		nodeCache: newCache(cfg.NodeCacheBytes, func(n cachedNode) int { return len(n.blob) + 56 }),
		recent:    map[ledger.Height]headRow{},
		flushes:   1, // the snapshot taken above shows everything
	}
	v.layer = db.layer
	pruned, err := loadPruning(snap)
	if err != nil {
		return nil, err
	}
	db.pruned.Store(pruned)
	if db.log, err = openLog(v); err != nil {
		return nil, err
	}
	if v.executed {
		db.known.since = v.time + 1
		db.certified = v.height
	}
	if err := db.loadRoots(v); err != nil {
		return nil, err
	}
	db.head.Store(v)
	return db, nil
}

func readMeta(cfg Config, snap *leveldb.Snapshot) (*metaRow, error) {
	b, err := stored(snap, "format version", keyMeta)
	if err != nil {
		return nil, err
	}
	m := new(metaRow)
	if err := decodeRow("format version", b, m); err != nil {
		return nil, err
	}
	if m.Version < formatReadable || m.Version > formatVersion {
		return nil, fmt.Errorf("state has format %d, this program reads format %d: use the version of the program that wrote it, or remove the directory to rebuild it", m.Version, formatVersion)
	}
	if m.ChainID != cfg.ChainID {
		return nil, fmt.Errorf("state belongs to chain %s, this node to %s: check the data directory in the configuration", m.ChainID, cfg.ChainID)
	}
	return m, nil
}

func (db *DB) loadRoots(v *View) error {
	if !v.executed {
		return nil
	}
	from := ledger.Height(0)
	if v.height >= rootsKept {
		from = v.height - rootsKept + 1
	}
	for h := from; h <= v.height; h++ {
		b, err := stored(v.snap, "roots", keyRoots(h))
		if err != nil {
			return err
		}
		if b == nil {
			continue // a state that began from a snapshot knows less
		}
		var r headRow
		if err := decodeRow(fmt.Sprintf("roots of height %d", h), b, &r); err != nil {
			return err
		}
		db.recent[h] = r
	}
	if r := db.recent[v.height]; r.Roots != v.roots {
		return corrupt("roots", fmt.Errorf("those of height %d differ from the head row's", v.height))
	}
	return nil
}

// View returns the state after the last committed block.
func (db *DB) View() *View { return db.head.Load() }

// BeganAt returns the height of the snapshot with which the state began, 0 if it
// began with genesis.
func (db *DB) BeganAt() ledger.Height { return db.meta.Begin }

// Executed returns the height and roots after the last committed block; ok is
// false if nothing was executed yet.
func (db *DB) Executed() (h ledger.Height, r Roots, ok bool) {
	v := db.View()
	return v.height, v.roots, v.executed
}

// RootsAt returns the roots after one of the last 256 heights.
func (db *DB) RootsAt(h ledger.Height) (Roots, bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	r, ok := db.recent[h]
	return r.Roots, ok
}

// SetCertified says that the roots after h stand in a certified header: what is
// older need not be proven any more. It never goes back.
func (db *DB) SetCertified(h ledger.Height) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.certified = max(db.certified, h)
	db.trimPastLocked()
}

// Close flushes nothing: what was not flushed is executed again after opening.
// Call Flush first to open faster. Views must not be used afterwards.
func (db *DB) Close() error {
	if db.failed == nil {
		db.failed = errors.New("state is closed")
	}
	err := db.ldb.Close()
	if db.files != nil {
		err = errors.Join(err, db.files.Close())
	}
	if err != nil {
		return fmt.Errorf("close state: %w", err)
	}
	return nil
}
