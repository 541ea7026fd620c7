package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
)

// withRecord reads a record file and connects.
func (a *app) withRecord(c *cobra.Command, path string, spec sdk.CheckedRecord) (*sdk.Client, error) {
	b, err := a.input(path, sdk.MaxRecordFile)
	if err != nil {
		return nil, err
	}
	if err := sdk.ReadRecord(b, spec); err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", path, err)}
	}
	return a.dial(c.Context(), true)
}

func (a *app) productCmd() *cobra.Command {
	publish := leaf("publish FILE", "Publish a data product from a JSON file (officer)", func(c *cobra.Command, args []string) error {
		var spec sdk.ProductSpec
		client, err := a.withRecord(c, args[0], &spec)
		if err != nil {
			return err
		}
		o, err := client.Products().Publish(c.Context(), spec)
		if err != nil {
			return err
		}
		return a.done(o, "product "+string(spec.ProductID)+" published")
	})
	var provider string
	list := leaf("list", "List data products", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Products().List(c.Context(), sdk.OrgID(provider)), "PRODUCT\tPROVIDER\tTITLE\tMETHODS\tRETIRED", func(w io.Writer, p *sdk.Product) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.ProductID, p.Provider, p.Title, words(p.Methods), when(p.RetiredAt))
		})
	})
	list.Flags().StringVar(&provider, "provider", "", "only this member's")
	show := leaf("show PRODUCT", "Show a data product", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		p, err := client.Products().Get(c.Context(), sdk.ProductID(args[0]))
		if err != nil {
			return err
		}
		return a.showRecord(p)
	})
	retire := leaf("retire PRODUCT", "Retire a data product of your own member (officer)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Products().Retire(c.Context(), sdk.ProductID(args[0]))
		if err != nil {
			return err
		}
		return a.done(o, "product "+args[0]+" retired")
	})
	return group("product", "Data products, their notices and epochs", append(a.suspendProductCmds(), publish, list, show, retire, a.noticeCmd(), a.epochCmd())...)
}

func (a *app) noticeCmd() *cobra.Command {
	publish := leaf("publish FILE", "Publish a privacy notice from a JSON file (officer)", func(c *cobra.Command, args []string) error {
		var spec sdk.NoticeSpec
		client, err := a.withRecord(c, args[0], &spec)
		if err != nil {
			return err
		}
		hash, o, err := client.Products().PublishNotice(c.Context(), spec)
		if err != nil {
			return err
		}
		v := map[string]any{"noticeHash": hash.Hex(), "txId": o.TxID.Hex(), "height": o.Height}
		return a.show(v, func(w io.Writer) { fmt.Fprintf(w, "notice %s published in block %d\n", hash, o.Height) })
	})
	show := leaf("show HASH", "Show a notice, checked against its hash", func(c *cobra.Command, args []string) error {
		hash, err := parseHash(args[0])
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		n, err := client.Products().Notice(c.Context(), hash)
		if err != nil {
			return err
		}
		return a.showRecord(n)
	})
	return group("notice", "Privacy notices", publish, show)
}

