package testnet

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
)

// A validator joins late, the founding one leaves, the one that stays gets another
// vote key, and a node that has the genesis file alone joins after all that: with
// nothing but the two commands and the configuration file.
func TestANetworkOutlivesItsFounders(t *testing.T) {
	const member = "harbour-bank"
	n := up(t, Manifest{Network: "heirs", Members: []ManifestMember{{ID: member, Name: "Harbour Bank", Roles: []string{"DATA_PROVIDER"}, Validators: 1}}})
	p := &people{t: t, net: n, bin: filepath.Join(t.TempDir(), "assent"), at: map[string]string{}}
	if b, err := exec.CommandContext(t.Context(), "go", "build", "-o", p.bin, "github.com/assent-network/assent/sdk/cmd/assent").CombinedOutput(); err != nil {
		t.Fatalf("build assent: %v\n%s", err, b)
	}
	founder := n.First(member)

	heir := p.newNode(member, "validator", 2)
	p.run(member, "member", "node", "set", filepath.Join(heir.Home, node.CardFile), "--observer")
	p.start(heir)
	p.inForce(member, "add-validator", filepath.Join(heir.Home, node.CardFile))
	p.at[member] = heir.Endpoint()
	p.inForce(member, "remove-validator", "1")
	founder.Removed = true
	if err := founder.StopNode(); err != nil {
		t.Fatal(err)
	}

	var vote struct{ Address string }
	p.object(&vote, "keys", "new", "vote-2", "--kind", "vote", "--home", heir.Home, "--json")
	p.again(heir, func(id *config.Identity) { id.NextVote = "vote-2" })
	p.inForce(member, "rotate-vote-key", "2", vote.Address)
	p.run(member, "member", "client", "add", "0x00000000000000000000000000000000000000ab", "--role", "auditor") // it orders

	fresh := p.newNode(member, "observer", 1)
	var card node.Card
	p.object(&card, "card", "--home", heir.Home, "--json") // of the keys that it has now
	p.configure(fresh, func(cfg *config.Config) {
		cfg.Network.Entry = []string{fmt.Sprintf("%s/p2p/%s", card.Addrs[0], card.NodeID)}
	})
	p.run(member, "member", "node", "set", filepath.Join(fresh.Home, node.CardFile))
	p.start(fresh)
	sameEverywhere(t, n, heir, fresh)
	p.at[member] = fresh.Endpoint()
	p.run(member, "member", "client", "add", "0x00000000000000000000000000000000000000ac", "--role", "auditor") // through the newest node
	if err := fresh.StopNode(); err != nil {
		t.Fatal(err)
	}
	p.assentd("verify", "--home", fresh.Home)
}

func (p *people) assentd(args ...string) []byte {
	p.t.Helper()
	out, err := exec.CommandContext(p.t.Context(), p.net.Program, args...).Output()
	if err != nil {
		p.t.Fatalf("assentd %s: %v\n%s%s", strings.Join(args, " "), err, out, stderrOf(err))
	}
	return out
}

// newNode makes a node of a member for the network that runs.
func (p *people) newNode(member, kind string, number int) *Node {
	p.t.Helper()
	x, err := p.net.makeNode(p.t.Context(), &ManifestMember{ID: member}, kind, number)
	if err != nil {
		p.t.Fatal(err)
	}
	p.assentd("init", "--home", x.Home, "--genesis", p.net.GenesisPath(), "--join")
	p.net.Nodes = append(p.net.Nodes, x)
	return x
}

func (p *people) start(x *Node) {
	p.t.Helper()
	if err := p.net.Start(p.t.Context(), func(y *Node) bool { return x == y }); err != nil {
		p.t.Fatal(err)
	}
}

