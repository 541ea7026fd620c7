package bft

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// twoFaced plays replica 2 of four, the leader of view 1. Block 2 was proposed in
// view 0, and replica 1 alone found a quorum that had prepared it and voted for it.
// Then two new views can be made of what the replicas sign: of the accounts of 1 and 3
// one that takes the block over, of those of 3 and 4 one that leaves it. Each is true
// for itself.
type twoFaced struct {
	t testing.TB
	c *consensustest.Cluster

	mu      sync.Mutex // guards all below
	block   *pb.Proposal
	old     []byte // replica 1's vote in view 0, as it sent it
	shown   map[consensus.ReplicaID]*pb.SignedViewData
	revoted bool // replica 4 has voted in view 1
}

// hear keeps what replica 2 needs, and loses what must not arrive.
func (f *twoFaced) hear(m consensustest.Message) []consensustest.Message {
	b := decode(f.t, m)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c := b.GetContent().(type) {
	case *pb.Message_PrePrepare:
		if c.PrePrepare.GetView() == 0 && c.PrePrepare.GetSeq() == 2 {
			f.block = c.PrePrepare.GetProposal()
		}
	case *pb.Message_Prepare:
		if c.Prepare.GetView() == 0 && m.To != 1 {
			return nil
		}
	case *pb.Message_Commit:
		view, _, err := openVote(c.Commit.GetSignature().GetValue())
		if err != nil {
			f.t.Error(err)
		}
		if c.Commit.GetView() != 0 { // of what view 1 proposed
			break
		}
		if m.From == 1 && view == 0 {
			f.old = m.Body
		}
		if m.From == 4 && view == 1 {
			f.revoted = true
		}
		return nil
	case *pb.Message_ViewData:
		d := &pb.ViewData{}
		if err := proto.Unmarshal(c.ViewData.GetRawViewData(), d); err != nil {
			f.t.Error(err)
		}
		if d.GetNextView() == 1 {
			f.shown[m.From] = c.ViewData
		}
	}
	return []consensustest.Message{m}
}

// when waits until ok holds.
func (f *twoFaced) when(what string, ok func() bool) {
	f.t.Helper()
	f.c.Wait(what, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return ok()
	})
}

func (f *twoFaced) tell(m *pb.Message, to ...consensus.ReplicaID) {
	for _, id := range to {
		engineOf(f.c, id).Step(2, encode(m))
	}
}

// commit is replica 2's vote, cast in view 1.
func (f *twoFaced) commit(p smart.Proposal) *pb.Message {
	m, err := parseMeta(p.Metadata)
	if err != nil {
		f.t.Fatal(err)
	}
	prop, err := fromLibrary(p)
	if err != nil {
		f.t.Fatal(err)
	}
	sig, err := f.c.Replica(2).App.SignVote(prop, 1)
	if err != nil {
		f.t.Fatal(err)
	}
	return &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{
		View: m.view, Seq: 2, Digest: p.Digest(), Signature: &pb.Signature{Signer: 2, Value: sealVote(1, sig)},
	}}}
}

// account is replica 2's view data: block 2 prepared, or not even seen.
func (f *twoFaced) account(prepared bool) *pb.SignedViewData {
	d := &pb.ViewData{}
	if err := proto.Unmarshal(f.shown[3].GetRawViewData(), d); err != nil {
		f.t.Fatal(err)
	}
	d.InFlightProposal, d.InFlightPrepared = nil, false
	if prepared {
		d.InFlightProposal, d.InFlightPrepared = f.block, true
	}
	return signed(2, d)
}

// unhurried opens an engine that leaves a play its time on a slow machine: no view
// may end before its part has been played.
func unhurried(s consensustest.Spec) (consensus.Engine, error) {
	c := config(s)
	c.Settings.ComplainTimeout, c.Settings.HeartbeatTimeout, c.Settings.ViewChangeTimeout = 3*time.Second, 3*time.Second, 3*time.Second
	return Open(c)
}

func TestALeaderWithTwoNewViewsDecidesOneBlock(t *testing.T) {
	c := startedAs(t, unhurried)
	if err := c.Replica(2).Stop(); err != nil {
		t.Fatal(err)
	}
	f := &twoFaced{t: t, c: c, shown: make(map[consensus.ReplicaID]*pb.SignedViewData)}
	c.Net.Filter(f.hear)
	c.Submit(1, consensustest.Req("first-face", 50))
	f.when("replica 1 to vote", func() bool { return f.old != nil })
	f.when("accounts of three", func() bool { return len(f.shown) == 3 })

	f.tell(newView(f.shown[1], f.shown[3], f.account(true)), 4)
	f.tell(newView(f.shown[3], f.shown[4], f.account(false)), 1, 3)

	// To replica 4: with its own vote and replica 2's, the old one makes a quorum.
	f.when("replica 4 to vote in view 1", func() bool { return f.revoted })
	f.tell(f.commit(proposalOf(f.block)), 4)
	engineOf(c, 4).Step(1, f.old)

	// To 1 and 3: another block.
	other, err := c.Replica(2).App.Assemble(2, metaBytes(1, 2, 0), [][]byte{consensustest.Req("second-face", 50)})
	if err != nil {
		t.Fatal(err)
	}
	other.Height, other.Meta = 2, metaBytes(1, 2, 0)
	p := toLibrary(other)
	f.c.Wait("view 1 to begin", func() bool {
		return engineOf(c, 1).Status().View == 1 && engineOf(c, 3).Status().View == 1
	})
	f.tell(&pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{View: 1, Seq: 2, Proposal: claim{proposal: p}.message()}}}, 1, 3)
	f.tell(&pb.Message{Content: &pb.Message_Prepare{Prepare: &pb.Prepare{View: 1, Seq: 2, Digest: p.Digest()}}}, 1, 3)
	f.tell(f.commit(p), 1, 3)

	c.WaitApplied([]consensus.ReplicaID{1, 3}, "second-face")
	c.Net.Filter(nil)
	c.Start(2)
	c.WaitApplied(c.IDs(), "first-face", "second-face")
	for _, id := range c.IDs() {
		if d, _ := c.Replica(id).App.Decision(2); !bytes.Equal(d.Proposal.Payload, other.Payload) || d.View != 1 {
			t.Errorf("replica %d has another block 2, or its votes of view %d", id, d.View)
		}
	}
}

// countedApp notes that votes are checked where the library counts them.
type countedApp struct {
	consensus.App
	counted *atomic.Bool
}

func (a countedApp) VerifyVote(p consensus.Proposal, view uint64, v consensus.Vote) error {
	if calledBy(voteCounter) {
		a.counted.Store(true)
	}
	return a.App.VerifyVote(p, view, v)
}

func TestVotesAreCountedWhereTheyWere(t *testing.T) {
	var counted atomic.Bool
	c := consensustest.NewCluster(t, 4, func(s consensustest.Spec) (consensus.Engine, error) {
		s.App = countedApp{s.App, &counted}
		return open(s)
	})
	c.Start()
	c.Submit(1, consensustest.Req("first", 50))
	c.WaitApplied(c.IDs(), "first")
	if !counted.Load() {
		t.Errorf("no vote was checked below %s: the library counts them elsewhere, and those of several views together", voteCounter)
	}
}
