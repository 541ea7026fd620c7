package bft

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

// lastFile returns the newest log file in dir.
func lastFile(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+walSuffix))
	if err != nil || len(names) == 0 {
		t.Fatalf("log files: %v, %v", names, err)
	}
	slices.Sort(names)
	return names[len(names)-1]
}

// TestALogIsOnTheDiskBeforeItIsRead: after a sync that failed, the operating system
// shows records that no disk holds. So an engine reads nothing of a file that it did
// not write to the disk itself, and does not start if it cannot.
func TestALogIsOnTheDiskBeforeItIsRead(t *testing.T) {
	var spec consensustest.Spec
	c := consensustest.NewCluster(t, 4, func(s consensustest.Spec) (consensus.Engine, error) {
		if s.Self == 2 {
			spec = s
		}
		return Open(config(s))
	})
	c.Start()
	c.Submit(2, consensustest.Req("first", 50))
	c.WaitApplied(c.IDs(), "first")
	c.Replica(2).Stop()
	before := lastFile(t, spec.Dir)
	was, err := os.Stat(before)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(before)
	if err != nil {
		t.Fatal(err)
	}

	// A disk that takes nothing.
	if err := os.Mkdir(before+settling, 0o700); err != nil {
		t.Fatal(err)
	}
	again := config(spec)
	again.Last = spec.Last
	if _, err := Open(again); err == nil || !strings.Contains(err.Error(), "see to the disk") {
		t.Fatalf("opened a log that cannot be written again: %v", err)
	}
	if now, err := os.ReadFile(before); err != nil || string(now) != string(content) {
		t.Fatalf("the log was changed: %v", err)
	}
	if err := os.Remove(before + settling); err != nil {
		t.Fatal(err)
	}

	c.Start(2)
	now, err := os.Stat(before)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // the library drops files that it needs no more
		t.Fatal(err)
	}
	if err == nil && os.SameFile(was, now) {
		t.Error("the log was read from the file that was there")
	}
	c.Submit(2, consensustest.Req("second", 50))
	c.WaitApplied(c.IDs(), "second")
}

func TestRewriteKeepsEveryByteAndMode(t *testing.T) {
	dir, _ := writtenLog(t, 100, 2000, 7)
	path := lastFile(t, dir)
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A copy that a crash left.
	if err := os.WriteFile(path+settling, make([]byte, 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := settle(dir); err != nil {
		t.Fatal(err)
	}
	now, err := os.ReadFile(path)
	if err != nil || string(now) != string(was) {
		t.Errorf("%d bytes, were %d: %v", len(now), len(was), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info, err)
	}
	if _, err := os.Stat(path + settling); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is there: %v", err)
	}
	if err := settle(t.TempDir()); err != nil {
		t.Errorf("no log: %v", err)
	}
}
