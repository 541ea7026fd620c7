package bft

import (
	"sync"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

// The library's heartbeats carry the leader's last decision, or, before its
// first one in a view, the height it works on. So a follower that has just
// started cannot tell that it lacks the last decision, and learns it only with
// the next one: on an idle network, never. The adapter lets heartbeats always
// carry the height decided, and watches itself whether it stays behind.

// heartbeat is what a leader sends instead of the library's.
func (e *Engine) heartbeat(h *pb.HeartBeat) *pb.Message {
	return &pb.Message{Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{View: h.GetView(), Seq: e.height.Load()}}}
}

// lag measures for how long this replica has been behind the leader.
type lag struct {
	mu     sync.Mutex // guards both
	height uint64     // last decision when it fell behind; 0 if it is not
	since  time.Time
}

// hear takes the height of a leader's heartbeat and this replica's, and returns
// the height to show the library: one that makes it catch up if this replica
// has stood at the same height for patience, else the leader's.
func (l *lag) hear(leader, own uint64, now time.Time, patience time.Duration) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if leader <= own {
		l.since = time.Time{}
		return leader
	}
	if l.since.IsZero() || l.height != own {
		l.height, l.since = own, now
		return leader
	}
	if now.Sub(l.since) < patience {
		return leader
	}
	l.since = now             // once, then wait again
	return max(leader, own+3) // beyond anything the library may take for its own height
}
