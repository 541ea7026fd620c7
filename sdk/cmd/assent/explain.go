package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
)

func (a *app) queryExplainCmd() *cobra.Command {
	var consent string
	cmd := leaf("explain TEMPLATE", "Say before asking what an answer will reveal and cost, and what remains", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		e, err := client.Queries().Explain(c.Context(), sdk.TemplateID(args[0]), sdk.ConsentID(consent))
		if err != nil {
			return err
		}
		return a.show(e, func(w io.Writer) { explain(w, e) })
	})
	cmd.Long = "Says what an answer of a template will reveal, to whom, and what it costs: bits of the subject's leak account and a use of the\n" +
		"consent. Nothing is asked. With --consent it says what remains: permits proven by the ledger, and of the leak account the most\n" +
		"that can be left, for what other lenders used of it only the provider knows."
	cmd.Flags().StringVar(&consent, "consent", "", "say too what remains of this consent")
	return example(cmd, "  assent query explain harbour-bank.income-band\n  assent query explain harbour-bank.income-band --consent 0x000102030405060708090a0b0c0d0e0f --json")
}

func explain(w io.Writer, e *sdk.Explanation) {
	fmt.Fprintf(w, "template\t%s (%s) of product %s, %s\n", e.Template, e.Kind, e.Product, e.Provider)
	switch {
	case e.Epoch == 0:
		fmt.Fprintln(w, "epoch\tnone is open: every request would be denied")
	default:
		fmt.Fprintf(w, "epoch\t%d; %d of %d questions anchored\n", e.Epoch, e.Anchored, e.Questions)
	}
	if !e.Usable {
		fmt.Fprintln(w, "usable\tno: a request would be denied")
	}
	for _, p := range e.Params {
		fmt.Fprintf(w, "parameter\t%s: %s\n", p.Name, strings.Join(p.Values, ", "))
	}
	for _, l := range e.Learns {
		fmt.Fprintf(w, "reveals to %s\t%s\n", party(l.Who), l.What)
	}
	if e.Millibits > 0 {
		fmt.Fprintf(w, "costs\ta use of the consent, and %s of each column for a new answer\n", sdk.Bits(e.Millibits))
	}
	for _, c := range e.Columns {
		if c.Millibits > 0 {
			fmt.Fprintf(w, "column\t%s (%s, %s): %d bits an epoch, %d a year: %d and %d new answers of this template\n", c.Name, c.Class, c.DataClass, c.BitsPerEpoch, c.BitsPerYear, c.PerEpoch, c.PerYear)
			continue
		}
		fmt.Fprintf(w, "column\t%s (%s, %s)\n", c.Name, c.Class, c.DataClass)
	}
	showStatistics(w, e.Statistics)
	for _, n := range e.Notes {
		fmt.Fprintf(w, "note\t%s\n", n)
	}
	showRemaining(w, e.Remaining)
}

func showRemaining(w io.Writer, r *sdk.Remaining) {
	if r == nil {
		return
	}
	fmt.Fprintf(w, "remains\t%d permits, %d of them today, until %s; consent %s (%s), proven at height %d\n", r.Uses, r.UsesToday, r.Until.Format("2006-01-02 15:04"), r.Consent, r.Status, r.Height)
	for _, c := range r.Columns {
		fmt.Fprintf(w, "remains\tat most %s of %s in epoch %d; %s used under this consent\n", sdk.Bits(c.AtMost), c.Name, r.Epoch, sdk.Bits(c.Used))
	}
}

func party(who string) string { return strings.ToLower(strings.ReplaceAll(who, "_", "'s ")) }

// learnt says what a finished request told. The answer is there in any case: what
// cannot be read of its record is a warning.
func (a *app) learnt(ctx context.Context, client *sdk.Client, v *sdk.VerifiedAnswer, value string) *sdk.Learnt {
	if v == nil {
		return nil
	}
	l, err := client.Queries().Learnt(ctx, v, value)
	if err != nil {
		fmt.Fprintf(a.err, "assent: what was learnt and what remains cannot be said now: %v\n  Ask again with: assent receipt show %s\n", err, v.Request.RequestID)
		return nil
	}
	return l
}

func showLearnt(w io.Writer, l *sdk.Learnt) {
	if l == nil {
		return
	}
	for _, x := range l.Learns {
		fmt.Fprintf(w, "revealed to %s\t%s\n", party(x.Who), x.What)
	}
	showRemaining(w, l.Remaining)
}
