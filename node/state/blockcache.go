package state

import (
	"github.com/syndtr/goleveldb/leveldb"
	lcache "github.com/syndtr/goleveldb/leveldb/cache"
	"github.com/syndtr/goleveldb/leveldb/opt"
)

// A lookup needs the index and filter of every table it might be in. If they do
// not fit into the block cache each lookup decodes some 300 KiB of them; they
// take about a fiftieth of the tables. So the cache grows with the database.
const (
	blockCacheLeast = 2 << 20
	blockCacheShare = 16 // of the database's size
)

// blockCache is the database's cache of blocks, with a handle on its capacity.
type blockCache struct {
	most int
	lru  lcache.Cacher
}

// New implements the database's option.
func (b *blockCache) New(capacity int) lcache.Cacher {
	b.lru = opt.LRUCacher.New(capacity)
	return b.lru
}

// fit adapts the capacity to the size of ldb.
func (b *blockCache) fit(ldb *leveldb.DB) error {
	var s leveldb.DBStats
	if err := ldb.Stats(&s); err != nil {
		return storageError("read the size of the database", err)
	}
	size := int64(0)
	for _, n := range s.LevelSizes {
		size += n
	}
	b.lru.SetCapacity(min(max(int(size/blockCacheShare), blockCacheLeast), b.most))
	return nil
}
