package bft

import (
	"math"
	"slices"
	"testing"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// says is view data for a view, signed by a replica.
func says(by consensus.ReplicaID, next, decided uint64, flight *claim, prepared bool) *pb.SignedViewData {
	d := &pb.ViewData{NextView: next, LastDecision: &pb.Proposal{Header: []byte("h"), Metadata: metaBytes(0, decided, 0)}, InFlightPrepared: prepared}
	if flight != nil {
		d.InFlightProposal = flight.message()
	}
	raw, err := proto.Marshal(d)
	if err != nil {
		panic(err)
	}
	return &pb.SignedViewData{Signer: uint64(by), RawViewData: raw, Signature: consensustest.SignAs(by, raw)}
}

func TestAVoteIsWithdrawnOnlyIfAQuorumOfOthersDidNotCastIt(t *testing.T) {
	e, err := Open(base(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	mine, other := claimAt(t, 0, 3, "mine"), claimAt(t, 2, 3, "other") // mine: taken over in view 1
	two, three, four := says(2, 5, 2, &other, true), says(3, 5, 2, nil, false), says(4, 5, 2, &mine, false)
	forged := proto.Clone(four).(*pb.SignedViewData)
	forged.Signature = consensustest.SignAs(3, four.RawViewData)
	for _, test := range []struct {
		name  string
		shown []*pb.SignedViewData
		want  bool
	}{
		{"three others did not", []*pb.SignedViewData{two, three, four}, true},
		{"its own word does not count", []*pb.SignedViewData{says(1, 5, 2, nil, false), two, three}, false},
		{"nor does it harm", []*pb.SignedViewData{says(1, 5, 2, &mine, true), two, three, four}, true},
		{"one did as well", []*pb.SignedViewData{two, three, says(4, 5, 2, &mine, true)}, false},
		{"one has decided the height", []*pb.SignedViewData{two, three, says(4, 5, 3, nil, false)}, false},
		{"one is behind", []*pb.SignedViewData{two, three, says(4, 5, 1, nil, false)}, true},
		{"one says so twice", []*pb.SignedViewData{two, three, three}, false},
		{"one is no member", []*pb.SignedViewData{two, three, says(9, 5, 2, nil, false)}, false},
		{"one is about another view", []*pb.SignedViewData{two, three, says(4, 6, 2, nil, false)}, false},
		{"all are about the view of the vote", []*pb.SignedViewData{says(2, 1, 2, nil, false), says(3, 1, 2, nil, false), says(4, 1, 2, nil, false)}, false},
		{"one is forged", []*pb.SignedViewData{two, three, forged}, false},
		{"one cannot be read", []*pb.SignedViewData{two, three, {Signer: 4, RawViewData: []byte{0xff}}}, false},
		{"too many", slices.Repeat([]*pb.SignedViewData{two}, 5), false},
		{"nothing", nil, false},
	} {
		if view, ok := e.nobodyElse(&pb.NewView{SignedViewData: test.shown}, vote{mine, 1}, 3); ok != test.want || ok && view != 5 {
			t.Errorf("%s: %v for view %d", test.name, ok, view)
		}
	}
}

func TestAWithdrawnVoteStaysWithdrawn(t *testing.T) {
	d, p := &diary{}, &promises{}
	c := claimAt(t, 1, 3, "mine")
	if err := d.accept(t, p, c); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.standing(3); ok {
		t.Fatal("a vote before it was cast")
	}
	if err := d.vote(t, p, c); err != nil {
		t.Fatal(err)
	}
	if got, ok := p.standing(3); !ok || !got.same(c) {
		t.Fatal("the vote does not stand")
	}
	if err := p.withdraw(vote{claimAt(t, 1, 3, "another"), 1}, 5, 2, d.write); err != nil || len(d.records) != 2 {
		t.Fatalf("another vote: %v, %d records", err, len(d.records))
	}
	if err := p.withdraw(vote{c, 2}, 5, 2, d.write); err != nil || len(d.records) != 2 {
		t.Fatalf("the vote of another view: %v, %d records", err, len(d.records))
	}
	if err := p.withdraw(vote{c, 1}, 5, 2, d.write); err != nil {
		t.Fatal(err)
	}
	tl, err := readTail(d.records)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []*promises{p, tl.promises} {
		if _, ok := q.standing(3); ok || q.floor != 6 || !q.left(5) {
			t.Errorf("stands %v, floor %d", ok, q.floor)
		}
		if err := q.mayAccept(claimAt(t, 6, 3, "another")); err != nil {
			t.Errorf("a proposal of a later view: %v", err)
		}
		if q.mayAccept(claimAt(t, 5, 3, "another")) == nil {
			t.Error("a proposal of the view that was left")
		}
	}
}

func TestALeaderKeepsWhatItIsShownForItsViews(t *testing.T) {
	var s standoff
	m := four()
	show := func(view uint64, svd *pb.SignedViewData) { s.show(view, svd, 1, m) } // 1 leads 0, 4, 8 …
	count := func(view uint64, want int) {
		t.Helper()
		if n := len(s.all(view)); n != want {
			t.Errorf("%d for view %d, want %d", n, view, want)
		}
	}
	show(4, says(2, 4, 2, nil, false))
	show(8, says(3, 8, 2, nil, false))
	show(4, says(3, 4, 2, nil, false)) // too late
	show(5, says(4, 5, 2, nil, false)) // another leads
	show(4, says(9, 4, 2, nil, false)) // no member
	count(4, 1)
	count(5, 0)
	count(8, 1)
	show(math.MaxUint64-3, says(4, math.MaxUint64-3, 2, nil, false)) // who looks far ahead hinders nobody
	show(8, says(2, 8, 2, nil, false))
	show(8, says(2, 8, 2, nil, false))
	count(4, 0)
	count(8, 2)
	s.forget(7)
	count(8, 2)
	s.forget(8)
	count(8, 0)
	if n := len(s.shown); n != 1 {
		t.Errorf("%d are kept", n)
	}
}

func TestOneNewViewOfAMemberWaits(t *testing.T) {
	var s standoff
	m := four()
	first, second := &pb.NewView{}, &pb.NewView{}
	s.laid(2, first, m)
	s.laid(2, second, m)
	s.laid(9, first, m)
	if nvs := s.unread(); len(nvs) != 1 || nvs[0] != second {
		t.Errorf("%v wait", nvs)
	}
	if nvs := s.unread(); len(nvs) != 0 {
		t.Errorf("%v wait after they were read", nvs)
	}
}

func TestAComplaintThatMayBeLostIsRepeated(t *testing.T) {
	const patience = time.Second
	var i insistence
	now := time.Unix(1000, 0)
	due := func(view, begun uint64, after time.Duration) bool {
		now = now.Add(after)
		return i.due(view, begun, now, patience)
	}
	if due(0, 1, time.Hour) {
		t.Error("before anything timed out")
	}
	i.timedOut(2, 1)
	if view, ok := i.failed(); !ok || view != 2 {
		t.Errorf("failed: %d, %v", view, ok)
	}
	if _, ok := i.failed(); ok {
		t.Error("told twice")
	}
	for n, want := range []bool{false, false, true, false, true} {
		if got := due(2, 1, patience/2); got != want {
			t.Errorf("look %d: %v", n, got)
		}
	}
	i.timedOut(2, 1) // again: nothing new
	if !due(2, 1, patience) || due(2, 2, patience) || due(2, 2, patience) {
		t.Error("after the view has begun")
	}
	i.timedOut(3, 2)
	if due(4, 2, time.Hour) {
		t.Error("about a view that was left")
	}
}

func TestNobodyIsAskedTwiceInAMoment(t *testing.T) {
	var a asked
	now := time.Unix(1000, 0)
	for n, step := range []struct {
		to   consensus.ReplicaID
		view uint64
		wait time.Duration
		want bool
	}{{2, 5, 0, true}, {2, 5, 0, false}, {3, 5, 0, true}, {2, 6, 0, true}, {2, 5, time.Second - 1, false}, {2, 5, 1, true}, {2, 5, 0, false}} {
		now = now.Add(step.wait)
		if got := a.again(step.to, step.view, now, time.Second); got != step.want {
			t.Errorf("step %d: %v", n, got)
		}
	}
	if len(a.when) > 3 {
		t.Errorf("%d remembered", len(a.when))
	}
}

func TestARequestThatLiesIsPassedOnAgain(t *testing.T) {
	var r reminder
	now := time.Unix(1000, 0)
	for n, step := range []struct {
		oldest string
		wait   time.Duration
		want   bool
	}{{"a", 0, false}, {"a", time.Second - 1, false}, {"a", 1, true}, {"a", 0, false}, {"b", time.Second, false}, {"b", time.Second, true}} {
		now = now.Add(step.wait)
		if got := r.due(consensus.RequestInfo{Client: "c", ID: step.oldest}, now, time.Second); got != step.want {
			t.Errorf("step %d: %v", n, got)
		}
	}
}

func TestAReplicaFollowsWhereNoQuorumIsLeft(t *testing.T) {
	var o overtaken
	now := time.Unix(1000, 0)
	o.hear(2, 5, 1, 1, now, time.Second)
	if ids := o.ahead(1, four()); ids != nil {
		t.Errorf("after one: %v", ids)
	}
	o.hear(9, 5, 1, 1, now, time.Second) // no member
	o.hear(3, 2, 1, 1, now, time.Second) // the next view: the library hears of it
	if ids := o.ahead(1, four()); ids != nil {
		t.Errorf("after one and others: %v", ids)
	}
	o.hear(4, 3, 1, 1, now, time.Second)
	if ids := o.ahead(1, four()); !slices.Equal(ids, []consensus.ReplicaID{2, 4}) {
		t.Errorf("after two: %v", ids)
	}
	if ids := o.ahead(2, four()); ids != nil {
		t.Errorf("one view on: %v", ids)
	}
}
