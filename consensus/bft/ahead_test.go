package bft

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

func prePrepare(view, seq uint64, payload int) *pb.Message {
	return &pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{View: view, Seq: seq, Proposal: &pb.Proposal{Payload: make([]byte, payload)}}}}
}

func commit(view, seq uint64) *pb.Message {
	return &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{View: view, Seq: seq, Digest: "d", Signature: &pb.Signature{}}}}
}

// aheadCase drives an ahead at height own in view 0, which replica 1 leads.
type aheadCase struct {
	*ahead
	t   *testing.T
	own uint64
	now time.Time
}

const aheadPatience = time.Second

func newAheadCase(t *testing.T, own uint64) *aheadCase {
	return &aheadCase{newAhead(), t, own, time.Unix(1000, 0)}
}

func (c *aheadCase) says(from consensus.ReplicaID, m *pb.Message, now bool) {
	c.t.Helper()
	if got := c.hear(from, m, c.own, four(), c.now, aheadPatience); got != now {
		c.t.Errorf("replica %d says %s at height %d: the library gets it now: %v", from, m, c.own, got)
	}
}

func (c *aheadCase) wantDue(want ...utterance) {
	c.t.Helper()
	due := c.due(c.own, 0, c.now, aheadPatience)
	if len(due) != len(want) {
		c.t.Fatalf("due are %v, want %v", due, want)
	}
	for i, d := range due {
		if d.utterance != want[i] {
			c.t.Errorf("due %d is %v, want %v", i, d.utterance, want[i])
		}
	}
}

func TestMessagesAboutLaterHeightsWaitUntilTheLibraryTakesThem(t *testing.T) {
	c := newAheadCase(t, 10)
	c.says(3, commit(0, 11), true)
	c.says(3, commit(0, 12), true)
	c.says(3, commit(0, 13), false)
	c.says(1, prePrepare(0, 13, 100), false)
	c.says(4, commit(0, 14), false)
	c.says(3, commit(0, 13), true) // said again, which happens when nothing moves
	c.wantDue()
	c.own = 11
	c.wantDue(utterance{13, proposes, 1}, utterance{13, commits, 3})
	c.wantDue() // once
	c.own = 20
	c.wantDue()
	if len(c.kept) != 0 {
		t.Errorf("something is kept of %d replicas though all is decided", len(c.kept))
	}
}

func TestAViewThatBeginsAnewHearsWhatWasSaid(t *testing.T) {
	c := newAheadCase(t, 10)
	c.says(1, prePrepare(0, 11, 100), true)
	c.says(3, commit(0, 11), true)
	c.says(3, commit(1, 12), true) // of a later view
	<-primed(c.begins, c.wake)
	c.wantDue(utterance{11, proposes, 1}, utterance{11, commits, 3})
	if due := c.due(c.own, 1, c.now, aheadPatience); len(due) != 1 || due[0].height != 12 {
		t.Errorf("due in view 1: %v", due)
	}
}

// primed calls f and returns the channel that it wakes.
func primed(f func(), wake chan struct{}) chan struct{} {
	f()
	return wake
}

