package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/sdk/wallet"
)

func (a *app) walletEndorseSetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "endorse-set OFFER OFFER OFFER...",
		Short: "Answer the offers of a set of banks, for the total over them, with one fresh key for all; it authorises nothing yet",
		Args: func(_ *cobra.Command, args []string) error {
			if n := len(args); n < exposure.MinBanks || n > exposure.MaxBanks {
				return usageError{fmt.Errorf("wallet endorse-set: %d offers, want %d to %d", n, exposure.MinBanks, exposure.MaxBanks)}
			}
			return nil
		},
	}
	cmd.RunE = func(c *cobra.Command, args []string) error {
		offers := make([]*wallet.Offer, len(args))
		for i, arg := range args {
			text, err := a.text(arg)
			if err != nil {
				return err
			}
			if offers[i], err = wallet.ParseAs[wallet.Offer](text); err != nil {
				return fmt.Errorf("offer %d: %w", i+1, err)
			}
			if a.now().UnixMilli() > offers[i].Until {
				return usageError{fmt.Errorf("offer %d ended at %s: ask the lender for a new one", i+1, when(offers[i].Until))}
			}
			terms, err := offers[i].Draft()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.err, "A lender asks (%d of %d):\n", i+1, len(args))
			a.explain(wallet.Explain(terms, offers[i].Names))
		}
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.err, "One key for all of them: every member of the network will see that they are one person's, not whose.")
		if err := a.confirm("Answer these offers?"); err != nil {
			return err
		}
		set, err := w.EndorseSet(offers)
		if err != nil {
			return err
		}
		return a.showLinks(set)
	}
	return cmd
}

// showLinks prints endorsements as links, one a line, in the order of the offers.
func (a *app) showLinks(set []*wallet.Endorsement) error {
	type linked struct {
		Link     string              `json:"link"`
		Document *wallet.Endorsement `json:"document"`
	}
	out := make([]linked, len(set))
	for i, e := range set {
		link, err := wallet.Link(e)
		if err != nil {
			return err
		}
		out[i] = linked{link, e}
	}
	return a.show(out, func(w io.Writer) {
		for _, l := range out {
			fmt.Fprintln(w, l.Link)
		}
	})
}
