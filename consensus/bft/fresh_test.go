package bft

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

func TestAReplicaBehindASilentLeaderCatchesUp(t *testing.T) {
	const patience = 4 * time.Second
	commit := func(seq uint64) *pb.Message {
		return &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{Seq: seq}}}
	}
	heartbeat := func(seq uint64) *pb.Message {
		return &pb.Message{Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{Seq: seq}}}
	}
	now := time.Unix(1000, 0)
	var o overheard
	say := func(from consensus.ReplicaID, m *pb.Message) { o.note(from, from == 1, m, now) }
	want := func(what string, own uint64, want bool) {
		t.Helper()
		if got := o.behind(own, four(), now, patience); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	want("nothing was heard", 0, false)
	say(1, heartbeat(8))
	say(3, commit(9))
	want("two have decided more, but the leader was just heard", 7, false)
	now = now.Add(patience / 4)
	want("two have decided as much", 8, false)
	want("two have decided more", 7, true)
	now = now.Add(patience / 4)
	want("tried a moment ago", 7, false)
	now = now.Add(2 * patience)
	want("until it has complained", 7, false)
	now = now.Add(patience)
	want("time to try again", 7, true)
	now = now.Add(3 * patience)
	say(1, heartbeat(7))
	say(3, commit(8))
	say(4, commit(100))
	say(9, commit(100)) // no member
	now = now.Add(patience)
	want("one of four may lie", 7, false)
	say(2, &pb.Message{Content: &pb.Message_ViewChange{ViewChange: &pb.ViewChange{NextView: 100}}})
	want("a view is no height", 7, false)
}

func TestViewDataWaitForTheCatchUpUnderWay(t *testing.T) {
	var r refresh
	never := make(chan struct{})
	r.wait(time.Hour, never) // nothing to wait for
	r.begin()
	waited := make(chan struct{})
	go func() {
		r.wait(time.Hour, never)
		close(waited)
	}()
	select {
	case <-waited:
		t.Fatal("did not wait")
	default:
	}
	r.end()
	<-waited
	r.begin()
	r.wait(time.Millisecond, never) // late
	r.wait(time.Hour, never)        // waited for once is enough
	r.begin()
	ended := make(chan struct{})
	close(ended)
	r.wait(time.Hour, ended)
}

func TestWhoIsTakenAlongToViewsCatchesUpForEachFromTheSecondOn(t *testing.T) {
	var c carried
	for i, step := range []struct {
		view, begun, catchUps uint64
		want                  bool
	}{
		{3, 1, 5, false}, // found so
		{3, 1, 5, false},
		{4, 1, 5, false}, // an ordinary change of the view
		{5, 1, 5, true},  // which failed
		{5, 1, 6, false}, // caught up
		{6, 1, 6, true},
		{6, 1, 8, false}, // so, and because of its own time-out
		{7, 1, 8, false}, // which served this view
		{8, 1, 8, true},
		{8, 2, 9, false}, // a view began
		{9, 2, 9, false},
		{11, 2, 9, true},
		{2, 3, 9, false}, // another instance
		{3, 3, 9, false},
	} {
		if got := c.further(step.view, step.begun, step.catchUps); got != step.want {
			t.Errorf("step %d, %+v: %v", i, step, got)
		}
	}
}

// Replica 4 is two decisions behind when the leader stops, and all three that are left
// must change the view. Its own time-out is longer than the test is patient, and what
// failed leaders show comes when it has left their views, which is as if it never came.
func TestAReplicaThatIsTakenAlongIsNotLeftBehind(t *testing.T) {
	c := consensustest.NewCluster(t, 4, func(s consensustest.Spec) (consensus.Engine, error) {
		cfg := config(s)
		if s.Self == 4 {
			cfg.Settings.ViewChangeTimeout = time.Hour
		}
		return Open(cfg)
	})
	c.Start()
	c.Submit(1, consensustest.Req("first", 50))
	c.WaitApplied(c.IDs(), "first")
	c.Isolate(4)
	for _, id := range []string{"second", "third", "fourth"} {
		c.Submit(1, consensustest.Req(id, 50))
		c.WaitApplied([]consensus.ReplicaID{1, 2, 3}, id)
	}
	behind := c.Replica(4).App.Height()
	if err := c.Replica(1).Stop(); err != nil {
		t.Fatal(err)
	}
	if got := c.Replica(4).App.Height(); got != behind || c.Replica(2).App.Height() < behind+2 {
		t.Fatalf("replica 4 is at height %d, replica 2 at %d: the test shows nothing", got, c.Replica(2).App.Height())
	}
	c.Net.Filter(func(m consensustest.Message) []consensustest.Message {
		if m.To == 4 && decode(t, m).GetNewView() != nil && c.Replica(4).App.Height() == behind {
			return nil
		}
		return []consensustest.Message{m}
	})
	c.Rejoin(4)
	c.Submit(2, consensustest.Req("last", 50))
	c.WaitApplied([]consensus.ReplicaID{2, 3, 4}, "last")
}

// The library says some things and calls nothing of ours.
func TestTheLibraryStillSaysThatItCatchesUp(t *testing.T) {
	cfg := base(t)
	cfg.Self = 2 // nobody else is there: its view change times out
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var said atomic.Bool
	e.logger.heed = func(format string) {
		if format == catchesUp {
			said.Store(true)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	until(func() bool { return e.Status().Running })
	e.current.Load().cons.Complain(0, true)
	until(said.Load)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestMemoryApartFromTheLogIsNoFailure(t *testing.T) {
	var failed, restarted error
	l := &libLogger{log: slog.New(slog.DiscardHandler), fail: func(err error) { failed = err }, restart: func(err error) { restarted = err }}
	for _, text := range []string{apart[0], "anything else %d %d %d"} {
		failed, restarted = nil, nil
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.Panicf(text, 2, 1526, 1563)
			t.Error("went on")
		}()
		<-done
		if again := text == apart[0]; (restarted != nil) != again || (failed != nil) == again {
			t.Errorf("%q: failed %v, restarted %v", text, failed, restarted)
		}
	}
}
