package bft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// broken fails one method of an application.
type broken struct {
	consensus.App
	method string
	height uint64
}

var errBroken = errors.New("broken on purpose")

func (b *broken) fails(method string, height uint64) bool {
	return b.method == method && height >= b.height
}

func (b *broken) Assemble(height uint64, meta []byte, reqs [][]byte) (consensus.Proposal, error) {
	if b.fails("Assemble", height) {
		return consensus.Proposal{}, errBroken
	}
	return b.App.Assemble(height, meta, reqs)
}

func (b *broken) SignVote(p consensus.Proposal, view uint64) ([]byte, error) {
	if b.fails("SignVote", p.Height) {
		return nil, errBroken
	}
	return b.App.SignVote(p, view)
}

func (b *broken) Deliver(d consensus.Decision) (*consensus.Membership, error) {
	if b.fails("Deliver", d.Proposal.Height) {
		return nil, errBroken
	}
	return b.App.Deliver(d)
}

func (b *broken) Sign(msg []byte) ([]byte, error) {
	if b.method == "Sign" {
		return nil, errBroken
	}
	return b.App.Sign(msg)
}

func (b *broken) CatchUp(ctx context.Context) (consensus.Tip, error) {
	if b.method == "CatchUp" {
		return consensus.Tip{}, errBroken
	}
	return b.App.CatchUp(ctx)
}

// TestAFailingReplicaFallsSilentAndEnds breaks replica 1, the leader, or 4.
func TestAFailingReplicaFallsSilentAndEnds(t *testing.T) {
	for _, test := range []struct {
		method string
		victim consensus.ReplicaID
	}{{"Assemble", 1}, {"SignVote", 1}, {"SignVote", 4}, {"Deliver", 1}, {"Deliver", 4}, {"Sign", 3}, {"CatchUp", 4}, {"log", 4}} {
		t.Run(fmt.Sprint(test.method, " of ", test.victim), func(t *testing.T) {
			c := consensustest.NewCluster(t, 4, func(s consensustest.Spec) (consensus.Engine, error) {
				cfg := config(s)
				if s.Self == test.victim {
					cfg.App = &broken{App: s.App, method: test.method, height: 2}
				}
				return Open(cfg)
			})
			c.Start()
			c.Submit(2, consensustest.Req("first", 50))
			c.WaitApplied(c.IDs(), "first")
			victim := engineOf(c, test.victim)
			want := errBroken
			switch test.method {
			case "log":
				want = os.ErrClosed
				victim.log.mu.Lock()
				if err := victim.log.file.Close(); err != nil {
					t.Fatal(err)
				}
				victim.log.mu.Unlock()
			case "Sign", "CatchUp": // needs a view change
				c.Isolate(1)
			}
			for i := range 3 {
				if e := c.Replica(2).Engine(); e != nil {
					c.Submit(2, consensustest.Req(fmt.Sprint("more-", i), 50))
				}
			}
			if test.method == "CatchUp" {
				c.Rejoin(1)
				victim.Sync()
			}
			if err := c.Replica(test.victim).Ended(); !errors.Is(err, want) {
				t.Errorf("run returned %v, want %v", err, want)
			}
			sent := victim.Counters().MessagesSent
			c.Rejoin(1)
			rest := slices.DeleteFunc(c.IDs(), func(id consensus.ReplicaID) bool { return id == test.victim })
			c.Submit(2, consensustest.Req("after", 50))
			c.WaitApplied(rest, "after", "more-0")
			if now := victim.Counters().MessagesSent; now != sent {
				t.Errorf("%d messages were sent after the failure", now-sent)
			}
			if victim.Status().Running {
				t.Error("a failed engine says it runs")
			}
		})
	}
}

func TestAFailedEngineIsMute(t *testing.T) {
	cfg := base(t)
	tr, app := &recorder{}, consensustest.NewApp(1, four())
	cfg.Transport, cfg.App = tr, app
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	in := e.newInstance()
	defer in.stopTicks()
	e.starting.Store(in)
	e.runCtx = t.Context()
	p := proposalAt(0, 1, "x")
	e.fail(errBroken)
	e.fail(errors.New("a second failure"))

	e.SendConsensus(2, messages()["prepare"])
	e.SendTransaction(2, []byte("x"))
	e.repeat(&repeater{}, time.Now())
	if err := e.Append(proposedRecord(0, 1), true); err != nil {
		t.Error(err)
	}
	if _, err := e.VerifyProposal(p); err == nil {
		t.Error("a failed engine accepts a proposal")
	}
	if sig := e.SignProposal(p, nil); len(sig.Value) > 0 {
		t.Error("a failed engine votes")
	}
	if sig := e.Sign([]byte("x")); len(sig) > 0 {
		t.Error("a failed engine signs view data")
	}
	e.Deliver(p, []smart.Signature{{ID: 1}, {ID: 2}, {ID: 3}})
	e.Sync()
	if len(tr.sent)+len(tr.forwarded) > 0 || e.Counters().LogRecords > 0 || app.Height() > 0 || e.Counters().CatchUps > 0 {
		t.Errorf("a failed engine acts: %d messages, %+v", len(tr.sent), e.Counters())
	}
	if err := *e.failure.Load(); !errors.Is(err, errBroken) {
		t.Errorf("failure is %v, want the first", err)
	}
}

func TestPanicOfTheLibraryEndsTheEngineNotTheProcess(t *testing.T) {
	cfg := base(t)
	e, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- e.Run(context.Background()) }()
	go e.logger.Panicf("in flight proposal of %v", &pb.Message{})
	select {
	case err := <-done:
		if err == nil {
			t.Error("run returned nil")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("engine goes on after a panic of the library")
	}
}
