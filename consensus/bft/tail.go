package bft

import (
	"errors"
	"fmt"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

// ErrLogMismatch: the write-ahead log and the block store cannot belong
// together, and ordering on would risk voting twice for one height.
var ErrLogMismatch = errors.New("write-ahead log and block store disagree")

// tail is what the records of a write-ahead log say about this replica.
//
// The library truncates the log at every proposal it accepts, so the records
// are: one proposal, perhaps the vote for it, and records of view changes.
type tail struct {
	// proposed is the height of the last proposal accepted, 0 if none, view the
	// view it was accepted in, proposedAt the index of its record.
	proposed   uint64
	view       uint64
	proposedAt int
	// committed is the height of the last vote signed, 0 if none, commitAt the
	// index of its record.
	committed uint64
	commitAt  int
	// newView is the last view installed after the proposal, newViewAt the
	// height at which; hasNewView says that no vote follows it.
	newView    uint64
	newViewAt  uint64
	hasNewView bool
	// leaving is the view that this replica was leaving when it stopped: a view
	// change that no new view has ended.
	leaving   uint64
	isLeaving bool

	records int
}

func readTail(records [][]byte) (tail, error) {
	t := tail{records: len(records), commitAt: -1, proposedAt: -1}
	for i, raw := range records {
		m := &pb.SavedMessage{}
		if err := proto.Unmarshal(raw, m); err != nil {
			return tail{}, fmt.Errorf("decode write-ahead log record %d of %d: %w", i+1, len(records), err)
		}
		switch c := m.GetContent().(type) {
		case *pb.SavedMessage_ProposedRecord:
			pre := c.ProposedRecord.GetPrePrepare()
			if pre.GetProposal() == nil || c.ProposedRecord.GetPrepare() == nil {
				return tail{}, fmt.Errorf("write-ahead log record %d of %d is a proposal without content", i+1, len(records))
			}
			t.proposed, t.view, t.proposedAt = pre.GetSeq(), pre.GetView(), i
			t.hasNewView, t.isLeaving = false, false
		case *pb.SavedMessage_Commit:
			commit := c.Commit.GetCommit()
			if commit.GetSignature() == nil {
				return tail{}, fmt.Errorf("write-ahead log record %d of %d is a vote without content", i+1, len(records))
			}
			t.committed, t.commitAt = commit.GetSeq(), i
			t.hasNewView = false
		case *pb.SavedMessage_NewView:
			t.newView, t.newViewAt = c.NewView.GetViewId(), c.NewView.GetLatestSequence()
			t.hasNewView, t.isLeaving = true, false
		case *pb.SavedMessage_ViewChange:
			t.leaving, t.isLeaving = c.ViewChange.GetNextView(), true
		default:
			return tail{}, fmt.Errorf("write-ahead log record %d of %d is of no known kind", i+1, len(records))
		}
	}
	return t, nil
}

// check refuses a log that does not fit the last decision. marked is the
// height of the last vote noted outside the log.
//
// Two rules. A log ahead of the store: this replica accepts a proposal for
// height h only after block h-1 is on disk, so a proposal or a new view beyond
// that means that blocks were lost. A log behind the store is normal after
// catching up; but the vote of this replica in the last decision must have left
// a record for that height or a later one, else the log is an old copy and
// what it forgot may be contradicted.
func (t tail) check(self consensus.ReplicaID, last consensus.Decision, marked uint64) error {
	height := last.Proposal.Height
	if t.proposed > height+1 || t.committed > height+1 || t.newViewAt > height || marked > height+1 {
		return fmt.Errorf("%w: block store ends at height %d, but this replica voted on heights up to %d: blocks were lost; catch up from the other replicas first, or restore the newest block store",
			ErrLogMismatch, height, max(t.proposed, t.committed, t.newViewAt, marked))
	}
	if t.committed > height && t.committed != t.proposed {
		return fmt.Errorf("%w: the write-ahead log holds a vote for height %d without its proposal: it is damaged; run this node as an observer until a configuration change admits it with a new vote key",
			ErrLogMismatch, t.committed)
	}
	if height == 0 || !votedIn(last, self) {
		return nil
	}
	if max(t.proposed, t.committed, t.newViewAt, marked) < height {
		return fmt.Errorf("%w: this replica voted in block %d, but its log knows nothing after height %d: the log is lost or an old copy, and ordering on may vote twice; run this node as an observer until a configuration change admits it with a new vote key",
			ErrLogMismatch, height, max(t.proposed, t.committed, t.newViewAt, marked))
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
func (t tail) voted(self consensus.ReplicaID, last consensus.Decision, marked uint64) uint64 {
	v := max(t.committed, marked)
	if votedIn(last, self) {
		v = max(v, last.Proposal.Height)
	}
	return v
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
//     were written in the other order, which the library refuses to read.
func (t tail) resume(records [][]byte, last meta) restart {
	r := restart{records: records, meta: last}
	r.meta.enter(t.view)
	lastRecord := t.records - 1
	switch {
	case t.proposedAt >= 0 && t.committed == last.height+1 && t.committed == t.proposed && !t.hasNewView:
		r.records = [][]byte{records[t.proposedAt], records[t.commitAt]}
		r.meta.enter(t.newView)
		if t.isLeaving && t.leaving >= r.meta.view {
			r.meta.enter(t.leaving)
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
