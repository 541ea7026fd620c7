package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/node/ledger"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"
)

// Conditions that callers test for.
var (
	// ErrMissing: there is no ledger in the directory.
	ErrMissing = errors.New("no ledger here: create the node first (assentd init), or correct the data directory")
	// ErrExists: Create found a ledger.
	ErrExists = errors.New("a ledger is already here: open it, or choose an empty directory")
	// ErrOtherChain: the ledger belongs to another network.
	ErrOtherChain = errors.New("the ledger here belongs to another network: correct the data directory or the genesis file")
	// ErrFormat: the ledger was written in a format that this program does not
	// know.
	ErrFormat = errors.New("the ledger here has a format this program does not know: run the release that wrote it, or a newer one")
	// ErrDamaged: stored bytes are missing or not what was written.
	ErrDamaged = errors.New("stored blocks are damaged: stop the node, restore blocks/ from a backup, or move blocks/ and state/ away and run assentd init with --genesis again, which keeps the ordering log: the node then fetches the ledger from its peers")
	// ErrAbove: the height is above the tip.
	ErrAbove = errors.New("height is above the tip")
	// ErrFork: another block is stored at the height, or below it.
	ErrFork = errors.New("block contradicts the stored ledger")
	// ErrPruned: the body of the block is not kept here. Ask a node that keeps more.
	ErrPruned = errors.New("the block's body is not kept here")
	// ErrClosed: the store is closed.
	ErrClosed = errors.New("block store is closed")
)

// Tip is the highest block.
type Tip struct {
	Height ledger.Height
	Hash   ledger.Hash
	Header ledger.Header
	Config *ledger.Config // in force after the block; not to be changed
}

// Store keeps the blocks of one ledger. All methods may be called from any
// goroutine; appends follow each other.
type Store struct {
	db      *leveldb.DB
	files   storage.Storage
	chain   ledger.Hash
	genesis *ledger.Config
	tip     atomic.Pointer[Tip] // immutable; replaced by Append
	recent  recent
	base    atomic.Pointer[base] // immutable; replaced under mu

	mu      sync.Mutex // held while appending
	failure error      // why no block can be appended any more; guarded by mu

	configs configs
	grown   growth
}

// Create starts a ledger in dir, which it makes with mode 0700, from the
// genesis config, and opens it. The directory appears with the genesis block in
// it or not at all: it is made under the name dir + ".new", where a Create that
// was interrupted may have left something. A dir that is not empty is refused.
func Create(dir string, genesis *ledger.Config) (*Store, error) {
	if err := createDir(filepath.Clean(dir), genesis); err != nil {
		return nil, fmt.Errorf("create block store: %w", err)
	}
	return Open(dir, genesis.Hash())
}

func createDir(dir string, genesis *ledger.Config) error {
	if genesis.Seq != 0 {
		return fmt.Errorf("config %d is not a genesis config", genesis.Seq)
	}
	if err := genesis.Check(); err != nil {
		return err
	}
	if found, err := os.ReadDir(dir); err == nil && len(found) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrExists)
	}
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := os.MkdirAll(fresh, 0o700); err != nil {
		return err
	}
	files, err := openFiles(fresh)
	if err != nil {
		return err
	}
	if err := errors.Join(writeGenesis(files, options(), genesis), files.Close(), durable.SyncDir(fresh)); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) { // empty: os.Rename wants it away
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(dir))
}

func writeGenesis(files storage.Storage, o *opt.Options, genesis *ledger.Config) error {
	db, err := leveldb.Open(files, o)
	if err != nil {
		return err
	}
	row, err := rlp.EncodeToBytes(&format{formatVersion, genesis.Hash(), genesis.Encode()})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	var batch leveldb.Batch
	batch.Put(keyFormat, row)
	putBlock(&batch, ledger.Genesis(genesis), nil)
	return errors.Join(db.Write(&batch, synced), db.Close())
}

// Open opens the ledger of the network chain that Create made in dir.
func Open(dir string, chain ledger.Hash) (*Store, error) { return OpenFiles(dir, chain, nil) }

