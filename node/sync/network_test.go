package sync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	stdsync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
	"github.com/assent-network/assent/node/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// goleveldb ends the drain of its pool within a second of Close, without
	// waiting for it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain"))
}

// newStore returns a store with the blocks of c up to tip.
func newStore(t testing.TB, c *ledgertest.Chain, tip int) *store.Store {
	t.Helper()
	s, err := store.Create(filepath.Join(t.TempDir(), "blocks"), c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	grow(t, s, c, tip)
	return s
}

func grow(t testing.TB, s *store.Store, c *ledgertest.Chain, tip int) {
	t.Helper()
	for h := int(s.Tip().Height) + 1; h <= tip; h++ {
		if err := s.Append(c.Blocks[h], c.Certs[h]); err != nil {
			t.Fatal(err)
		}
	}
}

// handler is how a node of a net answers.
type handler func(ctx context.Context, req []byte) ([]byte, error)

// net connects a test to nodes that answer from stores, or as a test wants.
type net struct {
	mu    stdsync.Mutex
	nodes map[string]handler
	asked []string // ids, in order
	peers []Peer
}

func newNet() *net { return &net{nodes: map[string]handler{}} }

func (n *net) request(ctx context.Context, peer string, req []byte) ([]byte, error) {
	n.mu.Lock()
	n.asked = append(n.asked, peer)
	h := n.nodes[peer]
	n.mu.Unlock()
	if h == nil {
		return nil, errors.New("unreachable")
	}
	return h(ctx, req)
}

func (n *net) Peers() []Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peers
}

func (n *net) askedOf(peer string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.asked {
		if p == peer {
			count++
		}
	}
	return count
}

func name(validator uint64) string { return fmt.Sprintf("node-%d", validator) }

// add makes validator a peer that answers with h.
func (n *net) add(validator uint64, h handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peers = append(n.peers, Peer{ID: name(validator), Validator: validator})
	n.nodes[name(validator)] = h
}

// serve returns the honest answers of a validator over a store, with voted as
// the height it voted for.
func serve(t testing.TB, s *store.Store, validator uint64, voted func() ledger.Height) handler {
	t.Helper()
	server, err := NewServer(ServerConfig{Store: s, Voter: voter(ledgertest.VoteKey(validator), voted)})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, req []byte) ([]byte, error) {
		return server.Handle(ctx, "asker", req)
	}
}

func tipOf(s *store.Store) func() ledger.Height {
	return func() ledger.Height { return s.Tip().Height }
}

// only lets h answer requests of one tag, and other the rest.
func only(tag string, h, other handler) handler {
	return func(ctx context.Context, req []byte) ([]byte, error) {
		if tagOf(req) == tag {
			return h(ctx, req)
		}
		return other(ctx, req)
	}
}

// silent never answers.
func silent(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func newClient(t testing.TB, s *store.Store, n *net) *Client {
	t.Helper()
	c, err := NewClient(ClientConfig{Store: s, Request: n.request, Peers: n.Peers, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// history is a ledger with config changes, the last of which replaces a
// validator.
func history(blocks int) *ledgertest.Chain {
	c := ledgertest.NewChain(ledgertest.Config(4)).Grow(blocks / 2)
	c.Reconfigure(func(c *ledger.Config) { c.Limits.ClockToleranceMs++ })
	c.Grow(2)
	c.Reconfigure(func(c *ledger.Config) {
		c.Validators = append(c.Validators[:3:3], ledgertest.Validator(5, ledgertest.MemberID(4)))
	})
	for len(c.Blocks) <= blocks {
		c.Grow(1)
	}
	return c
}

func wantTip(t *testing.T, s *store.Store, c *ledgertest.Chain, height int) {
	t.Helper()
	tip := s.Tip()
	if int(tip.Height) != height || tip.Header != c.Blocks[height].Header {
		t.Fatalf("tip is %d %s, want %d %s", tip.Height, tip.Hash, height, c.Blocks[height].Header.Hash())
	}
	if err := s.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// bubble runs f with time of its own. f closes the stores it opens.
func bubble(t *testing.T, f func(*testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		f(t)
		time.Sleep(2 * time.Second) // goleveldb's drain ends
	})
}
