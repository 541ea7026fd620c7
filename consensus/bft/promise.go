package bft

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// promises are what this replica may not contradict. The library keeps them
// too, but forgets some: when catching up restarts a view it starts that view
// afresh, so a leader proposes a second time at the same height and followers
// vote a second time; it goes on in a view it has left; and a vote for a
// proposal taken over in a view change is kept nowhere. Any of the three can
// fork the ledger without a faulty replica, by lost messages alone. The rules
// are those of PBFT:
//
//  1. One proposal per view and height is accepted; the leader repeats its own.
//  2. Once view data for view v are sent, no earlier view is taken part in.
//  3. View data contain the proposal last voted for, if it is not yet decided
//     and no new view has found that it cannot have been.
//
// They are on disk before anything that relies on them leaves this replica,
// and are read back from the log (tail).
type promises struct {
	mu sync.Mutex // guards all; held while a record is written
	// candidate is the proposal that VerifyProposal last found good.
	candidate claim
	// accepted is the proposal last logged.
	accepted claim
	// vote is the last vote, zero if a new view made it void.
	vote vote
	// logged: the vote is in the log, with signature.
	logged    bool
	signature *pb.Signature
	// floor is the lowest view this replica may take part in.
	floor uint64
}

// claim is a proposal and what its metadata say.
type claim struct {
	meta     meta
	proposal smart.Proposal
}

// vote is what a replica votes for, and the view in which it does: later than the
// proposal's if it was taken over.
type vote struct {
	claim
	view uint64
}

func claimOf(p smart.Proposal) (claim, error) {
	m, err := parseMeta(p.Metadata)
	return claim{meta: m, proposal: p}, err
}

func (c claim) same(other claim) bool {
	return c.meta == other.meta && sameProposal(c.proposal, other.proposal)
}

func sameProposal(a, b smart.Proposal) bool {
	return a.VerificationSequence == b.VerificationSequence && bytes.Equal(a.Metadata, b.Metadata) &&
		bytes.Equal(a.Header, b.Header) && bytes.Equal(a.Payload, b.Payload)
}

// mayAccept applies rules 1 and 2 to a live proposal, before it is checked.
func (p *promises) mayAccept(c claim) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.meta.view < p.floor {
		return fmt.Errorf("proposal at height %d in view %d, which this replica has left", c.meta.height, c.meta.view)
	}
	if p.vote.meta.height == c.meta.height && !p.vote.same(c) {
		return fmt.Errorf("proposal at height %d, where this replica voted for another", c.meta.height)
	}
	if p.accepted.meta.height == c.meta.height && p.accepted.meta.view == c.meta.view && !p.accepted.same(c) {
		return fmt.Errorf("second proposal at height %d in view %d", c.meta.height, c.meta.view)
	}
	return nil
}

// found notes that c passed all checks; the library logs it next.
func (p *promises) found(c claim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.candidate = c
}

// repeat returns the proposal that the leader has already made for the same
// metadata, which is the only one it may make (rule 1).
func (p *promises) repeat(metadata []byte) (smart.Proposal, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted.meta.height > 0 && bytes.Equal(p.accepted.proposal.Metadata, metadata) {
		return p.accepted.proposal, true
	}
	return smart.Proposal{}, false
}

// left reports that this replica has left view.
func (p *promises) left(view uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return view < p.floor
}

// errPromise: the library is about to break a promise.
var errPromise = errors.New("library forgot a promise")

// mayVote notes a vote on a live proposal.
func (p *promises) mayVote(c claim) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.meta.view < p.floor {
		return fmt.Errorf("%w: vote at height %d in view %d, which this replica has left", errPromise, c.meta.height, c.meta.view)
	}
	if !p.accepted.same(c) {
		return fmt.Errorf("%w: vote at height %d for a proposal that was not accepted", errPromise, c.meta.height)
	}
	if !p.vote.same(c) {
		p.vote, p.logged = vote{c, c.meta.view}, false
	}
	return nil
}

// counts reports whether a vote of another replica for a proposal, cast in view,
// counts together with this replica's own.
func (p *promises) counts(proposal smart.Proposal, view uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vote.view == view && sameProposal(p.vote.proposal, proposal)
}