func (a *app) templateCmd() *cobra.Command {
	var dry trialFlags
	check := leaf("check FILE", "Compile a query template on your own node and report what is wrong with it", func(c *cobra.Command, args []string) error {
		if err := dry.check(); err != nil {
			return err
		}
		var spec sdk.TemplateSpec
		client, err := a.withRecord(c, args[0], &spec)
		if err != nil {
			return err
		}
		found, err := client.Templates().Check(c.Context(), spec)
		if err != nil {
			return err
		}
		if !dry.vault || slices.ContainsFunc(found, func(f sdk.Finding) bool { return f.Error }) {
			return a.showFindings(found)
		}
		return a.try(c.Context(), client, spec, dry)
	})
	check.Long = "Compiles a template against the product it names. With --vault your own node runs it over every customer of the product's\n" +
		"vault, in one pass: columns and classes, bits and cost, to how many customers each output would be given, and which outputs\n" +
		"would single out fewer than k of them (exit code 8). Nothing is kept, answered or debited; the counts are for your officers."
	check.Flags().BoolVar(&dry.vault, "vault", false, "dry run over the vault that your node maps for the product (officer)")
	check.Flags().Uint64Var(&dry.k, "k", 0, "with --vault: outputs given to fewer customers single them out (default 20)")
	check.Flags().StringArrayVar(&dry.params, "param", nil, "with --vault: name=value, repeat: one set of parameter values (default: every set, at most 64)")
	example(check, "  assent template check band.json\n  assent template check band.json --vault --k 50 --param months=12")
	propose := leaf("propose FILE", "Propose a query template for a product of your own (officer)", func(c *cobra.Command, args []string) error {
		var spec sdk.TemplateSpec
		client, err := a.withRecord(c, args[0], &spec)
		if err != nil {
			return err
		}
		hash, o, err := client.Templates().Propose(c.Context(), spec)
		if err != nil {
			return err
		}
		v := map[string]any{"codeHash": hash.Hex(), "txId": o.TxID.Hex(), "height": o.Height}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "template %s proposed in block %d, code hash %s\nanother officer reads it and runs: assent template approve %s %s\n",
				spec.TemplateID, o.Height, hash, spec.TemplateID, hash)
		})
	})
	approve := leaf("approve TEMPLATE CODEHASH", "Approve what another officer of your member proposed (officer)", func(c *cobra.Command, args []string) error {
		hash, err := parseHash(args[1])
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Templates().Approve(c.Context(), sdk.TemplateID(args[0]), hash)
		if err != nil {
			return err
		}
		return a.done(o, "template "+args[0]+" approved")
	})
	withdraw := leaf("withdraw TEMPLATE", "Withdraw a proposed template of your member (officer)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Templates().Withdraw(c.Context(), sdk.TemplateID(args[0]))
		if err != nil {
			return err
		}
		return a.done(o, "proposal of template "+args[0]+" withdrawn")
	})
	proposal := leaf("proposal PROVIDER TEMPLATE", "Show a proposed template, checked against its code hash", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		p, err := client.Templates().Proposal(c.Context(), sdk.OrgID(args[0]), sdk.TemplateID(args[1]))
		if err != nil {
			return err
		}
		return a.showRecord(p)
	})
	proposals := leaf("proposals PROVIDER", "List the proposed templates of a provider", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Templates().Proposals(c.Context(), sdk.OrgID(args[0])), "TEMPLATE\tPRODUCT\tSTATUS\tCODE HASH", func(w io.Writer, p *sdk.TemplateProposal) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.TemplateID, p.ProductID, p.Status, p.CodeHash)
		})
	})
	list := leaf("list PRODUCT", "List the query templates of a product", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Templates().List(c.Context(), sdk.ProductID(args[0])), "TEMPLATE\tKIND\tOUTPUTS\tPARAMETERS\tRETIRED", func(w io.Writer, t *sdk.Template) {
			var params []string
			for _, p := range t.Params {
				params = append(params, p.Name+"="+strings.Join(p.Values, "|"))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", t.TemplateID, t.Kind, strings.Join(t.Outputs, ","), strings.Join(params, " "), when(t.RetiredAt))
		})
	})
	show := leaf("show TEMPLATE", "Show a query template, checked against its code hash", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		t, err := client.Templates().Get(c.Context(), sdk.TemplateID(args[0]))
		if err != nil {
			return err
		}
		return a.showRecord(t)
	})
	retire := leaf("retire TEMPLATE", "Retire a query template of your own product (officer)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Templates().Retire(c.Context(), sdk.TemplateID(args[0]))
		if err != nil {
			return err
		}
		return a.done(o, "template "+args[0]+" retired")
	})
	return group("template", "Query templates", append(a.suspendTemplateCmds(), check, propose, proposal, proposals, approve, withdraw, list, show, a.anchorsCmd(), retire)...)
}

func (a *app) showFindings(found []sdk.Finding) error {
	type view struct {
		Severity string `json:"severity"`
		Field    string `json:"field"`
		Line     uint32 `json:"line,omitempty"`
		Column   uint32 `json:"column,omitempty"`
		What     string `json:"what"`
		Remedy   string `json:"remedy"`
	}
	views, bad := []view{}, false
	for _, f := range found {
		s := "warning"
		if f.Error {
			s, bad = "error", true
		}
		views = append(views, view{s, f.Field, f.Line, f.Column, f.What, f.Remedy})
	}
	err := a.show(map[string]any{"approvable": !bad, "findings": views}, func(w io.Writer) {
		for _, v := range views {
			fmt.Fprintf(w, "%s: %s:%d:%d: %s. %s\n", v.Severity, v.Field, v.Line, v.Column, v.What, v.Remedy)
		}
		if !bad {
			fmt.Fprintln(w, "the template may be approved")
		}
	})
	if err == nil && bad {
		return verdict(exitRefused)
	}
	return err
}
