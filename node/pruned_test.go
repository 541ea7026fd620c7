package node

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/sync"
)

// Who keeps what is asked once a minute for everybody: a client that has gone when
// it is asked leaves no wrong answer to the others.
func TestWhoKeepsOldBlocksOutlivesTheOneWhoAsked(t *testing.T) {
	g := newGrowing(t)
	server, err := sync.NewServer(sync.ServerConfig{Store: g.store})
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(Options{})
	n.store = g.store
	n.dir.current.Store(&entries{validators: []network.PeerID{"p"}, peers: map[network.PeerID]entry{"p": {member: "bank", replica: 1}}})
	n.client, err = sync.NewClient(sync.ClientConfig{Store: g.store, Peers: n.syncPeers, Request: func(ctx context.Context, _ string, req []byte) ([]byte, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return server.Handle(ctx, "asker", req)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n.state, err = state.Create(t.Context(), state.Config{Dir: filepath.Join(t.TempDir(), "state"), ChainID: ledger.Hash{1}}); err != nil {
		t.Fatal(err)
	}
	defer n.state.Close()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	n.whoKeeps(gone, 1, blocksKept)
	if got := n.whoKeeps(t.Context(), 1, blocksKept); !slices.Equal(got, []string{"a node of bank"}) {
		t.Errorf("the next one hears %q, want bank", got)
	}
}
