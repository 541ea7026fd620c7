// Package consensustest is the conformance suite of consensus.Engine: what
// every engine must do, run against an application and a network in memory. It
// also exports that application, network and cluster, for the tests of an
// engine that go further.
//
// It promises that an engine that passes agrees, orders once, survives
// restarts, failures of its application and of other replicas, and leaves no
// goroutine behind. It leaves to each engine's own tests what is particular to
// it: its files, its messages, its time-outs.
package consensustest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/assent-network/assent/consensus"
)

// Options describe the engine under test.
type Options struct {
	Open OpenFunc
	// Replicas is the size of the clusters: 1, or at least 4.
	Replicas int
	// BatchMaxCount is the largest batch that Open's engines make; small, so
	// that a burst fills several.
	BatchMaxCount int
}

// Run runs the suite.
func Run(t *testing.T, o Options) {
	tests := []struct {
		name string
		// many: the test needs replicas that can fail.
		many bool
		run  func(*testing.T, Options)
	}{
		{"every replica delivers the same requests in the same order", false, testOrder},
		{"a request submitted to several replicas is applied once", false, testDuplicates},
		{"a restart in the middle loses and repeats nothing", false, testRestart},
		{"a large burst is cut into batches", false, testBurst},
		{"a failing delivery stops only that replica", false, testFailingDelivery},
		{"a wrong request and a wrong use are refused", false, testRefusals},
		{"a forgotten request is not delivered", false, testForget},
		{"an idle engine makes no blocks", false, testIdle},
		{"run ends all goroutines", false, testShutdown},
		{"the stop of a leader changes the view", true, testLeaderStop},
		{"a replica that missed blocks catches up", true, testCatchUp},
		{"a replica that is cut off catches up", true, testPartition},
		{"all replicas restart at once", true, testRestartAll},
		{"without a quorum nothing is delivered, with one again it is", true, testQuorumLoss},
		{"a rejected proposal changes the view", true, testRejectedProposal},
		{"the membership changes while requests flow", true, testMembershipChange},
	}
	for _, test := range tests {
		if test.many && o.Replicas < 4 {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			leaks := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, leaks) })
			test.run(t, o)
		})
	}
}

// requests submits n requests round robin and returns their ids.
func (c *Cluster) requests(prefix string, n int, to ...consensus.ReplicaID) []string {
	c.t.Helper()
	if len(to) == 0 {
		to = c.IDs()
	}
	ids := make([]string, n)
	for i := range n {
		ids[i] = fmt.Sprintf("%s-%d", prefix, i)
		c.Submit(to[i%len(to)], Req(ids[i], 100))
	}
	return ids
}

func testOrder(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []string
	for _, id := range c.IDs() {
		wg.Go(func() {
			ids := c.requests(fmt.Sprintf("from-%d", id), 50, id)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, ids...)
		})
	}
	wg.Wait()
	c.WaitApplied(c.IDs(), all...)
	want := c.Replica(1).App.Applied()
	if len(want) != len(all) {
		t.Errorf("%d requests applied, want %d", len(want), len(all))
	}
	for _, id := range c.IDs() {
		if got := c.Replica(id).App.Applied(); !slices.Equal(got, want) {
			t.Errorf("replica %d applied another order than replica 1", id)
		}
		e := c.Replica(id).Engine()
		c.Wait("pools to drain", func() bool { return e.Status().Pool == 0 })
		if s := e.Status(); !s.Running || s.Leader == 0 || s.VotedHeight == 0 {
			t.Errorf("replica %d has status %+v after %d decisions", id, s, c.Replica(id).App.Height())
		}
	}
}

func testDuplicates(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	var ids []string
	for i := range 40 {
		id := fmt.Sprintf("dup-%d", i)
		ids = append(ids, id)
		for _, to := range c.IDs() {
			c.Submit(to, Req(id, 100))
			c.Submit(to, Req(id, 100))
		}
	}
	c.WaitApplied(c.IDs(), ids...)
	if got := len(c.Replica(1).App.Applied()); got != len(ids) {
		t.Errorf("%d requests applied, want %d", got, len(ids))
	}
}

func testRestart(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	ids := c.requests("before", 20)
	c.WaitApplied(c.IDs(), ids...)
	last := c.Replica(c.IDs()[len(c.IDs())-1])
	for round := range 3 {
		voted := last.Engine().Status().VotedHeight
		if err := last.Stop(); err != nil {
			t.Fatalf("stop: %v", err)
		}
		if o.Replicas > 1 {
			ids = append(ids, c.requests(fmt.Sprintf("without-%d", round), 5, 1, 2)...)
			c.WaitApplied([]consensus.ReplicaID{1, 2, 3}, ids...)
		}
		c.Start(last.ID)
		if got := last.Engine().Status().VotedHeight; got < voted {
			t.Errorf("voted height %d after a restart, %d before", got, voted)
		}
		ids = append(ids, c.requests(fmt.Sprintf("after-%d", round), 5)...)
		c.WaitApplied(c.IDs(), ids...)
	}
}

