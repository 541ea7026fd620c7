package bft

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// decode reads what a replica sent; an empty message for requests.
func decode(t testing.TB, m consensustest.Message) *pb.Message {
	out := &pb.Message{}
	if m.Class != consensustest.Consensus {
		return out
	}
	if err := proto.Unmarshal(m.Body, out); err != nil {
		t.Errorf("replica %d sent what does not decode: %v", m.From, err)
	}
	return out
}

// only lets through what ok accepts.
func only(t testing.TB, ok func(m consensustest.Message, body *pb.Message) bool) func(consensustest.Message) []consensustest.Message {
	return func(m consensustest.Message) []consensustest.Message {
		if ok(m, decode(t, m)) {
			return []consensustest.Message{m}
		}
		return nil
	}
}

func engineOf(c *consensustest.Cluster, id consensus.ReplicaID) *Engine {
	e, _ := c.Replica(id).Engine().(*Engine)
	return e
}

func stopAll(t testing.TB, c *consensustest.Cluster) {
	t.Helper()
	for _, id := range c.IDs() {
		if err := c.Replica(id).Stop(); err != nil {
			t.Fatalf("stop replica %d: %v", id, err)
		}
	}
}

// started makes a cluster that has delivered block 1.
func started(t testing.TB) *consensustest.Cluster {
	t.Helper()
	return startedAs(t, open)
}

func startedAs(t testing.TB, open func(consensustest.Spec) (consensus.Engine, error)) *consensustest.Cluster {
	t.Helper()
	c := consensustest.NewCluster(t, 4, open)
	c.Start()
	c.Submit(1, consensustest.Req("first", 50))
	c.WaitApplied(c.IDs(), "first")
	return c
}

// proposedOnly stops all replicas when each has logged the proposal at height 2
// and none has voted.
func proposedOnly(t testing.TB, c *consensustest.Cluster) {
	t.Helper()
	c.Net.Filter(only(t, func(_ consensustest.Message, b *pb.Message) bool {
		return b.GetPrepare() == nil && b.GetViewChange() == nil
	}))
	logged := make(map[consensus.ReplicaID]uint64)
	for _, id := range c.IDs() {
		logged[id] = engineOf(c, id).Counters().LogRecords
	}
	c.Submit(1, consensustest.Req("held", 50))
	for _, id := range c.IDs() {
		e := engineOf(c, id)
		c.Wait("the proposal to be logged", func() bool { return e.Counters().LogRecords > logged[id] })
	}
	stopAll(t, c)
	c.Net.Filter(nil)
}

// prepared waits until all replicas have voted for the proposal at height 2
// while commits are lost.
func prepared(t testing.TB, c *consensustest.Cluster, alsoLost func(*pb.Message) bool) {
	t.Helper()
	c.Net.Filter(only(t, func(_ consensustest.Message, b *pb.Message) bool {
		return b.GetCommit() == nil && !alsoLost(b)
	}))
	c.Submit(1, consensustest.Req("held", 50))
	for _, id := range c.IDs() {
		e := engineOf(c, id)
		c.Wait("a vote at height 2", func() bool { return e.Status().VotedHeight == 2 })
	}
}

func viewOf(t testing.TB, d consensus.Decision) uint64 {
	t.Helper()
	m, err := metaOf(d)
	if err != nil {
		t.Fatal(err)
	}
	return m.view
}

func TestChangeOfMembershipAfterARestartOnAProposalKeepsOrdering(t *testing.T) {
	c := started(t)
	proposedOnly(t, c)
	c.Start()
	c.WaitApplied(c.IDs(), "held")
	c.Submit(2, consensustest.Req("between", 50))
	c.WaitApplied(c.IDs(), "between")
	same := consensus.Membership{ConfigSeq: 2, Replicas: c.IDs()}
	c.Submit(1, consensustest.ConfigRequest("config", same))
	c.WaitApplied(c.IDs(), "config")
	var before [5]Counters
	for _, id := range c.IDs() {
		before[id] = engineOf(c, id).Counters()
	}
	c.Submit(1, consensustest.Req("after", 50))
	c.WaitApplied(c.IDs(), "after")
	for _, id := range c.IDs() {
		if got := engineOf(c, id).Counters(); got.ViewChanges != before[id].ViewChanges {
			t.Errorf("replica %d changed the view %d times after the membership", id, got.ViewChanges-before[id].ViewChanges)
		}
	}
}

