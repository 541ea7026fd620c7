// Command assentd is the node: it sets one up, runs it and checks its data.
//
//	assentd init --home DIR --member ID …      make keys, configuration and card
//	assentd genesis --members FILE CARD…       make the network's genesis file
//	assentd init --home DIR --genesis FILE     create the ledger
//	assentd start --home DIR
//	assentd card --home DIR                    show what it tells others
//	assentd verify --home DIR                  check everything a stopped node keeps
//	assentd snapshot write|list|verify         copies of the state, to begin with
//	assentd backup --home DIR --recipient …    make an encrypted copy, also while it runs
//	assentd restore --home DIR FILE            make an observer out of one
//	assentd doctor --home DIR                  say how the node is, and what to do
//	assentd evidence [check FILE]              proofs that validators lied
//	assentd version
//	assentd vault import|check                 the member's own data
//	assentd keys create|list|new|password
//
// Every command takes --json, and then prints one object on standard output, an
// error too. Errors say on standard error what is wrong, where, and what to do; the
// exit code is 1 for a failure and 2 for a wrong call.
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
	"slices"
	"strings"
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
	out := &told{Writer: stdout}
	a := &app{out: out, err: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := 1
	var said verdict
	if errors.As(err, &said) {
		return int(said)
	}
	var usage usageError
	if errors.As(err, &usage) {
		code = 2
	}
	fmt.Fprintln(stderr, "assentd:", err)
	// A wrong flag may stand before --json, which is then not parsed.
	if (a.json || slices.Contains(args, "--json")) && !out.something {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(problem{err.Error(), code}) // nobody is left to tell
	}
	return code
}

// told is standard output, which remembers whether it said something: with --json
// that is one object, the result or the error.
type told struct {
	io.Writer
	something bool
}

func (t *told) Write(b []byte) (int, error) {
	t.something = t.something || len(b) > 0
	return t.Writer.Write(b)
}

// problem is an error as --json prints it.
type problem struct {
	Error string `json:"error"`
	Exit  int    `json:"exit"`
}

// usageError is a mistake on the command line; every other error is a failure.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// group makes a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			return usage("%s has no command %q: did you mean %s?", c.CommandPath(), args[0], strings.Join(near, " or "))
		}
		return usage("%s has no command %q: see %s --help", c.CommandPath(), args[0], c.CommandPath())
	}
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(subs...)
	return c
}

// noArgs refuses arguments.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("%s takes no argument %q: see %s --help", c.CommandPath(), args[0], c.CommandPath())
	}
	return nil
}

// app is what the commands share.
type app struct {
	out, err io.Writer
	json     bool
	home     string
	password string // source, overrides the configuration's
}

func (a *app) root() *cobra.Command {
	root := group("assentd", "Run a node of an Assent network",
		a.initCommand(), a.cardCommand(), a.genesisCommand(), a.startCommand(), a.verifyCommand(), a.backupCommand(), a.restoreCommand(), a.snapshotCommand(), a.pruneCommand(), a.doctorCommand(), a.evidenceCommand(), a.vaultCommand(), a.keysCommand(), a.versionCommand())
	root.Long = "assentd sets a node up, runs it and checks its data.\n\n" +
		"Exit codes: 0 done; 1 failed; 2 wrong call. Errors say what to do, on standard error; with --json they are one object on standard output, too."
	root.SilenceUsage, root.SilenceErrors, root.Version = true, true, version
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w: see %s --help", err, c.CommandPath())
	})
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.PersistentFlags().StringVar(&a.home, "home", ".", "the node's home: "+node.ConfigFile+", keys and data")
	root.PersistentFlags().StringVar(&a.password, "password", "", "where the keys' password is: file:<path>, env:<variable> or prompt")
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
	return a.parseSource(configured)
}

// parseSource reads where a password comes from, as a flag or the configuration
// says it.
func (a *app) parseSource(source string) (keys.Password, error) {
	return keys.ParseSource(source, a.prompt())
}

// print writes v as JSON with --json, else what text writes.
func (a *app) print(v any, text func(io.Writer)) error {
	if a.json {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	text(a.out)
	return nil
}
