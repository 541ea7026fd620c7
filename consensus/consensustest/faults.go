package consensustest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/assent-network/assent/consensus"
)

// leader waits until some replica knows a leader that runs.
func (c *Cluster) leader() consensus.ReplicaID {
	c.t.Helper()
	var leader consensus.ReplicaID
	c.Wait("a leader", func() bool {
		for _, id := range c.IDs() {
			if e := c.Replica(id).Engine(); e != nil {
				if l := e.Status().Leader; l != 0 && c.Replica(l) != nil && c.Replica(l).Engine() != nil {
					leader = l
					return true
				}
			}
		}
		return false
	})
	return leader
}

func (c *Cluster) others(id consensus.ReplicaID) []consensus.ReplicaID {
	return slices.DeleteFunc(c.IDs(), func(x consensus.ReplicaID) bool { return x == id })
}

func testLeaderStop(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	ids := c.requests("before", 5)
	c.WaitApplied(c.IDs(), ids...)
	leader := c.leader()
	if err := c.Replica(leader).Stop(); err != nil {
		t.Fatal(err)
	}
	rest := c.others(leader)
	ids = append(ids, c.requests("without", 10, rest...)...)
	c.WaitApplied(rest, ids...)
	for _, id := range rest {
		e := c.Replica(id).Engine()
		c.Wait("the new leader to be known", func() bool { return e.Status().Leader != leader })
	}
	c.Start(leader)
	ids = append(ids, c.requests("again", 10, rest...)...)
	c.WaitApplied(c.IDs(), ids...)
}

func testCatchUp(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	c.WaitApplied(c.IDs(), c.requests("all", 3)...)
	away := c.others(c.leader())[0]
	if err := c.Replica(away).Stop(); err != nil {
		t.Fatal(err)
	}
	rest := c.others(away)
	var ids []string
	for i := range 10 { // one block each
		ids = append(ids, c.requests(fmt.Sprintf("missed-%d", i), 1, rest...)...)
		c.WaitApplied(rest, ids...)
	}
	c.Start(away)
	ids = append(ids, c.requests("joined", 3, rest...)...)
	c.WaitApplied(c.IDs(), ids...)
	e := c.Replica(away).Engine()
	c.Wait("the pool of the returned replica to drain", func() bool { return e.Status().Pool == 0 })
}

func testPartition(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	c.WaitApplied(c.IDs(), c.requests("all", 3)...)
	away := c.others(c.leader())[1]
	c.Isolate(away)
	rest := c.others(away)
	var ids []string
	for i := range 10 {
		ids = append(ids, c.requests(fmt.Sprintf("missed-%d", i), 1, rest...)...)
		c.WaitApplied(rest, ids...)
	}
	// What it is given alone must get through once it is back.
	c.Submit(away, Req("lonely", 100))
	c.Rejoin(away)
	ids = append(ids, "lonely")
	ids = append(ids, c.requests("joined", 3, rest...)...)
	c.WaitApplied(c.IDs(), ids...)
}

func testRestartAll(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	var ids []string
	for round := range 3 {
		ids = append(ids, c.requests(fmt.Sprintf("round-%d", round), 10)...)
		c.WaitApplied([]consensus.ReplicaID{1}, ids...)
		for _, id := range c.IDs() {
			if err := c.Replica(id).Stop(); err != nil {
				t.Fatal(err)
			}
		}
		c.Start()
	}
	ids = append(ids, c.requests("end", 3)...)
	c.WaitApplied(c.IDs(), ids...)
}

func testQuorumLoss(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	c.WaitApplied(c.IDs(), c.requests("all", 3)...)
	f := consensus.Faulty(o.Replicas)
	gone := c.IDs()[o.Replicas-f-1:] // one more than may fail
	for _, id := range gone {
		c.Isolate(id)
	}
	height := c.Replica(1).App.Height()
	c.Submit(1, Req("stuck", 100))
	views := c.Replica(1).Engine().Status().View
	// Nothing can be waited for where nothing happens; a replica that was
	// stopped and started again proves that time has passed and the pool is lost.
	if err := c.Replica(1).Stop(); err != nil {
		t.Fatal(err)
	}
	c.Start(1)
	if h := c.Replica(1).App.Height(); h > height+1 {
		t.Errorf("height %d was reached without a quorum, from %d in view %d", h, height, views)
	}
	for _, id := range gone {
		c.Rejoin(id)
	}
	c.Submit(1, Req("stuck", 100))
	c.WaitApplied(c.IDs(), "stuck")
}

func testRejectedProposal(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	c.WaitApplied(c.IDs(), c.requests("all", 1)...)
	leader := c.leader()
	for _, id := range c.others(leader) {
		app := c.Replica(id).App
		engine := c.Replica(id).Engine()
		app.RejectLive(func(consensus.Proposal) error {
			if engine.Status().Leader == leader {
				return errors.New("clock of the leader is wrong")
			}
			return nil
		})
	}
	ids := c.requests("under-another", 3)
	c.WaitApplied(c.others(leader), ids...)
	c.WaitApplied(c.IDs(), ids...)
}

func testMembershipChange(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	ids := c.requests("before", 5)
	c.WaitApplied(c.IDs(), ids...)

	joiner := consensus.ReplicaID(o.Replicas + 1)
	bigger := consensus.Membership{ConfigSeq: 2, Replicas: append(slices.Clone(c.IDs()), joiner)}
	c.Submit(1, ConfigRequest("grow", bigger))
	c.WaitApplied(c.IDs(), "grow")
	newcomer := c.Add(joiner)
	if _, err := newcomer.App.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Start(joiner)
	ids = append(ids, c.requests("bigger", 10)...)
	c.WaitApplied(c.IDs(), ids...)

	// The leader of the moment leaves.
	leader := c.leader()
	smaller := consensus.Membership{ConfigSeq: 3, Replicas: c.others(leader)}
	c.Submit(leader, ConfigRequest("shrink", smaller))
	if err := c.Replica(leader).Ended(); !errors.Is(err, consensus.ErrRemoved) {
		t.Fatalf("run of the removed replica returned %v, want %v", err, consensus.ErrRemoved)
	}
	rest := c.others(leader)
	ids = append(ids, c.requests("smaller", 10, rest...)...)
	c.WaitApplied(rest, ids...)
}
