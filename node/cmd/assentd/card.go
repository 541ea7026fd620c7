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
	var asRecord, renew bool
	var reach node.Reach
	c := &cobra.Command{
		Use: "card", Short: "Show what the node tells others about itself", Args: noArgs,
		Long: "The card is " + node.CardFile + " with what the configuration says now: the keys, and whether the node answers for its member.\n" +
			"With --record it is printed as the record that an admin of the member puts on the ledger, with the proof that this\n" +
			"node has its host key. The proof is for one network, so it needs the genesis file, and for 30 days.\n" +
			"With --renew " + node.CardFile + " is written anew from the node's keys and configuration, for one that is lost or names old\n" +
			"addresses: --advertise and --api-url are those of assentd init.",
		Example: "  assentd card --home n1 --record | assent member node set -\n" +
			"  assentd card --home n1 --renew --advertise /dns4/node.bank.example/tcp/7400",
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if !renew && len(reach.Addrs)+len(reach.APIURLs) > 0 {
				return usage("--advertise and --api-url say what a new card holds: add --renew")
			}
			card, err := a.card(cfg, renew, reach)
			if err != nil {
				return err
			}
			if asRecord {
				if err := a.proveHost(card, cfg); err != nil {
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
	c.Flags().BoolVar(&renew, "renew", false, "write "+node.CardFile+" anew")
	c.Flags().StringSliceVar(&reach.Addrs, "advertise", nil, "with --renew: multiaddress at which other nodes dial this one, if it listens elsewhere; up to 4")
	c.Flags().StringSliceVar(&reach.APIURLs, "api-url", nil, "with --renew: https://host:port at which clients reach it, if it listens elsewhere; up to 4")
	return c
}

// card reads the node's card and brings it up to date, or makes it anew.
func (a *app) card(cfg config.Config, renew bool, reach node.Reach) (*node.Card, error) {
	if !renew {
		card := &node.Card{}
		if err := readJSON(filepath.Join(a.home, node.CardFile), card, "it is what assentd init wrote; assentd card --renew makes it anew"); err != nil {
			return nil, err
		}
		if err := card.Update(cfg); err != nil {
			return nil, fmt.Errorf("card: %w", err)
		}
		return card, nil
	}
	if err := checkAdvertised(cfg.Network.Listen[0], reach.Addrs); err != nil {
		return nil, err
	}
	if _, err := apiNames(cfg.API.Listen, reach.APIURLs); err != nil {
		return nil, err
	}
	card, err := node.NewCard(cfg, reach)
	if err == nil {
		err = card.Write(a.home)
	}
	if err != nil {
		return nil, fmt.Errorf("card --renew: %w", err)
	}
	return card, nil
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
