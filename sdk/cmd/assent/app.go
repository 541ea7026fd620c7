package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

// Exit codes. Scripts may rely on them.
const (
	exitOK       = 0
	exitFailed   = 1 // anything without a code of its own
	exitUsage    = 2 // arguments, profile, files, passwords
	exitRefused  = 3 // a node or a contract said no
	exitLater    = 4 // nobody can be reached, or not yet: try again
	exitUnknown  = 5 // the transaction's outcome is not known: resolve it, do not repeat it
	exitLie      = 6 // something does not verify
	exitDenied   = 7 // the ledger denied a query
	exitUnwell   = 8 // doctor, or a dry run of a template, found something
	exitCodeHelp = `Exit codes: 0 done; 1 failed; 2 usage or set-up; 3 refused; 4 try again later; 5 outcome unknown
(resolve it with "assent receipt tx"); 6 does not verify; 7 query denied; 8 doctor or a dry run found something.
With --json errors are one object on standard output, too.`
)

// app is one run of the command.
type app struct {
	*surroundings
	flags   flags
	profile *profile
	client  *sdk.Client
	kept    string // ticket file of a query that did not end
	goOn    string // command that goes on with it
}

// flags are the global ones.
type flags struct {
	json     bool
	profile  string
	endpoint []string
	org      string
	key      string
	genesis  string
	chain    string
	password string // file
	pins     []string
	timeout  time.Duration
	yes      bool
}

// usageError is a mistake on the command line.
type usageError struct{ error }

// notYet is what may come to its end when it is tried again.
type notYet struct{ error }

// verdict ends a command that said all it has to say with an exit code.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }

func run(ctx context.Context, args []string, s *surroundings) int {
	out := &told{Writer: s.out}
	s.out = out
	a := &app{surroundings: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	err := root.ExecuteContext(ctx)
	if a.client != nil {
		a.client.Close()
	}
	var v verdict
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &v):
		return int(v)
	}
	// A wrong flag may stand before --json, which is then not parsed.
	a.complain(err, (a.flags.json || slices.Contains(args, "--json")) && !out.something)
	return exitCode(err)
}

// told is standard output, which remembers whether it said something: with --json
// that is one object, the result or the error. What streams ends with its last line.
type told struct {
	io.Writer
	something bool
}

func (t *told) Write(b []byte) (int, error) {
	t.something = t.something || len(b) > 0
	return t.Writer.Write(b)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "assent",
		Short:         "Command line of an Assent data-sharing network",
		Long:          "assent talks to nodes of an Assent network: members publish, lenders ask, subjects consent,\nand everybody can check what the ledger certifies.\n\n" + exitCodeHelp,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noneOf("assent"),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.flags.timeout < 0 {
			return usageError{fmt.Errorf("--timeout %s: give a time above 0, such as 30s", a.flags.timeout)}
		}
		return nil
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w: see %s --help", err, c.CommandPath())}
	})
	f := root.PersistentFlags()
	f.BoolVar(&a.flags.json, "json", false, "print one JSON document instead of text")
	f.StringVar(&a.flags.profile, "profile", "", "profile file (default <config directory>/assent/profile.json; ASSENT_PROFILE)")
	f.StringSliceVar(&a.flags.endpoint, "endpoint", nil, "node, https://host:port[#sha256=<pin>]; repeat for failover (ASSENT_ENDPOINTS)")
	f.StringVar(&a.flags.org, "org", "", "member to act for (ASSENT_ORG)")
	f.StringVar(&a.flags.key, "key", "", "key file (ASSENT_KEY)")
	f.StringVar(&a.flags.genesis, "genesis", "", "file with the genesis config (ASSENT_GENESIS)")
	f.StringVar(&a.flags.chain, "chain", "", "chain id, if there is no genesis file (ASSENT_CHAIN)")
	f.StringVar(&a.flags.password, "password-file", "", "file whose first line is the password (ASSENT_PASSWORD_FILE; ASSENT_PASSWORD holds the password itself)")
	f.StringSliceVar(&a.flags.pins, "pin", nil, "SHA-256 of a node's TLS public key info (ASSENT_PINS)")
	f.DurationVar(&a.flags.timeout, "timeout", 0, "how long to wait for an outcome or a certificate (default 30s)")
	f.BoolVarP(&a.flags.yes, "yes", "y", false, "do not ask")
	root.AddCommand(
		a.networkCmd(), a.memberCmd(), a.productCmd(), a.templateCmd(), a.consentCmd(),
		a.queryCmd(), a.receiptCmd(), a.proofCmd(), a.eventsCmd(), a.walletCmd(), a.exposureCmd(), a.cohortCmd(), a.doctorCmd(),
	)
	return root
}

// version is that of the module the program was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// group makes a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noneOf("assent " + use), RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(subs...)
	return c
}

// noneOf refuses arguments where only commands may stand.
func noneOf(path string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("%s: %q is not one of its commands: see %s --help", path, args[0], path)}
		}
		return nil
	}
}

