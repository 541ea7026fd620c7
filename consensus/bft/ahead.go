package bft

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

// The library takes what is said about the height that it works on and about the
// next one; the rest is lost. Under load that ends badly for a replica that is two
// heights behind for a moment: it gives its view up and catches up, and what the
// others said meanwhile about the height that they are working on is lost with the
// old view. So it must sit that height out, is two behind again when the next
// begins, and catches up again, until the load ends. All that time the network is
// one failure short.
//
// So messages about heights to come wait here until the library takes them, and
// those about the present one are kept for a view that starts anew. To the library
// they look like messages that were long on their way.

// viewBegins is what the library says when a view takes messages.
const viewBegins = "Starting view with number %d, sequence %d, and decisions %d"

// What is kept must reach beyond the end of a catch-up: a hole there is another
// catch-up, during which the next hole is made. So of each replica the newest
// heights are kept, however far they are ahead, and enough of them for all that is
// decided while this replica catches up.

const (
	aheadHeights = 128     // that are kept of a replica
	aheadFar     = 8       // behind by more than that, and with nothing to go on with: no patience
	aheadVote    = 1 << 10 // a larger vote, in bytes, is none of an honest replica
	aheadBytes   = 8 << 20 // of kept proposals of a replica; only the leader of a view makes any
)

// ahead keeps messages about the heights after the last decision.
type ahead struct {
	mu    sync.Mutex // guards what follows
	kept  map[consensus.ReplicaID]*speech
	own   uint64    // last decision
	since time.Time // when the first message was held back at that height; zero: none was

	wake chan struct{} // holds one token when kept may have something due
}

// speech is what is kept of one replica, so that nobody can push out another's.
type speech struct {
	heights   map[uint64]*[kinds]*keptMessage
	proposals int // bytes of the proposals in heights
}

// utterance is what a replica says once about a height, in a view.
type utterance struct {
	height uint64
	kind   messageKind // proposals before votes
	from   consensus.ReplicaID
}

type messageKind uint8

const (
	proposes messageKind = iota
	prepares
	commits
	kinds
)

type keptMessage struct {
	m    *pb.Message
	view uint64
	size int
	had  bool // by the library
}

func newAhead() *ahead {
	return &ahead{kept: make(map[consensus.ReplicaID]*speech), wake: make(chan struct{}, 1)}
}

// utteranceOf returns what m says, its view, and whether it is kept at all: what
// answers a late question is not.
func utteranceOf(from consensus.ReplicaID, m *pb.Message) (u utterance, view uint64, ok bool) {
	switch x := m.GetContent().(type) {
	case *pb.Message_PrePrepare:
		return utterance{x.PrePrepare.GetSeq(), proposes, from}, x.PrePrepare.GetView(), true
	case *pb.Message_Prepare:
		return utterance{x.Prepare.GetSeq(), prepares, from}, x.Prepare.GetView(), !x.Prepare.GetAssist()
	case *pb.Message_Commit:
		return utterance{x.Commit.GetSeq(), commits, from}, x.Commit.GetView(), !x.Commit.GetAssist()
	}
	return u, 0, false
}

