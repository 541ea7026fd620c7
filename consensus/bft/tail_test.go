package bft

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	smart "github.com/hyperledger-labs/SmartBFT/pkg/types"
	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

func metaBytes(view, height, decisions uint64) []byte {
	raw, err := proto.Marshal(&pb.ViewMetadata{ViewId: view, LatestSequence: height, DecisionsInView: decisions})
	if err != nil {
		panic(err)
	}
	return raw
}

func proposalAt(view, height uint64, payload string) smart.Proposal {
	return smart.Proposal{Header: []byte("h"), Payload: []byte(payload), Metadata: metaBytes(view, height, 0), VerificationSequence: 1}
}

func saved(m *pb.SavedMessage) []byte {
	raw, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

// Records as the library writes them.
func proposedRecord(view, height uint64) []byte {
	p := proposalAt(view, height, "p")
	return saved(&pb.SavedMessage{Content: &pb.SavedMessage_ProposedRecord{ProposedRecord: &pb.ProposedRecord{
		PrePrepare: &pb.PrePrepare{View: view, Seq: height, Proposal: &pb.Proposal{
			Header: p.Header, Payload: p.Payload, Metadata: p.Metadata, VerificationSequence: uint64(p.VerificationSequence),
		}},
		Prepare: &pb.Prepare{View: view, Seq: height, Digest: p.Digest()},
	}}})
}

func commitRecord(view, height uint64) []byte {
	return saved(&pb.SavedMessage{Content: &pb.SavedMessage_Commit{Commit: &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{
		View: view, Seq: height, Digest: strings.Repeat("0", 64), Signature: &pb.Signature{Signer: 1, Value: sealVote(view, []byte("s"))},
	}}}}})
}

func newViewRecord(view, height uint64) []byte {
	return saved(&pb.SavedMessage{Content: &pb.SavedMessage_NewView{NewView: &pb.ViewMetadata{ViewId: view, LatestSequence: height}}})
}

func viewChangeRecord(leaving uint64) []byte {
	return saved(&pb.SavedMessage{Content: &pb.SavedMessage_ViewChange{ViewChange: &pb.ViewChange{NextView: leaving}}})
}

func TestRecordKindsAreToldByTheirFirstByte(t *testing.T) {
	for _, test := range []struct {
		raw  []byte
		want byte
	}{
		{proposedRecord(1, 2), recordProposal},
		{commitRecord(1, 2), recordCommit},
		{newViewRecord(1, 2), recordNewView},
		{viewChangeRecord(0), recordViewChange},
	} {
		if test.raw[0] != test.want {
			t.Errorf("record starts with %#x, want %#x", test.raw[0], test.want)
		}
	}
}

func decided(height uint64, votes ...consensus.ReplicaID) consensus.Decision {
	d := consensus.Decision{Proposal: consensus.Proposal{Height: height}}
	if height > 0 {
		d.Proposal.Meta = metaBytes(0, height, height-1)
	}
	for _, id := range votes {
		d.Votes = append(d.Votes, consensus.Vote{Replica: id})
	}
	return d
}

func TestLogAndBlockStoreMustAgree(t *testing.T) {
	for _, test := range []struct {
		name    string
		records [][]byte
		last    consensus.Decision
		refused bool
	}{
		{"both empty", nil, decided(0), false},
		{"proposal for the next height", [][]byte{proposedRecord(0, 4)}, decided(3, 1, 2, 3), false},
		{"vote for the next height", [][]byte{proposedRecord(0, 4), commitRecord(0, 4)}, decided(3, 1, 2, 3), false},
		{"vote for the last height", [][]byte{proposedRecord(0, 3), commitRecord(0, 3)}, decided(3, 1, 2, 3), false},
		{"caught up far beyond the log", [][]byte{proposedRecord(0, 4)}, decided(90, 2, 3, 4), false},
		{"new view at the last height", [][]byte{newViewRecord(2, 3)}, decided(3, 1, 2, 3), false},

		{"blocks lost after a proposal", [][]byte{proposedRecord(0, 5)}, decided(3, 1, 2, 3), true},
		{"all blocks lost", [][]byte{proposedRecord(0, 2)}, decided(0), true},
		{"blocks lost after a new view", [][]byte{newViewRecord(1, 4)}, decided(3, 1, 2, 3), true},
		{"vote without its proposal", [][]byte{proposedRecord(0, 3), commitRecord(0, 4)}, decided(3, 1, 2, 3), true},
		{"old copy of the log, own vote in the last block", [][]byte{proposedRecord(0, 2), commitRecord(0, 2)}, decided(3, 1, 2, 3), true},
		{"empty log, own vote in the last block", nil, decided(3, 1, 2, 3), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			tl, err := readTail(test.records)
			if err != nil {
				t.Fatal(err)
			}
			err = tl.check(1, test.last, false)
			if refused := errors.Is(err, ErrLogMismatch); refused != test.refused || (err != nil) != test.refused {
				t.Errorf("check: %v, want refusal %v", err, test.refused)
			}
		})
	}
}

