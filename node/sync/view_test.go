package sync

import (
	"context"
	"errors"
	"log/slog"
	stdsync "sync"
	"testing"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/store"
)

// executor executes when a test says so.
type executor struct {
	mu     stdsync.Mutex
	height ledger.Height
	moved  chan struct{}
}

func newExecutor(h ledger.Height) *executor {
	return &executor{height: h, moved: make(chan struct{})}
}

func (e *executor) set(h ledger.Height) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.height = h
	close(e.moved)
	e.moved = make(chan struct{})
}

func (e *executor) wait(ctx context.Context, h ledger.Height) error {
	for {
		e.mu.Lock()
		height, moved := e.height, e.moved
		e.mu.Unlock()
		if height >= h {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func newView(t *testing.T, s *store.Store, n *net, e *executor, self uint64, voted ledger.Height) *View {
	t.Helper()
	cfg := ViewConfig{
		Store: s, Request: n.request, Peers: n.Peers, WaitExecuted: e.wait,
		Self:   selfIs(self, voted),
		Logger: slog.New(slog.DiscardHandler),
	}
	v, err := NewView(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func selfIs(id uint64, voted ledger.Height) func() (uint64, ledger.Height) {
	return func() (uint64, ledger.Height) { return id, voted }
}

func at(h ledger.Height) func() ledger.Height { return func() ledger.Height { return h } }

// replay answers every request like the first one.
func replay(honest handler) handler {
	var once stdsync.Once
	var b []byte
	var err error
	return func(ctx context.Context, req []byte) ([]byte, error) {
		once.Do(func() { b, err = honest(ctx, req) })
		return b, err
	}
}

func TestViewIsFreshWhenAQuorumAnsweredAndItsVotesAreExecuted(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(10)
	full, behind := newStore(t, c, 10), newStore(t, c, 9)
	other := ledgertest.NewChain(c.Genesis)
	for range 10 {
		other.Extend(other.Transaction([]byte("fork")))
	}
	fork := newStore(t, other, 10)
	up := func(v uint64) handler { return serve(t, full, v, at(10)) }
	ahead := func(v uint64) handler { return serve(t, full, v, at(11)) }
	absurd := func(v uint64) handler { return serve(t, full, v, at(1000)) }
	tests := []struct {
		name     string
		self     uint64 // 0: an observer
		voted    ledger.Height
		executed ledger.Height
		peers    map[uint64]handler
		fresh    bool
	}{
		{"all are up", 1, 10, 10, map[uint64]handler{2: up(2), 3: up(3), 4: up(4)}, true},
		{"observer of all", 0, 0, 10, map[uint64]handler{1: up(1), 2: up(2), 3: up(3), 4: up(4)}, true},
		{"one is down", 1, 10, 10, map[uint64]handler{2: up(2), 3: nil, 4: up(4)}, true},
		{"one never answers", 1, 10, 10, map[uint64]handler{2: up(2), 3: silent, 4: up(4)}, true},
		{"two are down", 1, 10, 10, map[uint64]handler{2: up(2), 3: nil, 4: nil}, false},
		{"observer, two are down", 0, 0, 10, map[uint64]handler{1: up(1), 2: up(2)}, false},
		{"no peers", 1, 10, 10, nil, false},
		{"this node has executed too little", 1, 10, 9, map[uint64]handler{2: up(2), 3: up(3), 4: up(4)}, false},
		{"a quorum voted for more", 1, 10, 10, map[uint64]handler{2: ahead(2), 3: ahead(3), 4: nil}, false},
		{"this node voted for more", 1, 11, 10, map[uint64]handler{2: up(2), 3: up(3), 4: nil}, false},
		{"one voted for more, a quorum without it", 1, 10, 10, map[uint64]handler{2: ahead(2), 3: up(3), 4: up(4)}, true},
		{"one says what no honest one says", 1, 10, 10, map[uint64]handler{2: absurd(2), 3: up(3), 4: up(4)}, true},
		{"two say what no honest one says", 1, 10, 10, map[uint64]handler{2: absurd(2), 3: absurd(3), 4: up(4)}, false},
		{"answers of another key", 1, 10, 10, map[uint64]handler{2: up(3), 3: up(2), 4: up(4)}, false},
		{"one is on a fork", 1, 10, 10, map[uint64]handler{2: serve(t, fork, 2, at(10)), 3: up(3), 4: nil}, false},
		{"one lags", 1, 10, 10, map[uint64]handler{2: serve(t, behind, 2, at(9)), 3: up(3), 4: nil}, true},
		{"this node does not know its votes", 1, 0, 10, map[uint64]handler{2: up(2), 3: up(3), 4: nil}, false},
		{"another does not know its votes", 1, 10, 10, map[uint64]handler{2: serve(t, full, 2, at(0)), 3: up(3), 4: nil}, false},
		{"foreign nodes", 1, 10, 10, map[uint64]handler{2: up(2), 7: up(7), 8: up(8)}, false},
		{"itself as a peer", 1, 10, 10, map[uint64]handler{1: up(1), 2: up(2)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := newNet()
				for v, h := range tt.peers {
					n.add(v, h)
					n.add(v, h) // a peer listed twice counts once
				}
				v := newView(t, full, n, newExecutor(tt.executed), tt.self, tt.voted)
				age, err := v.Fresh(t.Context(), 2*time.Second)
				if tt.fresh && (err != nil || age > 2*time.Second) {
					t.Errorf("age %s, %v", age, err)
				}
				if !tt.fresh && !errors.Is(err, ErrStale) {
					t.Errorf("age %s, %v, want ErrStale", age, err)
				}
				if _, ok := v.Age(); ok != tt.fresh {
					t.Errorf("established: %t", ok)
				}
			})
		})
	}
}

func TestViewAsksAgainOnlyWhenItIsOld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ledgertest.NewChain(ledgertest.Config(4)).Grow(3)
		full := newStore(t, c, 3)
		defer full.Close()
		n := newNet()
		for v := uint64(2); v <= 4; v++ {
			n.add(v, serve(t, full, v, at(3)))
		}
		v := newView(t, full, n, newExecutor(3), 1, 3)
		fresh := func(maxAge, want time.Duration, requests int) {
			t.Helper()
			if age, err := v.Fresh(t.Context(), maxAge); err != nil || age != want {
				t.Errorf("age %s, %v, want %s", age, err, want)
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			if len(n.asked) > requests {
				t.Errorf("%d requests, want %d", len(n.asked), requests)
			}
		}
		fresh(2*time.Second, 0, 3)
		time.Sleep(time.Second)
		fresh(2*time.Second, time.Second, 3)
		time.Sleep(time.Millisecond)
		fresh(2*time.Second, 0, 6)

		time.Sleep(time.Hour)
		var wg stdsync.WaitGroup
		for range 50 {
			wg.Go(func() { fresh(2*time.Second, 0, 9) })
		}
		wg.Wait()

		// The validators fall silent: the old view serves while it may.
		n.mu.Lock()
		n.nodes = map[string]handler{}
		n.mu.Unlock()
		time.Sleep(1500 * time.Millisecond)
		fresh(2*time.Second, 1500*time.Millisecond, 12)
		time.Sleep(time.Second)
		if age, err := v.Fresh(t.Context(), 2*time.Second); !errors.Is(err, ErrStale) || age != 2500*time.Millisecond {
			t.Errorf("age %s, %v", age, err)
		}
	})
}

func TestViewWaitsForItsOwnExecution(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ledgertest.NewChain(ledgertest.Config(4)).Grow(3)
		full := newStore(t, c, 3)
		defer full.Close()
		n := newNet()
		for v := uint64(2); v <= 4; v++ {
			n.add(v, serve(t, full, v, at(4)))
		}
		e := newExecutor(3)
		v := newView(t, full, n, e, 1, 4)
		go func() {
			time.Sleep(300 * time.Millisecond)
			e.set(4)
		}()
		if age, err := v.Fresh(t.Context(), time.Second); err != nil || age != 300*time.Millisecond {
			t.Errorf("age %s, %v: it counts from the nonce", age, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		e.set(2)
		time.Sleep(time.Minute)
		start := time.Now()
		if _, err := v.Fresh(ctx, time.Second); !errors.Is(err, ErrStale) || time.Since(start) > 100*time.Millisecond {
			t.Errorf("a cancelled call: %v after %s", err, time.Since(start))
		}
	})
}

func TestViewRefusesAReplayedStatus(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(3)
	full := newStore(t, c, 3)
	n := newNet()
	for v := uint64(2); v <= 4; v++ {
		n.add(v, replay(serve(t, full, v, at(3))))
	}
	v := newView(t, full, n, newExecutor(3), 1, 3)
	if _, err := v.Fresh(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Fresh(t.Context(), 0); !errors.Is(err, ErrStale) {
		t.Errorf("got %v", err)
	}
}

// TestViewDoesNotTrustValidatorsThatLeft lets the config change while the votes
// that prove it are executed: those who voted under the old config know nothing
// of the blocks under the new one.
func TestViewDoesNotTrustValidatorsThatLeft(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(3)
	c.Reconfigure(func(c *ledger.Config) {
		c.Validators = []ledger.Validator{
			ledgertest.Validator(5, ledgertest.MemberID(1)), ledgertest.Validator(6, ledgertest.MemberID(2)),
			ledgertest.Validator(7, ledgertest.MemberID(3)), ledgertest.Validator(8, ledgertest.MemberID(4)),
		}
	})
	c.Grow(3)
	bubble(t, func(t *testing.T) {
		left, full, mine := newStore(t, c, 4), newStore(t, c, 7), newStore(t, c, 3)
		defer left.Close()
		defer full.Close()
		defer mine.Close()
		n := newNet()
		for v := uint64(1); v <= 4; v++ {
			n.add(v, serve(t, left, v, at(4)))
		}
		for v := uint64(5); v <= 8; v++ {
			n.add(v, serve(t, full, v, at(7)))
		}
		e := newExecutor(3)
		v := newView(t, mine, n, e, 0, 0)
		go func() {
			time.Sleep(100 * time.Millisecond)
			grow(t, mine, c, 4)
			e.set(4)
			time.Sleep(400 * time.Millisecond)
			grow(t, mine, c, 7)
			e.set(7)
		}()
		start := time.Now()
		if _, err := v.Fresh(t.Context(), 2*time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 500*time.Millisecond {
			t.Errorf("fresh after %s, want 500 ms: when the blocks of the new validators are executed", took)
		}
	})
}