func TestAReplicaThatStandsStillCatchesUp(t *testing.T) {
	c := newAheadCase(t, 10)
	c.now = c.now.Add(time.Hour) // idle for long is no reason
	c.says(3, commit(0, 13), false)
	c.now = c.now.Add(aheadPatience / 2)
	c.says(4, commit(0, 13), false)
	c.wantDue()
	c.now = c.now.Add(aheadPatience)
	c.says(3, commit(0, 14), true)
	<-c.wake
	c.wantDue(utterance{13, commits, 3}, utterance{13, commits, 4})
	c.own = 11 // it comes on: patience begins anew
	c.says(4, commit(0, 14), false)
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	c := newAheadCase(t, 10)
	c.says(3, commit(0, 10), true)
	c.says(3, prePrepare(0, 13, 100), true) // replica 1 leads view 0
	large := commit(0, 13)
	large.GetCommit().Signature.Msg = make([]byte, aheadVote)
	c.says(4, large, true)
	c.says(3, &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{Seq: 13, Assist: true}}}, true)
	c.says(3, &pb.Message{Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{Seq: 13}}}, true)
	c.says(9, commit(0, 13), true) // a stranger
	if len(c.kept) > 0 {
		t.Errorf("kept is %v", c.kept)
	}
	for h := uint64(13); h < 16; h++ {
		c.says(1, prePrepare(0, h, aheadBytes/4), false)
	}
	c.says(1, prePrepare(0, 16, aheadBytes/4), false) // in the place of the lowest
	c.says(1, prePrepare(4, 14, aheadBytes/4), false) // a later view's in its place
	c.says(2, prePrepare(5, 16, 10), false)
	c.says(1, prePrepare(0, 13, aheadBytes/4), true) // lower than all that is kept
	if n := c.kept[1].proposals; n > aheadBytes || n < aheadBytes*3/4 {
		t.Errorf("%d bytes of proposals are kept", n)
	}
	if n := len(c.kept[1].heights); n != 3 {
		t.Errorf("proposals for %d heights are kept of the leader", n)
	}
	for h := uint64(17); h < 17+2*aheadHeights; h++ {
		c.says(3, commit(0, h), h > 10+aheadFar)
	}
	c.says(3, commit(0, 1<<60), true)
	if n := len(c.kept[3].heights); n != aheadHeights {
		t.Errorf("votes for %d heights are kept of a replica, the limit is %d", n, aheadHeights)
	}
	if c.kept[3].heights[17+2*aheadHeights-1] == nil || c.kept[1].heights[16] == nil || c.kept[2] == nil {
		t.Error("the newest is not kept, or one replica pushed out what another had said")
	}
	c.hear(1, prePrepare(0, 13, 10), 10, consensus.Membership{Replicas: []consensus.ReplicaID{1, 2, 4, 5}}, c.now, aheadPatience)
	c.hear(4, commit(0, 13), 10, consensus.Membership{Replicas: []consensus.ReplicaID{1, 2, 4}}, c.now, aheadPatience)
	if c.kept[3] != nil {
		t.Error("what a replica said is kept though it is no member any more")
	}
}

// Who has the next proposal goes on with it, however far the others are; who lacks it
// and is far behind is not made to wait.
func TestAReplicaFarBehindWaitsOnlyWithTheNextProposal(t *testing.T) {
	c := newAheadCase(t, 10)
	c.says(3, commit(0, 10+aheadFar), false)
	c.says(3, commit(0, 10+aheadFar+1), true)
	c.says(1, prePrepare(0, 11, 100), true)
	c.says(4, commit(0, 10+aheadFar+1), false)
	c.says(1, prePrepare(0, 10+aheadFar+1, 100), false)
	c.own = 10 + aheadFar // caught up: the view begins with all that was said meanwhile
	<-primed(c.begins, c.wake)
	c.wantDue(utterance{19, proposes, 1}, utterance{19, commits, 3}, utterance{19, commits, 4})
}

