package bft

import (
	"context"
	"sync"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
)

// A new leader accepts the view data only of replicas that have its own last
// decision, or one more. With one replica down the others are just a quorum: if
// one of them is a decision or two behind, no view change succeeds until it has
// caught up, and each one that fails costs its time-out. Three things make that
// rare. A replica that knows itself behind catches up as soon as the leader falls
// silent, not only when the view changes (overheard). And when a view change has
// timed out, for which the library catches up beside it, the next one waits for
// that (refresh): its view data would be the old one else.
//
// A replica whose own time-out has not come catches up when the others take it along
// to one more view (carried). Time-outs grow with every view that fails, and one that
// has failed alone for long waits longer than the others: it would be taken along,
// always too far behind, until theirs have grown as long.

// overheard is what the others say of how far they are.
type overheard struct {
	mu     sync.Mutex                     // guards what follows
	next   map[consensus.ReplicaID]uint64 // height that each works on
	leader time.Time                      // when the leader of the view was heard last
	tried  time.Time
}

// note takes a message of a replica.
func (o *overheard) note(from consensus.ReplicaID, leads bool, m *pb.Message, now time.Time) {
	var next uint64 // height that it works on
	switch {
	case m.GetPrePrepare() != nil:
		next = m.GetPrePrepare().GetSeq()
	case m.GetPrepare() != nil:
		next = m.GetPrepare().GetSeq()
	case m.GetCommit() != nil:
		next = m.GetCommit().GetSeq()
	case m.GetHeartBeat() != nil:
		next = m.GetHeartBeat().GetSeq() + 1
	default:
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.next == nil {
		o.next = make(map[consensus.ReplicaID]uint64)
	}
	o.next[from] = next
	if leads {
		o.leader = now
	}
}

// behind reports that the leader has been silent for a quarter of patience while
// more replicas than may be faulty say that they have decided more than own. What is
// done about it looks like a heartbeat of the leader, so the next time is only after
// the patience with its silence has ended, and this replica has complained: it would
// never else, if catching up does not help.
func (o *overheard) behind(own uint64, m consensus.Membership, now time.Time, patience time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.leader.IsZero() || now.Sub(o.leader) < patience/4 || now.Sub(o.tried) < 3*patience {
		return false
	}
	ahead := 0
	for _, id := range m.Replicas {
		if o.next[id] > own+1 {
			ahead++
		}
	}
	if ahead <= consensus.Faulty(len(m.Replicas)) {
		return false
	}
	o.tried = now
	return true
}

// watch looks after the silence of leaders for the life of an instance. It has a
// goroutine of its own, because handing the library a message can wait for a
// change of membership that waits for relief.
func (e *Engine) watch(ctx context.Context, in *instance) {
	tick := time.NewTicker(e.cfg.Settings.Tick)
	defer tick.Stop()
	var along carried
	for {
		select {
		case now := <-tick.C:
			e.catchUpInTime(in, now)
			if along.further(e.meter.current.Load(), e.meter.begun.Load(), e.counters.catchUps.Load()) {
				e.catchUpAlong(in)
			}
			e.followQuickly(in)
			e.insist(in, now)
		case <-ctx.Done():
			return
		}
	}
}

// catchUpInTime tells the library of a height that it cannot have, as a heartbeat
// of the silent leader would, when this replica is behind.
func (e *Engine) catchUpInTime(in *instance, now time.Time) {
	own, m, view := e.height.Load(), e.membership(), e.meter.view.Load()
	leader := leaderOf(view, m)
	if leader == e.cfg.Self || e.muted() || !e.overheard.behind(own, m, now, e.cfg.Settings.HeartbeatTimeout) {
		return
	}
	e.cfg.Logger.Info("the leader is silent and others have decided more: this replica catches up", "height", own, "view", view)
	in.cons.HandleMessage(uint64(leader), &pb.Message{Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{View: view, Seq: own + 3}}})
}

// carried counts the views that a replica was in without one having begun.
type carried struct {
	view, begun uint64 // of the view changer
	moves       uint64 // to another view since one began
	catchUps    uint64 // at the last of them
}

// further reports that the view changer, whose view, number of views begun, and number
// of catch-ups these are, went on to another view because a change had failed, and that
// nothing was done meanwhile to be of use in the next.
func (c *carried) further(view, begun, catchUps uint64) bool {
	switch {
	case begun != c.begun || view < c.view:
		*c = carried{view: view, begun: begun, catchUps: catchUps}
		return false
	case view == c.view:
		return false
	}
	idle := catchUps <= c.catchUps
	c.moves += view - c.view
	c.view, c.catchUps = view, catchUps
	if c.moves < 2 || !idle {
		return false
	}
	c.catchUps++ // the one that follows
	return true
}

// catchUpAlong tells the library of a view that cannot have begun, as its leader's
// heartbeat would: it catches up, in a view change too.
func (e *Engine) catchUpAlong(in *instance) {
	if e.muted() {
		return
	}
	view := e.meter.view.Load()
	e.cfg.Logger.Info("the others change the view again: this replica catches up", "height", e.height.Load(), "view", view)
	in.cons.HandleMessage(uint64(leaderOf(view, e.membership())), &pb.Message{Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{View: view + 1}}})
}

// refresh is a catch-up that the library has asked of itself in a view change.
type refresh struct {
	mu   sync.Mutex
	done chan struct{} // nil while there is none
}

// catchesUp is what the library says right before it asks.
const catchesUp = "Node %d is calling sync because it got a view change timeout"

func (r *refresh) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = make(chan struct{})
	}
}

// end lets those go on who wait for the catch-up.
func (r *refresh) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done != nil {
		close(r.done)
		r.done = nil
	}
}

// wait returns when there is no catch-up under way, or after limit.
func (r *refresh) wait(limit time.Duration, ended <-chan struct{}) {
	r.mu.Lock()
	done := r.done
	r.mu.Unlock()
	if done == nil {
		return
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
	case <-ended:
	}
	r.end() // waited for once is enough
}
