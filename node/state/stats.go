package state

import (
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
)

// Stats are figures for operators.
type Stats struct {
	UnflushedBytes int    // memory of what is not on disk yet, estimated
	PastBytes      int    // memory of what older proofs need, estimated
	DiskBytes      int64  // size of the database's tables
	Tables         []int  // their number by level
	WrittenBytes   uint64 // to disk since opening, compaction and journal included
	ReadBytes      uint64 // from disk since opening
	WriteDelays    int    // how often compaction made a flush wait
}

// Stats returns current figures.
func (db *DB) Stats() (Stats, error) {
	var s leveldb.DBStats
	if err := db.ldb.Stats(&s); err != nil {
		return Stats{}, fmt.Errorf("state statistics: %w", err)
	}
	out := Stats{Tables: s.LevelTablesCounts, WrittenBytes: s.IOWrite, ReadBytes: s.IORead, WriteDelays: int(s.WriteDelayCount)}
	for _, n := range s.LevelSizes {
		out.DiskBytes += n
	}
	l := db.View().layer
	l.mu.RLock()
	out.UnflushedBytes = l.bytes
	l.mu.RUnlock()
	db.mu.Lock()
	for _, p := range db.past {
		out.PastBytes += p.bytes
	}
	db.mu.Unlock()
	return out, nil
}
