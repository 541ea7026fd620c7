package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
)

func (a *app) epochCmd() *cobra.Command {
	var anchor []string
	open := leaf("open PRODUCT", "Open the product's next epoch, its answers anchored before with --anchor (officer, integration)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		id, next := sdk.ProductID(args[0]), uint64(1)
		e, err := client.Products().Epoch(c.Context(), id)
		switch {
		case err == nil:
			next = e.Epoch + 1
		case sdk.CodeOf(err) != "NOT_FOUND":
			return err
		}
		if len(anchor) > 0 {
			return a.openAnchored(c.Context(), client, id, next, anchor)
		}
		o, err := client.Products().OpenEpoch(c.Context(), id, next)
		if err != nil {
			return err
		}
		return a.done(o, fmt.Sprintf("epoch %d of %s opened", next, id))
	})
	open.Flags().StringArrayVar(&anchor, "anchor", nil, "template whose answers about every customer are worked out and anchored first, for each of its parameter values; repeat, or all")
	example(open, "  assent product epoch open harbour-bank.card\n  assent product epoch open harbour-bank.card --anchor all")
	show := leaf("show PRODUCT", "Show the product's current epoch", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		e, err := client.Products().Epoch(c.Context(), sdk.ProductID(args[0]))
		if err != nil {
			return err
		}
		return a.showRecord(e)
	})
	return group("epoch", "Accounting periods", open, show)
}

// maxAnchors bounds what one command works out: each is a pass over the vault.
const maxAnchors = 64

// anchored is one anchored question as --json prints it.
type anchored struct {
	Template  sdk.TemplateID    `json:"templateId"`
	Params    map[string]string `json:"params"`
	Root      string            `json:"root"`
	Customers uint64            `json:"customers"`
	Answered  uint64            `json:"answered"`
	NoRecord  uint64            `json:"noRecordForTheirRows"` // several rows, a row the template fails on, a place taken
	Bytes     uint64            `json:"bytes"`
}

// openAnchored works out and anchors what is asked for, then opens the epoch. If it
// breaks off the epoch is not open, and the same command begins anew.
func (a *app) openAnchored(ctx context.Context, client *sdk.Client, id sdk.ProductID, next uint64, names []string) error {
	list, err := toAnchor(ctx, client, id, names)
	if err != nil {
		return err
	}
	var out []anchored
	for i, q := range list {
		step := fmt.Sprintf("%s %s (%d of %d)", q.template, values(q.params), i+1, len(list))
		built, err := client.Templates().BuildAnswers(ctx, q.template, q.params, next, func(p sdk.BuildProgress) {
			fmt.Fprintf(a.err, "%s: %d customers read, %d in the tree\n", step, p.Read, p.Built)
		})
		if err != nil {
			return err
		}
		if _, err := client.Templates().Anchor(ctx, built.Spec); err != nil {
			return err
		}
		out = append(out, anchored{q.template, q.params, built.Spec.Root.Hex(), built.Customers, built.Answered, built.Twice + built.Failed + built.Collided, built.Bytes})
	}
	o, err := client.Products().OpenEpoch(ctx, id, next)
	if err != nil {
		return err
	}
	v := map[string]any{"productId": string(id), "epoch": next, "anchored": out, "txId": o.TxID.Hex(), "height": o.Height}
	return a.show(v, func(w io.Writer) {
		fmt.Fprintln(w, "TEMPLATE\tPARAMETERS\tCUSTOMERS\tANSWERED\tROOT")
		for _, x := range out {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", x.Template, values(x.Params), x.Customers, x.Answered, x.Root)
		}
		fmt.Fprintf(w, "epoch %d of %s opened in block %d\n", next, id, o.Height)
	})
}

// asked is one question with its parameters.
type asked struct {
	template sdk.TemplateID
	params   map[string]string
}

// toAnchor lists the questions of the named templates, or of all that are in use.
func toAnchor(ctx context.Context, client *sdk.Client, id sdk.ProductID, names []string) ([]asked, error) {
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	every := wanted["all"]
	var out []asked
	for t, err := range client.Templates().List(ctx, id) {
		if err != nil {
			return nil, err
		}
		if t.RetiredAt != 0 || !every && !wanted[string(t.TemplateID)] {
			continue
		}
		delete(wanted, string(t.TemplateID))
		sets := []map[string]string{{}}
		for _, p := range t.Params {
			if len(sets)*len(p.Values) > maxAnchors {
				return nil, usageError{fmt.Errorf("template %s has more than %d sets of parameter values: each would be a pass over the vault. Anchor it through the SDK (Templates.BuildAnswers) for those that are asked", t.TemplateID, maxAnchors)}
			}
			sets = product(sets, p.Name, p.Values)
		}
		for _, s := range sets {
			out = append(out, asked{t.TemplateID, s})
		}
	}
	for n := range wanted {
		if n != "all" {
			return nil, usageError{fmt.Errorf("--anchor %s: product %s has no such template in use; assent template list %s shows them", n, id, id)}
		}
	}
	if len(out) > maxAnchors {
		return nil, usageError{fmt.Errorf("%d questions to anchor, at most %d at once: name some of the templates", len(out), maxAnchors)}
	}
	return out, nil
}

// product extends every set by every value of a parameter.
func product(sets []map[string]string, name string, list []string) []map[string]string {
	var out []map[string]string
	for _, s := range sets {
		for _, v := range list {
			x := map[string]string{name: v}
			for k, old := range s {
				x[k] = old
			}
			out = append(out, x)
		}
	}
	return out
}

// values shows parameter values in the order of their names.
func values(params map[string]string) string {
	if len(params) == 0 {
		return "-"
	}
	text := ""
	for _, p := range sdk.ParamValuesOf(params) {
		if text != "" {
			text += ","
		}
		text += p.Name + "=" + p.Value
	}
	return text
}

func (a *app) anchorsCmd() *cobra.Command {
	return example(leaf("anchors TEMPLATE EPOCH", "List what the provider anchored for a template in an epoch", func(c *cobra.Command, args []string) error {
		epoch, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return usageError{fmt.Errorf("%q is no epoch: they count from 1", args[1])}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Templates().Anchors(c.Context(), sdk.TemplateID(args[0]), epoch), "PARAMETERS\tANCHORED\tROOT", func(w io.Writer, x *sdk.Anchor) {
			params := map[string]string{}
			for _, p := range x.Params {
				params[p.Name] = p.Value
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", values(params), when(x.AnchoredAt), x.Root)
		})
	}), "  assent template anchors harbour-bank.worst-status 3\n  assent template anchors harbour-bank.worst-status 3 --json")
}
