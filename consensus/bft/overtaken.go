package bft

import (
	"sync"
	"time"

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
