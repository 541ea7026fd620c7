package bft

import (
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

// Position reads from a proposal's metadata where it stands: the view of the leader
// that made it, and its height. An error means that no correct replica makes such
// metadata.
func Position(meta []byte) (view, height uint64, err error) {
	m, err := parseMeta(meta)
	return m.view, m.height, err
}

// witness passes on to the application what others say about proposals, if it
// wants to know. What is signed by vote keys is little: votes (in commits) and
// accounts of where a replica stands (in view changes); proposals and prepares are
// vouched for by the connection alone.
func (e *Engine) witness(from consensus.ReplicaID, m *pb.Message) {
	w, ok := e.cfg.App.(consensus.Witness)
	if !ok {
		return
	}
	switch c := m.GetContent().(type) {
	case *pb.Message_PrePrepare:
		p := c.PrePrepare
		if at, err := parseMeta(p.GetProposal().GetMetadata()); err == nil && at.view == p.GetView() && from == leaderOf(at.view, e.membership()) {
			propose(w, from, p.GetProposal())
		}
	case *pb.Message_Commit:
		v := c.Commit
		if view, signature, err := openVote(v.GetSignature().GetValue()); err == nil {
			w.Voted(view, v.GetSeq(), v.GetDigest(), consensus.Vote{Replica: from, Signature: signature})
		}
	case *pb.Message_ViewData:
		e.witnessAccount(w, c.ViewData)
	case *pb.Message_NewView:
		for _, s := range c.NewView.GetSignedViewData() {
			e.witnessAccount(w, s)
		}
	}
}

// witnessAccount passes on the blocks that a replica shows in its account of
// itself: a vote whose block nobody else has sent here may be for one of them.
func (e *Engine) witnessAccount(w consensus.Witness, s *pb.SignedViewData) {
	d := &pb.ViewData{}
	if err := proto.Unmarshal(s.GetRawViewData(), d); err != nil {
		return
	}
	for _, p := range []*pb.Proposal{d.GetLastDecision(), d.GetInFlightProposal()} {
		if p != nil {
			propose(w, 0, p)
		}
	}
}

func propose(w consensus.Witness, by consensus.ReplicaID, p *pb.Proposal) {
	if at, err := parseMeta(p.GetMetadata()); err == nil {
		w.Proposed(by, consensus.Proposal{Height: at.height, ConfigSeq: p.GetVerificationSequence(), Header: p.GetHeader(), Meta: p.GetMetadata()})
	}
}
