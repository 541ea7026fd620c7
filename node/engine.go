package node

import (
	gosync "sync"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/bft"
	"github.com/assent-network/assent/consensus/solo"
	"github.com/assent-network/assent/node/chain"
)

// newEngine makes the ordering engine: solo on a network of one validator, bft
// on every other. Each vote key has a log of its own.
func (n *Node) newEngine(t transport) func(consensus.App, chain.Replica) (consensus.Engine, error) {
	return func(app consensus.App, r chain.Replica) (consensus.Engine, error) {
		limits := n.store.Tip().Config.Limits
		if len(r.Membership.Replicas) == 1 {
			return solo.New(solo.Config{Self: r.Self, Membership: r.Membership, Last: r.Last, App: app})
		}
		e, err := bft.Open(bft.Config{
			Self: r.Self, Membership: r.Membership, WALDir: voteLogDir(n.cfg.DataDir, r.Vote), Last: r.Last, LastAlone: r.LastAlone,
			App: app, Transport: t,
			Settings: bft.Settings{
				BatchMaxCount: int(limits.MaxBlockRequests), BatchMaxBytes: int(limits.MaxBlockBytes),
				// What the chain takes, and room for seals and updates.
				PoolSize: max(2*n.cfg.Limits.PoolRequests, 2*int(limits.MaxBlockRequests)), RequestMaxBytes: int(limits.MaxRequestBytes),
			},
			Logger: n.log,
		})
		if err != nil {
			return nil, err
		}
		n.engines.next(e)
		return e, nil
	}
}

// engines sums what a node's ordering engines counted, one after the other: a
// change of role or of vote key makes another, and totals never fall.
type engines struct {
	mu      gosync.Mutex
	current *bft.Engine
	past    bft.Counters // of those before
}

func (e *engines) next(to *bft.Engine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.past, e.current = e.sumLocked(), to
}

// totals are those since the node started; zeros on one that never ordered.
func (e *engines) totals() bft.Counters {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sumLocked()
}

func (e *engines) sumLocked() bft.Counters {
	t := e.past
	if e.current == nil {
		return t
	}
	c := e.current.Counters()
	t.MessagesSent += c.MessagesSent
	t.MessagesReceived += c.MessagesReceived
	t.MessagesRefused += c.MessagesRefused
	t.MessagesHeld += c.MessagesHeld
	t.Decided += c.Decided
	t.CatchUps += c.CatchUps
	t.ViewChanges += c.ViewChanges
	t.Restarts += c.Restarts
	t.Reliefs += c.Reliefs
	t.Repeats += c.Repeats
	t.LogRecords += c.LogRecords
	t.LogBytes += c.LogBytes
	return t
}
