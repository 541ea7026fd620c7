package testnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// Node is one node of a network.
type Node struct {
	Name   string    `json:"name"`
	Home   string    `json:"home"`
	Member string    `json:"member"`
	API    string    `json:"api"`           // host:port
	P2P    string    `json:"p2p"`           // multiaddress
	Ops    string    `json:"ops,omitempty"` // host:port of /debug/pprof
	PID    int       `json:"pid,omitempty"`
	Card   node.Card `json:"card"`
	// Removed says that the network admits the node no longer: nothing is asked of
	// it in its member's name.
	Removed bool `json:"removed,omitempty"`

	proc *process
}

// Validator reports whether the node orders.
func (n *Node) Validator() bool { return n.Card.Kind == "validator" }

// Endpoint is what an SDK client dials, with the pin of the node's TLS key.
func (n *Node) Endpoint() string {
	return fmt.Sprintf("https://%s#sha256=%x", n.API, n.Card.SPKI[:])
}

// LogPath is where the node's output goes.
func (n *Node) LogPath() string { return filepath.Join(n.Home, "node.log") }

// DataDir is where the node keeps its ledger.
func (n *Node) DataDir() string { return filepath.Join(n.Home, "data") }

// Net is a network in one directory.
type Net struct {
	Dir      string   `json:"dir"`
	Program  string   `json:"program"` // assentd
	Manifest Manifest `json:"manifest"`
	Nodes    []*Node  `json:"nodes"`
	ChainID  string   `json:"chainId"`

	genesis *ledger.Config

	mu      sync.Mutex
	signers map[string]sdk.Signer
}

const (
	stateFile   = "network.json"
	genesisFile = "genesis.json"
)

// Roles are the client keys that every member of a test network has, beside its
// admin.
var Roles = []sdk.ClientRole{"integration", "officer", SecondOfficer, "operator", "auditor"}

// SecondOfficer is another officer's key: what one proposes the other approves.
const SecondOfficer sdk.ClientRole = "second-officer"

// roleOf is the role under which a key of Roles is registered.
func roleOf(key sdk.ClientRole) sdk.ClientRole {
	if key == SecondOfficer {
		return "officer"
	}
	return key
}

// ApproveTemplate has one officer of a member propose a template and another
// approve it.
func (n *Net) ApproveTemplate(ctx context.Context, member string, spec sdk.TemplateSpec, opts ...sdk.Option) error {
	officer, err := n.Client(ctx, member, "officer", opts...)
	if err != nil {
		return err
	}
	defer officer.Close()
	hash, _, err := officer.Templates().Propose(ctx, spec)
	if err != nil {
		return fmt.Errorf("propose template %s: %w", spec.TemplateID, err)
	}
	second, err := n.Client(ctx, member, SecondOfficer, opts...)
	if err != nil {
		return err
	}
	defer second.Close()
	if _, err := second.Templates().Approve(ctx, spec.TemplateID, hash); err != nil {
		return fmt.Errorf("approve template %s: %w", spec.TemplateID, err)
	}
	return nil
}

// Build compiles assentd into dir and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	return BuildTagged(ctx, filepath.Join(dir, "assentd"), "")
}

// BuildTagged compiles assentd with build tags to out and returns its path.
func BuildTagged(ctx context.Context, out, tags string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", out, "github.com/assent-network/assent/node/cmd/assentd")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build assentd: %w\n%s", err, b)
	}
	return out, nil
}

// Create founds a new network in dir, which must be empty or absent, by the steps
// that found.go lists. What it cannot finish it removes.
func Create(ctx context.Context, dir, program string, m Manifest) (_ *Net, err error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if filepath.Base(program) != program { // it is started again from anywhere
		if program, err = filepath.Abs(program); err != nil {
			return nil, err
		}
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("create network: %s is not empty: choose another directory, or remove it", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create network: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	n := &Net{Dir: dir, Program: program, Manifest: m}
	made := make([][]*Node, len(m.Members))
	g, gctx := errgroup.WithContext(ctx)
	for i := range m.Members {
		g.Go(func() (err error) {
			if made[i], err = n.makeMember(gctx, &m.Members[i]); err != nil {
				return fmt.Errorf("create network: member %s: %w", m.Members[i].ID, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	n.Nodes = slices.Concat(made...)
	if err := n.makeGenesis(ctx); err != nil {
		return nil, fmt.Errorf("create network: %w", err)
	}
	if err := n.makeLedgers(ctx); err != nil {
		return nil, fmt.Errorf("create network: %w", err)
	}
	return n, n.save()
}

// ErrNone is that a directory holds no network.
var ErrNone = errors.New("no network")

// Load opens a network that Create made.
func Load(dir string) (*Net, error) {
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s: make one with `go run ./scripts/localnet up`", ErrNone, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("load network: %w", err)
	}
	n := &Net{}
	if err := json.Unmarshal(b, n); err != nil {
		return nil, fmt.Errorf("load network: %s: %w", stateFile, err)
	}
	n.genesis, err = config.ReadGenesis(n.GenesisPath())
	return n, err
}

func (n *Net) save() error {
	b, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.Dir, stateFile), append(b, '\n'), 0o600)
}

// Genesis returns the config that founded the network.
func (n *Net) Genesis() *ledger.Config { return n.genesis }

// Ports are taken from below those that systems give to outgoing connections, of
// which there are many while networks run: one of them may have taken a port between
// its choice and the node's start.
const (
	firstPort = 12_000
	lastPort  = 31_999
)

// FreePort returns a TCP port of loopback that is free now and that no outgoing
// connection takes.
func FreePort() (int, error) {
	var err error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("find a free port between %d and %d: %w", firstPort, lastPort, err)
}

// Signer returns the key of a member's person; "admin" or one of Roles.
func (n *Net) Signer(member string, role sdk.ClientRole) (sdk.Signer, error) {
	return n.signer(member, role)
}

func (n *Net) signer(member string, role sdk.ClientRole) (sdk.Signer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := member + "/" + string(role)
	if s, ok := n.signers[name]; ok {
		return s, nil
	}
	password, err := os.ReadFile(n.PasswordPath(member))
	if err != nil {
		return nil, err
	}
	s, err := sdk.ReadKeyFile(n.KeyPath(member, role), string(password[:len(password)-1]))
	if err != nil {
		return nil, err
	}
	if n.signers == nil {
		n.signers = make(map[string]sdk.Signer)
	}
	n.signers[name] = s
	return s, nil
}

// Node returns the node with a name.
func (n *Net) Node(name string) (*Node, error) {
	for _, x := range n.Nodes {
		if x.Name == name {
			return x, nil
		}
	}
	return nil, fmt.Errorf("no node %q in %s", name, n.Dir)
}

// First returns a member's first node.
func (n *Net) First(member string) *Node {
	for _, x := range n.Nodes {
		if x.Member == member {
			return x
		}
	}
	return nil
}
