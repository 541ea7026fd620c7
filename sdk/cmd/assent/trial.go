package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/assent-network/assent/sdk"
)

// trialFlags are those of a dry run.
type trialFlags struct {
	vault  bool
	k      uint64
	params []string
}

func (f *trialFlags) check() error {
	if !f.vault && (f.k != 0 || len(f.params) > 0) {
		return usageError{fmt.Errorf("--k and --param belong to the dry run: add --vault")}
	}
	if f.k != 0 && (f.k < 2 || f.k > 1_000_000) {
		return usageError{fmt.Errorf("--k %d: give the smallest group of customers that an output may be given to, 2 to 1000000", f.k)}
	}
	return nil
}

// namedParams reads name=value flags.
func namedParams(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range list {
		k, v, ok := strings.Cut(p, "=")
		if _, twice := out[k]; !ok || k == "" || twice {
			return nil, usageError{fmt.Errorf("--param %q: write name=value, each name once", p)}
		}
		out[k] = v
	}
	return out, nil
}

// try runs a checked template over the bank's own vault.
func (a *app) try(ctx context.Context, client *sdk.Client, spec sdk.TemplateSpec, f trialFlags) error {
	params, err := namedParams(f.params)
	if err != nil {
		return err
	}
	if len(params) == 0 {
		params = nil
	}
	t, err := client.Templates().Try(ctx, spec, sdk.TrialOptions{Params: params, K: f.k, Progress: func(read uint64) {
		fmt.Fprintf(a.err, "%s: %d customers read\n", spec.TemplateID, read)
	}})
	if err != nil {
		return err
	}
	few := t.Few()
	v := struct {
		TemplateID string `json:"templateId"`
		ProductID  string `json:"productId"`
		*sdk.Trial
		Few int `json:"singledOut"` // outputs that would be given to fewer than k customers, but not to none
	}{string(spec.TemplateID), string(spec.ProductID), t, few}
	if err := a.show(v, func(w io.Writer) { showTrial(w, &spec, t, few) }); err != nil {
		return err
	}
	if few > 0 {
		return verdict(exitUnwell)
	}
	return nil
}

func showTrial(w io.Writer, spec *sdk.TemplateSpec, t *sdk.Trial, few int) {
	fmt.Fprintf(w, "customers\t%d read, %d with a row that cannot be used\n", t.Customers, t.Unusable)
	fmt.Fprintf(w, "cost\tat most %d of %d allowed\n", t.CostMax, t.CostLimit)
	if t.Statistics == nil {
		fmt.Fprintf(w, "leak\t%s from every column for each new answer\n", sdk.Bits(t.LeakMillibits))
	}
	showStatistics(w, t.Statistics)
	for _, c := range t.Columns {
		read := "read"
		if !c.Read {
			read = "declared, not read"
		}
		if t.Statistics != nil {
			fmt.Fprintf(w, "column\t%s (STAT_ONLY, %s): %s\n", c.Name, c.DataClass, read)
			continue
		}
		fmt.Fprintf(w, "column\t%s (ANSWER_ONLY, %s): %s; %d bits an epoch, %d a year\n", c.Name, c.DataClass, read, c.BitsPerEpoch, c.BitsPerYear)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(w, "note\t%s\n", n)
	}
	fmt.Fprintln(w, "PARAMETERS\tOUTPUT\tCUSTOMERS\tSHARE\t")
	for _, q := range t.Questions {
		for _, o := range q.Outputs {
			mark := ""
			if o.Few {
				mark = fmt.Sprintf("fewer than %d: singles them out", t.K)
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", values(q.Params), o.Output, o.Customers, share(o.Customers, t.Customers), mark)
		}
		if q.Nulls+q.Failed > 0 && t.Statistics != nil {
			fmt.Fprintf(w, "%s\t(OUT because of nulls: %d, because the template failed: %d)\t\t\t\n", values(q.Params), q.Nulls, q.Failed)
			continue
		}
		if q.Nulls+q.Failed > 0 {
			fmt.Fprintf(w, "%s\t(NO_RECORD because of nulls: %d, because the template failed: %d)\t\t\t\n", values(q.Params), q.Nulls, q.Failed)
		}
	}
	if t.Statistics != nil {
		fmt.Fprintf(w, "these counts are exact and this bank's alone: they are for its officers. k = %d is over all banks of a set\n", t.Statistics.K)
		return
	}
	switch few {
	case 0:
		fmt.Fprintf(w, "no output of %s singles out fewer than %d customers\n", spec.TemplateID, t.K)
	default:
		fmt.Fprintf(w, "%d outputs single out fewer than %d customers: join them with others, or leave out the parameter values that make them\n", few, t.K)
	}
}

func share(n, of uint64) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(of))
}
