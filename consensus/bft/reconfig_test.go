package bft

import (
	"errors"
	"fmt"
	"testing"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// grow makes the replicas named part of a cluster, caught up and running. They
// have been admitted.
func grow(t *testing.T, c *consensustest.Cluster, ids ...consensus.ReplicaID) {
	t.Helper()
	for _, id := range ids {
		if _, err := c.Add(id).App.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.Start(ids...)
}

func viewsOf(c *consensustest.Cluster) map[consensus.ReplicaID]uint64 {
	views := make(map[consensus.ReplicaID]uint64)
	for _, id := range c.IDs() {
		if e := engineOf(c, id); e != nil {
			views[id] = e.Counters().ViewChanges
		}
	}
	return views
}

// The second trap of the library: a replica catches up, across a change of
// membership, and is then restarted. Nobody may wait for it, nor it for a view
// change.
func TestCatchingUpAcrossAChangeOfMembershipAndARestartKeepOrdering(t *testing.T) {
	c := started(t)
	c.Isolate(4)
	rest := []consensus.ReplicaID{1, 2, 3}
	c.Submit(1, consensustest.Req("missed", 50))
	c.WaitApplied(rest, "missed")
	c.Submit(1, consensustest.ConfigRequest("config", consensus.Membership{ConfigSeq: 2, Replicas: c.IDs()}))
	c.WaitApplied(rest, "config")
	c.Submit(2, consensustest.Req("missed-too", 50))
	c.WaitApplied(rest, "missed-too")
	c.Rejoin(4)
	c.Submit(1, consensustest.Req("back", 50))
	c.WaitApplied(c.IDs(), "missed", "config", "missed-too", "back")
	if err := c.Replica(4).Stop(); err != nil {
		t.Fatal(err)
	}
	c.Start(4)
	before := viewsOf(c)
	for i := range 5 {
		id := fmt.Sprintf("after-%d", i)
		c.Submit(consensus.ReplicaID(i%4+1), consensustest.Req(id, 50))
		c.WaitApplied(c.IDs(), id)
	}
	c.Submit(1, consensustest.ConfigRequest("config-again", consensus.Membership{ConfigSeq: 3, Replicas: c.IDs()}))
	c.WaitApplied(c.IDs(), "config-again")
	c.Submit(3, consensustest.Req("last", 50))
	c.WaitApplied(c.IDs(), "last")
	for id, n := range viewsOf(c) {
		if n != before[id] {
			t.Errorf("replica %d changed the view %d times", id, n-before[id])
		}
	}
}

// The new membership begins under a leader that is down, so the first thing it
// does is a view change, on a last decision that has the votes of the old, smaller
// quorum only.
func TestAMembershipThatBeginsUnderALeaderThatIsDown(t *testing.T) {
	c := started(t)
	if err := c.Replica(2).Stop(); err != nil {
		t.Fatal(err)
	}
	next := consensus.Membership{ConfigSeq: 2, Replicas: []consensus.ReplicaID{2, 3, 4, 5, 6, 7, 8}}
	c.Submit(1, consensustest.ConfigRequest("seven", next))
	if err := c.Replica(1).Ended(); !errors.Is(err, consensus.ErrRemoved) {
		t.Fatalf("the leader that was removed: %v", err)
	}
	c.WaitApplied([]consensus.ReplicaID{3, 4}, "seven")
	if d, _ := c.Replica(3).App.Decision(c.Replica(3).App.Height()); len(d.Votes) >= next.Quorum() {
		t.Fatalf("the test is pointless: the change has %d votes, the new quorum is %d", len(d.Votes), next.Quorum())
	}
	grow(t, c, 5, 6, 7, 8)
	rest := []consensus.ReplicaID{3, 4, 5, 6, 7, 8}
	for i, id := range rest {
		c.Submit(id, consensustest.Req(fmt.Sprintf("under-another-%d", i), 50))
	}
	for i := range rest {
		c.WaitApplied(rest, fmt.Sprintf("under-another-%d", i))
	}
	c.Start(2)
	c.WaitApplied([]consensus.ReplicaID{2}, "under-another-5")
}

// Four become seven one by one and four again, the leader of the moment leaving
// each time, with requests on their way all along.
func TestFourBecomeSevenAndFourAgain(t *testing.T) {
	c := started(t)
	members := c.IDs()
	seq, sent := uint64(1), []string{"first"}
	send := func(n int) {
		for range n {
			id := fmt.Sprintf("r-%d", len(sent))
			sent = append(sent, id)
			c.Submit(members[len(sent)%len(members)], consensustest.Req(id, 200))
		}
	}
	change := func(by consensus.ReplicaID, next []consensus.ReplicaID) {
		seq++
		send(3)
		id := fmt.Sprintf("config-%d", seq)
		c.Submit(by, consensustest.ConfigRequest(id, consensus.Membership{ConfigSeq: seq, Replicas: next}))
		sent = append(sent, id)
	}
	for id := consensus.ReplicaID(5); id <= 7; id++ {
		next := append(append([]consensus.ReplicaID(nil), members...), id)
		change(members[0], next)
		c.WaitApplied(members, sent...)
		grow(t, c, id)
		members = next
		send(5)
		c.WaitApplied(members, sent...)
	}
	for len(members) > 4 {
		leader := engineOf(c, members[1]).Status().Leader
		var next []consensus.ReplicaID
		for _, id := range members {
			if id != leader {
				next = append(next, id)
			}
		}
		change(leader, next)
		if err := c.Replica(leader).Ended(); !errors.Is(err, consensus.ErrRemoved) {
			t.Fatalf("replica %d, which was removed: %v", leader, err)
		}
		members = next
		send(5)
		c.WaitApplied(members, sent...)
	}
}
