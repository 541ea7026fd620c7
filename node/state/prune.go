package state

import (
	"errors"
	"fmt"

	"github.com/syndtr/goleveldb/leveldb"
	"github.com/syndtr/goleveldb/leveldb/opt"
	"github.com/syndtr/goleveldb/leveldb/util"

	"github.com/assent-network/assent/node/ledger"
)

// pruneBatch is how many outcomes Prune replaces in one write.
const pruneBatch = 256

// pruneRow says how far outcomes were pruned.
type pruneRow struct {
	Swept     uint64        // positions of the receipt log below it have been looked at
	Height    ledger.Height // blocks from here on have all their outcomes
	Time      uint64        // of the newest block whose outcomes were pruned
	Compacted uint64        // the database has been rid of what was deleted below this position
	Alone     bool          // since then also of log rows that stood alone
}

// Pruning says how far pruning is.
type Pruning struct {
	Height   ledger.Height // outcomes of blocks from here on are kept; 0: all are
	Done     uint64        // receipts that were looked at, from genesis on
	Pruned   uint64        // outcomes that this call has pruned
	Unfreed  uint64        // receipts of Done whose space the database has not given back yet
	Receipts uint64        // of the whole log
}

// Pruned returns how far pruning is. Any goroutine may call it.
func (db *DB) Pruned() Pruning {
	p := db.pruned.Load()
	return Pruning{Height: p.Height, Done: p.Swept, Unfreed: p.Swept - p.Compacted, Receipts: db.View().roots.ReceiptsSize}
}

func loadPruning(snap *leveldb.Snapshot) (*pruneRow, error) {
	p := new(pruneRow)
	b, err := stored(snap, "pruning row", keyPruning)
	if err == nil && b != nil {
		err = decodeRow("pruning row", b, p)
	}
	if err == nil && p.Compacted > p.Swept {
		err = corrupt("pruning row", fmt.Errorf("compacted up to %d, swept up to %d", p.Compacted, p.Swept))
	}
	return p, err
}

// Prune forgets what transactions of blocks before a time left, but what proofs,
// lists and the log need: of each outcome its receipt and the hashes of its writes
// stay. Lost are events, and the values of access records. Outcomes that wrote
// other log rows are kept whole.
//
// age is what the config says of access records: what is not that far below the
// state on disk stays, so that no transaction can ever read what is pruned. between is
// called after every few hundred outcomes, each time nothing is half done; its
// error ends the call. Any one goroutine may call it while blocks are executed.
// After a crash the next call goes on.
func (db *DB) Prune(before, age uint64, between func(Pruning) error) (Pruning, error) {
	db.pruning.Lock()
	defer db.pruning.Unlock()
	s, err := db.newSweep(before, age)
	if err == nil && s != nil {
		err = s.run(between)
		s.close()
	}
	out := db.Pruned()
	if s != nil {
		out.Pruned = s.pruned
	}
	if err != nil {
		return out, fmt.Errorf("prune receipts: %w", err)
	}
	return out, nil
}

// sweep is a Prune under way.
type sweep struct {
	db     *DB
	snap   *leveldb.Snapshot
	before uint64
	end    uint64 // of the log on disk
	at     pruneRow
	batch  leveldb.Batch
	count  int // outcomes looked at since the last write
	pruned uint64
}

// newSweep returns nil if nothing is on disk yet.
func (db *DB) newSweep(before, age uint64) (*sweep, error) {
	snap, err := db.ldb.GetSnapshot()
	if err != nil {
		return nil, storageError("prune", err)
	}
	b, err := stored(snap, "head row", keyHead)
	if err != nil || b == nil {
		snap.Release()
		return nil, err
	}
	var head headRow
	if err = decodeRow("head row", b, &head); err == nil && age == 0 {
		err = errors.New("the age of access records is not known")
	}
	if err != nil {
		snap.Release()
		return nil, err
	}
	return &sweep{db: db, snap: snap, before: min(before, head.Time-min(head.Time, age)), end: head.Roots.ReceiptsSize, at: *db.pruned.Load()}, nil
}

func (s *sweep) close() { s.snap.Release() }

func (s *sweep) run(between func(Pruning) error) error {
	it := s.snap.NewIterator(&util.Range{Start: keyOutcome(s.at.Swept), Limit: keyOutcome(s.end)}, nil)
	defer it.Release()
	for it.Next() {
		position, err := parseNumbered(prefixOutcome, it.Key())
		if err != nil || position != s.at.Swept {
			return corrupt("receipt log", fmt.Errorf("row %d is not where it belongs (%x)", s.at.Swept, it.Key()))
		}
		row, err := decodeOutcomeRow(position, it.Value())
		if err != nil {
			return err
		}
		if row.Time >= s.before {
			break
		}
		if err := s.forget(position, row); err != nil {
			return err
		}
		s.at.Swept, s.at.Height, s.at.Time = position+1, row.Height+1, row.Time
		if s.count++; s.count == pruneBatch {
			if err := s.write(); err != nil {
				return err
			}
			if err := between(Pruning{Height: s.at.Height, Done: s.at.Swept, Pruned: s.pruned, Unfreed: s.at.Swept - s.at.Compacted, Receipts: s.end}); err != nil {
				return err
			}
		}
	}
	if err := it.Error(); err != nil {
		return storageError("prune", err)
	}
	return s.write()
}

