package node

import (
	"testing"
	"time"

	"github.com/assent-network/assent/network"
)

// Who is removed may fetch blocks for a moment more, so that it learns of it: a
// validator everywhere, an observer at the validators.
func TestARemovedNodeMayLearnOfIt(t *testing.T) {
	now := time.Now()
	before := &entries{peers: map[network.PeerID]entry{"v": {replica: 1}, "w": {replica: 2}, "o": {}, "p": {}}}
	for _, c := range []struct {
		self    network.PeerID
		leaving []network.PeerID
	}{{"v", []network.PeerID{"w", "o"}}, {"p", []network.PeerID{"w"}}} {
		e := &entries{self: c.self, peers: map[network.PeerID]entry{"v": {replica: 1}, "p": {}}}
		if next := e.dismiss(before, now); !next.Equal(now.Add(leaveTime)) || len(e.leaving) != len(c.leaving) {
			t.Errorf("at %s: leaving are %v until %v", c.self, e.leaving, next)
		}
		for _, id := range c.leaving {
			if _, ok := e.leaving[id]; !ok {
				t.Errorf("at %s %s is cut off at once", c.self, id)
			}
		}
		again := &entries{self: c.self, peers: e.peers}
		if next := again.dismiss(e, now.Add(leaveTime)); !next.IsZero() || len(again.leaving) != 0 {
			t.Errorf("at %s afterwards: leaving are %v until %v", c.self, again.leaving, next)
		}
	}
}
