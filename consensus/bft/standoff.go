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

// standoff keeps what was shown to this replica as the leader of a view to come.
type standoff struct {
	mu    sync.Mutex // guards both
	view  uint64
	shown map[consensus.ReplicaID]*pb.SignedViewData
}

// show keeps the view data of a replica. Signatures are checked by whoever relies on
// them.
func (s *standoff) show(from consensus.ReplicaID, svd *pb.SignedViewData) {
	d := &pb.ViewData{}
	if consensus.ReplicaID(svd.GetSigner()) != from || proto.Unmarshal(svd.GetRawViewData(), d) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.GetNextView() < s.view {
		return
	}
	if d.GetNextView() > s.view || s.shown == nil {
		s.view, s.shown = d.GetNextView(), make(map[consensus.ReplicaID]*pb.SignedViewData)
	}
	s.shown[from] = svd
}

// all returns what was shown for a view.
func (s *standoff) all(view uint64) []*pb.SignedViewData {
	s.mu.Lock()
	defer s.mu.Unlock()
	if view != s.view {
		return nil
	}
	var all []*pb.SignedViewData
	for _, svd := range s.shown {
		all = append(all, svd)
	}
	return all
}

// lay shows the others why the change to view, which this replica should lead, failed.
func (e *Engine) lay(view uint64) {
	m := e.membership()
	if leaderOf(view, m) != e.cfg.Self {
		return
	}
	all := e.standoff.all(view)
	if len(all) < consensus.Quorum(len(m.Replicas)) {
		return
	}
	nv := &pb.Message{Content: &pb.Message_NewView{NewView: &pb.NewView{SignedViewData: all}}}
	for _, id := range m.Replicas {
		if id == e.cfg.Self {
			e.settle(nv.GetNewView())
		} else {
			e.SendConsensus(uint64(id), nv)
		}
	}
}

// settle withdraws this replica's vote if nv proves that it decided nothing.
func (e *Engine) settle(nv *pb.NewView) {
	height := e.height.Load() + 1
	mine, ok := e.promises.standing(height)
	if !ok || e.muted() {
		return
	}
	view, ok := e.nobodyElse(nv, mine, height)
	if !ok {
		return
	}
	if err := e.promises.withdraw(mine, view, height-1, e.log.write); err != nil {
		e.fail(err)
		return
	}
	e.cfg.Logger.Info("a quorum shows that it did not vote as this replica did: the vote is withdrawn", "height", height, "view", mine.meta.view, "shown", view)
	f, err := inFlightOf(e.starting.Load().cons)
	if err == nil {
		err = f.clear(view + 1)
	}
	if err != nil {
		e.fail(err)
	}
}

// nobodyElse reports that a quorum of other replicas signed view data for one view
// after mine, without a decision at height, in which none shows mine as prepared.
func (e *Engine) nobodyElse(nv *pb.NewView, mine claim, height uint64) (view uint64, ok bool) {
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
		if proto.Unmarshal(svd.GetRawViewData(), d) != nil || d.GetNextView() <= mine.meta.view || view != 0 && d.GetNextView() != view {
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
func (p *promises) standing(height uint64) (claim, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vote, p.vote.meta.height == height && p.logged
}

// withdraw makes a vote void, for what was shown for a view: in the log, that view
// began and was left.
func (p *promises) withdraw(c claim, view, height uint64, write func([]byte, bool) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.vote.same(c) {
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
