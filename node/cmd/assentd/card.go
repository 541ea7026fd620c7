package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
)

func (a *app) cardCommand() *cobra.Command {
	var asRecord bool
	c := &cobra.Command{
		Use: "card", Short: "Show what the node tells others about itself", Args: noArgs,
		Long: "The card is " + node.CardFile + " with what the configuration says now: the keys, and whether the node answers for its member.\n" +
			"With --record it is printed as the record that an admin of the member puts on the ledger, with the proof that this\n" +
			"node has its host key. The proof is for one network, so it needs the genesis file, and for 30 days.",
		Example: "  assentd card --home n1 --record | assent member node set -",
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			var card node.Card
			if err := readJSON(filepath.Join(a.home, node.CardFile), &card, "it is what assentd init wrote; restore it from whoever you sent it to"); err != nil {
				return err
			}
			if err := card.Update(cfg); err != nil {
				return fmt.Errorf("card: %w", err)
			}
			if asRecord {
				if err := a.proveHost(&card, cfg); err != nil {
					return fmt.Errorf("card --record: %w", err)
				}
				spec := card.Spec()
				if err := spec.Check(); err != nil {
					return fmt.Errorf("card %s: %w", filepath.Join(a.home, node.CardFile), err)
				}
				b, err := record.Encode(&spec)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "%s\n", b)
				return err
			}
			return a.print(card, func(w io.Writer) {
				fmt.Fprintf(w, "member       %s\nnode         %s (%s)\n", card.Member, card.NodeID, card.Kind)
				for _, x := range card.Addrs {
					fmt.Fprintf(w, "nodes dial   %s/p2p/%s\n", x, card.NodeID)
				}
				for _, u := range card.APIURLs {
					fmt.Fprintf(w, "clients dial %s#sha256=%x\n", u, card.SPKI[:])
				}
				fmt.Fprintf(w, "answers      %t\ndata key     %s %s\n", card.Answers, card.DataKeyID, card.DataKey)
			})
		},
	}
	c.Flags().BoolVar(&asRecord, "record", false, "print the argument of assent member node set")
	return c
}

// proveHost signs a card with the node's host key, unless the network was founded
// with the node. Without a genesis file there is no network that could ask for it.
func (a *app) proveHost(card *node.Card, cfg config.Config) error {
	if _, err := os.Stat(cfg.Genesis); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	genesis, err := config.ReadGenesis(cfg.Genesis)
	if err != nil || card.Founds(genesis) {
		return err
	}
	password, err := a.source(cfg.Identity.Password)
	if err != nil {
		return err
	}
	return card.Prove(cfg, genesis, password, time.Now())
}