func TestResumeShowsTheLibraryWhatItMayNotForget(t *testing.T) {
	prop, vote := proposedRecord(2, 4), commitRecord(2, 4)
	for _, test := range []struct {
		name    string
		records [][]byte
		last    meta
		want    restart
		floor   uint64
		voted   bool
	}{
		{"nothing", nil, meta{1, 3, 5}, restart{meta: meta{1, 3, 5}}, 0, false},
		{"proposal pending", [][]byte{prop}, meta{2, 3, 1}, restart{records: [][]byte{prop}, meta: meta{2, 3, 1}}, 2, false},
		{"first proposal of a view", [][]byte{prop}, meta{1, 3, 5}, restart{records: [][]byte{prop}, meta: meta{2, 3, noDecisions}}, 2, false},
		{"proposal got by catching up", [][]byte{prop}, meta{2, 4, 0}, restart{meta: meta{2, 4, 0}}, 2, false},
		{"proposal overtaken by far", [][]byte{prop}, meta{3, 9, 2}, restart{meta: meta{3, 9, 2}}, 2, false},
		{"vote pending", [][]byte{prop, vote}, meta{2, 3, 1}, restart{records: [][]byte{prop, vote}, meta: meta{2, 3, 1}}, 2, true},
		{"vote decided", [][]byte{prop, vote}, meta{2, 4, 0}, restart{meta: meta{2, 4, 0}}, 2, true},
		{"vote, then leaving the view", [][]byte{prop, vote, viewChangeRecord(2)}, meta{2, 3, 1},
			restart{records: [][]byte{prop, vote}, meta: meta{2, 3, 1}, leave: true}, 3, true},
		{"vote, then leaving a later view", [][]byte{prop, vote, viewChangeRecord(2), viewChangeRecord(3)}, meta{2, 3, 1},
			restart{records: [][]byte{prop, vote}, meta: meta{3, 3, noDecisions}, leave: true}, 4, true},
		{"leaving, then vote: written by two goroutines", [][]byte{prop, viewChangeRecord(2), vote}, meta{2, 3, 1},
			restart{records: [][]byte{prop, vote}, meta: meta{2, 3, 1}, leave: true}, 3, true},
		{"vote made void by a new view", [][]byte{prop, vote, viewChangeRecord(2), newViewRecord(3, 3)}, meta{2, 3, 1},
			restart{records: [][]byte{prop, vote, viewChangeRecord(2), newViewRecord(3, 3)}, meta: meta{2, 3, 1}}, 3, false},
		{"proposal only, then leaving", [][]byte{prop, viewChangeRecord(2)}, meta{2, 3, 1},
			restart{records: [][]byte{prop, viewChangeRecord(2)}, meta: meta{2, 3, 1}}, 3, false},
		{"vote taken over while leaving", [][]byte{viewChangeRecord(4), prop, vote}, meta{2, 3, 1},
			restart{records: [][]byte{prop, vote}, meta: meta{4, 3, noDecisions}, leave: true}, 5, true},
		{"vote, its own view again by catching up, then leaving a later one", [][]byte{prop, vote, newViewRecord(2, 3), viewChangeRecord(4)}, meta{2, 3, 1},
			restart{records: [][]byte{prop, vote}, meta: meta{4, 3, noDecisions}, leave: true}, 5, true},
		{"vote, leaving, an earlier view by catching up", [][]byte{prop, vote, viewChangeRecord(3), newViewRecord(1, 3)}, meta{2, 3, 1},
			restart{records: [][]byte{prop, vote}, meta: meta{3, 3, noDecisions}, leave: true}, 4, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			tl, err := readTail(test.records)
			if err != nil {
				t.Fatal(err)
			}
			got := tl.resume(test.records, test.last)
			if got.meta != test.want.meta || got.leave != test.want.leave || !equalRecords(got.records, test.want.records) {
				t.Errorf("resume with %d records, %+v, leave %v; want %d, %+v, %v",
					len(got.records), got.meta, got.leave, len(test.want.records), test.want.meta, test.want.leave)
			}
			if tl.promises.floor != test.floor {
				t.Errorf("floor %d, want %d", tl.promises.floor, test.floor)
			}
			if voted := tl.promises.vote.meta.height > 0; voted != test.voted {
				t.Errorf("holds a vote: %v, want %v", voted, test.voted)
			}
		})
	}
}

