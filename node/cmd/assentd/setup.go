package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

// prompt asks a person at the terminal; nil if there is none.
func (a *app) prompt() keys.Password {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return nil
	}
	return func(key string) ([]byte, error) {
		fmt.Fprintf(a.err, "Password of key %q: ", key)
		defer fmt.Fprintln(a.err)
		return term.ReadPassword(fd)
	}
}

func (a *app) initCommand() *cobra.Command {
	var genesis string
	flags := map[string]*string{}
	c := &cobra.Command{
		Use: "init", Args: noArgs,
		Short: "Set up a node; with --genesis, create its ledger",
		Long: "Without --genesis, init makes the node's keys, its configuration and its card (" + node.CardFile + "), which holds nothing secret: send it to whoever makes the genesis file.\n" +
			"With --genesis, init copies that file into the home and creates the empty ledger.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if genesis != "" {
				return a.createLedger(cmd, genesis)
			}
			return a.setUp(flags)
		},
	}
	c.Flags().StringVar(&genesis, "genesis", "", "genesis file: create the ledger")
	for _, f := range []struct{ name, def, use string }{
		{"member", "", "identifier of the member"},
		{"node", "validator", "validator or observer"},
		{"listen", "", "multiaddress for other nodes, such as /ip4/10.0.0.7/tcp/7400"},
		{"api", "", "host:port for clients"},
	} {
		flags[f.name] = c.Flags().String(f.name, f.def, f.use)
	}
	return c
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument %q: see %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())}
	}
	return nil
}

func (a *app) setUp(flags map[string]*string) error {
	cfg := config.Default()
	cfg.DataDir, cfg.Genesis = "data", "genesis.json"
	cfg.Identity.Member, cfg.Identity.Node = *flags["member"], *flags["node"]
	if *flags["listen"] != "" {
		cfg.Network.Listen = []string{*flags["listen"]}
	}
	if *flags["api"] != "" {
		cfg.API.Listen = *flags["api"]
	}
	if a.password != "" {
		cfg.Identity.Password = a.password
	}
	source, err := a.source(cfg.Identity.Password)
	if err != nil {
		return err
	}
	password, err := source("all keys of this node")
	if err != nil {
		return err
	}
	defer clear(password)
	card, err := node.Init(a.home, cfg, password)
	if err != nil {
		return err
	}
	return a.print(card, func(w io.Writer) {
		fmt.Fprintf(w, "Node %s of member %s is set up in %s.\nSend %s to whoever makes the genesis file, then run: assentd init --home %s --genesis genesis.json\n",
			card.NodeID, card.Member, a.home, filepath.Join(a.home, node.CardFile), a.home)
	})
}

func (a *app) createLedger(cmd *cobra.Command, path string) error {
	g, err := config.ReadGenesis(path)
	if err != nil {
		return err
	}
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if same, err := sameFile(path, cfg.Genesis); err != nil {
		return err
	} else if !same {
		b, err := config.FormatGenesis(g)
		if err != nil {
			return err
		}
		if err := os.WriteFile(cfg.Genesis, b, 0o644); err != nil {
			return fmt.Errorf("copy the genesis file: %w", err)
		}
	}
	if err := node.CreateLedger(cmd.Context(), cfg); err != nil {
		return err
	}
	return a.print(map[string]string{"chainId": g.Hash().Hex(), "dataDir": cfg.DataDir}, func(w io.Writer) {
		fmt.Fprintf(w, "Ledger of network %s (chain id %s) created in %s.\nCompare the chain id with the other members, then run: assentd start --home %s\n", g.Network, g.Hash(), cfg.DataDir, a.home)
	})
}

func sameFile(a, b string) (bool, error) {
	fa, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	fb, err := os.Stat(b)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(fa, fb), err
}

// memberFile is what --members names: who founds the network.
type memberFile struct {
	Network string `json:"network"`
	Members []struct {
		ID     string           `json:"id"`
		Name   string           `json:"name"`
		Roles  []string         `json:"roles"`
		Admins []ledger.Address `json:"admins"`
	} `json:"members"`
}

func (a *app) genesisCommand() *cobra.Command {
	var members, out string
	c := &cobra.Command{
		Use: "genesis --members FILE --out FILE CARD…", Short: "Make a network's genesis file from its members and their nodes' cards",
		Long: `FILE is JSON: {"network":"…","members":[{"id":"…","name":"…","roles":["DATA_PROVIDER"],"admins":["0x…"]}]}`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("genesis needs the cards (node.json) of the validators")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			g, err := makeGenesis(members, args)
			if err != nil {
				return err
			}
			b, err := config.FormatGenesis(g)
			if err != nil {
				return err
			}
			if err := os.WriteFile(out, b, 0o644); err != nil {
				return fmt.Errorf("write the genesis file: %w", err)
			}
			return a.print(map[string]any{"chainId": g.Hash().Hex(), "validators": len(g.Validators), "file": out}, func(w io.Writer) {
				fmt.Fprintf(w, "Genesis of network %s with %d members and %d validators written to %s.\nChain id: %s\n", g.Network, len(g.Members), len(g.Validators), out, g.Hash())
			})
		},
	}
	c.Flags().StringVar(&members, "members", "members.json", "the founding members")
	c.Flags().StringVar(&out, "out", "genesis.json", "where to write the genesis file")
	return c
}

func makeGenesis(members string, cards []string) (*ledger.Config, error) {
	var m memberFile
	if err := readJSON(members, &m); err != nil {
		return nil, err
	}
	var list []node.GenesisMember
	for _, x := range m.Members {
		list = append(list, node.GenesisMember{ID: x.ID, Name: x.Name, Roles: x.Roles, Admins: x.Admins})
	}
	var read []node.Card
	for _, path := range cards {
		var c node.Card
		if err := readJSON(path, &c); err != nil {
			return nil, err
		}
		read = append(read, c)
	}
	return node.Genesis(m.Network, uint64(time.Now().UnixMilli()), list, read)
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
