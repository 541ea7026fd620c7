package bft

import (
	"cmp"
	"context"
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

const (
	aheadHeights = 8       // how far beyond the last decision messages are kept
	aheadVote    = 8 << 10 // a larger vote, in bytes, is none of an honest replica
	aheadBytes   = 8 << 20 // of kept proposals, which only the leader of a view makes
)

// ahead keeps messages about the heights after the last decision.
type ahead struct {
	mu        sync.Mutex // guards what follows
	kept      map[utterance]*keptMessage
	proposals int       // bytes of the proposals in kept
	own       uint64    // last decision
	since     time.Time // when the first message was held back at that height; zero: none was

	wake chan struct{} // holds one token when kept may have something due
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
)

type keptMessage struct {
	m    *pb.Message
	view uint64
	size int
	had  bool // by the library
}

func newAhead() *ahead {
	return &ahead{kept: make(map[utterance]*keptMessage), wake: make(chan struct{}, 1)}
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
// gets it now. A replica that has not come on for patience needs more than to wait:
// then the library gets everything, and catches up.
func (a *ahead) hear(from consensus.ReplicaID, m *pb.Message, own uint64, members consensus.Membership, now time.Time, patience time.Duration) bool {
	u, view, ok := utteranceOf(from, m)
	if !ok || u.height <= own || u.height > own+aheadHeights {
		return true
	}
	size := proto.Size(m)
	if u.kind == proposes && from != leaderOf(view, members) || u.kind != proposes && size > aheadVote {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roseLocked(own)
	old := a.kept[u]
	if old != nil && old.view >= view {
		return true // said again: the library knows what to make of it
	}
	if u.kind == proposes {
		room := aheadBytes - a.proposals
		if old != nil {
			room += old.size
		}
		if size > room {
			return true
		}
	}
	a.dropLocked(u)
	if u.height > own+2 && a.since.IsZero() {
		a.since = now
	}
	k := &keptMessage{m: m, view: view, size: size, had: u.height <= own+2 || a.lateLocked(now, patience)}
	a.kept[u] = k
	if u.kind == proposes {
		a.proposals += size
	}
	if !k.had {
		return false
	}
	if u.height > own+2 { // the same holds for all of them
		a.wakeUp()
	}
	return true
}

// roseLocked forgets what is decided.
func (a *ahead) roseLocked(own uint64) {
	if own == a.own {
		return
	}
	a.own, a.since = own, time.Time{}
	for u := range a.kept {
		if u.height <= own {
			a.dropLocked(u)
		}
	}
}

// lateLocked reports whether messages were held back at this height for too long.
func (a *ahead) lateLocked(now time.Time, patience time.Duration) bool {
	return !a.since.IsZero() && now.Sub(a.since) > patience
}

func (a *ahead) dropLocked(u utterance) {
	if k := a.kept[u]; k != nil && u.kind == proposes {
		a.proposals -= k.size
	}
	delete(a.kept, u)
}

// begins notes that a view begins, which knows of nothing that was said before.
func (a *ahead) begins() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.kept {
		k.had = false
	}
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
		last = own + aheadHeights
	}
	var ds []dueMessage
	for u, k := range a.kept {
		if !k.had && k.view == view && u.height <= last {
			k.had = true
			ds = append(ds, dueMessage{u, k.m})
		}
	}
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
