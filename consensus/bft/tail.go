package bft

import (
	"errors"
	"fmt"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

// ErrLogMismatch: the write-ahead log and the block store cannot belong
// together, and ordering on would risk voting twice for one height.
var ErrLogMismatch = fmt.Errorf("%w: write-ahead log and block store disagree", consensus.ErrMayNotVote)

// tail is what the records of a write-ahead log say about this replica.
//
// The library truncates the log at every proposal it accepts, so the records
// are: one proposal, perhaps the vote for it, records of view changes, and
// perhaps a proposal and vote taken over in one.
type tail struct {
	promises *promises
	// proposed and committed are the heights of the last proposal accepted and
	// the last vote signed, 0 if none; proposedAt and commitAt the indices of
	// their records.
	proposed, committed  uint64
	proposedAt, commitAt int
	// newView is the last view installed after the proposal, newViewAt the
	// height at which.
	newView, newViewAt uint64

	records int
}

func readTail(records [][]byte) (tail, error) {
	t := tail{promises: &promises{}, records: len(records), commitAt: -1, proposedAt: -1}
	for i, raw := range records {
		if err := t.read(i, raw); err != nil {
			return tail{}, fmt.Errorf("write-ahead log record %d of %d: %w", i+1, len(records), err)
		}
	}
	return t, nil
}

func (t *tail) read(i int, raw []byte) error {
	m := &pb.SavedMessage{}
	if err := proto.Unmarshal(raw, m); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	switch c := m.GetContent().(type) {
	case *pb.SavedMessage_ProposedRecord:
		pre := c.ProposedRecord.GetPrePrepare()
		p := pre.GetProposal()
		if p == nil || c.ProposedRecord.GetPrepare() == nil {
			return errors.New("a proposal without content")
		}
		accepted, err := claimOf(smart.Proposal{Payload: p.Payload, Header: p.Header, Metadata: p.Metadata, VerificationSequence: int64(p.VerificationSequence)})
		if err != nil || accepted.meta.height != pre.GetSeq() {
			return errors.Join(errors.New("a proposal with wrong metadata"), err)
		}
		t.promises.accepted, t.promises.vote, t.promises.logged = accepted, vote{}, false
		t.promises.floor = max(t.promises.floor, accepted.meta.view)
		t.proposed, t.proposedAt = pre.GetSeq(), i
	case *pb.SavedMessage_Commit:
		commit := c.Commit.GetCommit()
		if commit.GetSignature() == nil {
			return errors.New("a vote without content")
		}
		view, _, err := openVote(commit.GetSignature().GetValue())
		if err != nil {
			return err
		}
		t.committed, t.commitAt = commit.GetSeq(), i
		t.promises.floor = max(t.promises.floor, view)
		t.promises.vote, t.promises.logged, t.promises.signature = vote{t.promises.accepted, view}, true, commit.GetSignature()
	case *pb.SavedMessage_NewView:
		t.newView, t.newViewAt = c.NewView.GetViewId(), c.NewView.GetLatestSequence()
		t.promises.enterLocked(t.newView)
	case *pb.SavedMessage_ViewChange:
		t.promises.floor = max(t.promises.floor, c.ViewChange.GetNextView()+1)
	default:
		return errors.New("no known kind")
	}
	return nil
}

// check refuses a log that does not fit the last decision.
//
// Two rules. A log ahead of the store: this replica accepts a proposal for
// height h only after block h-1 is on disk, so a proposal or a new view beyond
// that means that blocks were lost. A log behind the store is normal after
// catching up; but the vote of this replica in the last decision must have left
// a record for that height or a later one, else the log is an old copy and
// what it forgot may be contradicted. That does not hold for a decision that
// this replica made alone, under an engine that keeps no log.
func (t tail) check(self consensus.ReplicaID, last consensus.Decision, alone bool) error {
	height := last.Proposal.Height
	if t.proposed > height+1 || t.committed > height+1 || t.newViewAt > height {
		return fmt.Errorf("%w: block store ends at height %d, but this replica voted on heights up to %d: blocks were lost; catch up from the other replicas first, or restore the newest block store",
			ErrLogMismatch, height, max(t.proposed, t.committed, t.newViewAt))
	}
	if t.committed > height && t.committed != t.proposed {
		return fmt.Errorf("%w: the write-ahead log holds a vote for height %d without its proposal: it is damaged; run this node as an observer until a configuration change admits it with a new vote key",
			ErrLogMismatch, t.committed)
	}
	if height == 0 || alone || !votedIn(last, self) {
		return nil
	}
	if max(t.proposed, t.committed, t.newViewAt) < height {
		return fmt.Errorf("%w: this replica voted in block %d, but its log knows nothing after height %d: the log is lost or an old copy, and ordering on may vote twice; run this node as an observer until a configuration change admits it with a new vote key",
			ErrLogMismatch, height, max(t.proposed, t.committed, t.newViewAt))
	}
	return nil
}

func votedIn(d consensus.Decision, self consensus.ReplicaID) bool {
	for _, v := range d.Votes {
		if v.Replica == self {
			return true
		}
	}
	return false
}

// voted is the highest height for which this replica may have let a vote out.
func (t tail) voted(self consensus.ReplicaID, last consensus.Decision) uint64 {
	if votedIn(last, self) {
		return max(t.committed, last.Proposal.Height)
	}
	return t.committed
}

// restart is how an engine resumes: the records to show the library, the view
// and number of decisions in it to start from, and whether to leave that view
// at once.
type restart struct {
	records [][]byte
	meta    meta
	leave   bool
}

// resume decides what the library may see of the log, given the engine's
// metadata of the last decision.
//
// It looks at the last record only, which has three gaps:
//   - A proposal that is already in a block is taken up again, and the replica
//     waits for votes on it for many blocks. So it is dropped.
//   - A view is forgotten when its first proposal truncates the log; the
//     replica comes back under the previous leader. So the view is taken from
//     the proposal.
//   - A vote for the next height, followed by the record of a view change, is
//     forgotten; a quorum that stops and restarts so could decide something
//     else at that height. So the vote is shown as the last record, in the view
//     that was being left, which is left again. The same when the two records
//     were written in the other order, which the library refuses to read, and when
//     a view follows that makes no vote void: catching up can record an earlier one.
func (t tail) resume(records [][]byte, last meta) restart {
	r := restart{records: records, meta: last}
	if t.proposedAt >= 0 {
		r.meta.enter(t.promises.accepted.meta.view)
	}
	lastRecord := t.records - 1
	switch {
	case t.proposedAt >= 0 && t.committed == last.height+1 && t.promises.vote.meta.height == t.committed:
		r.records = [][]byte{records[t.proposedAt], records[t.commitAt]}
		r.meta.enter(t.newView)
		if floor := t.promises.floor; floor > r.meta.view { // a view was left, and none has begun since
			r.meta.enter(floor - 1)
			r.leave = true
		}
	case t.proposedAt == lastRecord && t.proposed <= last.height, t.commitAt == lastRecord:
		r.records = nil
	}
	return r
}

// forgetRecord replaces the last record, in place, by one that means nothing.
// The library reads its copy of the slice again at every change of membership
// and would take up a proposal that was long decided.
func forgetRecord(records [][]byte) error {
	if len(records) == 0 {
		return nil
	}
	raw, err := proto.Marshal(&pb.SavedMessage{Content: &pb.SavedMessage_NewView{NewView: &pb.ViewMetadata{}}})
	if err != nil {
		return fmt.Errorf("encode neutral log record: %w", err)
	}
	records[len(records)-1] = raw
	return nil
}
