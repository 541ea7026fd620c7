package chain

import (
	"encoding/binary"
	"sync"

	"github.com/assent-network/assent/node/ledger"
)

// verifiedCache remembers checked transactions until they are executed, at most
// as many as its ring has places, and at most maxVerifiedBytes of them, oldest
// out first. The key is all signed bytes
// themselves: a known payload under another signature is another key. What was
// checked under another config is forgotten.
type verifiedCache struct {
	mu      sync.RWMutex
	seq     uint64 // config under which the entries were checked
	byBytes map[string]verifiedEntry
	ring    []string // keys in the order of their coming; "" where one was dropped
	next    int
	bytes   int // of the keys
}

const maxVerifiedBytes = 64 << 20

type verifiedEntry struct {
	tx   *ledger.Transaction
	slot int
}

func newVerifiedCache(capacity int) *verifiedCache {
	return &verifiedCache{byBytes: make(map[string]verifiedEntry), ring: make([]string, capacity)}
}

func (v *verifiedCache) get(req []byte, seq uint64) *ledger.Transaction {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if seq != v.seq {
		return nil
	}
	return v.byBytes[string(req)].tx
}

func (v *verifiedCache) put(req []byte, seq uint64, tx *ledger.Transaction) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if seq < v.seq {
		return
	}
	if seq > v.seq {
		v.seq = seq
		clear(v.byBytes)
		clear(v.ring)
		v.bytes = 0
	}
	if _, ok := v.byBytes[string(req)]; ok {
		return
	}
	key := string(req)
	v.emptyLocked(v.next)
	for i := v.next; v.bytes > 0 && v.bytes+len(key) > maxVerifiedBytes; i = (i + 1) % len(v.ring) {
		v.emptyLocked(i)
	}
	v.ring[v.next] = key
	v.byBytes[key] = verifiedEntry{tx, v.next}
	v.bytes += len(key)
	v.next = (v.next + 1) % len(v.ring)
}

func (v *verifiedCache) emptyLocked(slot int) {
	if key := v.ring[slot]; key != "" {
		delete(v.byBytes, key)
		v.ring[slot] = ""
		v.bytes -= len(key)
	}
}

// drop forgets executed requests.
func (v *verifiedCache) drop(reqs [][]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range reqs {
		if e, ok := v.byBytes[string(r)]; ok {
			v.emptyLocked(e.slot)
		}
	}
}

// expired returns, and forgets, the transactions that no block after time ms may
// hold.
func (v *verifiedCache) expired(ms uint64) []*ledger.Transaction {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []*ledger.Transaction
	for _, e := range v.byBytes {
		if e.tx.Payload.ValidUntil < ms {
			out = append(out, e.tx)
			v.emptyLocked(e.slot)
		}
	}
	return out
}

// recentIDs answers "surely in no executed block" for fresh transactions without
// asking the database: no block older than a transaction's notBefore can hold it.
// It keeps 8 bytes of each id, two generations of them.
type recentIDs struct {
	mu         sync.Mutex
	since      uint64 // ids of all blocks from this time on are here; 0: none yet
	young, old map[uint64]struct{}
	youngSince uint64
}

const recentGeneration = 1 << 17

func (r *recentIDs) add(blockTime uint64, txs []*ledger.Transaction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil {
		r.young, r.youngSince, r.since = make(map[uint64]struct{}), blockTime, blockTime
	}
	if len(r.young) >= recentGeneration {
		r.old, r.since = r.young, r.youngSince
		r.young, r.youngSince = make(map[uint64]struct{}), blockTime
	}
	for _, tx := range txs {
		if tx != nil {
			r.young[short(tx)] = struct{}{}
		}
	}
}

func (r *recentIDs) surelyNew(tx *ledger.Transaction) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since == 0 || tx.Payload.NotBefore < r.since {
		return false
	}
	if _, ok := r.young[short(tx)]; ok {
		return false
	}
	_, ok := r.old[short(tx)]
	return !ok
}

// holds reports whether a block executed lately holds the transaction.
func (r *recentIDs) holds(tx *ledger.Transaction) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, young := r.young[short(tx)]
	_, old := r.old[short(tx)]
	return young || old
}

func short(tx *ledger.Transaction) uint64 {
	id := tx.ID()
	return binary.LittleEndian.Uint64(id[:])
}
