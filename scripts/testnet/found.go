package testnet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// Founding a network, step by step as the operators of the members do it, each in
// a directory that stands for a machine of its own:
//
//	<member>/people/admin.json         assent member client new        each member
//	<member>/<node>/node.json          assentd init                    each operator; the card is sent to the founder
//	<founder>/founding/genesis.json    assentd genesis                 the first member
//	genesis.json                       handed out                      the only file that all have
//	<member>/<node>/{data,genesis.json} assentd init --genesis         each operator
//
// Every member has a password of its own, and no step reads another member's
// directory.

// memberDir stands for a member's machines.
func (n *Net) memberDir(member string) string { return filepath.Join(n.Dir, member) }

// PasswordPath is the file with the password of a member's keys.
func (n *Net) PasswordPath(member string) string {
	return filepath.Join(n.memberDir(member), "password")
}

// KeyPath is the key file of one of a member's people.
func (n *Net) KeyPath(member string, role sdk.ClientRole) string {
	return filepath.Join(n.memberDir(member), "people", string(role)+".json")
}

// GenesisPath is the network's genesis file as it is handed out.
func (n *Net) GenesisPath() string { return filepath.Join(n.Dir, genesisFile) }

// assentd runs the program as an operator does.
func (n *Net) assentd(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, n.Program, args...)
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("assentd %s: %w\n%s", args[0], err, b)
	}
	return nil
}

// makePeople makes a member's password and the keys of its people.
func (n *Net) makePeople(member string) error {
	if err := os.MkdirAll(filepath.Dir(n.KeyPath(member, "admin")), 0o700); err != nil {
		return err
	}
	var secret [16]byte
	rand.Read(secret[:])
	password := hex.EncodeToString(secret[:])
	if err := os.WriteFile(n.PasswordPath(member), []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	for _, role := range append([]sdk.ClientRole{"admin"}, Roles...) {
		if _, err := sdk.NewKeyFile(n.KeyPath(member, role), password); err != nil {
			return err
		}
	}
	return nil
}

// makeNode sets a node up: its keys, its configuration, its card.
func (n *Net) makeNode(ctx context.Context, m *ManifestMember, kind string, number int) (*Node, error) {
	p2p, err := FreePort()
	if err != nil {
		return nil, err
	}
	api, err := FreePort()
	if err != nil {
		return nil, err
	}
	x := &Node{Name: fmt.Sprintf("%s-%s-%d", m.ID, kind, number), Member: m.ID, API: fmt.Sprintf("127.0.0.1:%d", api), P2P: fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", p2p)}
	x.Home = filepath.Join(n.memberDir(m.ID), x.Name)
	metrics := config.Off
	if n.Manifest.Profiles {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		x.Ops = fmt.Sprintf("127.0.0.1:%d", port)
		metrics = x.Ops
	}
	args := []string{"init", "--home", x.Home, "--member", m.ID, "--node", kind, "--listen", x.P2P, "--api", x.API,
		"--api-url", "https://" + x.API, "--metrics", metrics, "--password", "file:" + n.PasswordPath(m.ID)}
	if n.Manifest.Advertise != nil {
		at, err := n.Manifest.Advertise(x.Name, x.P2P)
		if err != nil {
			return nil, fmt.Errorf("advertise node %s: %w", x.Name, err)
		}
		args = append(args, "--advertise", at)
	}
	if err := n.assentd(ctx, args...); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(x.Home, node.CardFile))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &x.Card); err != nil {
		return nil, fmt.Errorf("card of node %s: %w", x.Name, err)
	}
	// The first node of a member is the one that sends and takes sealed parts and
	// answers for it.
	x.Card.Answers = number == 1 && kind == "validator"
	if x.Card.Answers && len(m.Vaults) > 0 || n.Manifest.ClientRate > 0 || len(n.Manifest.Guests) > 0 {
		return x, n.configure(x, m)
	}
	return x, nil
}

// configure edits what assentd init wrote, as an operator with an editor does.
func (n *Net) configure(x *Node, m *ManifestMember) error {
	path := filepath.Join(x.Home, node.ConfigFile)
	cfg, err := config.Load(config.Sources{File: path})
	if err != nil {
		return err
	}
	if r := n.Manifest.ClientRate; r > 0 {
		cfg.Limits.ClientRate, cfg.Limits.ClientBurst, cfg.Limits.MemberRate = r, int(2*r), 2*r
	}
	for _, g := range n.Manifest.Guests {
		if g != m.ID {
			cfg.API.Guests = append(cfg.API.Guests, g)
		}
	}
	if x.Card.Answers && len(m.Vaults) > 0 {
		cfg.Answering = config.Answering{Enabled: true, Vaults: m.Vaults, ExposureKeys: n.Manifest.ExposureKeys}
	}
	return os.WriteFile(path, config.Template(cfg), 0o600)
}

// makeMember makes what one member brings: people, and nodes with their cards.
func (n *Net) makeMember(ctx context.Context, m *ManifestMember) ([]*Node, error) {
	if err := n.makePeople(m.ID); err != nil {
		return nil, err
	}
	var nodes []*Node
	for i := range m.Validators + m.Observers {
		kind, number := "validator", i+1
		if i >= m.Validators {
			kind, number = "observer", i-m.Validators+1
		}
		x, err := n.makeNode(ctx, m, kind, number)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, x)
	}
	return nodes, nil
}

// founding is members.json.
type founding struct {
	Network string           `json:"network"`
	Members []foundingMember `json:"members"`
}

type foundingMember struct {
	ID     string           `json:"id"`
	Name   string           `json:"name"`
	Roles  []string         `json:"roles"`
	Admins []ledger.Address `json:"admins"`
}

// makeGenesis is the founder's part: from the cards and admin addresses that the
// others have sent it makes the genesis file and hands it out.
func (n *Net) makeGenesis(ctx context.Context) error {
	desk := filepath.Join(n.memberDir(n.Manifest.Members[0].ID), "founding")
	if err := os.MkdirAll(desk, 0o700); err != nil {
		return err
	}
	f := founding{Network: n.Manifest.Network}
	for _, m := range n.Manifest.Members {
		admin, err := n.signer(m.ID, "admin")
		if err != nil {
			return err
		}
		f.Members = append(f.Members, foundingMember{m.ID, m.Name, m.Roles, []ledger.Address{admin.Address()}})
	}
	members, genesis := filepath.Join(desk, "members.json"), filepath.Join(desk, genesisFile)
	b, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = os.WriteFile(members, append(b, '\n'), 0o600)
	}
	if err != nil {
		return err
	}
	args := []string{"genesis", "--members", members, "--out", genesis}
	for _, x := range n.Nodes {
		if !x.Validator() {
			continue
		}
		sent := filepath.Join(desk, x.Name+".json")
		if err := copyFile(filepath.Join(x.Home, node.CardFile), sent); err != nil {
			return err
		}
		args = append(args, sent)
	}
	if err := n.assentd(ctx, args...); err != nil {
		return err
	}
	if err := copyFile(genesis, n.GenesisPath()); err != nil {
		return err
	}
	if n.genesis, err = config.ReadGenesis(n.GenesisPath()); err != nil {
		return err
	}
	n.ChainID = n.genesis.Hash().Hex()
	return nil
}

// makeLedgers is every operator's last step before the start.
func (n *Net) makeLedgers(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, x := range n.Nodes {
		g.Go(func() error { return n.assentd(ctx, "init", "--home", x.Home, "--genesis", n.GenesisPath()) })
	}
	return g.Wait()
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