// leaf makes a command that takes exactly the arguments its use line names.
func leaf(use, short string, do func(c *cobra.Command, args []string) error) *cobra.Command {
	words := strings.Fields(use)[1:]
	return &cobra.Command{Use: use, Short: short, RunE: do, Args: func(c *cobra.Command, args []string) error {
		if len(args) != len(words) {
			return usageError{fmt.Errorf("%s: %d arguments, want %d: %s", strings.TrimPrefix(c.CommandPath(), "assent "), len(args), len(words), c.UseLine())}
		}
		return nil
	}}
}

// show prints v as JSON, or text through human.
func (a *app) show(v any, human func(w io.Writer)) error {
	if !a.flags.json {
		tw := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
		human(tw)
		return tw.Flush()
	}
	return a.encode(v)
}

func (a *app) encode(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// showRecord prints a record: canonical JSON, or the same indented.
func (a *app) showRecord(r sdk.Record) error {
	b, err := sdk.JSON(r)
	if err != nil {
		return err
	}
	return a.show(json.RawMessage(b), func(w io.Writer) {
		var v any
		if json.Unmarshal(b, &v) == nil {
			b, _ = json.MarshalIndent(v, "", "  ")
		}
		fmt.Fprintln(w, string(b))
	})
}

// problem is an error as --json prints it.
type problem struct {
	Error     string `json:"error"`
	Code      string `json:"code,omitempty"`
	Where     string `json:"where,omitempty"`
	Remedy    string `json:"remedy,omitempty"`
	Retryable bool   `json:"retryable"`
	TxID      string `json:"txId,omitempty"`
	Ticket    string `json:"ticket,omitempty"`
	Exit      int    `json:"exit"`

	Change *changeView `json:"change,omitempty"` // that the preflight refused
}

// problemOf says of an error what is known: code, place, remedy.
func problemOf(err error) problem {
	p := problem{Error: err.Error(), Retryable: sdk.Retryable(err), Exit: exitCode(err)}
	var e *sdk.Error
	var u *sdk.CommitUnknown
	var conf *sdk.ConfigError
	var lie *sdk.NotAnchored
	var preflight refusedByPreflight
	var later notYet
	switch {
	case errors.As(err, &later):
		p.Retryable = true
	case errors.As(err, &preflight):
		p.Code, p.Where, p.Error, p.Remedy = "PREFLIGHT", "preflight", preflight.what(), preflight.remedy()
		p.Change = preflight.change
	case errors.As(err, &e):
		p.Error, p.Code, p.Where, p.Remedy = e.What, string(e.Code), e.Where, e.Remedy
		if e.TxID != (sdk.Hash{}) {
			p.TxID = e.TxID.Hex()
		}
	case errors.As(err, &u):
		p.TxID, p.Remedy = u.TxID.Hex(), "assent receipt tx "+u.TxID.Hex()
	case errors.As(err, &conf):
		p.Remedy = conf.Remedy
	case errors.As(err, &lie):
		p.Code, p.Remedy = string(sdk.ClaimNotAnchored), "assent receipt dispute TICKET --claim NOT_ANCHORED --part FILE --authority MEMBER --out FILE"
	}
	return p
}

// complain says an error on standard error, and as an object on standard output.
func (a *app) complain(err error, object bool) {
	p := problemOf(err)
	p.Ticket = a.kept
	if object {
		_ = a.encode(p) // nobody is left to tell
	}
	if p.Code != "" {
		fmt.Fprintf(a.err, "assent: %s: %s: %s\n  %s\n", p.Where, p.Code, p.Error, p.Remedy)
	} else {
		fmt.Fprintf(a.err, "assent: %v\n", err)
	}
	if a.kept != "" {
		fmt.Fprintf(a.err, "  The query is kept: go on with %s\n", a.goOn)
	}
}

func exitCode(err error) int {
	var (
		usage   usageError
		conf    *sdk.ConfigError
		unknown *sdk.CommitUnknown
		lie     *sdk.Untrusted
		call    *sdk.Error

		preflight refusedByPreflight
		later     notYet
	)
	switch {
	case errors.As(err, &unknown):
		return exitUnknown
	case errors.As(err, &preflight):
		return exitRefused
	case errors.As(err, &lie), errors.Is(err, wallet.ErrTerms), errors.Is(err, sdk.ErrOpening):
		return exitLie
	case errors.As(err, &conf), errors.As(err, &usage), errors.Is(err, wallet.ErrLink), errors.Is(err, wallet.ErrPassword),
		errors.Is(err, wallet.ErrExists), errors.Is(err, wallet.ErrUnknown):
		return exitUsage
	case errors.As(err, &call):
		if call.Retryable() {
			return exitLater
		}
		return exitRefused
	case errors.As(err, &later):
		return exitLater
	}
	return exitFailed
}
