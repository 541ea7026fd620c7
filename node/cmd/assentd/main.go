// Command assentd is the node: it sets one up, runs it and checks its data.
//
//	assentd init --home DIR --member ID …      make keys, configuration and card
//	assentd genesis --members FILE CARD…       make the network's genesis file
//	assentd init --home DIR --genesis FILE     create the ledger
//	assentd start --home DIR
//	assentd verify --home DIR                  check everything a stopped node keeps
//	assentd vault import|check                 the member's own data
//	assentd keys list|new|password
//
// Every command takes --json. Errors say what is wrong, where, and what to do;
// the exit code is 1 for a failure and 2 for a wrong call.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
)

// version is set by the release build.
var version = "dev"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes the command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: stdout, err: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil {
		if a.json {
			_ = json.NewEncoder(stderr).Encode(map[string]string{"error": err.Error()})
		} else {
			fmt.Fprintln(stderr, "assentd:", err)
		}
		var usage usageError
		if errors.As(err, &usage) {
			return 2
		}
		return 1
	}
	return 0
}

type usageError struct{ error }

// app is what the commands share.
type app struct {
	out, err io.Writer
	json     bool
	home     string
	password string // source, overrides the configuration's
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "assentd", Short: "Run a node of an Assent network", SilenceUsage: true, SilenceErrors: true,
		Version: version, Args: cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.PersistentFlags().StringVar(&a.home, "home", ".", "the node's home: "+node.ConfigFile+", keys and data")
	root.PersistentFlags().StringVar(&a.password, "password", "", "where the keys' password is: file:<path>, env:<variable> or prompt")
	root.AddCommand(a.initCommand(), a.genesisCommand(), a.startCommand(), a.verifyCommand(), a.vaultCommand(), a.keysCommand())
	return root
}

// config reads the node's configuration.
func (a *app) config() (config.Config, error) {
	return config.Load(config.Sources{File: filepath.Join(a.home, node.ConfigFile), Env: os.Environ()})
}

// source returns where passwords come from.
func (a *app) source(configured string) (keys.Password, error) {
	if a.password != "" {
		configured = a.password
	}
	return keys.ParseSource(configured, a.prompt())
}

// print writes v as JSON with --json, else what text writes.
func (a *app) print(v any, text func(io.Writer)) error {
	if a.json {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	text(a.out)
	return nil
}
