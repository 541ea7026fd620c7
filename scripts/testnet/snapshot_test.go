package testnet

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node"
)

// A fifth node begins with a snapshot that a validator wrote under load, follows
// from there, and its ledger verifies.
func TestAFifthNodeBeginsWithASnapshot(t *testing.T) {
	n := up(t, DefaultManifest())
	l := startLoad(t, n)
	from := validators(n)
	l.flows(60, from...)
	out, err := exec.CommandContext(t.Context(), n.Program, "snapshot", "write", "--home", from[1].Home, "--json").Output()
	if err != nil {
		t.Fatalf("write a snapshot: %v: %s", err, stderrOf(err))
	}
	var written node.SnapshotInfo
	if err := json.Unmarshal(out, &written); err != nil {
		t.Fatal(err)
	}
	if out, err = exec.CommandContext(t.Context(), n.Program, "snapshot", "verify", "--home", from[1].Home, "--json").Output(); err != nil {
		t.Fatalf("verify the snapshot of a running node: %v: %s", err, stderrOf(err))
	}
	l.flows(20, from...)

	x, err := n.Join(t.Context(), from[0].Member, "observer")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Register(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	if err := n.StartNodeAs(x, n.Program, x.Home, "ASSENT_SNAPSHOTS_JOIN_ABOVE=10"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := x.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	l.flows(5, from...)
	l.stop()
	resolveAll(t, n, l)
	sameEverywhere(t, n)
	log, err := os.ReadFile(x.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "the node has begun with a snapshot") {
		t.Errorf("the fifth node began with genesis; snapshot of height %d", written.Height)
	}
	if err := x.StopNode(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), n.Program, "verify", "--home", x.Home, "--json").CombinedOutput(); err != nil {
		t.Errorf("the fifth node's ledger: %v: %s", err, out)
	}
}

func stderrOf(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}