// stands reports whether this replica has voted for a proposal and stands by it.
func (p *promises) stands(proposal smart.Proposal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vote.meta.height > 0 && sameProposal(p.vote.proposal, proposal)
}

// checkViewData applies rule 3 to view data about to be signed.
func (p *promises) checkViewData(raw []byte) error {
	d := &pb.ViewData{}
	if err := proto.Unmarshal(raw, d); err != nil {
		return fmt.Errorf("decode own view data: %w", err)
	}
	var last meta
	if md := d.GetLastDecision().GetMetadata(); len(md) > 0 {
		var err error
		if last, err = parseMeta(md); err != nil {
			return fmt.Errorf("own view data: %w", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.vote.meta.height != last.height+1 {
		return nil
	}
	f := d.GetInFlightProposal()
	in := proposalOf(f)
	if f == nil || !d.GetInFlightPrepared() || !sameProposal(in, p.vote.proposal) {
		return fmt.Errorf("%w: view data without the vote at height %d", errPromise, p.vote.meta.height)
	}
	return nil
}

// Kinds of log records: the first byte of their encoding.
const (
	recordProposal   = 0x0a
	recordCommit     = 0x12
	recordNewView    = 0x1a
	recordViewChange = 0x22
)

// append logs a record of the library through write and keeps the promises in
// step. A proposal or vote that is logged already is not logged again: the
// library would truncate the log at the proposal and lose the vote.
func (p *promises) append(entry []byte, truncate bool, write func([]byte, bool) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(entry) == 0 {
		return errors.New("empty log record")
	}
	switch entry[0] {
	case recordProposal:
		if p.accepted.same(p.candidate) {
			return nil
		}
		if err := write(entry, truncate); err != nil {
			return err
		}
		p.accepted = p.candidate
		return nil
	case recordCommit:
		if p.logged {
			return nil
		}
	}
	if err := write(entry, truncate); err != nil {
		return err
	}
	m := &pb.SavedMessage{}
	if err := proto.Unmarshal(entry, m); err != nil {
		return fmt.Errorf("decode own log record: %w", err)
	}
	switch entry[0] {
	case recordCommit:
		p.logged, p.signature = true, m.GetCommit().GetCommit().GetSignature()
	case recordNewView:
		p.enterLocked(m.GetNewView().GetViewId())
	case recordViewChange:
		p.floor = max(p.floor, m.GetViewChange().GetNextView()+1)
	}
	return nil
}

// enterLocked notes a new view. It was installed because a quorum showed, or
// f+1 replicas did after a quorum showed them, that no undecided vote of an
// earlier view can have decided anything.
func (p *promises) enterLocked(view uint64) {
	p.floor = max(p.floor, view)
	if view > p.vote.view {
		p.vote, p.logged = vote{}, false
	}
}

// takeOver logs a vote, cast in view, for a proposal that a view change took over
// from an earlier one. The library does not; a replica that restarted would deny it.
func (p *promises) takeOver(c claim, view uint64, sig *smart.Signature, write func([]byte, bool) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.vote.same(c) && p.vote.view == view && p.logged {
		return nil
	}
	digest := c.proposal.Digest()
	signature := &pb.Signature{Signer: sig.ID, Value: sig.Value}
	records := []*pb.SavedMessage{
		{Content: &pb.SavedMessage_ProposedRecord{ProposedRecord: &pb.ProposedRecord{
			PrePrepare: &pb.PrePrepare{View: c.meta.view, Seq: c.meta.height, Proposal: c.message()},
			Prepare:    &pb.Prepare{View: c.meta.view, Seq: c.meta.height, Digest: digest},
		}}},
		{Content: &pb.SavedMessage_Commit{Commit: &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{
			View: c.meta.view, Seq: c.meta.height, Digest: digest, Signature: signature,
		}}}}},
	}
	for _, r := range records {
		raw, err := proto.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode vote taken over at height %d: %w", c.meta.height, err)
		}
		// No truncation: the view change that led here is still needed.
		if err := write(raw, false); err != nil {
			return err
		}
	}
	p.accepted, p.vote, p.logged, p.signature = c, vote{c, view}, true, signature
	p.floor = max(p.floor, view)
	return nil
}