// OpenFiles is Open on files that wrap, unless it is nil, puts something around.
func OpenFiles(dir string, chain ledger.Hash, wrap func(Files) Files) (*Store, error) {
	switch _, err := os.Stat(filepath.Join(dir, "CURRENT")); {
	case errors.Is(err, os.ErrNotExist):
		if tables, _ := filepath.Glob(filepath.Join(dir, "*.l[do][bg]")); len(tables) > 0 { // the pattern is right
			return nil, fmt.Errorf("open block store %s: %w", dir, damaged(err, "find its list of files"))
		}
		return nil, fmt.Errorf("open block store %s: %w", dir, ErrMissing)
	case err != nil:
		return nil, fmt.Errorf("open block store: %w", err)
	}
	files, err := openFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("open block store: %w", err)
	}
	if wrap != nil {
		files = wrap(files)
	}
	o := options()
	o.ErrorIfMissing = true
	return open(files, o, chain)
}

// open takes over files.
func open(files storage.Storage, o *opt.Options, chain ledger.Hash) (*Store, error) {
	db, err := leveldb.Open(files, o)
	if err != nil {
		files.Close()
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("open block store: %w", ErrMissing)
		}
		return nil, fmt.Errorf("open block store: %w", damaged(err, "open the database"))
	}
	return load(db, files, chain)
}

// load reads what an open store keeps in memory, and takes over db and files.
func load(db *leveldb.DB, files storage.Storage, chain ledger.Hash) (*Store, error) {
	s := &Store{db: db, files: files, chain: chain}
	s.grown.init()
	err := s.loadFormat()
	if err == nil {
		err = s.loadBase()
	}
	if err == nil {
		err = s.loadConfigs()
	}
	if err == nil {
		err = s.loadTip()
	}
	if err != nil {
		db.Close()
		files.Close()
		return nil, fmt.Errorf("open block store: %w", err)
	}
	return s, nil
}

func (s *Store) loadFormat() error {
	row, err := s.db.Get(keyFormat, nil)
	if errors.Is(err, leveldb.ErrNotFound) {
		return damaged(errors.New("it is missing"), "read the format row")
	}
	if err != nil {
		return damaged(err, "read the format row")
	}
	var f format
	if err := rlp.DecodeBytes(row, &f); err != nil {
		return fmt.Errorf("%w (format row: %v)", ErrFormat, err)
	}
	if f.Version != formatVersion {
		return fmt.Errorf("%w (format %d, known is %d)", ErrFormat, f.Version, formatVersion)
	}
	if f.ChainID != s.chain {
		return fmt.Errorf("%w (found %s, want %s)", ErrOtherChain, f.ChainID, s.chain)
	}
	if s.genesis, err = ledger.DecodeConfig(f.Genesis); err != nil {
		return damaged(err, "read the genesis config")
	}
	if s.genesis.Hash() != s.chain {
		return damaged(errors.New("its hash is not the chain id"), "read the genesis config")
	}
	return nil
}

// Close releases the directory. Waiting calls return ErrClosed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.failure, ErrClosed) {
		return nil
	}
	s.failure = ErrClosed
	s.grown.close()
	return errors.Join(s.db.Close(), s.files.Close())
}

// ChainID names the network.
func (s *Store) ChainID() ledger.Hash { return s.chain }

// Genesis returns the genesis config. It must not be changed.
func (s *Store) Genesis() *ledger.Config { return s.genesis }

// Tip returns the highest block's position.
func (s *Store) Tip() Tip { return *s.tip.Load() }

// Wait returns when the tip is at h or above, or with ctx's error, or ErrClosed.
func (s *Store) Wait(ctx context.Context, h ledger.Height) error {
	for {
		ch := s.grown.next() // before the look at the tip, or a block between is missed
		if s.tip.Load().Height >= h {
			return nil
		}
		if ch == nil {
			return ErrClosed
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// growth wakes those who wait for the next block.
type growth struct {
	mu sync.Mutex
	ch chan struct{} // closed and replaced by each block; nil after close
}

func (g *growth) init() { g.ch = make(chan struct{}) }

func (g *growth) next() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ch
}

func (g *growth) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.ch)
	g.ch = make(chan struct{})
}

func (g *growth) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.ch)
	g.ch = nil
}

// damaged says what could not be done because of stored bytes.
func damaged(err error, step string) error {
	if errors.Is(err, leveldb.ErrClosed) {
		return ErrClosed
	}
	return fmt.Errorf("%s: %w (%w)", step, ErrDamaged, err)
}
