package chain

import (
	"context"
	"errors"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

// What one block settles comes together, each under its own index, also for two
// who wait for the same transaction.
func TestAWatchTellsOfEachTransactionOnce(t *testing.T) {
	w := newWorld(t)
	a := w.start(0, t.TempDir())
	one, two, never := w.register(1), w.register(2), w.register(3)
	watch := a.Watch(5)
	for i, tx := range []*ledger.Transaction{one, two, one, never} { // the fifth place stays empty
		watch.Add(i, tx.ID(), tx.Payload.ValidUntil)
	}
	w.commit([]*member{a}, two.Encode(), one.Encode())
	got := make(map[int]string)
	for len(got) < 3 {
		all, err := watch.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if _, twice := got[s.Index]; twice || s.Err != nil {
				t.Errorf("index %d: again, or %v", s.Index, s.Err)
			}
			got[s.Index] = s.Outcome.TxID.Hex()
		}
	}
	if got[0] != one.ID().Hex() || got[1] != two.ID().Hex() || got[2] != one.ID().Hex() {
		t.Errorf("settled %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := watch.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("nothing more is known: %v", err)
	}
	w.ms.Store(int64(never.Payload.ValidUntil) + 1)
	w.commit([]*member{a}, w.register(4).Encode())
	if all, err := watch.Next(t.Context()); err != nil || len(all) != 1 || all[0].Index != 3 || !errors.Is(all[0].Err, ErrExpired) {
		t.Errorf("past its end: %v, %v", all, err)
	}
	watch.Stop()
	other := a.Watch(2)
	other.Add(0, ledger.Hash{1}, 1<<60)
	other.Add(1, ledger.Hash{1}, 1<<60)
	other.Stop()
	a.waiters.mu.Lock()
	defer a.waiters.mu.Unlock()
	if n := len(a.waiters.byTx); n != 0 {
		t.Errorf("%d transactions are still waited for", n)
	}
}