func TestLoggedProposalThatWasCaughtUpWithIsDropped(t *testing.T) {
	c := started(t)
	// Replica 4 logs the proposal at height 2 and hears nothing of its votes.
	c.Net.Filter(only(t, func(m consensustest.Message, b *pb.Message) bool {
		return m.To != 4 || b.GetPrePrepare() != nil || b.GetHeartBeat() != nil
	}))
	logged := engineOf(c, 4).Counters().LogRecords
	e := engineOf(c, 4)
	c.Submit(1, consensustest.Req("second", 50))
	c.WaitApplied([]consensus.ReplicaID{1, 2, 3}, "second")
	c.Wait("the proposal to be logged", func() bool { return e.Counters().LogRecords > logged })
	if err := c.Replica(4).Stop(); err != nil {
		t.Fatal(err)
	}
	c.Net.Filter(nil)
	if tip, err := c.Replica(4).App.CatchUp(t.Context()); err != nil || tip.Decision.Proposal.Height != 2 {
		t.Fatalf("caught up to %d, %v", tip.Decision.Proposal.Height, err)
	}
	c.Start(4)
	e = engineOf(c, 4)
	for _, id := range []string{"third", "fourth", "fifth"} {
		c.Submit(1, consensustest.Req(id, 50))
		c.WaitApplied(c.IDs(), id)
	}
	if n := e.Counters().CatchUps; n > 0 {
		t.Errorf("the restarted replica was deaf: it caught up %d times", n)
	}
}

func TestProposalTakenOverInAViewChangeLeavesThePoolAndIsLogged(t *testing.T) {
	c := started(t)
	// The followers vote; then the leader is gone.
	prepared(t, c, func(b *pb.Message) bool { return b.GetNewView() != nil })
	c.Isolate(1)
	rest := []consensus.ReplicaID{2, 3, 4}
	c.Net.Filter(nil)
	c.WaitApplied(rest, "held")
	for _, id := range rest {
		d, _ := c.Replica(id).App.Decision(2)
		if v := viewOf(t, d); v != 0 {
			t.Errorf("replica %d: block 2 was proposed in view %d, want 0", id, v)
		}
		e := engineOf(c, id)
		c.Wait("the pool to drain", func() bool { return e.Status().Pool == 0 })
	}
	c.Submit(2, consensustest.Req("next", 50))
	c.WaitApplied(rest, "next")
	d, _ := c.Replica(2).App.Decision(3)
	if infos := c.Replica(2).App.Requests(d.Proposal); len(infos) != 1 || infos[0].ID != "next" {
		t.Errorf("block 3 holds %v, want the new request alone", infos)
	}
	c.Rejoin(1)
	c.WaitApplied(c.IDs(), "next")
}

func TestVoteSurvivesARestartOfAllReplicasInAViewChange(t *testing.T) {
	c := started(t)
	var want atomic.Pointer[pb.Proposal]
	prepared(t, c, func(b *pb.Message) bool {
		if p := b.GetPrePrepare(); p != nil && p.GetSeq() == 2 && p.GetView() == 0 {
			want.Store(p.GetProposal())
		}
		return b.GetViewData() != nil || b.GetNewView() != nil
	})
	// Every replica leaves view 0 for good …
	for _, id := range c.IDs() {
		e := engineOf(c, id)
		c.Wait("the view to be left", func() bool { return e.promises.left(0) })
	}
	stopAll(t, c)
	// … and comes back without a request that could time out.
	c.Net.Filter(nil)
	c.Start()
	c.WaitApplied(c.IDs(), "held")
	for _, id := range c.IDs() {
		e := engineOf(c, id)
		c.Wait("the view change to go on by itself", func() bool { return e.Status().View > 0 })
	}
	c.Submit(2, consensustest.Req("other", 50))
	c.WaitApplied(c.IDs(), "other")
	d, _ := c.Replica(2).App.Decision(2)
	if !bytes.Equal(d.Proposal.Payload, want.Load().GetPayload()) || !bytes.Equal(d.Proposal.Meta, want.Load().GetMetadata()) {
		t.Error("another proposal was decided at the height all had voted on")
	}
}

