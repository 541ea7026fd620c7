package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// eventful is a state whose blocks hold random numbers of events, and those events.
func eventful(t *testing.T, r *rand.Rand, heights ledger.Height) (*state.DB, []gateway.Event) {
	t.Helper()
	db, err := state.Create(t.Context(), state.Config{Dir: filepath.Join(t.TempDir(), "state"), ChainID: ledger.Hash{1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var all []gateway.Event
	for h := range heights {
		b, err := db.Begin(h, uint64(h)+1)
		if err != nil {
			t.Fatal(err)
		}
		index := uint32(0)
		txs := r.IntN(4)
		if h%17 == 5 {
			txs = 200 // more than one Read gives
		}
		for i := range txs {
			tx := &state.Tx{TxID: ledger.Sum(fmt.Appendf(nil, "%d/%d", h, i)), Index: uint64(i), Code: "OK"}
			for range r.IntN(3) {
				payload := make([]byte, 1+r.IntN(3_000))
				tx.Events = append(tx.Events, ledger.Event{Contract: "a", Name: "n", Payload: payload})
				all = append(all, gateway.Event{Height: h, Index: index, TxID: tx.TxID, Contract: "a", Name: "n", Payload: payload, BlockTime: uint64(h) + 1})
				index++
			}
			if _, err := b.Apply(tx); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Seal(); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	return db, all
}

// Streams that begin anywhere and read in turns see every event once and in order,
// little at a time, and what is remembered for them stays bounded.
func TestEventsAreReadInSmallParts(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 0))
	db, all := eventful(t, r, 120)
	view, log := db.View(), newEventLog()
	type stream struct {
		begun, next gateway.Checkpoint
		got         []gateway.Event
	}
	var streams []*stream
	for i := range 12 {
		c := gateway.Checkpoint{Height: ledger.Height(r.IntN(120))}
		if i%3 == 0 {
			c.Index = uint32(r.IntN(40))
		}
		streams = append(streams, &stream{begun: c, next: c})
	}
	for reading := true; reading; {
		reading = false
		for _, s := range streams {
			if s.next.Height > view.Height() {
				continue
			}
			reading = true
			got, next, err := log.from(view, s.next)
			if err != nil {
				t.Fatal(err)
			}
			held := 0
			for _, e := range got[:max(len(got)-1, 0)] {
				held += len(e.Payload)
			}
			if held >= maxEventBytes {
				t.Fatalf("seed %d: one read holds %d bytes before its last event", seed, held)
			}
			if next.Height < s.next.Height || next.Height == s.next.Height && next.Index <= s.next.Index {
				t.Fatalf("seed %d: from %v to %v", seed, s.next, next)
			}
			s.got, s.next = append(s.got, got...), next
			if log.bytes > eventLogBytes && len(log.blocks) > 1 {
				t.Fatalf("%d bytes of %d blocks are remembered", log.bytes, len(log.blocks))
			}
		}
	}
	for _, s := range streams {
		var want []gateway.Event
		for _, e := range all {
			if e.Height > s.begun.Height || e.Height == s.begun.Height && e.Index >= s.begun.Index {
				want = append(want, e)
			}
		}
		same := func(a, b gateway.Event) bool {
			return a.Height == b.Height && a.Index == b.Index && a.TxID == b.TxID && a.BlockTime == b.BlockTime && bytes.Equal(a.Payload, b.Payload)
		}
		if !slices.EqualFunc(want, s.got, same) {
			t.Fatalf("seed %d: from %v %d events were read, want %d, or others", seed, s.begun, len(s.got), len(want))
		}
	}
}

// Blocks that do not fit any more are forgotten, the oldest first.
func TestRememberedEventsAreBounded(t *testing.T) {
	l := newEventLog()
	for h := range ledger.Height(100) {
		l.keep(&blockEvents{height: h, bytes: eventLogBytes / 10, end: uint64(h)})
		if l.bytes > eventLogBytes {
			t.Fatalf("%d bytes", l.bytes)
		}
	}
	if l.block(89) != nil || l.block(90) == nil || len(l.blocks) != 10 {
		t.Errorf("%d blocks are remembered", len(l.blocks))
	}
	l.keep(&blockEvents{height: 100, bytes: 2 * eventLogBytes})
	if l.block(100) == nil || len(l.blocks) != 1 {
		t.Errorf("beside a very large block %d are remembered", len(l.blocks))
	}
	for h := range ledger.Height(3 * maxPlaces) {
		l.mu.Lock()
		l.placeLocked(h, 1)
		l.mu.Unlock()
	}
	if len(l.places) > maxPlaces {
		t.Errorf("%d places", len(l.places))
	}
}
