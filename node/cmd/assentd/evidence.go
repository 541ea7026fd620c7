package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/evidence"
	"github.com/assent-network/assent/node/ledger"
)

func (a *app) evidenceCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "evidence", Short: "Show the proofs that validators voted for two blocks, or check one", Args: noArgs,
		Long: "A validator that votes for two blocks of one height and view leaves two signatures; a node that meets both keeps them.\n" +
			"The node may run meanwhile. Each proof is a file: hand it to the other members, who check it with `assentd evidence check`.\n" +
			"What this node saw and cannot prove (two proposals of one leader, votes for blocks it does not know) the doctor tells.\n" +
			"The exit code is 1 if there is any proof.",
		Example: "  assentd evidence --home n1 --json",
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			proofs, damaged, err := node.Evidence(cfg)
			if err != nil {
				return err
			}
			out := struct {
				Proofs  []node.Accused `json:"proofs"`
				Damaged []string       `json:"damaged,omitempty"`
			}{append([]node.Accused{}, proofs...), damaged}
			err = a.print(out, func(w io.Writer) { printEvidence(w, proofs, damaged) })
			if err == nil && len(proofs) > 0 {
				return verdict(1)
			}
			return err
		},
	}
	c.AddCommand(a.evidenceCheckCommand())
	return c
}

func printEvidence(w io.Writer, proofs []node.Accused, damaged []string) {
	if len(proofs) == 0 {
		fmt.Fprintln(w, "No validator is proven to have voted for two blocks.")
	}
	for _, p := range proofs {
		fmt.Fprintf(w, "Validator %d of %s voted for two blocks at height %d, view %d: %s and %s\n  vote key %s, found %s\n  %s\n",
			p.Validator, p.Member, p.Height, p.View, p.First.Hash(), p.Second.Hash(), p.VoteKey, p.Found.Format("2006-01-02 15:04:05 MST"), p.File)
	}
	for _, name := range damaged {
		fmt.Fprintf(w, "%s holds no proof of this network: it was damaged or does not belong there\n", name)
	}
}

func (a *app) evidenceCheckCommand() *cobra.Command {
	var genesis string
	c := &cobra.Command{
		Use: "check FILE", Short: "Check a proof that somebody hands you", Args: cobra.ExactArgs(1),
		Long: "With --genesis nothing but the network's genesis file is needed, as long as it names the validator's key. Without, the\n" +
			"configs in this node's blocks are looked at, newest first; the node must be stopped for it.",
		Example: "  assentd evidence check 0x….json --genesis genesis.json",
		RunE: func(_ *cobra.Command, args []string) error {
			blocks := ""
			if genesis == "" {
				cfg, err := a.config()
				if err != nil {
					return err
				}
				genesis, blocks = cfg.Genesis, filepath.Join(cfg.DataDir, "blocks")
			}
			p, v, err := node.CheckEvidence(args[0], genesis, blocks)
			if err != nil {
				return inUse(err)
			}
			out := struct {
				*evidence.Proof
				Validator uint64 `json:"validator"` // as the config says, not the file
				Member    string `json:"member"`
			}{p, v.ID, v.Member}
			return a.print(out, func(w io.Writer) { printChecked(w, p, v) })
		},
	}
	c.Flags().StringVar(&genesis, "genesis", "", "the network's genesis file; default: this node's, and its blocks")
	return c
}

func printChecked(w io.Writer, p *evidence.Proof, v *ledger.Validator) {
	fmt.Fprintf(w, "The proof is sound: validator %d of %s, vote key %s, signed two blocks of height %d, view %d: %s and %s.\n",
		v.ID, v.Member, p.VoteKey, p.Height, p.View, p.First.Hash(), p.Second.Hash())
}
