package bft

import (
	"testing"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/assent-network/assent/consensus"
)

func TestAViewIsBegunOnce(t *testing.T) {
	var l led
	b := claimAt(t, 2, 10, "b")
	nv := func(all ...*pb.SignedViewData) *pb.NewView { return &pb.NewView{SignedViewData: all} }
	in := func(id consensus.ReplicaID, view uint64, prepared bool) *pb.SignedViewData {
		return says(id, view, 9, &b, prepared)
	}
	for n, step := range []struct {
		nv    *pb.NewView
		again bool
	}{
		{nv(in(3, 3, true), in(4, 3, false), in(2, 3, false)), false},
		{nv(in(3, 3, true), in(4, 3, false), in(2, 3, false)), false}, // to the next replica
		{nv(in(2, 3, false), in(3, 3, true), in(4, 3, false)), false}, // in another order
		{nv(in(4, 3, false), in(2, 3, false), in(1, 3, false)), true}, // leaves out who voted
		{nv(in(1, 7, false), in(2, 7, false), in(4, 7, false)), false},
		{nv(in(3, 3, true), in(4, 3, false), in(2, 3, false)), true},
		{nv(), false},
	} {
		if again := l.begins(step.nv); again != step.again {
			t.Errorf("new view %d: another one for its view: %v", n, again)
		}
	}
	for view, want := range map[uint64]bool{3: true, 7: true, 8: false} {
		if l.past(view) != want {
			t.Errorf("view %d begun: %v", view, !want)
		}
	}
}
