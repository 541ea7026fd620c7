package bft

import (
	"cmp"
	"crypto/sha256"
	"slices"
	"sync"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// led is the last view that this replica began as its leader. The library begins a
// view anew, from the accounts that it has by then, whenever one more comes: also
// when the first new view takes a proposal over that is still being voted for. The
// second may leave that proposal out, so that one half of the replicas votes for it
// and the other half for another one, all in one view. Nothing is decided twice then,
// for each votes once, but with one replica down, or none, nothing is decided at all.
type led struct {
	mu    sync.Mutex // guards both
	next  uint64     // the view after it
	shown [sha256.Size]byte
}

// begins notes a new view about to be sent, and reports whether it is another one for
// a view that was begun already, or for one before.
func (l *led) begins(nv *pb.NewView) (again bool) {
	all := slices.SortedFunc(slices.Values(nv.GetSignedViewData()), func(a, b *pb.SignedViewData) int {
		return cmp.Compare(a.GetSigner(), b.GetSigner())
	})
	d := &pb.ViewData{}
	if len(all) == 0 || proto.Unmarshal(all[0].GetRawViewData(), d) != nil {
		return false
	}
	h := sha256.New()
	for _, svd := range all {
		sum := sha256.Sum256(svd.GetRawViewData())
		h.Write(sum[:])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := [sha256.Size]byte(h.Sum(nil))
	if view := d.GetNextView(); view >= l.next {
		l.next, l.shown = view+1, shown
		return false
	}
	return shown != l.shown
}

// past reports that a view was begun, or one after it: accounts for it come too late.
func (l *led) past(view uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return view < l.next
}

// shown takes the view data of a replica, and reports whether the library may have
// them: not for a view that this replica has begun.
func (e *Engine) shown(svd *pb.SignedViewData) bool {
	d := &pb.ViewData{}
	if proto.Unmarshal(svd.GetRawViewData(), d) != nil {
		return false
	}
	e.standoff.show(d.GetNextView(), svd, e.cfg.Self, e.membership())
	return !e.led.past(d.GetNextView())
}
