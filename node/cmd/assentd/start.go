package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/logs"
)

func (a *app) startCommand() *cobra.Command {
	return &cobra.Command{
		Use: "start", Short: "Run the node until it is told to stop (SIGTERM, Ctrl-C)", Args: noArgs,
		Long: "The node logs to standard error, as the configuration's log.format and log.level say. It ends by itself only with an error.\n" +
			"Every setting of the configuration can be overridden by the environment: api.listen is ASSENT_API_LISTEN.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			password, err := a.source(cfg.Identity.Password)
			if err != nil {
				return err
			}
			log := logger(cfg.Log, a.err)
			slog.SetDefault(log)
			defer tuneCollector()()
			if cfg.Metrics.Listen == config.Off {
				runtime.MemProfileRate = 0 // nobody can ask for a heap profile: keep none
			}
			var last *node.Node
			err = node.Serve(cmd.Context(), node.Options{Config: cfg, Password: password, Version: version, Logger: log}, func(n *node.Node) {
				last = n
				log.Info("node opened", "node", n.ID(), "member", cfg.Identity.Member, "kind", cfg.Identity.Node, "height", n.Height(), "api", n.APIAddr(), "version", version)
			})
			if err != nil {
				return inUse(err)
			}
			if last != nil {
				log.Info("node stopped", "height", last.Height())
			}
			return nil
		},
	}
}

func logger(cfg config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Level)) // checked with the configuration
	return logs.New(w, cfg.Format, level)
}

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Check every block, certificate, root and index of a stopped node", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			bar := newBar(a.err, a.json)
			v, err := node.Verify(cmd.Context(), cfg, func(p node.VerifyProgress) { bar.set(p.Step, p.Done, p.Total) })
			bar.end()
			if err != nil {
				return inUse(err)
			}
			return a.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "The ledger is sound: %d blocks, state root %s after height %d, %d receipts.\n", v.Blocks, v.StateRoot, v.Executed, v.Receipts)
				switch {
				case !v.Repeated:
					fmt.Fprintln(w, "Blocks below are pruned and no snapshot is here: nothing was executed again.")
				case v.Begin > 0:
					fmt.Fprintf(w, "Blocks were executed again from the snapshot of height %d on.\n", v.Begin)
				}
			})
		},
	}
}

// inUse adds what to do to the error of a data directory that another process
// has locked.
func inUse(err error) error {
	if errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("%w: a node runs on this data directory: stop it first", err)
	}
	return err
}