func equalRecords(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if string(a[i]) != string(b[i]) {
			return false
		}
	}
	return true
}

func TestForgetRecordNeutralisesTheLastRecordInPlace(t *testing.T) {
	records := [][]byte{proposedRecord(0, 1), proposedRecord(0, 2)}
	alias := records
	if err := forgetRecord(records); err != nil {
		t.Fatal(err)
	}
	m := &pb.SavedMessage{}
	if err := proto.Unmarshal(alias[1], m); err != nil || m.GetNewView() == nil || m.GetNewView().GetLatestSequence() != 0 {
		t.Errorf("last record is %v, %v", m, err)
	}
	if err := forgetRecord(nil); err != nil {
		t.Error(err)
	}
}

func FuzzReadTail(f *testing.F) {
	f.Add(proposedRecord(1, 2), commitRecord(1, 2))
	f.Add(viewChangeRecord(3), newViewRecord(4, 5))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		records := [][]byte{a, b}
		tl, err := readTail(records)
		if err != nil {
			return
		}
		_ = tl.check(1, decided(3, 1, 2, 3), false) // any answer, no panic
		r := tl.resume(records, meta{0, 3, 2})
		if len(r.records) > len(records) {
			t.Errorf("%d records out of %d", len(r.records), len(records))
		}
	})
}

func TestLogSurvivesTornAndUnfinishedFiles(t *testing.T) {
	quiet := &libLogger{log: slog.New(slog.DiscardHandler)}
	record := proposedRecord(0, 1)
	write := func(t *testing.T) string {
		dir := filepath.Join(t.TempDir(), "a", "b")
		l, records, err := openLog(dir, quiet)
		if err != nil || len(records) != 0 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		for _, r := range [][]byte{record, commitRecord(0, 1)} {
			if err := l.write(r, r[0] == recordProposal); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	newest := func(t *testing.T, dir string) string {
		names, err := filepath.Glob(filepath.Join(dir, "*"+walSuffix))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		return names[len(names)-1]
	}
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, dir string) error
		want   int
	}{
		{"untouched", func(*testing.T, string) error { return nil }, 2},
		{"torn last record", func(t *testing.T, dir string) error {
			name := newest(t, dir)
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			return os.Truncate(name, info.Size()-5)
		}, 1},
		{"garbage after the last record", func(t *testing.T, dir string) error {
			f, err := os.OpenFile(newest(t, dir), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("garbage garbage!")
			return errors.Join(err, f.Close())
		}, 2},
		{"file created, nothing written", func(t *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "0000000000000002.wal"), nil, 0o600)
		}, 2},
		{"file created, anchor torn", func(t *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "0000000000000002.wal"), []byte{1, 2, 3}, 0o600)
		}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := write(t)
			if err := test.damage(t, dir); err != nil {
				t.Fatal(err)
			}
			for range 2 { // and again after the repair
				l, records, err := openLog(dir, quiet)
				if err != nil {
					t.Fatal(err)
				}
				if len(records) != test.want {
					t.Errorf("%d records, want %d", len(records), test.want)
				}
				if err := l.close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Run("the first file was never finished", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "0000000000000001.wal"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		l, records, err := openLog(dir, quiet)
		if err != nil || len(records) != 0 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("write after close fails", func(t *testing.T) {
		l, _, err := openLog(t.TempDir(), quiet)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		if err := l.write(record, true); err == nil {
			t.Error("a closed log took a record")
		}
	})
}
