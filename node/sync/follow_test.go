package sync

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/store"
)

// followed runs a follower beside f and joins it.
func followed(t *testing.T, client *Client, add Append, f func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- client.Follow(ctx, add) }()
	f()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("follow: %v", err)
	}
}

// lag grows full by one block each interval and returns the longest time that
// mine was behind.
func lag(t *testing.T, c *ledgertest.Chain, full, mine *store.Store, to int, interval time.Duration) time.Duration {
	t.Helper()
	var worst time.Duration
	for h := int(full.Tip().Height) + 1; h <= to; h++ {
		grow(t, full, c, h)
		made := time.Now()
		time.Sleep(interval)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := mine.Wait(ctx, ledger.Height(h)); err != nil {
			t.Fatalf("block %d did not come: %v", h, err)
		}
		cancel()
		worst = max(worst, time.Since(made))
	}
	return worst
}

func TestFollowerIsSeldomASecondBehind(t *testing.T) {
	for _, tt := range []struct {
		name     string
		blocks   int
		interval time.Duration
		worst    time.Duration
		source   func(*testing.T, *store.Store, handler) handler // what node-1 does
	}{
		{"busy network", 60, 5 * time.Millisecond, 50 * time.Millisecond, nil},
		{"quiet network", 6, time.Minute, 50*time.Millisecond + time.Minute, nil},
		{"a source is down", 80, 300 * time.Millisecond, 1500 * time.Millisecond, func(*testing.T, *store.Store, handler) handler {
			return func(context.Context, []byte) ([]byte, error) { return nil, errors.New("down") }
		}},
		{"a source withholds", 80, 300 * time.Millisecond, 800 * time.Millisecond, func(t *testing.T, _ *store.Store, honest handler) handler {
			return only(tagBlocks, func(ctx context.Context, req []byte) ([]byte, error) {
				var r blocksRequest
				if err := decode(req, maxRequest, tagBlocks, &r); err != nil {
					return nil, err
				}
				pause(ctx, time.Duration(r.WaitMillis)*time.Millisecond)
				return encode(&blocksAnswer{Tag: tagBlocksAnswer, Blocks: []blockItem{}}), nil
			}, honest)
		}},
		{"a source stalls", 80, 300 * time.Millisecond, 4 * time.Second, func(*testing.T, *store.Store, handler) handler { return silent }},
		{"a source holds nothing", 80, 300 * time.Millisecond, time.Second, func(t *testing.T, s *store.Store, _ handler) handler {
			server := newServer(t, s, nil)
			server.waits = server.cfg.MaxWaits
			return func(ctx context.Context, req []byte) ([]byte, error) { return server.Handle(ctx, "asker", req) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := history(tt.blocks)
				full, mine := newStore(t, c, 0), newStore(t, c, 0)
				defer full.Close()
				defer mine.Close()
				n := newNet()
				honest := serve(t, full, 1, tipOf(full))
				if tt.source != nil {
					n.add(1, tt.source(t, full, honest))
				} else {
					n.add(1, honest)
				}
				n.add(2, serve(t, full, 2, tipOf(full)))
				n.add(3, serve(t, full, 3, tipOf(full)))
				followed(t, newClient(t, mine, n), mine.Append, func() {
					if tt.source != nil { // an idle follower waits longer for a source
						lag(t, c, full, mine, 30, tt.interval)
					}
					if worst := lag(t, c, full, mine, tt.blocks, tt.interval); worst-tt.interval > tt.worst {
						t.Errorf("it was %s behind", worst)
					}
				})
				wantTip(t, mine, c, tt.blocks)
			})
		})
	}
}

func TestFollowerOfAnIdleNetworkAsksSeldom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ledgertest.NewChain(ledgertest.Config(4)).Grow(2)
		full, mine := newStore(t, c, 2), newStore(t, c, 0)
		defer full.Close()
		defer mine.Close()
		n := newNet()
		for v := uint64(1); v <= 3; v++ {
			n.add(v, serve(t, full, v, tipOf(full)))
		}
		followed(t, newClient(t, mine, n), mine.Append, func() { time.Sleep(time.Minute) })
		if got := len(n.asked); got > 25 {
			t.Errorf("%d requests in an idle minute", got)
		}
		n.mu.Lock()
		n.nodes = map[string]handler{}
		n.asked = nil
		n.mu.Unlock()
		followed(t, newClient(t, mine, n), mine.Append, func() { time.Sleep(time.Minute) })
		if got := len(n.asked); got > 80 {
			t.Errorf("%d requests in a minute without peers", got)
		}
		n.peers = nil
		followed(t, newClient(t, mine, n), mine.Append, func() { time.Sleep(time.Minute) })
	})
}

func TestFollowerLeavesAForgerAndEndsOnAFatalError(t *testing.T) {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(6)
	full, mine := newStore(t, c, 6), newStore(t, c, 0)
	n := newNet()
	honest := serve(t, full, 1, tipOf(full))
	n.add(1, changed(honest, func(a *blocksAnswer) {
		for i := range a.Blocks {
			a.Blocks[i].Certificate = c.Certs[1].Encode()
		}
	}))
	n.add(2, honest)
	broken := errors.New("disk is full")
	err := newClient(t, mine, n).Follow(t.Context(), func(b *ledger.Block, cert *ledger.Certificate) error {
		if b.Header.Height == 5 {
			return broken
		}
		return mine.Append(b, cert)
	})
	if !errors.Is(err, broken) || mine.Tip().Height != 4 {
		t.Errorf("got %v at %d", err, mine.Tip().Height)
	}
	// Once more, with the error in the loop instead of the first catch-up.
	bubble(t, func(t *testing.T) {
		full, mine := newStore(t, c, 2), newStore(t, c, 2)
		defer full.Close()
		defer mine.Close()
		n := newNet()
		n.add(1, serve(t, full, 1, tipOf(full)))
		done := make(chan error, 1)
		go func() {
			done <- newClient(t, mine, n).Follow(t.Context(), func(b *ledger.Block, _ *ledger.Certificate) error {
				return fmt.Errorf("block %d: %w", b.Header.Height, broken)
			})
		}()
		synctest.Wait()
		grow(t, full, c, 3)
		if err := <-done; !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}
