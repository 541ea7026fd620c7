package bft

import (
	"fmt"
	"slices"
	"testing"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// listening is an App that wants to know what is said.
type listening struct {
	consensus.App
	heard []string
}

func (l *listening) Proposed(by consensus.ReplicaID, p consensus.Proposal) {
	l.heard = append(l.heard, fmt.Sprintf("%d proposed %d %s", by, p.Height, p.Header))
}

func (l *listening) Voted(view, height uint64, _ string, v consensus.Vote) {
	l.heard = append(l.heard, fmt.Sprintf("%d voted %d/%d %s", v.Replica, view, height, v.Signature))
}

// The application hears of every vote, of proposals of who leads their view, and of
// blocks that replicas show in view changes; of nothing else.
func TestTheApplicationHearsWhatOthersSay(t *testing.T) {
	prePrepare := func(view uint64, meta []byte) *pb.Message {
		return &pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{View: view, Seq: 5, Proposal: &pb.Proposal{Header: []byte("h"), Metadata: meta}}}}
	}
	shown := plainViewData()
	shown.LastDecision = &pb.Proposal{Header: []byte("last"), Metadata: metaBytes(0, 4, 0)}
	shown.InFlightProposal = &pb.Proposal{Header: []byte("flight"), Metadata: metaBytes(0, 5, 0)}
	for name, c := range map[string]struct {
		from consensus.ReplicaID
		m    *pb.Message
		want []string
	}{
		"the leader proposes":          {2, prePrepare(1, metaBytes(1, 5, 0)), []string{"2 proposed 5 h"}},
		"another proposes":             {3, prePrepare(1, metaBytes(1, 5, 0)), nil},
		"in the name of another view":  {2, prePrepare(1, metaBytes(5, 5, 0)), nil},
		"with metadata of nobody":      {2, prePrepare(1, []byte("junk")), nil},
		"without a proposal":           {2, &pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{View: 1}}}, nil},
		"a vote":                       {3, &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{View: 1, Seq: 5, Signature: &pb.Signature{Signer: 3, Value: sealVote(4, []byte("s"))}}}}, []string{"3 voted 4/5 s"}},
		"view data":                    {3, &pb.Message{Content: &pb.Message_ViewData{ViewData: signed(3, shown)}}, []string{"0 proposed 4 last", "0 proposed 5 flight"}},
		"a new view":                   {3, newView(signed(3, shown), signed(4, plainViewData())), []string{"0 proposed 4 last", "0 proposed 5 flight"}},
		"a prepare, which is unsigned": {3, messages()["prepare"], nil},
	} {
		l := &listening{App: &consensustest.App{}}
		e := &Engine{cfg: Config{Self: 1, App: l}}
		members := four()
		e.members.Store(&members)
		e.witness(c.from, c.m)
		if !slices.Equal(l.heard, c.want) {
			t.Errorf("%s: heard %q, want %q", name, l.heard, c.want)
		}
	}
}

func TestPosition(t *testing.T) {
	if view, height, err := Position(metaBytes(7, 9, 3)); view != 7 || height != 9 || err != nil {
		t.Errorf("view %d, height %d, %v", view, height, err)
	}
	if _, _, err := Position([]byte("junk")); err == nil {
		t.Error("junk has a position")
	}
}
