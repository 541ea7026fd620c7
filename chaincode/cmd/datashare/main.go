// Command datashare is Assent's contracts as a chaincode service of a
// Hyperledger Fabric network: a peer dials it and has it simulate transactions.
//
//	datashare                       serve, with the settings of the environment or flags
//	datashare package -o FILE …     make the package that peers install
//	datashare config --channel C FILE   make the ordering config, and its approval
//	datashare identity CERTIFICATE  the client address of a certificate
//	datashare version
//
// Every command takes --json, and prints one object then, an error too. Errors say
// on standard error what is wrong and what to do; the exit code is 1 for a failure
// and 2 for a wrong call. README.md in this folder says
// what differs from Assent's own network.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/chaincode"
)

func main() { os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// app is one run of the program.
type app struct {
	env      func(string) string
	out, err io.Writer
	json     bool
}

// usageError is a mistake of the caller; every other error is a failure.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run executes the command line and returns the exit code.
func run(args []string, env func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{env: env, out: stdout, err: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := 1
	var wrong usageError
	if errors.As(err, &wrong) {
		code = 2
	}
	fmt.Fprintln(stderr, "datashare:", err)
	if a.json || slices.Contains(args, "--json") { // which may stand after a wrong flag
		_ = json.NewEncoder(stdout).Encode(map[string]any{"error": err.Error(), "exit": code}) // nobody is left to tell
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := a.serveCommand()
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v: see --help", err) })
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object")
	root.AddCommand(a.packageCommand(), a.configCommand(), a.identityCommand(), a.versionCommand())
	return root
}

// exactly refuses another number of arguments as a wrong call.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s takes %d arguments, %d were given: see --help", cmd.CommandPath(), n, len(args))
		}
		return nil
	}
}

// print shows a result: as JSON, or as its one line of text.
func (a *app) print(v any, line string) error {
	if !a.json {
		_, err := fmt.Fprintln(a.out, line)
		return err
	}
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "dev"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			return a.print(struct {
				Version   string `json:"version"`
				Go        string `json:"go"`
				Functions int    `json:"functions"`
			}{version(), runtime.Version(), len(chaincode.Functions())}, "datashare "+version())
		},
	}
}
