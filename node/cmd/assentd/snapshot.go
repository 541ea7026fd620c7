package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/ledger"
)

func (a *app) snapshotCommand() *cobra.Command {
	return group("snapshot", "Copies of the state, from which other nodes can begin",
		a.snapshotWriteCommand(), a.snapshotListCommand(), a.snapshotVerifyCommand())
}

func (a *app) pruneCommand() *cobra.Command {
	return &cobra.Command{
		Use: "prune", Short: "Delete what the retention rules no longer want, of a running node", Args: noArgs,
		Long: "The node deletes the bodies of blocks older than retention.blocks, and events and access records older than\n" +
			"retention.records, behind its newest snapshot, which a quorum's certificate and its own hashes must prove. It does so by\n" +
			"itself after every snapshot; this begins at once and shows how far it is. Interrupted, it goes on the next time.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			bar := newBar(a.err, a.json)
			p, err := node.Prune(cmd.Context(), cfg, func(p node.VerifyProgress) { bar.set(p.Step, p.Done, p.Total) })
			bar.end()
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) {
				fmt.Fprintf(w, "Behind the snapshot of height %d: %d blocks and %d outcomes were pruned in %s.\n", p.Snapshot, p.Bodies, p.Pruned, time.Duration(p.Millis)*time.Millisecond)
				fmt.Fprintf(w, "Kept are blocks from %d on, outcomes and access records from %d on.\n", p.Blocks, p.Records)
			})
		},
	}
}

func (a *app) snapshotWriteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "write", Short: "Write a snapshot of the newest certified state, of a running or a stopped node", Args: noArgs,
		Long: "A running node writes it itself, while it serves, and is asked to on its control socket: run this as its user.\n" +
			"A running node also writes one by itself every snapshots.every blocks, validators in turns.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			bar := newBar(a.err, a.json)
			s, err := node.WriteSnapshot(cmd.Context(), cfg, func(p node.VerifyProgress) { bar.set(p.Step, p.Done, p.Total) })
			bar.end()
			if err != nil {
				return inUse(err)
			}
			return a.print(s, func(w io.Writer) {
				fmt.Fprintf(w, "Snapshot of height %d: %s in %d chunks, %s.\n", s.Height, size(s.Bytes), s.Chunks, time.Duration(s.Millis)*time.Millisecond)
			})
		},
	}
}

func (a *app) snapshotListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the snapshots of a node, newest first", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			list, err := node.ListSnapshots(cfg)
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				if len(list) == 0 {
					fmt.Fprintln(w, "There is no snapshot.")
				}
				for _, s := range list {
					fmt.Fprintf(w, "height %d  %s  %s  %d receipts  state root %s\n", s.Height, s.Time.Format(time.RFC3339), size(s.Bytes), s.Receipts, s.StateRoot)
				}
			})
		},
	}
}

func (a *app) snapshotVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify [HEIGHT]", Short: "Check a snapshot against the header that certifies it and the blocks' certificates",
		Long: "Every chunk is read, and the state root, the receipts root and every index are computed anew; nothing is believed.\n" +
			"Without a height the newest is checked. The node is stopped, or the network's validators have never changed.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("%s takes one height at most", c.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			height := uint64(0)
			if len(args) == 1 {
				if height, err = strconv.ParseUint(args[0], 10, 64); err != nil {
					return usage("%q is not a height: see %s list", args[0], cmd.Parent().CommandPath())
				}
			}
			bar := newBar(a.err, a.json)
			s, err := node.VerifySnapshot(cmd.Context(), cfg, ledger.Height(height), func(p node.VerifyProgress) { bar.set(p.Step, p.Done, p.Total) })
			bar.end()
			if err != nil {
				if errors.Is(err, node.ErrBadSnapshot) {
					return fmt.Errorf("%w: remove it and write another", err)
				}
				return inUse(err)
			}
			return a.print(s, func(w io.Writer) {
				fmt.Fprintf(w, "The snapshot of height %d is sound: state root %s and %d receipts, certified by block %d.\n", s.Height, s.StateRoot, s.Receipts, s.Certified)
			})
		},
	}
}

// size says how many bytes for people.
func size(n uint64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.0f MB", float64(n)/1e6)
}