// configure edits a node's configuration file.
func (p *people) configure(x *Node, edit func(*config.Config)) {
	p.t.Helper()
	path := filepath.Join(x.Home, node.ConfigFile)
	cfg, err := config.Load(config.Sources{File: path})
	if err == nil {
		edit(&cfg)
		err = os.WriteFile(path, config.Template(cfg), 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// inForce proposes a change that its proposer's approval is enough for, as soon as
// the preflight lets it, and waits until it is in force.
func (p *people) inForce(member string, change ...string) {
	p.t.Helper()
	var hash string
	eventually(p.t, time.Minute, func() error {
		s := p.try(member, p.net.KeyPath(member, "admin"), append([]string{"member", "propose"}, change...)...)
		v := map[string]any{}
		if err := json.Unmarshal([]byte(s.out), &v); err != nil || s.exit != 0 {
			return fmt.Errorf("propose %v: exit code %d\n%s%s", change, s.exit, s.out, s.err)
		}
		hash = v["configHash"].(string)
		return nil
	})
	eventually(p.t, time.Minute, func() error {
		if v := p.run(member, "member", "status", hash); v["inForce"] != true {
			return fmt.Errorf("%v is not in force: %v", change, v)
		}
		return nil
	})
}

// again has a node's operator name other keys and restart it.
func (p *people) again(x *Node, edit func(*config.Identity)) {
	p.t.Helper()
	if err := x.StopNode(); err != nil {
		p.t.Fatal(err)
	}
	p.configure(x, func(cfg *config.Config) { edit(&cfg.Identity) })
	p.start(x)
}

// object reads what assentd says with --json.
func (p *people) object(v any, args ...string) {
	p.t.Helper()
	if err := json.Unmarshal(p.assentd(args...), v); err != nil {
		p.t.Fatalf("assentd %v: %v", args, err)
	}
}

// rotateHost: lake-bank's validator gets another network identity.
func (p *people) rotateHost(t *testing.T) {
	p.t = t
	const member = "lake-bank"
	x := p.net.First(member)
	before := x.Card.NodeID
	var host struct{ PublicKey string }
	p.object(&host, "keys", "new", "host-2", "--kind", "host", "--home", x.Home, "--json")
	p.assentd("keys", "new", "tx-2", "--kind", "client", "--home", x.Home)
	p.again(x, func(id *config.Identity) { id.NextHost = "host-2" })
	number := ""
	for _, v := range p.run(member, "member", "config")["validators"].([]any) {
		if v := v.(map[string]any); v["member"] == member {
			number = fmt.Sprint(v["id"])
		}
	}
	v := p.run("harbour-bank", "member", "propose", "rotate-host-key", number, host.PublicKey)
	p.approve(v["configHash"].(string), "quick-loan", "regulator")
	eventually(t, time.Minute, func() error {
		if got := readiness(t, x); !strings.Contains(got, "restart it") {
			return fmt.Errorf("under its old host key it says %q", got)
		}
		return nil
	})
	p.again(x, func(id *config.Identity) { id.HostKey, id.NextHost, id.TxKey = "host-2", "", "tx-2" })
	p.object(&x.Card, "card", "--home", x.Home, "--json")
	p.run(member, "member", "node", "set", p.file("record.json", p.assentd("card", "--home", x.Home, "--record")))
	p.run(member, "member", "node", "remove", before)
	if got := readiness(t, x); got != "" {
		t.Errorf("with its new host key it is not ready: %s", got)
	}
}

// removeMember: the member that joined, whose node the network admits no longer, is
// a guest of its sponsor again.
func (p *people) removeMember(t *testing.T) {
	p.t = t
	const member = "new-bank"
	p.at[member] = p.net.First("regulator").Endpoint()
	admin := p.net.KeyPath(member, "admin")
	p.run("regulator", "member", "suspend", member, "--reason", "MISUSE")
	p.refused(p.try(member, admin, "member", "client", "add", "0x00000000000000000000000000000000000000ad", "--role", "auditor"), "MEMBER_SUSPENDED")
	v := p.run("harbour-bank", "member", "propose", "remove-member", member)
	hash := v["configHash"].(string)
	eventually(t, 30*time.Second, func() error { // a suspended member votes on, as a guest too
		if s := p.try(member, admin, "member", "approve", hash); s.exit != 0 {
			return fmt.Errorf("%s: exit code %d\n%s", member, s.exit, s.err)
		}
		return nil
	})
	eventually(t, 30*time.Second, func() error {
		if s := p.try("lake-bank", filepath.Join(filepath.Dir(p.net.KeyPath("lake-bank", "admin")), "admin-2.json"), "member", "approve", hash); s.exit != 0 {
			return fmt.Errorf("lake-bank: exit code %d\n%s", s.exit, s.err)
		}
		return nil
	})
	p.approve(hash, "quick-loan") // four of five
	if left := p.run("regulator", "member", "config")["members"].([]any); len(left) != 4 {
		t.Errorf("%d members: %v", len(left), left)
	}
	p.refused(p.try(member, admin, "member", "list"), "KEY_REVOKED")
}

func (p *people) file(name string, b []byte) string {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}
