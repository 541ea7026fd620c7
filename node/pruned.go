package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	stdsync "sync"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
	"github.com/assent-network/assent/node/sync"
)

// keepers remembers what other nodes keep, so that a node that has pruned something
// can say where to ask.
type keepers struct {
	mu    stdsync.Mutex
	until time.Time            // so long these answers count
	kept  map[string]sync.Kept // by peer; of those that answered
}

// keepersAge is how long the answers count: not long if some are missing.
const (
	keepersAge     = time.Minute
	fewKeepersAge  = 3 * time.Second
	keepersTimeout = 2 * time.Second
)

// maxKeepers bounds how many nodes are asked, and maxNamed how many are named.
const (
	maxKeepers = 32
	maxNamed   = 4
)

// pruned is the refusal of something that happened at a height and is not kept
// here any more, with who keeps it. kept tells what counts of what a node keeps.
func (n *Node) pruned(ctx context.Context, h ledger.Height, what string, kept func(sync.Kept) ledger.Height) error {
	who := "no node that answers keeps it: ask the members for a node that keeps everything"
	if names := n.whoKeeps(ctx, h, kept); len(names) > 0 {
		who = "ask " + strings.Join(names, " or ")
	}
	from := max(kept(sync.Kept{Blocks: n.store.Base(), Records: n.recordsFrom()}), n.state.BeganAt()+1)
	return api.Refuse(pb.Code_CODE_PRUNED, "%s is pruned here, where everything is kept from block %d on: %s", what, from, who)
}

func blocksKept(k sync.Kept) ledger.Height { return k.Blocks }

func recordsKept(k sync.Kept) ledger.Height { return k.Records }

// sayPruned turns the error of something that the state has pruned into the
// refusal of a client's call.
func (n *Node) sayPruned(ctx context.Context, err error) error {
	var gone *state.Pruned
	if !errors.As(err, &gone) {
		return err
	}
	what := fmt.Sprintf("the outcome of transaction %s at height %d", gone.TxID, gone.Height)
	if gone.Key != "" {
		what = fmt.Sprintf("record %s of height %d", gone.Key, gone.Height)
	}
	return n.pruned(ctx, gone.Height, what, recordsKept)
}

// whoKeeps names members that keep everything from a height on, each with where its
// node's API is if the ledger says so.
func (n *Node) whoKeeps(ctx context.Context, h ledger.Height, kept func(sync.Kept) ledger.Height) []string {
	n.keepers.mu.Lock()
	defer n.keepers.mu.Unlock() // others wait for the same answers
	if time.Now().After(n.keepers.until) {
		n.askKeepersLocked(ctx)
	}
	var out []string
	e := n.dir.current.Load()
	view := n.state.View()
	for id, k := range n.keepers.kept {
		member := e.peers[network.PeerID(id)].member
		if kept(k) > h || member == "" {
			continue
		}
		name := "a node of " + member
		if r, err := loadRecord[record.Node](view, record.NodeKey(record.OrgID(member), record.NodeID(id))); err == nil && len(r.APIURLs) > 0 {
			name += " (" + r.APIURLs[0] + ")"
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out[:min(len(out), maxNamed)]
}

// askKeepersLocked asks for all who will want to know, whether or not the one who
// wanted it first still waits.
func (n *Node) askKeepersLocked(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepersTimeout)
	defer cancel()
	type answer struct {
		peer string
		kept sync.Kept
		err  error
	}
	peers := n.mayKeep()
	answers := make(chan answer, len(peers))
	for _, id := range peers {
		go func() {
			kept, _, err := n.client.Offers(ctx, id)
			answers <- answer{id, kept, err}
		}()
	}
	n.keepers.kept = make(map[string]sync.Kept, len(peers))
	for range peers { // every goroutine answers within the time
		if a := <-answers; a.err == nil {
			n.keepers.kept[a.peer] = a.kept
		} else {
			n.log.Debug("peer does not say what it keeps", "peer", a.peer, "reason", fmt.Sprint(a.err))
		}
	}
	age := keepersAge
	if len(n.keepers.kept) < len(peers) {
		age = fewKeepersAge
	}
	n.keepers.until = time.Now().Add(age)
}

// mayKeep lists the nodes to be asked: the validators, then observers, among whom
// are those that members keep as archives.
func (n *Node) mayKeep() []string {
	var out, observers []string
	for _, p := range n.syncPeers() {
		out = append(out, p.ID)
	}
	e := n.dir.current.Load()
	for id := range e.peers {
		if id != e.self && !slices.Contains(out, string(id)) {
			observers = append(observers, string(id))
		}
	}
	slices.Sort(observers)
	out = append(out, observers...)
	return out[:min(len(out), maxKeepers)]
}
