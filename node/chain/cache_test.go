package chain

import (
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

func TestVerifiedCacheForgetsOldestDroppedAndOtherConfigs(t *testing.T) {
	w := newWorld(t)
	v := newVerifiedCache(3)
	var reqs [][]byte
	for i := range uint64(4) {
		tx := w.register(i)
		reqs = append(reqs, tx.Encode())
		v.put(reqs[i], 0, tx)
	}
	if v.get(reqs[0], 0) != nil {
		t.Error("the oldest of four is still in a cache of three")
	}
	for _, r := range reqs[1:] {
		if v.get(r, 0) == nil {
			t.Error("a young entry is gone")
		}
	}
	v.drop(reqs[2:3])
	if v.get(reqs[2], 0) != nil || v.get(reqs[3], 0) == nil {
		t.Error("drop takes the wrong one")
	}
	v.put(reqs[2], 0, w.register(9)) // the place of a dropped one is used without evicting by its key
	if v.get(reqs[3], 0) == nil || v.get(reqs[2], 0) == nil {
		t.Error("an entry vanished when another was put again")
	}
	if v.get(reqs[3], 1) != nil {
		t.Error("what was checked under config 0 counts under config 1")
	}
	v.put(reqs[0], 1, w.register(0))
	if v.get(reqs[3], 0) != nil || v.get(reqs[0], 1) == nil {
		t.Error("a new config does not clear the cache")
	}
}

func TestRecentIDsAreSureOnlyOfWhatTheySaw(t *testing.T) {
	w := newWorld(t)
	at := func(notBefore uint64) *ledger.Transaction {
		return w.register(notBefore, func(p *ledger.Payload) { p.NotBefore, p.ValidUntil = notBefore, notBefore+1000 })
	}
	var r recentIDs
	if r.surelyNew(at(5000)) {
		t.Error("sure before it saw a block")
	}
	known := at(1100)
	r.add(1000, nil)
	r.add(1200, []*ledger.Transaction{nil, known})
	if r.surelyNew(known) {
		t.Error("an executed transaction is called new")
	}
	if !r.surelyNew(at(1000)) {
		t.Error("a transaction that can only be in blocks it saw is not called new")
	}
	if r.surelyNew(at(999)) {
		t.Error("sure of a transaction that a block before its time may hold")
	}
	// Two generations on, the first ids and the certainty about them are gone together.
	many := make([]*ledger.Transaction, recentGeneration)
	for i := range many {
		many[i] = ledger.NewTransaction(ledger.Payload{NotBefore: uint64(i)})
	}
	r.add(2000, many)
	r.add(3000, many)
	r.add(4000, nil)
	if r.surelyNew(known) {
		t.Error("an executed transaction is called new after its generation was dropped")
	}
	if r.since < 1100 {
		t.Errorf("ids since %d are claimed to be kept", r.since)
	}
}
