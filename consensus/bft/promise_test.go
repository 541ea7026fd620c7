package bft

import (
	"errors"
	"testing"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// diary is a log in memory.
type diary struct {
	records [][]byte
	broken  error
}

func (d *diary) write(entry []byte, truncate bool) error {
	if d.broken != nil {
		return d.broken
	}
	if truncate {
		d.records = nil
	}
	d.records = append(d.records, entry)
	return nil
}

func claimAt(t testing.TB, view, height uint64, payload string) claim {
	t.Helper()
	c, err := claimOf(proposalAt(view, height, payload))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// accept does what the library does with a good proposal.
func (d *diary) accept(t testing.TB, p *promises, c claim) error {
	t.Helper()
	if err := p.mayAccept(c); err != nil {
		return err
	}
	p.found(c)
	raw := saved(&pb.SavedMessage{Content: &pb.SavedMessage_ProposedRecord{ProposedRecord: &pb.ProposedRecord{
		PrePrepare: &pb.PrePrepare{View: c.meta.view, Seq: c.meta.height, Proposal: c.message()},
		Prepare:    &pb.Prepare{View: c.meta.view, Seq: c.meta.height},
	}}})
	return p.append(raw, true, d.write)
}

func (d *diary) vote(t testing.TB, p *promises, c claim) error {
	t.Helper()
	if err := p.mayVote(c); err != nil {
		return err
	}
	return p.append(commitRecord(c.meta.view, c.meta.height), false, d.write)
}

// same checks that the promises read back from the log are those in memory.
func (d *diary) same(t testing.TB, p *promises) {
	t.Helper()
	tl, err := readTail(d.records)
	if err != nil {
		t.Fatal(err)
	}
	got := tl.promises
	if !got.accepted.same(p.accepted) || !got.vote.same(p.vote.claim) || got.vote.view != p.vote.view || got.logged != p.logged || got.floor != p.floor {
		t.Errorf("log says accepted %+v, vote %+v (%v), floor %d; memory %+v, %+v (%v), %d",
			got.accepted.meta, got.vote.meta, got.logged, got.floor, p.accepted.meta, p.vote.meta, p.logged, p.floor)
	}
}

func TestOneProposalPerViewAndHeight(t *testing.T) {
	p, d := &promises{}, &diary{}
	first, second := claimAt(t, 0, 1, "a"), claimAt(t, 0, 1, "b")
	if err := d.accept(t, p, first); err != nil {
		t.Fatal(err)
	}
	if err := p.mayAccept(second); err == nil {
		t.Error("a second proposal at the same view and height was accepted")
	}
	if err := d.accept(t, p, first); err != nil {
		t.Errorf("the same proposal again: %v", err)
	}
	if len(d.records) != 1 {
		t.Errorf("%d records, want the proposal once", len(d.records))
	}
	if err := p.mayVote(second); !errors.Is(err, errPromise) {
		t.Errorf("a vote for what was not accepted: %v", err)
	}
	if got, ok := p.repeat(first.proposal.Metadata); !ok || !sameProposal(got, first.proposal) {
		t.Error("the leader does not repeat its proposal")
	}
	if _, ok := p.repeat(metaBytes(0, 2, 1)); ok {
		t.Error("the leader repeats an old proposal at a new height")
	}
	if err := d.accept(t, p, claimAt(t, 0, 2, "c")); err != nil {
		t.Errorf("the next height: %v", err)
	}
	d.same(t, p)
}

func TestAVoteIsNotLoggedAwayByTheSameProposal(t *testing.T) {
	p, d := &promises{}, &diary{}
	c := claimAt(t, 0, 1, "a")
	if err := errors.Join(d.accept(t, p, c), d.vote(t, p, c), d.accept(t, p, c), d.vote(t, p, c)); err != nil {
		t.Fatal(err)
	}
	if len(d.records) != 2 {
		t.Errorf("%d records, want proposal and vote", len(d.records))
	}
	d.same(t, p)
	if accepted, vote, ok := p.undecided(0); !ok || !accepted.same(c) || vote == nil {
		t.Errorf("undecided: %+v, %v, %v", accepted.meta, vote, ok)
	}
	if _, _, ok := p.undecided(1); ok {
		t.Error("a decided proposal is repeated")
	}
}

func TestAViewThatWasLeftIsNotEnteredAgain(t *testing.T) {
	p, d := &promises{}, &diary{}
	c := claimAt(t, 3, 1, "a")
	if err := d.accept(t, p, c); err != nil {
		t.Fatal(err)
	}
	if err := p.append(viewChangeRecord(3), false, d.write); err != nil {
		t.Fatal(err)
	}
	if !p.left(3) || p.left(4) {
		t.Errorf("left view 3: %v, view 4: %v", p.left(3), p.left(4))
	}
	if err := p.mayVote(c); !errors.Is(err, errPromise) {
		t.Errorf("a vote in a view that was left: %v", err)
	}
	if err := p.mayAccept(claimAt(t, 3, 2, "b")); err == nil {
		t.Error("a proposal in a view that was left was accepted")
	}
	if _, _, ok := p.undecided(0); ok {
		t.Error("messages of a view that was left are repeated")
	}
	if err := p.mayAccept(claimAt(t, 4, 1, "b")); err != nil {
		t.Errorf("a proposal in the next view: %v", err)
	}
	d.same(t, p)
}

func viewData(t testing.TB, last uint64, inFlight *pb.Proposal, prepared bool) []byte {
	t.Helper()
	d := &pb.ViewData{NextView: 1, LastDecision: &pb.Proposal{}, InFlightProposal: inFlight, InFlightPrepared: prepared}
	if last > 0 {
		d.LastDecision.Metadata = metaBytes(0, last, 0)
	}
	raw, err := proto.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestViewDataHoldTheLastVote(t *testing.T) {
	p, d := &promises{}, &diary{}
	c := claimAt(t, 0, 2, "a")
	if err := errors.Join(d.accept(t, p, c), d.vote(t, p, c)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		raw  []byte
		ok   bool
	}{
		{"with it", viewData(t, 1, c.message(), true), true},
		{"as not prepared", viewData(t, 1, c.message(), false), false},
		{"without it", viewData(t, 1, nil, false), false},
		{"with another", viewData(t, 1, claimAt(t, 0, 2, "b").message(), true), false},
		{"decided meanwhile", viewData(t, 2, nil, false), true},
	} {
		if err := p.checkViewData(test.raw); (err == nil) != test.ok || (err != nil && !errors.Is(err, errPromise)) {
			t.Errorf("view data %s: %v", test.name, err)
		}
	}
	if err := p.mayAccept(claimAt(t, 1, 2, "b")); err == nil {
		t.Error("another proposal was accepted at the height of a vote")
	}
	// A new view found that nothing can have been decided.
	if err := p.append(newViewRecord(1, 1), false, d.write); err != nil {
		t.Fatal(err)
	}
	if err := p.checkViewData(viewData(t, 1, nil, false)); err != nil {
		t.Errorf("view data after a new view: %v", err)
	}
	if err := d.accept(t, p, claimAt(t, 1, 2, "b")); err != nil {
		t.Errorf("another proposal after a new view: %v", err)
	}
	d.same(t, p)
}

func TestAVoteTakenOverIsLoggedWithItsProposal(t *testing.T) {
	p, d := &promises{}, &diary{}
	if err := p.append(viewChangeRecord(0), false, d.write); err != nil {
		t.Fatal(err)
	}
	c := claimAt(t, 0, 1, "a") // of the view that is being left
	sig := &smart.Signature{ID: 1, Value: sealVote(1, []byte("sig"))}
	if err := errors.Join(p.takeOver(c, 1, sig, d.write), p.takeOver(c, 1, sig, d.write)); err != nil {
		t.Fatal(err)
	}
	if len(d.records) != 3 {
		t.Errorf("%d records, want view change, proposal and vote", len(d.records))
	}
	d.same(t, p)
	tl, err := readTail(d.records)
	if err != nil {
		t.Fatal(err)
	}
	if r := tl.resume(d.records, meta{}); !r.leave || len(r.records) != 2 {
		t.Errorf("resume with %d records, leave %v", len(r.records), r.leave)
	}
	if err := p.checkViewData(viewData(t, 0, nil, false)); !errors.Is(err, errPromise) {
		t.Errorf("view data without the vote taken over: %v", err)
	}
	if !p.counts(c.proposal, 1) || p.counts(c.proposal, 0) || p.counts(claimAt(t, 0, 1, "b").proposal, 1) {
		t.Error("not the votes of its own view, for its own proposal, count together with this one")
	}
	// The record of the view in which it was cast does not make it void; it is cast
	// anew if a later one takes the proposal over.
	if err := p.append(newViewRecord(1, 0), false, d.write); err != nil || p.vote.meta.height != 1 {
		t.Errorf("vote at height %d after its own view has begun, %v", p.vote.meta.height, err)
	}
	again := &smart.Signature{ID: 1, Value: sealVote(4, []byte("sig"))}
	if err := p.takeOver(c, 4, again, d.write); err != nil || len(d.records) != 6 || !p.counts(c.proposal, 4) || p.counts(c.proposal, 1) {
		t.Errorf("taken over again: %d records, vote in view %d, %v", len(d.records), p.vote.view, err)
	}
	d.same(t, p)
}

func TestAPromiseThatCannotBeLoggedIsNotMade(t *testing.T) {
	p, d := &promises{}, &diary{broken: errors.New("disk full")}
	c := claimAt(t, 0, 1, "a")
	if err := d.accept(t, p, c); !errors.Is(err, d.broken) {
		t.Errorf("accept: %v", err)
	}
	if p.accepted.meta.height != 0 {
		t.Error("a proposal counts as accepted that was not logged")
	}
	if err := p.append(viewChangeRecord(0), false, d.write); !errors.Is(err, d.broken) || p.left(0) {
		t.Errorf("view change: %v, left %v", err, p.left(0))
	}
	if err := p.takeOver(c, 1, &smart.Signature{}, d.write); !errors.Is(err, d.broken) || p.vote.meta.height != 0 {
		t.Errorf("take over: %v", err)
	}
	if err := p.append(nil, false, d.write); err == nil {
		t.Error("an empty record was taken")
	}
}
