package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/scripts/faults/check"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// twins: the same thing twice.
var twins = []scenario{
	{name: "one-key-two-processes", about: "a second process runs on a copy of a validator's home, keys and ordering log included", disturb: twoProcesses},
	{name: "duplicate-submission", about: "the same transactions are handed to all nodes at once while the leader is killed: each happens once", disturb: submitEverywhere},
}

// twoProcesses: the operator has copied a home, which the guide forbids. The twin
// was away for a while, as a copy is.
func twoProcesses(ctx context.Context, p *play) error {
	// Not the bank: parts and permits that reach a copy of its home are lost with it.
	lead, err := p.leader(ctx)
	if err != nil {
		return err
	}
	some := p.others(lead, p.net.First(bank))
	x := some[p.rng.IntN(len(some))]
	p.spare(x)
	p.liar = x // to the others two processes on one key are one liar
	p.kill(x)
	twin := &testnet.Node{Name: x.Name, Member: x.Member, Card: x.Card, Home: x.Home + "-twin"}
	if err := copyTree(ctx, x.Home, twin.Home); err != nil {
		return err
	}
	if err := p.again(ctx, x); err != nil {
		return err
	}
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	if twin.API, twin.P2P, err = elsewhere(twin.Home, x.Home); err != nil {
		return err
	}
	p.stopped = append(p.stopped, func() error { twin.Kill(); return os.RemoveAll(twin.Home) })
	if err := p.start(twin, p.net.Program, twin.Home); err != nil {
		return err
	}
	if err := p.within(ctx, settleLimit, "the twin answers beside the first", func() error { return p.answers(ctx, twin) }); err != nil {
		return err
	}
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "  the twin runs: %t, its last word: %s\n", twin.Running(), twin.LastLine())
	twin.Kill()
	return nil
}

// answers reports whether a node is there, by its own API.
func (p *play) answers(ctx context.Context, x *testnet.Node) error {
	if !x.Running() {
		return fmt.Errorf("it has ended: %s", x.LastLine())
	}
	_, err := p.net.StatusOf(ctx, x)
	return err
}

// elsewhere moves a copied home's addresses, as its operator does.
func elsewhere(home, original string) (api, p2p string, err error) {
	path := filepath.Join(home, node.ConfigFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), original+"/", home+"/")), 0o600); err != nil {
		return "", "", err
	}
	cfg, err := config.Load(config.Sources{File: path})
	if err != nil {
		return "", "", err
	}
	var ports [3]int
	for i := range ports {
		if ports[i], err = testnet.FreePort(); err != nil {
			return "", "", err
		}
	}
	api, p2p = fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", ports[1])
	cfg.API.Listen, cfg.Network.Listen = api, []string{p2p}
	if cfg.Metrics.Listen != "" {
		cfg.Metrics.Listen = fmt.Sprintf("127.0.0.1:%d", ports[2])
	}
	return api, p2p, os.WriteFile(path, config.Template(cfg), 0o600)
}

// submitEverywhere: lenders are guests of all nodes, and hand each transaction to
// all of them at once, before, during and after a change of leader.
func submitEverywhere(ctx context.Context, p *play) error {
	lead, err := p.leader(ctx)
	if err != nil {
		return err
	}
	p.spare(lead)
	signer, err := p.net.Signer(lenders[0], "admin")
	if err != nil {
		return err
	}
	var doors []*sdk.Client
	defer func() {
		for _, c := range doors {
			c.Close()
		}
	}()
	for _, x := range p.net.Nodes {
		c, err := p.net.Dial(ctx, x, sdk.WithIdentity(sdk.OrgID(lenders[0]), signer), sdk.WithTimeouts(patience), sdk.WithAttempts(2))
		if err != nil {
			return err
		}
		doors = append(doors, c)
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for rest(work, 50*time.Millisecond) {
				if err := p.everywhere(doors, signer); err != nil {
					p.load.fail("%v", err)
					return
				}
			}
		})
	}
	defer running.Wait()
	defer stop()
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	p.kill(lead)
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	return p.within(ctx, settleLimit, "several nodes acknowledge one transaction", func() error {
		if p.byManyWays() == 0 {
			return errors.New("none yet")
		}
		return nil
	})
}

// everyDoor begins the name of the way of what is handed to all nodes.
const everyDoor = "all:"

// everywhere submits one transaction through every door at once. What each door
// says is an act of its own with one identity, so that the checker finds two
// answers that differ.
func (p *play) everywhere(doors []*sdk.Client, signer sdk.Signer) error {
	key, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	tx, err := doors[0].NewTransaction(record.ContractMembership, "RegisterClient", registration(crypto.PubkeyToAddress(key.PublicKey)))
	if err == nil {
		tx, err = tx.Sign(signer)
	}
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for i, c := range doors {
		a := &check.Act{ID: tx.ID().Hex(), What: check.Other, Via: everyDoor + p.net.Nodes[i].Name}
		p.load.history.Begin(a)
		all.Go(func() {
			out, err := c.Submit(context.Background(), tx)
			var unknown *sdk.CommitUnknown
			if out == nil && !errors.As(err, &unknown) {
				return // this door did not take it; another may have
			}
			p.load.heard(c, a, out, err)
		})
	}
	all.Wait()
	return nil
}