// hear keeps a message if it may be needed later and reports whether the library
// gets it now. A replica that has not come on for patience needs more than to wait,
// and so does one that is far behind and lacks the next proposal: then the library
// gets everything, and catches up.
func (a *ahead) hear(from consensus.ReplicaID, m *pb.Message, own uint64, members consensus.Membership, now time.Time, patience time.Duration) bool {
	u, view, ok := utteranceOf(from, m)
	if !ok || u.height <= own || !members.Contains(from) {
		return true
	}
	size := proto.Size(m)
	if u.kind == proposes && from != leaderOf(view, members) || u.kind != proposes && size > aheadVote {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roseLocked(own)
	a.leftLocked(members)
	s := a.kept[from]
	if s == nil {
		s = &speech{heights: make(map[uint64]*[kinds]*keptMessage)}
		a.kept[from] = s
	}
	if old := s.at(u); old != nil && old.view >= view {
		return true // said again: the library knows what to make of it
	}
	if u.height > own+2 && a.since.IsZero() {
		a.since = now
	}
	late := a.lateLocked(now, patience)
	k := &keptMessage{m: m, view: view, size: size, had: u.height <= own+2 || late}
	if !s.keep(u, k) {
		return true
	}
	if late && u.height > own+2 { // the same holds for all of them
		a.wakeUp()
	}
	return k.had || u.height > own+aheadFar && !a.proposedLocked(own+1, view, members)
}

// proposedLocked reports whether the proposal of a view for a height is kept.
func (a *ahead) proposedLocked(height, view uint64, members consensus.Membership) bool {
	leader := leaderOf(view, members)
	s := a.kept[leader]
	if s == nil {
		return false
	}
	k := s.at(utterance{height, proposes, leader})
	return k != nil && k.view == view
}

// at returns what was said, or nil.
func (s *speech) at(u utterance) *keptMessage {
	if said := s.heights[u.height]; said != nil {
		return said[u.kind]
	}
	return nil
}

// keep makes room at the lowest heights and reports whether there was enough: not
// for what is lower still.
func (s *speech) keep(u utterance, k *keptMessage) bool {
	proposal := 0
	if u.kind == proposes {
		proposal = k.size
		if old := s.at(u); old != nil {
			proposal -= old.size
		}
	}
	for len(s.heights) >= aheadHeights && s.heights[u.height] == nil || s.proposals+proposal > aheadBytes {
		lowest := u.height
		for h := range s.heights {
			lowest = min(lowest, h)
		}
		if lowest == u.height {
			return false
		}
		s.drop(lowest)
	}
	said := s.heights[u.height]
	if said == nil {
		said = new([kinds]*keptMessage)
		s.heights[u.height] = said
	}
	said[u.kind] = k
	s.proposals += proposal
	return true
}

func (s *speech) drop(height uint64) {
	if k := s.heights[height][proposes]; k != nil {
		s.proposals -= k.size
	}
	delete(s.heights, height)
}

// roseLocked forgets what is decided.
func (a *ahead) roseLocked(own uint64) {
	if own == a.own {
		return
	}
	a.own, a.since = own, time.Time{}
	for from, s := range a.kept {
		for h := range s.heights {
			if h <= own {
				s.drop(h)
			}
		}
		if len(s.heights) == 0 {
			delete(a.kept, from)
		}
	}
}

// leftLocked forgets what was said by who is no member any more.
func (a *ahead) leftLocked(members consensus.Membership) {
	if len(a.kept) < len(members.Replicas) {
		return // nobody's place is taken
	}
	for from := range a.kept {
		if !members.Contains(from) {
			delete(a.kept, from)
		}
	}
}

// lateLocked reports whether messages were held back at this height for too long.
func (a *ahead) lateLocked(now time.Time, patience time.Duration) bool {
	return !a.since.IsZero() && now.Sub(a.since) > patience
}

// eachLocked calls f with everything that is kept.
func (a *ahead) eachLocked(f func(u utterance, k *keptMessage)) {
	for from, s := range a.kept {
		for h, said := range s.heights {
			for kind, k := range said {
				if k != nil {
					f(utterance{h, messageKind(kind), from}, k)
				}
			}
		}
	}
}

// begins notes that a view begins, which knows of nothing that was said before.
func (a *ahead) begins() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.eachLocked(func(_ utterance, k *keptMessage) { k.had = false })
	a.since = time.Time{}
	a.wakeUp()
}

// wakeUp lets whoever waits for wake look for what is due.
func (a *ahead) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// dueMessage is one that the library should have now.
type dueMessage struct {
	utterance
	m *pb.Message
}

// due returns, in the order of heights, what the library takes in this view and
// has not had.
func (a *ahead) due(own, view uint64, now time.Time, patience time.Duration) []dueMessage {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roseLocked(own)
	last := own + 2
	if a.lateLocked(now, patience) {
		last = math.MaxUint64
	}
	var ds []dueMessage
	a.eachLocked(func(u utterance, k *keptMessage) {
		if !k.had && k.view == view && u.height <= last {
			k.had = true
			ds = append(ds, dueMessage{u, k.m})
		}
	})
	slices.SortFunc(ds, func(x, y dueMessage) int {
		return cmp.Or(cmp.Compare(x.height, y.height), cmp.Compare(x.kind, y.kind), cmp.Compare(x.from, y.from))
	})
	return ds
}

// pass hands the library what has become due, for the life of an instance. It has a
// goroutine of its own: the library's, which notice that something may be due, are
// those that must take it.
func (e *Engine) pass(ctx context.Context, in *instance) {
	for {
		select {
		case <-e.ahead.wake:
		case <-ctx.Done():
			return
		}
		view := e.meter.view.Load()
		if e.promises.left(view) {
			continue // whatever is proposed in it is refused, for which the library begins it anew: without end, if it heard of that each time
		}
		for _, d := range e.ahead.due(e.height.Load(), view, time.Now(), e.cfg.Settings.RepeatTimeout) {
			if ctx.Err() != nil || e.muted() {
				return
			}
			e.counters.held.Add(1)
			in.cons.HandleMessage(uint64(d.from), d.m)
		}
	}
}
