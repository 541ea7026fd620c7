package bft

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
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