// forget replaces an outcome by what is left of it, unless it has to stay.
func (s *sweep) forget(position uint64, row *outcomeRow) error {
	for _, w := range row.Writes {
		if ledger.KeepingOf(w.Key) == ledger.KeepLog && !ledger.Ages(w.Key) {
			return nil
		}
	}
	o, err := row.outcome(position)
	if err != nil {
		return err
	}
	gone := &prunedRow{TxID: o.TxID, Height: o.Height, Index: o.Index, Time: o.Time, Code: o.Code, Events: hashEvents(o.Events)}
	logs, alone := uint32(0), len(row.Logs) == 0
	for _, w := range o.Writes {
		gone.Writes = append(gone.Writes, storedWrite{w.Key, w.Value})
		if ledger.KeepingOf(w.Key) != ledger.KeepLog {
			continue
		}
		if alone {
			s.batch.Put(keyRow(w.Key), logRef{position: position, ordinal: logs}.row(nil))
			s.at.Alone = true
		}
		logs++
	}
	s.batch.Delete(keyOutcome(position))
	s.batch.Put(keyPruned(position), encodeRow(gone))
	s.pruned++
	return nil
}

// write makes what was swept last. It need not be synced: a crash loses the end
// of what was written, never something in between.
func (s *sweep) write() error {
	if s.count == 0 {
		return nil
	}
	s.batch.Put(keyPruning, encodeRow(&s.at))
	if err := s.db.ldb.Write(&s.batch, nil); err != nil {
		return storageError("prune", err)
	}
	s.batch.Reset()
	s.count = 0
	at := s.at
	s.db.pruned.Store(&at)
	s.db.mu.Lock()
	s.db.sweptAt = s.db.flushes
	s.db.mu.Unlock()
	return nil
}

// freePiece is how many receipts' space Free gives back at a time: a few dozen MiB.
const freePiece = 32 << 10

// Free gives the space of what was pruned back to the file system, a few dozen MiB
// at a time, with a call of between after each. It does nothing, and says so, while
// states that are older than the pruning can still be read: call it again after a
// few flushes.
func (db *DB) Free(between func(Pruning) error) (done bool, err error) {
	db.pruning.Lock()
	defer db.pruning.Unlock()
	at := *db.pruned.Load()
	if at.Compacted == at.Swept {
		return true, nil
	}
	if ok, err := db.forgotten(); err != nil || !ok {
		return false, err
	}
	for at.Compacted < at.Swept {
		to := min(at.Swept, at.Compacted+freePiece)
		if err := db.ldb.CompactRange(util.Range{Start: keyOutcome(at.Compacted), Limit: keyOutcome(to)}); err != nil {
			return false, storageError("free what was pruned", err)
		}
		at.Compacted = to
		if to == at.Swept && at.Alone {
			if err := db.freeRows(between); err != nil {
				return false, err
			}
			at.Alone = false
		}
		if err := db.ldb.Put(keyPruning, encodeRow(&at), &opt.WriteOptions{}); err != nil {
			return false, storageError("free what was pruned", err)
		}
		now := at
		db.pruned.Store(&now)
		if err := between(db.Pruned()); err != nil {
			return false, err
		}
	}
	return true, nil
}

// freeRows is Free for access records that stood under their keys, whose names are
// hashes: a sixteenth of them at a time.
func (db *DB) freeRows(between func(Pruning) error) error {
	for _, kind := range []string{"request", "receipt"} {
		for i := range 16 {
			from := fmt.Sprintf("access/log/%s/0x%x", kind, i)
			to := fmt.Sprintf("access/log/%s/0x%x", kind, i+1)
			if i == 15 {
				to = fmt.Sprintf("access/log/%s/0xg", kind)
			}
			if err := db.ldb.CompactRange(util.Range{Start: keyRow(from), Limit: keyRow(to)}); err != nil {
				return storageError("free what was pruned", err)
			}
			if err := between(db.Pruned()); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgotten reports whether no state from before the last sweep is held any more.
// The database keeps what its snapshots show, and those end when nobody refers to
// them and the garbage collector has seen that.
func (db *DB) forgotten() (bool, error) {
	var stats leveldb.DBStats
	if err := db.ldb.Stats(&stats); err != nil {
		return false, storageError("free what was pruned", err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	// What was flushed last but k is read through the snapshot made one flush before.
	return db.flushes > db.sweptAt+uint64(len(db.past)) && int(stats.AliveSnapshots) <= 1+len(db.past), nil
}
