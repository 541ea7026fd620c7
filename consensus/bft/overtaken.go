package bft

import (
	"sync"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
)

// A leader that could not order a request in time stops its heartbeats and waits
// for the others to change the view; it never complains about itself. If they did
// while it was cut off, only a leader's heartbeat tells it. When that next leader
// is down too, the others ask for the view after next, which the library does not
// hear: it follows one view at a time. With one replica down, three of four then
// wait for ever. The adapter notices such complaints and complains itself; what
// comes of that, sooner or later, is that the library catches up, view included.

// overtaken notices that others have left this replica's view behind.
type overtaken struct {
	mu    sync.Mutex // guards both
	wants map[consensus.ReplicaID]uint64
	since time.Time // since when enough of them want a view that cannot be heard
}

// hear takes what view a replica asks for, and reports whether this one, in view
// own, should complain: when more than may be faulty have asked for views beyond
// the next for patience. One more try per patience.
func (o *overtaken) hear(from consensus.ReplicaID, next, own uint64, faulty int, now time.Time, patience time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wants == nil {
		o.wants = make(map[consensus.ReplicaID]uint64)
	}
	o.wants[from] = next
	ahead := 0
	for _, want := range o.wants {
		if want > own+1 {
			ahead++
		}
	}
	if ahead <= faulty {
		o.since = time.Time{}
		return false
	}
	if o.since.IsZero() {
		o.since = now
	}
	if now.Sub(o.since) < patience {
		return false
	}
	o.since = now
	return true
}

// ahead lists who asks for views beyond the next, if they are enough to leave view own
// with this replica: then no quorum is left in it.
func (o *overtaken) ahead(own uint64, m consensus.Membership) []consensus.ReplicaID {
	o.mu.Lock()
	defer o.mu.Unlock()
	var ids []consensus.ReplicaID
	for _, id := range m.Replicas {
		if o.wants[id] > own+1 {
			ids = append(ids, id)
		}
	}
	if len(ids) < consensus.Quorum(len(m.Replicas))-1 {
		return nil
	}
	return ids
}

// followQuickly is called at every tick, by watch. The library follows one view at a
// time, when the others ask for that very one; others help it to the next about as
// often as they change theirs, and it would never reach them. Who asks for a later
// view has left all before it, so this replica takes it as having asked for the next.
func (e *Engine) followQuickly(in *instance) {
	view, m := e.meter.current.Load(), e.membership()
	if e.muted() {
		return
	}
	for _, id := range e.left.ahead(view, m) {
		in.cons.HandleMessage(uint64(id), &pb.Message{Content: &pb.Message_ViewChange{ViewChange: &pb.ViewChange{NextView: view + 1}}})
	}
}

// followViews complains about a view that the others have left long ago: about the
// one that the view changer is in, for it drops complaints about earlier ones.
func (e *Engine) followViews(in *instance, from consensus.ReplicaID, next uint64) {
	s, m, view := e.cfg.Settings, e.membership(), e.meter.current.Load()
	if !m.Contains(from) || !e.left.hear(from, next, view, consensus.Faulty(len(m.Replicas)), time.Now(), time.Duration(s.TicksBehind)*s.Tick) {
		return
	}
	e.cfg.Logger.Info("the others ask for later views than this replica can hear of: it complains too", "view", view, "asked", next)
	in.cons.Complain(view, true)
}

// insistence repeats a complaint that the library may have lost. Complaints wait in
// a queue of two, and one that finds it full is dropped. The view changer empties it
// itself, so not while it waits for a proposal that it took over to be decided; when
// that times out behind two complaints about earlier views, which mean nothing, its
// own complaint about this one is lost, and it never looks at the time again.
// Enough replicas for a quorum can fall silent like that together.
type insistence struct {
	mu      sync.Mutex // guards all
	overdue bool
	view    uint64    // whose change has timed out
	begun   uint64    // views that had begun then
	next    time.Time // when to complain
	told    bool      // of the time-out
}

// timedOut notes that the change of a view has timed out, when begun views had begun:
// the library complains now.
func (i *insistence) timedOut(view, begun uint64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.overdue || i.view != view {
		i.overdue, i.view, i.begun, i.next, i.told = true, view, begun, time.Time{}, false
	}
}

// failed returns the view whose change has timed out, once.
func (i *insistence) failed() (view uint64, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.overdue || i.told {
		return 0, false
	}
	i.told = true
	return i.view, true
}

// due reports, once in patience, that a change is still under way that has timed
// out: no view has begun since, and the view changer is still in the same one.
func (i *insistence) due(view, begun uint64, now time.Time, patience time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.overdue || view != i.view || begun != i.begun {
		i.overdue = false
		return false
	}
	if i.next.IsZero() {
		i.next = now.Add(patience)
	}
	if now.Before(i.next) {
		return false
	}
	i.next = now.Add(patience)
	return true
}

// insist is called at every tick, by watch.
func (e *Engine) insist(in *instance, now time.Time) {
	if e.muted() {
		return
	}
	if view, ok := e.overdue.failed(); ok {
		e.lay(view)
	}
	e.settle()
	view := e.meter.current.Load()
	if e.overdue.due(view, e.meter.begun.Load(), now, e.cfg.Settings.ViewChangeResend) {
		in.cons.Complain(view, false)
	}
}
