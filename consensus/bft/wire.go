package bft

import (
	"errors"
	"fmt"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

const (
	digestLen    = 64   // hex of SHA-256
	maxSignature = 1024 // bytes of one signature, or of one vote
	maxReason    = 256  // bytes of text in a complaint
	maxVotes     = 512  // votes for one decision, of a larger membership perhaps
)

// inbound decodes and checks messages of other replicas before the library
// sees them. What the library checks itself (views, heights, votes that do not
// match) is left to it; here is what it does not check, or what makes it panic.
type inbound struct {
	self consensus.ReplicaID
	max  int
	// verify is App.Verify.
	verify func(by consensus.ReplicaID, msg, signature []byte) error
	// members is the current membership.
	members func() consensus.Membership
}

// decode returns a message that the library can be given. It retains nothing
// of raw.
func (in *inbound) decode(from consensus.ReplicaID, raw []byte) (*pb.Message, error) {
	if from == in.self {
		// The library treats its own messages as those of the leader of an
		// in-flight view and panics on a wrong one.
		return nil, errors.New("message under this replica's own name")
	}
	members := in.members()
	if !members.Contains(from) {
		return nil, errors.New("sender is not a member")
	}
	if len(raw) > in.max {
		return nil, fmt.Errorf("message of %d bytes exceeds %d", len(raw), in.max)
	}
	m := &pb.Message{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, m); err != nil {
		return nil, errors.New("message is not decodable")
	}
	if err := in.check(from, m, members); err != nil {
		return nil, err
	}
	return m, nil
}

func (in *inbound) check(from consensus.ReplicaID, m *pb.Message, members consensus.Membership) error {
	switch c := m.GetContent().(type) {
	case *pb.Message_PrePrepare:
		return checkPrePrepare(c.PrePrepare)
	case *pb.Message_Prepare:
		return checkDigest(c.Prepare.GetDigest())
	case *pb.Message_Commit:
		return checkCommit(from, c.Commit)
	case *pb.Message_ViewChange:
		if len(c.ViewChange.GetReason()) > maxReason {
			return errors.New("complaint with a long reason")
		}
		return nil
	case *pb.Message_ViewData:
		if consensus.ReplicaID(c.ViewData.GetSigner()) != from {
			return errors.New("view data are not the sender's")
		}
		_, err := in.checkViewData(c.ViewData, members)
		return err
	case *pb.Message_NewView:
		return in.checkNewView(c.NewView, members)
	case *pb.Message_HeartBeat, *pb.Message_HeartBeatResponse,
		*pb.Message_StateTransferRequest, *pb.Message_StateTransferResponse:
		return nil
	default:
		return errors.New("message of no known kind")
	}
}

func checkPrePrepare(p *pb.PrePrepare) error {
	if p.GetProposal() == nil {
		return errors.New("pre-prepare without a proposal")
	}
	if len(p.GetPrevCommitSignatures()) > 0 {
		// Only leader rotation carries them; the library would verify each.
		return errors.New("pre-prepare with votes of the previous decision")
	}
	return nil
}

func checkDigest(d string) error {
	if len(d) != digestLen {
		return fmt.Errorf("digest of %d characters, want %d", len(d), digestLen)
	}
	return nil
}

func checkCommit(from consensus.ReplicaID, c *pb.Commit) error {
	if err := checkDigest(c.GetDigest()); err != nil {
		return err
	}
	if c.GetSignature() == nil {
		return errors.New("commit without a signature")
	}
	if consensus.ReplicaID(c.GetSignature().GetSigner()) != from {
		return errors.New("commit is not the sender's")
	}
	return checkVotes([]*pb.Signature{c.GetSignature()})
}

// checkVotes checks the form of votes, and that all were cast in one view.
func checkVotes(votes []*pb.Signature) error {
	var view uint64
	for i, v := range votes {
		if err := checkSignature(v); err != nil {
			return err
		}
		in, _, err := openVote(v.GetValue())
		if err != nil {
			return err
		}
		if i > 0 && in != view {
			return fmt.Errorf("votes of views %d and %d together", view, in)
		}
		view = in
	}
	return nil
}

func checkSignature(s *pb.Signature) error {
	if len(s.GetValue()) > maxSignature || len(s.GetMsg()) > 0 {
		return errors.New("signature is too long")
	}
	return nil
}

// checkViewData checks one replica's account of where it stands: form, and its
// signature, which the library leaves out in some branches.
func (in *inbound) checkViewData(s *pb.SignedViewData, members consensus.Membership) (*pb.ViewData, error) {
	by := consensus.ReplicaID(s.GetSigner())
	if !members.Contains(by) {
		return nil, errors.New("view data of a stranger")
	}
	if len(s.GetSignature()) > maxSignature {
		return nil, errors.New("view data with a long signature")
	}
	d := &pb.ViewData{}
	if err := proto.Unmarshal(s.GetRawViewData(), d); err != nil {
		return nil, errors.New("view data are not decodable")
	}
	last := d.GetLastDecision()
	if last == nil {
		return nil, errors.New("view data without a last decision") // the library panics
	}
	if len(last.GetMetadata()) > 0 {
		if _, err := parseMeta(last.GetMetadata()); err != nil {
			return nil, fmt.Errorf("view data: last decision: %w", err)
		}
	}
	if len(d.GetLastDecisionSignatures()) > maxVotes {
		return nil, errors.New("view data with too many votes")
	}
	if err := checkVotes(d.GetLastDecisionSignatures()); err != nil {
		return nil, fmt.Errorf("view data: last decision: %w", err)
	}
	if p := d.GetInFlightProposal(); p != nil {
		if _, err := parseMeta(p.GetMetadata()); err != nil {
			return nil, fmt.Errorf("view data: in-flight proposal: %w", err)
		}
	}
	if err := in.verify(by, s.GetRawViewData(), s.GetSignature()); err != nil {
		return nil, errors.New("view data with a wrong signature")
	}
	return d, nil
}

// checkNewView lets only view data of distinct replicas through, each signed.
// The library skips repeated ones when it validates, but counts them when it
// decides which proposal was in flight: a lying new leader could have a
// proposal of its own committed, or make every replica panic. It also takes
// accounts of replicas behind this one without a signature.
func (in *inbound) checkNewView(nv *pb.NewView, members consensus.Membership) error {
	all := nv.GetSignedViewData()
	if len(all) < members.Quorum() || len(all) > len(members.Replicas) {
		return fmt.Errorf("new view with %d view data", len(all))
	}
	seen := make(map[uint64]bool, len(all))
	var view uint64
	for i, s := range all {
		if seen[s.GetSigner()] {
			return errors.New("new view with two view data of one replica")
		}
		seen[s.GetSigner()] = true
		d, err := in.checkViewData(s, members)
		if err != nil {
			return fmt.Errorf("new view: %w", err)
		}
		if i > 0 && d.GetNextView() != view {
			return errors.New("new view with view data for different views")
		}
		view = d.GetNextView()
	}
	return nil
}
