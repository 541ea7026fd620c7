package operations

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/scripts/testnet"
)

// diagnose runs assentd doctor on a node's home.
func (w *world) diagnose(t *testing.T, x *testnet.Node, flags ...string) *doctor.Report {
	t.Helper()
	return w.diagnoseWith(t, x, nil, flags...)
}

func (w *world) diagnoseWith(t *testing.T, x *testnet.Node, env []string, flags ...string) *doctor.Report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), w.program, append([]string{"doctor", "--home", x.Home, "--json"}, flags...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	w.said = append(w.said, out...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	var r doctor.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("doctor of %s: %v: %s", x.Name, err, out)
	}
	if code != r.Exit() {
		t.Errorf("doctor of %s: exit code %d at level %s", x.Name, code, r.Level)
	}
	return &r
}

// want is a finding that must be there.
func want(t *testing.T, r *doctor.Report, check string, level doctor.Level, what string) {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == check })
	if i < 0 {
		t.Errorf("no finding %s among %+v", check, r.Findings)
		return
	}
	f := r.Findings[i]
	if f.Level != level || !strings.Contains(f.What, what) || (f.Remedy == "") != (level == doctor.OK) {
		t.Errorf("%+v, want %s %q", f, level, what)
	}
}

// testDoctor: a network in order; then a validator is killed, a vault goes away,
// and a stopped validator has lost its ordering log.
func testDoctor(t *testing.T, w *world) {
	for _, x := range w.net.Nodes {
		var flags []string
		if x != w.net.Nodes[0] {
			flags = []string{"--no-password"} // opening keys takes its time
		}
		r := w.diagnose(t, x, flags...)
		for _, f := range r.Findings {
			// How fast the disk of this machine is, and how busy, is not the test's.
			if f.Level != doctor.OK && f.Check != "disk latency" && f.Check != "disk space" && f.Check != "lag" {
				t.Errorf("%s: %+v", x.Name, f)
			}
		}
		if !r.Running {
			t.Errorf("%s runs, its doctor says that it does not", x.Name)
		}
		want(t, r, "quorum margin", doctor.OK, "4 of 4 validators are reached")
		want(t, r, "clock", doctor.OK, "other nodes differ")
		want(t, r, "versions", doctor.OK, "Other nodes run")
	}
	first, dead := w.net.First(bank), w.net.First("lake-bank")
	want(t, w.diagnose(t, first, "--no-password"), "vault "+string(product), doctor.OK, "open for reading only")

	dead.Kill()
	vault := w.vault.Source
	if err := os.Rename(vault, vault+".away"); err != nil {
		t.Fatal(err)
	}
	var r *doctor.Report
	for seen := false; !seen && t.Context().Err() == nil; { // until the connection is found dead
		r = w.diagnose(t, first, "--no-password")
		seen = slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool { return f.Check == "quorum margin" && f.Level != doctor.OK })
	}
	want(t, r, "quorum margin", doctor.Warn, "3 of 4 validators are reached, 3 are needed: no further one may fail")
	want(t, r, "peer "+dead.Card.NodeID, doctor.Warn, "of lake-bank is not connected")
	want(t, r, "vault "+string(product), doctor.Fail, "")
	if r.Level != doctor.Fail {
		t.Errorf("level %s", r.Level)
	}
	if err := os.Rename(vault+".away", vault); err != nil {
		t.Fatal(err)
	}

	// What answers at the operators' address is taken for this node only if it is,
	// also when no key opens.
	r = w.diagnoseWith(t, dead, []string{"ASSENT_METRICS_LISTEN=" + first.Ops}, "--password", "env:NONE")
	want(t, r, "node", doctor.Warn, "stopped, at height")
	want(t, r, "key host", doctor.Fail, "NONE is not set")

	r = w.diagnose(t, dead)
	want(t, r, "node", doctor.Warn, "stopped, at height")
	for _, check := range []string{"block store", "state", "ordering log", "private database", "key vote", "port api.listen", "outbox"} {
		want(t, r, check, doctor.OK, "")
	}
	if err := os.RemoveAll(filepath.Join(dead.DataDir(), "wal")); err != nil {
		t.Fatal(err)
	}
	want(t, w.diagnose(t, dead, "--no-password"), "ordering log", doctor.Fail, "may vote twice")
	if err := os.Rename(filepath.Join(dead.DataDir(), "blocks"), filepath.Join(dead.DataDir(), "blocks.away")); err != nil {
		t.Fatal(err)
	}
	want(t, w.diagnose(t, dead, "--no-password"), "node", doctor.Fail, "cannot be read")
	if err := os.Chmod(filepath.Join(dead.Home, "keys"), 0o755); err != nil {
		t.Fatal(err)
	}
	want(t, w.diagnose(t, dead), "keystore", doctor.Fail, "chmod 700")
}