func TestVoteForAProposalTakenOverIsLogged(t *testing.T) {
	c := started(t)
	// Replica 4 learns of the proposal in the view change only, and nobody of
	// any votes then.
	prepared := func(_ consensustest.Message, b *pb.Message) bool { return b.GetCommit() == nil }
	c.Net.Filter(only(t, func(m consensustest.Message, b *pb.Message) bool {
		return prepared(m, b) && (m.To != 4 || b.GetPrePrepare() == nil)
	}))
	c.Submit(1, consensustest.Req("held", 50))
	for _, id := range []consensus.ReplicaID{2, 3} {
		e := engineOf(c, id)
		c.Wait("the others to vote", func() bool { return e.Status().VotedHeight == 2 })
	}
	c.Isolate(1)
	e := engineOf(c, 4)
	c.Wait("replica 4 to vote", func() bool { return e.Status().VotedHeight == 2 })
	if err := c.Replica(4).Stop(); err != nil {
		t.Fatal(err)
	}
	l, records, err := openLog(c.Replica(4).Dir(), e.logger)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	tl, err := readTail(records)
	if err != nil || tl.promises.vote.meta.height != 2 || !tl.promises.left(0) {
		t.Errorf("log holds a vote at height %d, left view 0: %v, %v", tl.promises.vote.meta.height, tl.promises.left(0), err)
	}
	if tl.promises.vote.meta.view != 0 || tl.promises.vote.view == 0 {
		t.Errorf("a proposal of view %d got a vote in view %d, want 0 and a later one", tl.promises.vote.meta.view, tl.promises.vote.view)
	}
	c.Net.Filter(nil)
	c.Rejoin(1)
	c.Start(4)
	if v := engineOf(c, 4).Status().VotedHeight; v != 2 {
		t.Errorf("voted height %d after a restart, want 2", v)
	}
	c.WaitApplied(c.IDs(), "held")
}

func TestRunEndsInTheMiddleOfAViewChange(t *testing.T) {
	c := started(t)
	var newViews atomic.Int32
	prepared(t, c, func(b *pb.Message) bool {
		if b.GetNewView() != nil {
			newViews.Add(1)
		}
		return false
	})
	// Commits stay lost, so the new view waits with the proposal taken over.
	c.Wait("a new view", func() bool { return newViews.Load() > 0 })
	stopAll(t, c)
	c.Net.Filter(nil)
	c.Start()
	c.WaitApplied(c.IDs(), "held")
}

// witness watches the messages of correct replicas for contradictions.
type witness struct {
	t    testing.TB
	mu   sync.Mutex
	seen map[statement]string
}

// statement is what a replica may say in one way only.
type statement struct {
	from   consensus.ReplicaID
	kind   string
	view   uint64
	height uint64
}

func (w *witness) watch(m consensustest.Message) []consensustest.Message {
	b := decode(w.t, m)
	if p := b.GetPrePrepare(); p != nil {
		w.say(statement{m.From, "pre-prepare", p.View, p.Seq}, string(p.GetProposal().GetHeader())+string(p.GetProposal().GetMetadata()))
	}
	if p := b.GetPrepare(); p != nil {
		w.say(statement{m.From, "prepare", p.View, p.Seq}, p.Digest)
	}
	if p := b.GetCommit(); p != nil {
		view, _, err := openVote(p.GetSignature().GetValue())
		if err != nil {
			w.t.Error(err)
		}
		w.say(statement{m.From, "commit", view, p.Seq}, p.Digest)
	}
	return []consensustest.Message{m}
}

func (w *witness) say(s statement, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = make(map[statement]string)
	}
	if old, ok := w.seen[s]; ok && old != what {
		w.t.Errorf("replica %d contradicts itself: two %ss in view %d at height %d", s.from, s.kind, s.view, s.height)
	}
	w.seen[s] = what
}
