package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

func (t *teller) makeNetwork(ctx context.Context) error {
	t.chapter("Four organisations found a network: two banks, a lender, a regulator.")
	program := t.opts.program
	if program == "" {
		var err error
		if program, err = testnet.Build(ctx, t.dir); err != nil {
			return err
		}
	}
	m := testnet.DefaultManifest()
	for i := range m.Members {
		for bank := range banks {
			if m.Members[i].ID == banks[bank] {
				m.Members[i].Vaults = append(m.Members[i].Vaults, t.vaultOf(bank))
			}
		}
	}
	if t.opts.scene == sceneVerifiable {
		anchoredManifest(&m)
	}
	n, err := testnet.Create(ctx, filepath.Join(t.dir, "net"), program, m)
	if err != nil {
		return err
	}
	t.net = n
	for _, x := range n.Nodes {
		if x.Validator() {
			t.result.Validators++
		} else {
			t.result.Observers++
		}
	}
	t.say("Each has its own keys; together they sign nothing but the genesis. Chain id %s…", n.ChainID[:18])
	return nil
}

func (t *teller) vaultPath(bank int) string { return filepath.Join(t.dir, "vault-"+banks[bank]+".db") }

func (t *teller) loadVaults(ctx context.Context) error {
	var err error
	if t.opts.data != "" {
		t.people, err = readPopulation(t.opts.data, t.opts.seed)
	} else {
		t.people = samplePopulation(t.opts.rows, t.opts.seed)
	}
	if err != nil {
		return err
	}
	t.chapter("Each bank loads its customers into its own vault (数据不出域: the rows stay there).")
	for bank := range banks {
		path := filepath.Join(t.dir, banks[bank]+".csv")
		n, err := writeVaultCSV(path, t.people, bank)
		if err != nil {
			return err
		}
		x := t.net.First(banks[bank])
		// The bank's own command, with its progress bar.
		cmd := exec.CommandContext(ctx, t.net.Program, "vault", "import", "--home", x.Home, "--product", string(productID(bank)), "--csv", path)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		connector := t.vaultOf(bank).Connector
		if connector == "postgres" {
			t.pg.loadAsOwner(cmd)
		}
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("vault import of %s: %w", banks[bank], err)
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		t.result.RowsLoaded += n
		t.result.Vaults = append(t.result.Vaults, onWhat{banks[bank], connector})
		t.say("%s: %d customers, on %s", banks[bank], n, map[string]string{"sqlite": "SQLite, the embedded vault", "postgres": "PostgreSQL, read by an account that can do nothing else"}[connector])
	}
	return nil
}

func (t *teller) start(ctx context.Context) error {
	t.chapter("Four validators and an observer start as processes of their own.")
	if err := t.net.Up(ctx); err != nil {
		return err
	}
	t.say("They speak libp2p over loopback, order with SmartBFT, sync every block to disk, and serve clients over TLS.")
	return nil
}

// client dials a member's node and records what it answers.
func (t *teller) client(ctx context.Context, member string, role sdk.ClientRole) (*sdk.Client, error) {
	return t.net.Client(ctx, member, role, sdk.WithMiddleware(t.replies.wrap))
}

func (t *teller) publish(ctx context.Context) error {
	t.chapter("The banks publish what may be asked.")
	for bank := range banks {
		officer, err := t.client(ctx, banks[bank], "officer")
		if err != nil {
			return err
		}
		hash, err := publish(ctx, t, officer, bank)
		officer.Close()
		if err != nil {
			return fmt.Errorf("%s publishes: %w", banks[bank], err)
		}
		t.cast.notices[bank] = hash
		t.say("%s: product %s with %d questions; sex, education, marriage and age may never be asked for.", banks[bank], productID(bank), len(templatesFor(bank)))
	}
	return nil
}

// compare holds the nodes' newest certified headers against each other.
func (t *teller) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		same, hash, root, height, err := t.headers(ctx)
		if err != nil {
			return err
		}
		if same {
			t.result.SameHashOnAllNodes, t.result.SameStateRootOnAllNodes = hash, root
			t.chapter("All %d nodes hold the same block %d with the same state root: %t, %t.", len(t.net.Nodes), height, hash, root)
			if !hash || !root {
				return fmt.Errorf("the nodes differ at height %d", height)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the nodes did not come to one height: %w", ctx.Err())
		}
	}
}

// headers asks every node for its newest certified header. sameHeight is false
// while they are at different heights.
func (t *teller) headers(ctx context.Context) (sameHeight, sameHash, sameRoot bool, height uint64, err error) {
	sameHash, sameRoot = true, true
	var hash, root sdk.Hash
	for i, x := range t.net.Nodes {
		c, err := t.net.DialAs(ctx, x, "auditor", sdk.WithMiddleware(t.replies.wrap))
		if err != nil {
			return false, false, false, 0, err
		}
		h, err := c.Proofs().Header(ctx)
		c.Close()
		if err != nil {
			return false, false, false, 0, fmt.Errorf("newest header of %s: %w", x.Name, err)
		}
		if i == 0 {
			height, hash, root = uint64(h.Header.Height), h.Header.Hash(), h.Header.StateRoot
			continue
		}
		if uint64(h.Header.Height) != height {
			return false, false, false, 0, nil
		}
		sameHash = sameHash && h.Header.Hash() == hash
		sameRoot = sameRoot && h.Header.StateRoot == root
	}
	return true, sameHash, sameRoot, height, nil
}

func (t *teller) leaveRunning(ctx context.Context) error {
	if err := t.net.Start(ctx, func(*testnet.Node) bool { return true }); err != nil {
		return err
	}
	t.chapter("The network runs on. Stop it with: go run ./scripts/localnet down --dir %s", t.net.Dir)
	t.say("genesis  %s", t.net.GenesisPath())
	t.say("keys     %s (password in %s)", t.net.KeyPath("<member>", "<role>"), t.net.PasswordPath("<member>"))
	for _, x := range t.net.Nodes {
		t.say("%-26s %s", x.Name, x.Endpoint())
	}
	t.say("console  https://%s/console/ in a browser: sign in with a key and its password from above (officer, operator, auditor or admin)", t.net.Nodes[0].API)
	t.say("configuration of a node: <home>/%s", node.ConfigFile)
	t.keepPostgres()
	return nil
}
