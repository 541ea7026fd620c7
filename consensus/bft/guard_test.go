package bft

import (
	"testing"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

func decode(t testing.TB, m consensustest.Message) *pb.Message {
	out := &pb.Message{}
	if m.Class != consensustest.Consensus {
		return out
	}
	if err := proto.Unmarshal(m.Body, out); err != nil {
		t.Errorf("a replica sent what does not decode: %v", err)
	}
	return out
}

func keep(m consensustest.Message) []consensustest.Message { return []consensustest.Message{m} }

func TestDbgVC(t *testing.T) {
	c := consensustest.NewCluster(t, 4, open)
	c.Start()
	c.Submit(1, consensustest.Req("a", 50))
	c.WaitApplied(c.IDs(), "a")
	c.Net.Filter(func(m consensustest.Message) []consensustest.Message {
		switch x := decode(t, m); x.GetContent().(type) {
		case *pb.Message_PrePrepare:
			if m.To == 2 {
				return nil
			}
		case *pb.Message_Prepare:
			if m.To != 4 {
				return nil
			}
		case *pb.Message_Commit, *pb.Message_ViewChange:
			return nil
		}
		return keep(m)
	})
	c.Submit(1, consensustest.Req("b", 50))
	e := c.Replica(4).Engine()
	c.Wait("vote", func() bool { return e.Status().VotedHeight == 2 })
	for _, id := range c.IDs() {
		c.Replica(id).Stop()
	}
	c.Net.Filter(func(m consensustest.Message) []consensustest.Message {
		x := decode(t, m)
		if v := x.GetViewData(); v != nil {
			vd := &pb.ViewData{}
			proto.Unmarshal(v.RawViewData, vd)
			t.Logf("%d>%d %v prepared=%v inflight=%v", m.From, m.To, vd.NextView, vd.InFlightPrepared, vd.InFlightProposal)
		}
		if v := x.GetNewView(); v != nil {
			for _, v := range v.SignedViewData {
				vd := &pb.ViewData{}
				proto.Unmarshal(v.RawViewData, vd)
				t.Logf("NV %d>%d %v prepared=%v inflight=%v", m.From, m.To, vd.NextView, vd.InFlightPrepared, vd.InFlightProposal)
			}
		}
		return keep(m)
	})
	c.Start(1, 2, 4)
	c.Submit(2, consensustest.Req("c", 50))
	c.WaitApplied([]consensus.ReplicaID{1, 2, 4}, "b", "c")
}
