package testnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

// assent is the program that people type, as one member's key.
type assent struct {
	w       *world
	program string
}

func (a *assent) run(member string, role sdk.ClientRole, args ...string) []byte {
	a.w.t.Helper()
	cmd := exec.CommandContext(a.w.t.Context(), a.program, append([]string{"--json", "--yes"}, args...)...)
	cmd.Env = append(os.Environ(),
		"ASSENT_ENDPOINTS="+a.w.net.First(member).Endpoint(), "ASSENT_GENESIS="+a.w.net.GenesisPath(), "ASSENT_ORG="+member,
		"ASSENT_KEY="+a.w.net.KeyPath(member, role), "ASSENT_PASSWORD_FILE="+a.w.net.PasswordPath(member),
		"XDG_CONFIG_HOME="+filepath.Join(filepath.Dir(a.program), "config"))
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		a.w.t.Fatalf("assent %s: %v\n%s%s", strings.Join(args, " "), err, out.Bytes(), complaint.Bytes())
	}
	return out.Bytes()
}

// commandLine tells a short life with the commands alone: given on paper, asked
// about in a batch, an answer disputed and judged, ended by the lender, its
// answers destroyed.
func (w *world) commandLine() {
	dir := w.t.TempDir()
	a := &assent{w, filepath.Join(dir, "assent")}
	if b, err := exec.CommandContext(w.t.Context(), "go", "build", "-o", a.program, "github.com/assent-network/assent/sdk/cmd/assent").CombinedOutput(); err != nil {
		w.t.Fatalf("build assent: %v\n%s", err, b)
	}
	id := string(w.create(func(d *sdk.ConsentDraft) { d.Written, d.MaxUses = true, 2 }).ConsentID)
	paper := hash().Hex()
	a.run(asker, "integration", "consent", "authorise", id, "--written", "--evidence-hash", paper)
	a.run(bank, "officer", "consent", "countersign", id, "--evidence-hash", paper)

	questions, tickets, opening := filepath.Join(dir, "q.csv"), filepath.Join(dir, "t.json"), filepath.Join(dir, "opening.json")
	row := fmt.Sprintf("%s,%s,%s\n", id, late, record.CreditChecking)
	w.must(os.WriteFile(questions, []byte("consent,template,purpose\n"+strings.Repeat(row, 3)), 0o600))
	out := a.run(asker, "integration", "query", "batch", questions, "--ticket", tickets, "--keep")
	answers, denials, disputed := 0, 0, ""
	for line := range bytes.Lines(out) {
		var v struct {
			Item                   int
			RequestID, Code, Value string
			Verified               bool
		}
		w.must(json.Unmarshal(line, &v))
		switch {
		case v.Value == truth(0) && v.Verified:
			answers++
			if v.Item == 0 {
				disputed = v.RequestID
			}
		case v.Code == string(record.CodeUsesExhausted):
			denials++
		}
	}
	if answers != 2 || denials != 1 || disputed == "" {
		w.t.Fatalf("the batch says\n%s", out)
	}
	a.run(asker, "integration", "receipt", "dispute", tickets, "--item", "0", "--claim", "IMPLAUSIBLE", "--authority", authority, "--out", opening)
	if shown := a.run(authority, "officer", "receipt", "opening", disputed, opening); !bytes.Contains(shown, []byte(`"providerCommitted":true`)) {
		w.t.Fatalf("the authority sees %s", shown)
	}
	a.run(authority, "officer", "receipt", "judge", disputed, "--finding", "DISMISSED", "--statement-hash", hash().Hex())

	a.run(asker, "officer", "consent", "revoke", id, "--by", "party", "--reason", "SERVICE_ENDED", "--evidence-hash", hash().Hex())
	if due := a.run(asker, "integration", "consent", "due"); !bytes.Contains(due, []byte("assent consent confirm-deletion "+id)) {
		w.t.Fatalf("due is %s", due)
	}
	a.run(asker, "integration", "consent", "confirm-deletion", id)
	if due := a.run(asker, "integration", "consent", "due"); bytes.Contains(due, []byte(id)) {
		w.t.Fatalf("still due: %s", due)
	}
}
