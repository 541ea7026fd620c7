package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEditChangesWhatItIsToldAndNothingElse(t *testing.T) {
	const file = `# the bank's node
dataDir: /var/lib/assent/data # on the fast disk
genesis: genesis.json
identity:
    member: bank-a # ours
    voteKey: vote
`
	b, err := Edit([]byte(file), map[string]string{"dataDir": "data", "identity.voteKey": "vote-2", "identity.nextVoteKey": "", "metrics.listen": Off})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# the bank's node", "dataDir: data # on the fast disk", "member: bank-a # ours", "voteKey: vote-2"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is missing in\n%s", want, b)
		}
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if c.Identity.VoteKey != "vote-2" || c.Identity.NextVote != "" || c.Metrics.Listen != Off || c.DataDir != filepath.Join(filepath.Dir(path), "data") {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"", "- a\n- b\n", "a: [", "identity: 3\n"} {
		if _, err := Edit([]byte(bad), map[string]string{"identity.voteKey": "x"}); err == nil {
			t.Errorf("%q was edited", bad)
		}
	}
}

// FuzzEdit edits files that operators wrote.
func FuzzEdit(f *testing.F) {
	f.Add([]byte("dataDir: data\nidentity:\n  member: a\n"))
	f.Add([]byte("{identity: {voteKey: x}}"))
	f.Add([]byte("a: &x {b: 1}\nidentity: *x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := Edit(b, map[string]string{"dataDir": "data", "identity.voteKey": "v"})
		if err != nil {
			return
		}
		again, err := Edit(out, map[string]string{"dataDir": "data", "identity.voteKey": "v"})
		if err != nil {
			t.Fatalf("what was edited cannot be edited: %v\n%s", err, out)
		}
		if len(again) > 2*len(out)+64 {
			t.Fatalf("it grows: %d bytes, then %d", len(out), len(again))
		}
	})
}
