package sync

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/store"
)

// BenchmarkCatchUp500 fetches, checks and stores 500 blocks of 20 transactions.
func BenchmarkCatchUp500(b *testing.B) {
	c := ledgertest.NewChain(ledgertest.Config(4))
	for range 500 {
		reqs := make([][]byte, 20)
		for i := range reqs {
			reqs[i] = c.Transaction(make([]byte, 350))
		}
		c.Extend(reqs...)
	}
	full := newStore(b, c, 500)
	n := newNet()
	for v := uint64(1); v <= 3; v++ {
		n.add(v, serve(b, full, v, tipOf(full)))
	}
	for b.Loop() {
		mine, err := store.Create(filepath.Join(b.TempDir(), "blocks"), c.Genesis)
		if err != nil {
			b.Fatal(err)
		}
		if err := newClient(b, mine, n).CatchUp(b.Context(), mine.Append); err != nil {
			b.Fatal(err)
		}
		if mine.Tip().Height != 500 {
			b.Fatalf("tip is %d", mine.Tip().Height)
		}
		mine.Close()
	}
}

// BenchmarkFreshView makes a round over three other validators.
func BenchmarkFreshView(b *testing.B) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(3)
	full := newStore(b, c, 3)
	n := newNet()
	for v := uint64(2); v <= 4; v++ {
		server, err := NewServer(ServerConfig{Store: full, Voter: voter(ledgertest.VoteKey(v), at(3)), Rate: 1e9})
		if err != nil {
			b.Fatal(err)
		}
		n.add(v, func(ctx context.Context, req []byte) ([]byte, error) { return server.Handle(ctx, "asker", req) })
	}
	v, err := NewView(ViewConfig{Store: full, Request: n.request, Peers: n.Peers, WaitExecuted: newExecutor(3).wait, Self: selfIs(1, 3)})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		v.mu.Lock()
		v.since = v.since.AddDate(-1, 0, 0)
		v.mu.Unlock()
		if _, err := v.Fresh(b.Context(), 1<<40); err != nil {
			b.Fatal(err)
		}
	}
}
