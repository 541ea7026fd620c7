// Command localnet runs a network of real nodes on this machine, for development.
//
//	go run ./scripts/localnet up [--manifest FILE]   make it (once) and start it
//	go run ./scripts/localnet status                 who runs, how far
//	go run ./scripts/localnet addresses              where clients connect, with pins and key files
//	go run ./scripts/localnet kill NODE              end a node as a crash would
//	go run ./scripts/localnet start NODE             start it again
//	go run ./scripts/localnet down                   stop it; the data stay
//
// The network lives in .assent/localnet (--dir), a directory per member that stands
// for its machines; up founds it by the steps of the README's *A node of your own*,
// with the same commands. A manifest is JSON:
//
//	{"network":"local","members":[{"id":"bank","name":"Bank","roles":["DATA_PROVIDER"],"validators":4,"observers":1}]}
//
// With --json every command prints one JSON value on standard output, an error too.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: os.Stdout}
	if err := a.root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "localnet:", err)
		if a.json || slices.Contains(os.Args, "--json") { // which may stand after a wrong flag
			_ = json.NewEncoder(a.out).Encode(map[string]string{"error": err.Error()}) // nobody is left to tell
		}
		os.Exit(1)
	}
}

type app struct {
	out  io.Writer
	dir  string
	json bool
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{Use: "localnet", Short: "A network of real nodes on this machine", SilenceUsage: true, SilenceErrors: true}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentFlags().StringVar(&a.dir, "dir", ".assent/localnet", "where the network lives")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.AddCommand(a.up(), a.down(), a.status(), a.addresses(), a.one("kill", "End a node as a crash would (SIGKILL)", a.kill), a.one("start", "Start a node again", a.start))
	return root
}

func (a *app) up() *cobra.Command {
	var manifest string
	c := &cobra.Command{
		Use: "up", Short: "Make the network, once, and start it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := testnet.Load(a.dir)
			if err == nil {
				if err := n.Start(cmd.Context(), func(x *testnet.Node) bool { return !x.Alive() }); err != nil {
					return err
				}
				return a.printAddresses(n)
			}
			if !errors.Is(err, testnet.ErrNone) {
				return err
			}
			m := testnet.DefaultManifest()
			if manifest != "" {
				if m, err = testnet.ReadManifest(manifest); err != nil {
					return err
				}
			}
			fmt.Fprintln(os.Stderr, "building assentd …")
			program, err := testnet.Build(cmd.Context(), a.dir+".bin")
			if err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr, "founding: keys and cards of every node, genesis, ledgers …")
			if n, err = testnet.Create(cmd.Context(), a.dir, program, m); err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr, "starting and registering …")
			if err := n.Up(cmd.Context()); err != nil {
				return fmt.Errorf("%w. The network is half made: run localnet down, remove %s and its .bin, and begin anew", err, a.dir)
			}
			return a.printAddresses(n)
		},
	}
	c.Flags().StringVar(&manifest, "manifest", "", "what network to make; default: two banks, a lender, a regulator, an observer")
	return c
}

func (a *app) down() *cobra.Command {
	return &cobra.Command{Use: "down", Short: "Stop the network; its data stay", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		n, err := testnet.Load(a.dir)
		if err != nil {
			return err
		}
		for _, x := range n.Nodes {
			if err := x.StopByPID(20 * time.Second); err != nil {
				return err
			}
		}
		return a.done(n)
	}}
}

// done shows what runs, to programs; people see from the silence that it worked.
func (a *app) done(n *testnet.Net) error {
	if !a.json {
		return nil
	}
	running := make(map[string]bool)
	for _, x := range n.Nodes {
		running[x.Name] = x.Alive()
	}
	return json.NewEncoder(a.out).Encode(map[string]any{"running": running})
}

func (a *app) one(name, short string, f func(context.Context, *testnet.Net, *testnet.Node) error) *cobra.Command {
	return &cobra.Command{Use: name + " NODE", Short: short, Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		n, err := testnet.Load(a.dir)
		if err != nil {
			return err
		}
		x, err := n.Node(args[0])
		if err != nil {
			return err
		}
		if err := f(cmd.Context(), n, x); err != nil {
			return err
		}
		return a.done(n)
	}}
}

func (a *app) kill(_ context.Context, _ *testnet.Net, x *testnet.Node) error { return x.KillByPID() }

func (a *app) start(ctx context.Context, n *testnet.Net, x *testnet.Node) error {
	if x.Alive() {
		return fmt.Errorf("node %s runs already (pid %d)", x.Name, x.PID)
	}
	return n.Start(ctx, func(y *testnet.Node) bool { return x == y })
}

// nodeStatus is a row of status.
type nodeStatus struct {
	Name     string `json:"name"`
	PID      int    `json:"pid"`
	Running  bool   `json:"running"`
	Height   uint64 `json:"height"`
	Executed uint64 `json:"executed"`
	Leader   uint64 `json:"leader"`
	Peers    uint64 `json:"peers"`
	Ready    bool   `json:"ready"`
	Problem  string `json:"problem,omitempty"`
}

func (a *app) status() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "Who runs, and how far", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		n, err := testnet.Load(a.dir)
		if err != nil {
			return err
		}
		var list []nodeStatus
		for _, x := range n.Nodes {
			list = append(list, a.ask(cmd.Context(), n, x))
		}
		if a.json {
			return json.NewEncoder(a.out).Encode(list)
		}
		w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "NODE\tPID\tHEIGHT\tEXECUTED\tLEADER\tPEERS\tSTATE")
		for _, s := range list {
			state := "ready"
			if !s.Ready {
				state = s.Problem
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", s.Name, s.PID, s.Height, s.Executed, s.Leader, s.Peers, state)
		}
		return w.Flush()
	}}
}

func (a *app) ask(ctx context.Context, n *testnet.Net, x *testnet.Node) nodeStatus {
	s := nodeStatus{Name: x.Name, PID: x.PID, Running: x.Alive()}
	if !s.Running {
		s.Problem = "not running"
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	got, err := n.StatusOf(ctx, x)
	if err != nil {
		s.Problem = err.Error()
		return s
	}
	s.Height, s.Executed, s.Leader, s.Peers, s.Ready, s.Problem = got.Height, got.Executed, got.Leader, got.Peers, got.Ready, got.WhyNot
	return s
}

func (a *app) addresses() *cobra.Command {
	return &cobra.Command{Use: "addresses", Short: "Where clients connect", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		n, err := testnet.Load(a.dir)
		if err != nil {
			return err
		}
		return a.printAddresses(n)
	}}
}

func (a *app) printAddresses(n *testnet.Net) error {
	if a.json {
		return json.NewEncoder(a.out).Encode(n)
	}
	fmt.Fprintf(a.out, "Network %s, chain id %s\ngenesis   %s, the one file that all members have\n\n", n.Manifest.Network, n.ChainID, n.GenesisPath())
	for _, x := range n.Nodes {
		fmt.Fprintf(a.out, "%-26s %s\n", x.Name, x.Endpoint())
	}
	fmt.Fprintln(a.out, "\nkeys of each member's people (admin, officer, integration, operator, auditor):")
	for _, m := range n.Manifest.Members {
		fmt.Fprintf(a.out, "  %-16s %s, password in %s\n", m.ID, n.KeyPath(m.ID, sdk.ClientRole("<role>")), n.PasswordPath(m.ID))
	}
	return nil
}