func testBurst(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	var ids []string
	for i := range 4*o.BatchMaxCount + 1 {
		ids = append(ids, fmt.Sprintf("burst-%d", i))
		c.Submit(1, Req(ids[i], 2000))
	}
	c.WaitApplied(c.IDs(), ids...)
	app := c.Replica(1).App
	for h := uint64(1); h <= app.Height(); h++ {
		d, _ := app.Decision(h)
		if n := len(app.Requests(d.Proposal)); n > o.BatchMaxCount || n == 0 {
			t.Errorf("block %d has %d requests, want 1 to %d", h, n, o.BatchMaxCount)
		}
	}
}

func testFailingDelivery(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	broken := errors.New("disk is broken")
	victim := c.IDs()[len(c.IDs())-1]
	c.Replica(victim).App.FailDeliver(func(height uint64) error {
		if height == 2 {
			return broken
		}
		return nil
	})
	c.Start()
	first := c.requests("one", 1, 1)
	c.WaitApplied(c.IDs(), first...)
	ids := c.requests("two", 1, 1)
	if err := c.Replica(victim).Ended(); !errors.Is(err, broken) {
		t.Fatalf("run of the victim returned %v, want its delivery's error", err)
	}
	if h := c.Replica(victim).App.Height(); h != 1 {
		t.Errorf("victim is at height %d, want 1", h)
	}
	rest := c.IDs()[:len(c.IDs())-1]
	if len(rest) > 0 {
		ids = append(ids, c.requests("three", 10, rest...)...)
		c.WaitApplied(rest, ids...)
	}
	c.Replica(victim).App.FailDeliver(nil)
	c.Start(victim)
	ids = append(ids, c.requests("four", 2)...)
	c.WaitApplied(c.IDs(), ids[len(ids)-2:]...)
}

func testRefusals(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	e := c.Replica(1).Engine()
	if err := e.Submit(t.Context(), make([]byte, 64<<20)); !errors.Is(err, consensus.ErrTooLarge) {
		t.Errorf("a request of 64 MiB: %v, want %v", err, consensus.ErrTooLarge)
	}
	if err := e.Run(t.Context()); err == nil {
		t.Error("a second Run succeeded")
	}
	e.Step(1, []byte("own name"))
	e.Step(99, []byte("a stranger"))
	e.Step(2, nil)
	ids := c.requests("still-alive", 3)
	c.WaitApplied(c.IDs(), ids...)
	if err := c.Replica(1).Stop(); err != nil {
		t.Fatal(err)
	}
	if err := e.Submit(t.Context(), Req("late", 50)); !errors.Is(err, consensus.ErrNotRunning) {
		t.Errorf("submit after the end: %v, want %v", err, consensus.ErrNotRunning)
	}
	e.Step(2, []byte{1, 2, 3})
	e.Forget([]consensus.RequestInfo{{ID: "x"}})
	if e.Status().Running {
		t.Error("engine runs after its end")
	}
}

func testForget(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	var infos []consensus.RequestInfo
	for _, id := range c.IDs() {
		infos = []consensus.RequestInfo{c.Replica(id).App.Inspect(Req("forgotten", 50))}
		c.Replica(id).Engine().Forget(infos)
	}
	c.Submit(1, Req("forgotten", 50))
	ids := c.requests("kept", 3)
	c.WaitApplied(c.IDs(), ids...)
	if c.Replica(1).App.Has("forgotten") {
		t.Errorf("request %v was delivered", infos)
	}
}

func testIdle(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	ids := c.requests("only", 1)
	c.WaitApplied(c.IDs(), ids...)
	ids = c.requests("second", 1)
	c.WaitApplied(c.IDs(), ids...)
	for _, id := range c.IDs() {
		if h := c.Replica(id).App.Height(); h != 2 {
			t.Errorf("replica %d is at height %d after two requests in turn", id, h)
		}
	}
}

func testShutdown(t *testing.T, o Options) {
	c := NewCluster(t, o.Replicas, o.Open)
	c.Start()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, id := range c.IDs() {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if e := c.Replica(id).Engine(); e != nil {
					_ = e.Submit(context.Background(), Req(fmt.Sprintf("s-%d-%d", id, i), 100)) // stopping
				}
			}
		})
	}
	c.WaitHeight(3, c.IDs()...)
	for _, id := range c.IDs() {
		if err := c.Replica(id).Stop(); err != nil {
			t.Errorf("stop of replica %d under load: %v", id, err)
		}
	}
	close(stop)
	wg.Wait()
	// An engine whose context has ended before it runs.
	c.Start(1)
	if err := c.Replica(1).Stop(); err != nil {
		t.Error(err)
	}
}
