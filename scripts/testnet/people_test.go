package testnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/sdk"
)

// people run the assent command, each with the keys and the node of one member.
type people struct {
	t   *testing.T
	net *Net
	bin string
	at  map[string]string // endpoint of a member without a node of its own
}

// said is what a command answered.
type said struct {
	exit     int
	out, err string
}

func (p *people) try(member, key string, args ...string) said {
	p.t.Helper()
	endpoint := p.at[member]
	if endpoint == "" {
		endpoint = p.net.First(member).Endpoint()
	}
	cmd := exec.CommandContext(p.t.Context(), p.bin, append([]string{"--json", "--yes"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+p.net.memberDir(member), "XDG_CONFIG_HOME=", "ASSENT_ENDPOINTS="+endpoint, "ASSENT_ORG="+member,
		"ASSENT_GENESIS="+p.net.GenesisPath(), "ASSENT_KEY="+key, "ASSENT_PASSWORD_FILE="+p.net.PasswordPath(member))
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return said{cmd.ProcessState.ExitCode(), out.String(), complaint.String()}
}

// run is try as a member's admin, for commands that must succeed.
func (p *people) run(member string, args ...string) map[string]any {
	p.t.Helper()
	return p.runWith(member, p.net.KeyPath(member, "admin"), args...)
}

func (p *people) runWith(member, key string, args ...string) map[string]any {
	p.t.Helper()
	s := p.try(member, key, args...)
	if s.exit != 0 {
		p.t.Fatalf("assent %s as %s: exit code %d\n%s%s", strings.Join(args, " "), member, s.exit, s.out, s.err)
	}
	v := map[string]any{}
	if err := json.Unmarshal([]byte(s.out), &v); err != nil && !strings.HasPrefix(s.out, "[") {
		p.t.Fatalf("assent %s: %v\n%s", strings.Join(args, " "), err, s.out)
	}
	return v
}

// refused wants exit code 3 and words in the complaint.
func (p *people) refused(s said, words ...string) {
	p.t.Helper()
	for _, w := range words {
		if s.exit != 3 || !strings.Contains(s.err, w) {
			p.t.Errorf("exit code %d, want 3 with %q\n%s%s", s.exit, w, s.out, s.err)
		}
	}
}

// approve has members approve a proposal, each through its own node as soon as
// that has it; the last one waits until it is in force.
func (p *people) approve(hash string, members ...string) map[string]any {
	p.t.Helper()
	var last map[string]any
	for _, m := range members {
		eventually(p.t, 30*time.Second, func() error {
			if s := p.try(m, p.net.KeyPath(m, "admin"), "member", "status", hash); s.exit != 0 {
				return fmt.Errorf("%s does not see the proposal: %s", m, s.err)
			}
			return nil
		})
		last = p.run(m, "member", "approve", hash)
	}
	if last["inForce"] != true {
		p.t.Fatalf("after %v it is not in force: %v", members, last)
	}
	return last
}

// newKey makes a key file as a member's person does, and returns its address.
func (p *people) newKey(member, file string) string {
	p.t.Helper()
	return p.runWith(member, "", "member", "client", "new", file)["address"].(string)
}

func (p *people) addressOf(member string, role sdk.ClientRole) string {
	p.t.Helper()
	s, err := p.net.signer(member, role)
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.ToLower(s.Address().Hex())
}

// Four members change their network with nothing but the assent command: propose,
// approve, done.
func TestMembersChangeTheirNetwork(t *testing.T) {
	n := up(t, DefaultManifest())
	p := &people{t: t, net: n, bin: filepath.Join(t.TempDir(), "assent"), at: map[string]string{}}
	if b, err := exec.CommandContext(t.Context(), "go", "build", "-o", p.bin, "github.com/assent-network/assent/sdk/cmd/assent").CombinedOutput(); err != nil {
		t.Fatalf("build assent: %v\n%s", err, b)
	}
	t.Run("members share the genesis file alone", p.apart)
	t.Run("a validator that nobody reaches is refused", p.unreachable)
	t.Run("what loses the quorum is refused", p.quorumLost)
	t.Run("a client key is replaced with overlap", p.rotateClient)
	t.Run("a host key is replaced", p.rotateHost)
	t.Run("a lost admin key is replaced by the other members", p.recoverAdmin)
	t.Run("a member joins with an observer and is cut off", p.joinWithObserver)
	t.Run("that member is suspended and removed", p.removeMember)
}

func (p *people) unreachable(t *testing.T) {
	p.t = t
	x, err := p.net.makeNode(t.Context(), &ManifestMember{ID: "lake-bank"}, "validator", 2)
	if err != nil {
		t.Fatal(err)
	}
	s := p.try("lake-bank", p.net.KeyPath("lake-bank", "admin"), "member", "propose", "add-validator", filepath.Join(x.Home, node.CardFile))
	p.refused(s, "PREFLIGHT", "(node "+x.Card.NodeID+") cannot be reached at "+x.P2P, "--unreachable "+x.Card.NodeID)
	add := []string{"member", "propose", "add-validator", filepath.Join(x.Home, node.CardFile)}
	p.refused(p.try("lake-bank", p.net.KeyPath("lake-bank", "admin"), append(add, "--force", "it comes tomorrow")...), "PREFLIGHT", "cannot be reached at "+x.P2P)
	if s := p.try("harbour-bank", p.net.KeyPath("harbour-bank", "admin"), "member", "status"); strings.TrimSpace(s.out) != "[]" {
		t.Errorf("something was proposed: %s", s.out)
	}
	// Who insists names the node, and so does everybody who approves it.
	hash := p.run("lake-bank", append(add, "--unreachable", x.Card.NodeID)...)["configHash"].(string)
	eventually(t, 30*time.Second, func() error {
		s := p.try("quick-loan", p.net.KeyPath("quick-loan", "admin"), "member", "approve", hash, "--force", "yes")
		if s.exit != 3 || !strings.Contains(s.err, "PREFLIGHT") || !strings.Contains(s.err, "--unreachable "+x.Card.NodeID) {
			return fmt.Errorf("exit code %d\n%s%s", s.exit, s.out, s.err)
		}
		return nil
	})
	got := p.run("quick-loan", "member", "approve", hash, "--unreachable", x.Card.NodeID)
	if got["inForce"] == true {
		t.Errorf("with two approvals it is in force: %v", got)
	}
	p.run("lake-bank", "member", "withdraw", hash)
	s = p.try("lake-bank", p.net.KeyPath("lake-bank", "officer"), "member", "propose", "set-limits", "--observers-per-member", "9")
	p.refused(s, "FORBIDDEN")
}

func (p *people) quorumLost(t *testing.T) {
	p.t = t
	down := p.net.First("quick-loan")
	down.Kill()
	conf := p.run("harbour-bank", "member", "config")
	kept := slices.DeleteFunc(conf["validators"].([]any), func(v any) bool {
		m := v.(map[string]any)["member"]
		return m == "lake-bank" || m == "harbour-bank"
	})
	conf["validators"], conf["seq"] = kept, conf["seq"].(float64)+1
	b, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "next.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	admin := p.net.KeyPath("harbour-bank", "admin")
	eventually(t, 60*time.Second, func() error { // its node notices that the other is gone
		s := p.try("harbour-bank", admin, "member", "propose", "file", file, "--dry-run", "--force", "a test")
		if s.exit != 3 || !strings.Contains(s.err, "1 of the 2 validators of the new config answer") {
			return fmt.Errorf("exit code %d\n%s%s", s.exit, s.out, s.err)
		}
		return nil
	})
	if s := p.try("harbour-bank", admin, "member", "status"); s.exit != 0 || strings.Contains(s.out, `"status":"OPEN"`) {
		t.Errorf("something was proposed: %s", s.out)
	}
	if err := p.net.Start(t.Context(), func(x *Node) bool { return x == down }); err != nil {
		t.Fatal(err)
	}
}

func (p *people) rotateClient(t *testing.T) {
	p.t = t
	old, fresh := p.addressOf("quick-loan", "operator"), filepath.Join(t.TempDir(), "operator-2.json")
	key := p.newKey("quick-loan", fresh)
	p.run("quick-loan", "member", "client", "rotate", old, key, "--overlap", "1h")
	for _, file := range []string{p.net.KeyPath("quick-loan", "operator"), fresh} { // both work
		p.runWith("quick-loan", file, "member", "list")
	}
	p.run("quick-loan", "member", "client", "revoke", old)
	eventually(t, 30*time.Second, func() error {
		if s := p.try("quick-loan", p.net.KeyPath("quick-loan", "operator"), "member", "list"); s.exit != 3 || !strings.Contains(s.err, "KEY_REVOKED") {
			return fmt.Errorf("the old key: exit code %d %s", s.exit, s.err)
		}
		return nil
	})
	p.runWith("quick-loan", fresh, "member", "list")
}

func (p *people) recoverAdmin(t *testing.T) {
	p.t = t
	lost, file := p.addressOf("lake-bank", "admin"), filepath.Join(filepath.Dir(p.net.KeyPath("lake-bank", "admin")), "admin-2.json")
	key := p.newKey("lake-bank", file)
	v := p.run("harbour-bank", "member", "propose", "replace-admin", "lake-bank", lost, key, "--reason", "the key was lost")
	hash := v["configHash"].(string)
	status := p.run("harbour-bank", "member", "status", hash)
	if got := fmt.Sprint(status["missing"]); got != "[lake-bank quick-loan regulator]" {
		t.Errorf("missing are %s", got)
	}
	p.approve(hash, "quick-loan", "regulator")
	eventually(t, 30*time.Second, func() error { // lake-bank's own node follows
		if s := p.try("lake-bank", file, "member", "client", "add", "0x00000000000000000000000000000000000000ab", "--role", "auditor"); s.exit != 0 {
			return fmt.Errorf("the new admin key: %s", s.err)
		}
		return nil
	})
	p.refused(p.try("lake-bank", p.net.KeyPath("lake-bank", "admin"), "member", "client", "add", "0x00000000000000000000000000000000000000ac", "--role", "auditor"), "KEY_REVOKED")
}

// approveAsGuest: a member whose client talks to another member's node takes part in
// changes as every other: with the preflight, by the eyes of that node.
func (p *people) approveAsGuest(t *testing.T, sponsor *Node) {
	p.t = t
	x, err := p.net.makeNode(t.Context(), &ManifestMember{ID: "lake-bank"}, "validator", 3)
	if err != nil {
		t.Fatal(err)
	}
	admin := p.net.KeyPath("new-bank", "admin")
	down := p.run("harbour-bank", "member", "propose", "add-validator", filepath.Join(x.Home, node.CardFile), "--unreachable", x.Card.NodeID)["configHash"].(string)
	eventually(t, 30*time.Second, func() error { // the guest's host has it
		if s := p.try("new-bank", admin, "member", "status", down); s.exit != 0 {
			return fmt.Errorf("%s does not see the proposal: %s", sponsor.Name, s.err)
		}
		return nil
	})
	p.refused(p.try("new-bank", admin, "member", "approve", down), "PREFLIGHT", "(node "+x.Card.NodeID+") cannot be reached at "+x.P2P)
	p.run("new-bank", "member", "approve", down, "--unreachable", x.Card.NodeID)
	p.run("harbour-bank", "member", "withdraw", down)

	limits := p.run("harbour-bank", "member", "propose", "set-limits", "--observers-per-member", "5")["configHash"].(string)
	if got := p.approve(limits, "quick-loan", "regulator", "new-bank"); got["inForce"] != true {
		t.Errorf("with the guest's approval, the fourth of five: %v", got)
	}
}

// joinWithObserver: a member without a node yet acts as a guest of another
// member's node until its own is admitted.
func (p *people) joinWithObserver(t *testing.T) {
	p.t = t
	n, ctx := p.net, t.Context()
	sponsor := n.First("regulator")
	if err := n.makePeople("new-bank"); err != nil {
		t.Fatal(err)
	}
	p.at["new-bank"] = sponsor.Endpoint()
	v := p.run("harbour-bank", "member", "propose", "add-member", "new-bank", "--name", "New Bank 新银行", "--role", "DATA_PROVIDER", "--admin", p.addressOf("new-bank", "admin"))
	p.approve(v["configHash"].(string), "quick-loan", "regulator")

	x, err := n.makeNode(ctx, &ManifestMember{ID: "new-bank"}, "observer", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.assentd(ctx, "init", "--home", x.Home, "--genesis", n.GenesisPath(), "--join"); err != nil {
		t.Fatal(err)
	}
	n.Nodes = append(n.Nodes, x)
	card := filepath.Join(x.Home, node.CardFile)
	p.refused(p.try("new-bank", n.KeyPath("new-bank", "admin"), "member", "node", "set", card), "FORBIDDEN", "api.guests")
	p.welcome(ctx, sponsor, "new-bank")
	p.approveAsGuest(t, sponsor)
	p.run("new-bank", "member", "node", "set", card)
	if err := n.Start(ctx, func(y *Node) bool { return x == y }); err != nil {
		t.Fatal(err)
	}
	p.at["new-bank"] = x.Endpoint()
	p.run("new-bank", "member", "client", "add", p.addressOf("new-bank", "auditor"), "--role", "auditor") // through its own node
	p.run("new-bank", "member", "node", "remove", x.Card.NodeID)
	watch, err := n.DialAs(ctx, x, "admin")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	eventually(t, 60*time.Second, func() error {
		s, err := watch.Status(ctx)
		if err != nil {
			return err
		}
		if s.Peers != 0 || s.Ready {
			return fmt.Errorf("the removed observer still has %d peers", s.Peers)
		}
		return nil
	})
}

// welcome lists a member under api.guests of a node, which its operator restarts.
func (p *people) welcome(ctx context.Context, x *Node, guest string) {
	p.t.Helper()
	if err := x.StopNode(); err != nil {
		p.t.Fatal(err)
	}
	path := filepath.Join(x.Home, node.ConfigFile)
	cfg, err := config.Load(config.Sources{File: path})
	if err == nil {
		cfg.API.Guests = append(cfg.API.Guests, guest)
		err = os.WriteFile(path, config.Template(cfg), 0o600)
	}
	if err == nil {
		err = p.net.Start(ctx, func(y *Node) bool { return x == y })
	}
	if err != nil {
		p.t.Fatal(err)
	}
}
