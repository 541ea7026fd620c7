package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/assent-network/assent/node/ledger"
)

func TestOnlyVoteKeysMadeAfterTheRestoreVote(t *testing.T) {
	dir := t.TempDir()
	old, fresh := ledger.Address{1}, ledger.Address{2}
	if err := admitVoteKey(dir, fresh); err != nil {
		t.Fatal(err)
	}
	if m, err := readMark(dir); m != nil || err != nil {
		t.Fatalf("a node that was never restored has mark %+v, %v", m, err)
	}
	if err := writeMark(dir, &mark{Format: 1}); err != nil {
		t.Fatal(err)
	}
	if err := admitVoteKey(dir, fresh); err != nil {
		t.Fatal(err)
	}
	m, err := readMark(dir)
	if err != nil || !m.mayVote(fresh) || m.mayVote(old) {
		t.Fatalf("mark %+v, %v", m, err)
	}
	for _, damage := range []string{"", "{", `{"format":2}`, "null"} {
		if err := os.WriteFile(filepath.Join(dir, restoredFile), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := readMark(dir); err == nil {
			t.Errorf("%q is taken for mark %+v", damage, m)
		}
	}
}

// A vote key that an operator makes while the restored node runs is not forgotten when
// the node notes how far it is.
func TestAVoteKeyMadeMeanwhileIsKept(t *testing.T) {
	dir, fresh := t.TempDir(), ledger.Address{2}
	if err := writeMark(dir, &mark{Format: 1}); err != nil {
		t.Fatal(err)
	}
	r := &restored{path: dir, mark: mark{Format: 1}}
	if err := admitVoteKey(dir, fresh); err != nil {
		t.Fatal(err)
	}
	if err := r.change(func(m *mark) { m.Height = 7 }); err != nil {
		t.Fatal(err)
	}
	m, err := readMark(dir)
	if err != nil || !m.mayVote(fresh) || m.Height != 7 || r.now().Height != 7 {
		t.Errorf("mark %+v, %v", m, err)
	}
	if err := os.Remove(filepath.Join(dir, restoredFile)); err != nil {
		t.Fatal(err)
	}
	if err := r.change(func(m *mark) { m.Erased = true }); err == nil {
		t.Error("a mark that is gone was written anew without its vote keys")
	}
}

// FuzzMark reads the mark of a restore: a damaged one never lets a key vote.
func FuzzMark(f *testing.F) {
	f.Add([]byte(`{"format":1,"voteKeys":["0x0200000000000000000000000000000000000000"],"height":7,"erased":true}`))
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMark(b)
		if err == nil && m.Format != 1 {
			t.Fatalf("format %d", m.Format)
		}
		if err == nil && m.mayVote(ledger.Address{9}) && len(m.VoteKeys) == 0 {
			t.Fatal("a key may vote that nobody admitted")
		}
	})
}
