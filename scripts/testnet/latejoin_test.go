package testnet

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node"
)

// An organisation that founded nothing comes with a validator, by assentd and assent
// alone and with the genesis file alone: keys, node, card; another member proposes
// it, two approve it; it orders, and then its people use its own node.
func TestAnOrganisationJoinsLaterWithAValidator(t *testing.T) {
	n := up(t, DefaultManifest())
	ctx := t.Context()
	p := &people{t: t, net: n, bin: filepath.Join(t.TempDir(), "assent"), at: map[string]string{}}
	if b, err := exec.CommandContext(ctx, "go", "build", "-o", p.bin, "github.com/assent-network/assent/sdk/cmd/assent").CombinedOutput(); err != nil {
		t.Fatalf("build assent: %v\n%s", err, b)
	}
	const member = "late-bank"

	// The newcomer's machine: a password, an admin key, a node that knows the genesis file.
	dir := n.memberDir(member)
	var secret [16]byte
	rand.Read(secret[:])
	if err := os.MkdirAll(filepath.Dir(n.KeyPath(member, "admin")), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.PasswordPath(member), []byte(hex.EncodeToString(secret[:])+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.at[member] = n.First("harbour-bank").Endpoint() // the commands here need none yet
	admin := p.newKey(member, n.KeyPath(member, "admin"))
	x, err := n.makeNode(ctx, &ManifestMember{ID: member}, "validator", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.assentd(ctx, "init", "--home", x.Home, "--genesis", n.GenesisPath(), "--join"); err != nil {
		t.Fatal(err)
	}
	card := filepath.Join(x.Home, node.CardFile)
	n.Nodes = append(n.Nodes, x)

	// While the node is down the proposal is refused: what is proposed without being
	// looked at would count in every quorum.
	propose := []string{"member", "propose", "add-member", member, "--name", "Late Bank", "--role", "DATA_PROVIDER", "--admin", admin, "--validator", card}
	p.refused(p.try("harbour-bank", n.KeyPath("harbour-bank", "admin"), propose...), "PREFLIGHT", "cannot be reached at "+x.P2P)
	if err := n.StartNode(x); err != nil {
		t.Fatal(err)
	}
	var hash string
	eventually(t, 30*time.Second, func() error { // it waits there, and proves its keys to who asks
		s := p.try("harbour-bank", n.KeyPath("harbour-bank", "admin"), propose...)
		if s.exit != 0 {
			return fmt.Errorf("exit code %d\n%s", s.exit, s.err)
		}
		_, rest, _ := strings.Cut(s.out, `"configHash":"`)
		hash, _, _ = strings.Cut(rest, `"`)
		return nil
	})
	p.refused(p.try(member, n.KeyPath(member, "admin"), "member", "approve", hash), "UNKNOWN_KEY") // it is no member yet
	began := time.Now()
	p.approve(hash, "lake-bank", "regulator")
	watch, err := n.DialAs(ctx, n.First("harbour-bank"), "auditor")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	conf, err := watch.Config(ctx)
	if err != nil {
		t.Fatal(err)
	}
	id := idOf(conf, x)
	if len(conf.Validators) != 5 || id == 0 {
		t.Fatalf("%d validators, its id is %d", len(conf.Validators), id)
	}
	l := startLoad(t, n, validators(n)[:4]...)
	votesIn(t, watch, id)
	t.Logf("it voted %s after its approval", time.Since(began).Round(time.Millisecond))
	l.stop()

	// From now on its people go through its own node.
	p.at[member] = x.Endpoint()
	eventually(t, time.Minute, func() error {
		if why := readiness(t, x); why != "" {
			return fmt.Errorf("it is not ready: %s", why)
		}
		return nil
	})
	p.run(member, "member", "node", "set", card)
	auditor := p.newKey(member, filepath.Join(dir, "auditor.json"))
	p.run(member, "member", "client", "add", auditor, "--role", "auditor")
	p.runWith(member, filepath.Join(dir, "auditor.json"), "member", "list")
	next := p.run("regulator", "member", "propose", "set-limits", "--observers-per-member", "6")["configHash"].(string)
	p.approve(next, "lake-bank", "quick-loan", member) // its vote is the fourth of five
}
