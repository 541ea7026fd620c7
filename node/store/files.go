package store

import (
	"fmt"

	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/storage"

	"github.com/assent-network/assent/node/durable"
)

// writeBuffer is the size of goleveldb's table in memory, of which two exist at
// times. A small one costs nothing here: rows come in key order, so that no
// table is ever merged with another.
const writeBuffer = 512 << 10

func options() *opt.Options {
	return &opt.Options{
		WriteBuffer: writeBuffer,
		// A block near the limit must take the same path as every other: the
		// journal, one sync.
		DisableLargeBatchTransaction: true,
		BlockCacheCapacity:           1 << 20,
		OpenFilesCacheCapacity:       32,
		CompactionTableSize:          4 << 20,
		CompactionTotalSize:          64 << 20,
		DisableSeeksCompaction:       true,
		NoWriteMerge:                 true, // there is one writer
		// Damage in a table fails the read. In a journal it does not fail the
		// opening: a crash leaves a torn record at the end, and that is no
		// damage. Damage before the end leaves a gap, for which Open looks.
		Strict: opt.StrictJournalChecksum | opt.StrictBlockChecksum | opt.StrictCompaction | opt.StrictReader,
	}
}

// Files are what a database of blocks or state lies on. For those who put
// something around them and need not know the database for it.
type Files = storage.Storage

// dirSyncer syncs the directory after it has created a file. goleveldb does so
// only when it changes the manifest; a journal that is synced but has no name
// after a power failure would lose acknowledged blocks.
type dirSyncer struct {
	storage.Storage
	dir string
}

func (d dirSyncer) Create(fd storage.FileDesc) (storage.Writer, error) {
	w, err := d.Storage.Create(fd)
	if err != nil {
		return nil, err
	}
	if err := durable.SyncDir(d.dir); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func openFiles(dir string) (storage.Storage, error) {
	s, err := storage.OpenFile(dir, false)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w (is another process using it?)", dir, err)
	}
	return dirSyncer{s, dir}, nil
}