// The library says it and calls nothing of ours.
func TestTheLibraryStillSaysThatAViewBegins(t *testing.T) {
	e, err := Open(base(t))
	if err != nil {
		t.Fatal(err)
	}
	var said atomic.Bool
	e.logger.heed = func(format string) {
		if format == viewBegins {
			said.Store(true)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	until(said.Load)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What the others say reaches replica 4 late, when they are four heights on: it
// votes for each of them and need not catch up.
func TestAReplicaThatIsSlowForAMomentGoesOnVoting(t *testing.T) {
	c := consensustest.NewCluster(t, 4, func(s consensustest.Spec) (consensus.Engine, error) {
		cfg := config(s)
		cfg.Settings.RepeatTimeout = time.Minute // no matter how slow the machine is
		return Open(cfg)
	})
	c.Start()
	c.Submit(1, consensustest.Req("first", 50))
	c.WaitApplied(c.IDs(), "first")
	slow := engineOf(c, 4)
	before := slow.Counters()

	var mu sync.Mutex
	var late []consensustest.Message
	slowed := true
	c.Net.Filter(func(m consensustest.Message) []consensustest.Message {
		if m.To != 4 || m.Class != consensustest.Consensus || decode(t, m).GetHeartBeat() != nil {
			return []consensustest.Message{m}
		}
		mu.Lock()
		defer mu.Unlock()
		late = append(late, m)
		if slowed {
			return nil
		}
		out := late
		late = nil
		return out
	})
	for _, id := range []string{"a", "b", "c", "d"} {
		c.Submit(1, consensustest.Req(id, 50))
		c.WaitApplied([]consensus.ReplicaID{1, 2, 3}, id)
	}
	mu.Lock()
	slowed = false
	mu.Unlock()
	c.Submit(1, consensustest.Req("e", 50))
	c.WaitApplied(c.IDs(), "a", "b", "c", "d", "e")
	after := slow.Counters()
	if after.CatchUps != before.CatchUps || after.Decided-before.Decided != 5 {
		t.Errorf("replica 4 caught up %d times and decided %d of 5 heights", after.CatchUps-before.CatchUps, after.Decided-before.Decided)
	}
	if after.MessagesHeld == before.MessagesHeld {
		t.Error("nothing was held back: the test shows nothing")
	}
}

// slowCatchUp is an application whose catching up ends when the others have decided
// more once again.
type slowCatchUp struct {
	consensus.App
	more func(ctx context.Context, height uint64)
}

func (a slowCatchUp) CatchUp(ctx context.Context) (consensus.Tip, error) {
	tip, err := a.App.CatchUp(ctx)
	a.more(ctx, tip.Decision.Proposal.Height)
	return tip, err
}

// Replica 4 has missed a proposal, as one that was just started again has. The others
// decide one block after the other, also while it catches up: it does so once or twice
// and votes again, instead of missing a proposal each time.
func TestAReplicaThatCatchesUpUnderLoadVotesAgain(t *testing.T) {
	var c *consensustest.Cluster
	more := func(ctx context.Context, height uint64) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for c.Replica(1).App.Height() < height+3 {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}
	var loaded atomic.Bool
	c = consensustest.NewCluster(t, 4, func(s consensustest.Spec) (consensus.Engine, error) {
		cfg := config(s)
		cfg.Settings.RepeatTimeout = time.Minute // no matter how slow the machine is
		if s.Self == 4 {
			cfg.App = slowCatchUp{s.App, func(ctx context.Context, height uint64) {
				if loaded.Load() {
					more(ctx, height)
				}
			}}
		}
		return Open(cfg)
	})
	c.Start()
	c.Submit(1, consensustest.Req("first", 50))
	c.WaitApplied(c.IDs(), "first")
	last := engineOf(c, 4)
	before := last.Counters()
	hole := c.Replica(1).App.Height() + 1
	c.Net.Filter(func(m consensustest.Message) []consensustest.Message {
		if m.To == 4 && m.Class == consensustest.Consensus && decode(t, m).GetPrePrepare().GetSeq() == hole {
			return nil
		}
		return []consensustest.Message{m}
	})
	loaded.Store(true)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			_ = engineOf(c, 1).Submit(ctx, consensustest.Req(fmt.Sprint("load", i), 50)) // a full pool is load as well
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	defer load.Wait()
	defer stop()
	c.Wait("replica 4 to vote again", func() bool { return last.Counters().Decided >= before.Decided+20 })
	if last.Counters().CatchUps == before.CatchUps {
		t.Error("replica 4 had not to catch up: the test shows nothing")
	}
	loaded.Store(false)
}
