package bft

import (
	"fmt"
	"sync"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

// A new leader asks whether a quorum shows nothing prepared, or all show the same. If
// two replicas have voted for different proposals at one height, in two views of which
// one missed the later, neither holds, whoever leads and however often: the library's
// view data prove no vote, and do not weigh views. But nothing can have been decided
// for which less than a quorum voted. So a leader whose view change has failed shows
// everybody what it was shown, as the new view that it would have made, which the
// library refuses and this adapter reads: whoever finds that a quorum of the others
// signed that they did not vote as it did, and have not decided more, withdraws its
// vote and the proposal.

// standoff keeps what others have shown: of each member one of a kind, so that
// nobody can push out what another has shown, nor make it grow.
type standoff struct {
	mu sync.Mutex // guards both
	// shown is the latest account of a member for a view that this replica leads.
	shown map[consensus.ReplicaID]account
	// lays is the latest new view of a member that this replica has not read yet.
	lays map[consensus.ReplicaID]*pb.NewView
}

// account is a replica's view data, and the view that they are for.
type account struct {
	view uint64
	data *pb.SignedViewData
}

// show keeps the view data of a member for a view, if self leads that. Signatures are
// checked by whoever relies on them.
func (s *standoff) show(view uint64, svd *pb.SignedViewData, self consensus.ReplicaID, m consensus.Membership) {
	from := consensus.ReplicaID(svd.GetSigner())
	if !m.Contains(from) || leaderOf(view, m) != self {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if view < s.shown[from].view {
		return
	}
	if s.shown == nil {
		s.shown = make(map[consensus.ReplicaID]account)
	}
	s.shown[from] = account{view, svd}
}

// all returns what was shown for a view.
func (s *standoff) all(view uint64) []*pb.SignedViewData {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*pb.SignedViewData
	for _, a := range s.shown {
		if a.view == view {
			all = append(all, a.data)
		}
	}
	return all
}

// forget drops what was shown for views up to view: one of them began, or failed.
func (s *standoff) forget(view uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range s.shown {
		if a.view <= view {
			delete(s.shown, id)
		}
	}
}

// laid keeps a new view for settle, which checks it.
func (s *standoff) laid(from consensus.ReplicaID, nv *pb.NewView, m consensus.Membership) {
	if !m.Contains(from) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lays == nil {
		s.lays = make(map[consensus.ReplicaID]*pb.NewView)
	}
	s.lays[from] = nv
}

// unread hands the new views over.
func (s *standoff) unread() []*pb.NewView {
	s.mu.Lock()
	defer s.mu.Unlock()
	unread := make([]*pb.NewView, 0, len(s.lays))
	for _, nv := range s.lays {
		unread = append(unread, nv)
	}
	clear(s.lays)
	return unread
}

// lay shows the others why the change to view, which this replica should lead, failed.
func (e *Engine) lay(view uint64) {
	m := e.membership()
	if leaderOf(view, m) != e.cfg.Self {
		return
	}
	all := e.standoff.all(view)
	e.standoff.forget(view)
	if e.led.past(view) { // it failed otherwise, and what others vote for may be decided
		return
	}
	if len(all) < consensus.Quorum(len(m.Replicas)) {
		return
	}
	nv := &pb.Message{Content: &pb.Message_NewView{NewView: &pb.NewView{SignedViewData: all}}}
	e.standoff.laid(e.cfg.Self, nv.GetNewView(), m)
	for _, id := range m.Replicas {
		if id != e.cfg.Self {
			e.SendConsensus(uint64(id), nv)
		}
	}
}

// settle is called at every tick, by watch, and not where messages come in: it may
// write, and the log must not change under it.
func (e *Engine) settle() {
	for _, nv := range e.standoff.unread() {
		if err := e.ballot.between(func() error { return e.withdraw(nv) }); err != nil {
			e.fail(err)
			return
		}
	}
}

// withdraw withdraws this replica's vote if nv proves that it decided nothing; it
// holds the ballot.
func (e *Engine) withdraw(nv *pb.NewView) error {
	height := e.height.Load() + 1
	mine, ok := e.promises.standing(height)
	if !ok || e.muted() {
		return nil
	}
	view, ok := e.nobodyElse(nv, mine, height)
	if !ok {
		return nil
	}
	if err := e.promises.withdraw(mine, view, height-1, e.log.write); err != nil {
		return err
	}
	e.cfg.Logger.Info("a quorum shows that it did not vote as this replica did: the vote is withdrawn", "height", height, "view", mine.view, "shown", view)
	f, err := inFlightOf(e.starting.Load().cons)
	if err != nil {
		return err
	}
	return f.clear(view+1, e.promises.stands)
}

// nobodyElse reports that a quorum of other replicas signed view data for one view
// after that of mine, without a decision at height, in which none shows mine as prepared.
func (e *Engine) nobodyElse(nv *pb.NewView, mine vote, height uint64) (view uint64, ok bool) {
	m := e.membership()
	if len(nv.GetSignedViewData()) > len(m.Replicas) {
		return 0, false
	}
	seen := make(map[consensus.ReplicaID]bool)
	for _, svd := range nv.GetSignedViewData() {
		id := consensus.ReplicaID(svd.GetSigner())
		if id == e.cfg.Self || seen[id] || !m.Contains(id) {
			continue
		}
		d := &pb.ViewData{}
		if proto.Unmarshal(svd.GetRawViewData(), d) != nil || d.GetNextView() <= mine.view || view != 0 && d.GetNextView() != view {
			return 0, false
		}
		view = d.GetNextView()
		var last meta
		if raw := d.GetLastDecision().GetMetadata(); len(raw) > 0 {
			var err error
			if last, err = parseMeta(raw); err != nil {
				return 0, false
			}
		}
		if last.height >= height || d.GetInFlightPrepared() && sameProposal(proposalOf(d.GetInFlightProposal()), mine.proposal) {
			return 0, false
		}
		if e.cfg.App.Verify(id, svd.GetRawViewData(), svd.GetSignature()) != nil {
			return 0, false
		}
		seen[id] = true
	}
	return view, len(seen) >= consensus.Quorum(len(m.Replicas))
}

func proposalOf(p *pb.Proposal) smart.Proposal {
	return smart.Proposal{Payload: p.GetPayload(), Header: p.GetHeader(), Metadata: p.GetMetadata(), VerificationSequence: int64(p.GetVerificationSequence())}
}

// standing returns the vote at a height that this replica stands by.
func (p *promises) standing(height uint64) (vote, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vote, p.vote.meta.height == height && p.logged
}

// withdraw makes a vote void, for what was shown for a view: in the log, that view
// began and was left.
func (p *promises) withdraw(c vote, view, height uint64, write func([]byte, bool) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.vote.same(c.claim) || p.vote.view != c.view {
		return nil // another one meanwhile
	}
	for _, r := range []*pb.SavedMessage{
		{Content: &pb.SavedMessage_NewView{NewView: &pb.ViewMetadata{ViewId: view, LatestSequence: height}}},
		{Content: &pb.SavedMessage_ViewChange{ViewChange: &pb.ViewChange{NextView: view}}},
	} {
		raw, err := proto.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode a withdrawn vote at height %d: %w", c.meta.height, err)
		}
		if err := write(raw, false); err != nil {
			return err
		}
	}
	p.enterLocked(view)
	p.floor = max(p.floor, view+1)
	return nil
}
