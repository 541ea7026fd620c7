package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
)

// verdict ends a command that has said all it has to say with an exit code.
type verdict int

func (v verdict) Error() string { return fmt.Sprintf("exit code %d", int(v)) }

func (a *app) doctorCommand() *cobra.Command {
	var locked bool
	c := &cobra.Command{
		Use: "doctor", Short: "Look at the node on this machine, running or stopped, and say what to do", Args: noArgs,
		Long: "The doctor looks at configuration, keys (also against the ledger), clock, disk, ports, quorum margin, peers, lag, view age,\n" +
			"versions, vaults and outbox; of a stopped node also at its files, of which it changes none.\n" +
			"It asks a running node on its operators' address (metrics.listen). Exit codes: 0 all is well; 1 a warning; 2 something is broken.",
		Example: "  assentd doctor --home n1\n  assentd doctor --home n1 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			facts := a.facts(cmd, locked)
			r := doctor.Judge(facts)
			err := a.print(r, func(w io.Writer) { printReport(w, r) })
			if err == nil && r.Level != doctor.OK {
				return verdict(r.Exit())
			}
			return err
		},
	}
	c.Flags().BoolVar(&locked, "no-password", false, "do not unlock the keys")
	return c
}

func (a *app) facts(cmd *cobra.Command, locked bool) *doctor.Facts {
	cfg, err := a.config()
	if err != nil {
		return &doctor.Facts{Config: err}
	}
	var password keys.Password
	if !locked {
		if password, err = a.source(cfg.Identity.Password); err != nil {
			return &doctor.Facts{Config: err}
		}
	}
	return node.Examine(cmd.Context(), cfg, version, password)
}

func printReport(w io.Writer, r *doctor.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%-5s %s: %s\n", f.Level, f.Check, f.What)
		if f.Remedy != "" {
			fmt.Fprintf(w, "      → %s\n", f.Remedy)
		}
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := map[string]any{"version": version, "protocol": ledger.Protocol, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" || s.Key == "CGO_ENABLED" {
						v[map[string]string{"vcs.revision": "revision", "CGO_ENABLED": "cgo"}[s.Key]] = s.Value
					}
				}
			}
			return a.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "assentd %s, protocol %d, %s, %s\n", version, ledger.Protocol, v["go"], v["platform"])
			})
		},
	}
}
