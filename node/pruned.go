package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	stdsync "sync"
	"time"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
)

// keepers remembers from which height on other validators keep all blocks, so that
// a node that has pruned one can say where to ask.
type keepers struct {
	mu    stdsync.Mutex
	asked time.Time
	bases map[string]ledger.Height // by peer; of those that answered
}

// keepersAge is how long the answers count.
const keepersAge = time.Minute

// pruned is the refusal of something that happened at a height and is not kept
// here any more, with who keeps it.
func (n *Node) pruned(ctx context.Context, h ledger.Height, what string) error {
	who := "none of the validators that answer keeps it"
	if names := n.whoKeeps(ctx, h); len(names) > 0 {
		who = "ask a node of " + strings.Join(names, " or ")
	}
	return api.Refuse(pb.Code_CODE_PRUNED, "%s is pruned here, blocks begin with %d: %s", what, n.store.Base(), who)
}

// whoKeeps names the members whose validators keep all blocks from a height on.
func (n *Node) whoKeeps(ctx context.Context, h ledger.Height) []string {
	n.keepers.mu.Lock()
	defer n.keepers.mu.Unlock() // others wait for the same answers
	if time.Since(n.keepers.asked) > keepersAge {
		n.askKeepersLocked(ctx)
	}
	var out []string
	e := n.dir.current.Load()
	for id, base := range n.keepers.bases {
		if member := e.peers[network.PeerID(id)].member; base <= h && member != "" && !slices.Contains(out, member) {
			out = append(out, member)
		}
	}
	slices.Sort(out)
	return out
}

// askKeepersLocked asks for all who will want to know, whether or not the one who
// wanted it first still waits.
func (n *Node) askKeepersLocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	type answer struct {
		peer string
		base ledger.Height
		err  error
	}
	peers := n.syncPeers()
	answers := make(chan answer, len(peers))
	for _, p := range peers {
		go func() {
			base, _, err := n.client.Offers(ctx, p.ID)
			answers <- answer{p.ID, base, err}
		}()
	}
	n.keepers.bases = make(map[string]ledger.Height, len(peers))
	for range peers { // every goroutine answers within the time
		if a := <-answers; a.err == nil {
			n.keepers.bases[a.peer] = a.base
		} else {
			n.log.Debug("peer does not say what it keeps", "peer", a.peer, "reason", fmt.Sprint(a.err))
		}
	}
	n.keepers.asked = time.Now()
}
