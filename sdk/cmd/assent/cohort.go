package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/api"
	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/sdk"
)

func (a *app) cohortCmd() *cobra.Command {
	return group("cohort", "Statistics, with noise, over the customers of several banks", a.cohortAskCmd(), a.cohortShowCmd(), a.cohortBudgetCmd())
}

// askingCohort are the flags of cohort ask.
type askingCohort struct {
	purpose  string
	params   map[string]string
	deadline time.Duration
	ticket   string
	keep     bool
}

func (a *app) cohortAskCmd() *cobra.Command {
	var f askingCohort
	cmd := &cobra.Command{
		Use:   "ask TEMPLATE TEMPLATE TEMPLATE...",
		Short: "Ask 3 to 12 banks for statistics of their customers who meet a condition: request, wait for the shares, combine, verify",
		Long: "The templates are of kind COHORT, one of each bank, and state the same plan. A permit debits the plan's epsilon from every\n" +
			"bank's product, also if nothing comes of it: assent cohort budget PRODUCT shows what is left. A cohort below k and a bank at\n" +
			"fault end it with nothing released.",
		Example: "  assent cohort ask bank-a.late bank-b.late bank-c.late --param late=2\n  assent cohort ask --ticket cohort.json   # goes on after a crash",
		Args: func(_ *cobra.Command, args []string) error {
			if n := len(args); n == 0 && f.ticket == "" || n > 0 && (n < sdk.MinCohortBanks || n > sdk.MaxCohortBanks) {
				return usageError{fmt.Errorf("cohort ask: %d templates, want %d to %d of one bank each, or --ticket with the file of a request under way", n, sdk.MinCohortBanks, sdk.MaxCohortBanks)}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.askCohort(c.Context(), &f, args) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.purpose, "purpose", "CreditChecking", "purpose of this use")
	fl.StringToStringVar(&f.params, "param", nil, "NAME=VALUE of the templates' enumeration; may be repeated")
	fl.DurationVar(&f.deadline, "deadline", 0, "the shares are wanted within this time (default: what the templates allow)")
	fl.StringVar(&f.ticket, "ticket", "", "file that keeps the request under way, a secret (default: one below the configuration directory, removed when done); if it exists, that request goes on and the other arguments are ignored")
	fl.BoolVar(&f.keep, "keep", false, "keep the ticket file when done")
	return cmd
}

func (a *app) askCohort(ctx context.Context, f *askingCohort, args []string) error {
	client, err := a.dial(ctx, true)
	if err != nil {
		return err
	}
	t, file, err := takeTicket(a, &cohortTickets, f.ticket, func() (*sdk.CohortTicket, error) { return prepareCohort(ctx, client, f, args) })
	if err != nil {
		return err
	}
	a.kept, a.goOn = file, "assent cohort ask --ticket "+file
	wait, cancel := a.within(ctx)
	defer cancel()
	r, err := client.Cohorts().Run(wait, t)
	var none *sdk.NoStatistics
	if err != nil && !errors.As(err, &none) {
		return err
	}
	if err := a.dropTicket(file, f.keep); err != nil {
		return err
	}
	if none != nil {
		return a.showNoStatistics(none)
	}
	return a.showCohort(r)
}

var cohortTickets = ticketKind[*sdk.CohortTicket]{
	name: "cohort-", most: 64 << 10, parse: parseCohortTicket, store: jsonOf[*sdk.CohortTicket],
	id: func(t *sdk.CohortTicket) (string, error) { return idOf(t.Transaction) },
}

// parseCohortTicket reads the ticket of a request for statistics as it is kept.
func parseCohortTicket(b []byte) (*sdk.CohortTicket, error) {
	t := new(sdk.CohortTicket)
	if err := json.Unmarshal(b, t); err != nil {
		return nil, err
	}
	if len(t.Query.Templates) < sdk.MinCohortBanks || len(t.Query.Templates) > sdk.MaxCohortBanks {
		return nil, errors.New("not the ticket of a request for statistics")
	}
	if _, err := sdk.ParseTransaction(t.Transaction); err != nil {
		return nil, err
	}
	return t, nil
}

// prepareCohort makes the ticket of the statistics that the command line names. It is
// kept before anything is asked: asking twice would debit twice.
func prepareCohort(ctx context.Context, client *sdk.Client, f *askingCohort, args []string) (*sdk.CohortTicket, error) {
	if len(args) == 0 {
		return nil, usageError{fmt.Errorf("%s: no request is under way there: name the templates", f.ticket)}
	}
	q := sdk.CohortRequest{Params: f.params, Purpose: sdk.Purpose(f.purpose), Deadline: f.deadline}
	for _, arg := range args {
		q.Templates = append(q.Templates, sdk.TemplateID(arg))
	}
	return client.Cohorts().Prepare(ctx, q)
}

// cohortSeatView is one bank of a set as --json prints it.
type cohortSeatView struct {
	Bank     string  `json:"bank"`
	Template string  `json:"template"`
	Product  string  `json:"product"`
	Code     string  `json:"code"`
	Remedy   string  `json:"remedy,omitempty"`
	Request  string  `json:"requestId"`
	Spent    float64 `json:"epsilonSpent"` // of the year, over all lenders
	Left     float64 `json:"epsilonLeft"`
	Outcome  string  `json:"outcome,omitempty"` // of its receipt; "": none yet
}

func epsilon(micro uint64) float64 { return float64(micro) / 1e6 }

func viewOfCohortSeat(s *sdk.CohortSeat) cohortSeatView {
	v := cohortSeatView{
		Bank: string(s.Bank), Template: string(s.TemplateID), Product: string(s.ProductID), Code: string(s.Code), Request: string(s.RequestID),
		Spent: epsilon(s.SpentMicro), Left: epsilon(s.Left()),
	}
	if s.Code != "PERMIT" {
		v.Remedy = api.Lookup(api.FromLedger(string(s.Code))).Remedy
	}
	return v
}

// estimate is a figure with what the noise makes of it: the interval holds the figure
// without noise in about 95 of 100 answers.
type estimate struct {
	Value     float64    `json:"value"`
	Deviation float64    `json:"deviation"`
	Interval  [2]float64 `json:"interval95"`
}

func estimateOf(value, deviation float64) estimate {
	low, high := sdk.Interval95(value, deviation)
	return estimate{value, deviation, [2]float64{low, high}}
}

func (e estimate) String() string {
	return fmt.Sprintf("%s (%s to %s)", plainNumber(e.Value), plainNumber(e.Interval[0]), plainNumber(e.Interval[1]))
}

func plainNumber(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

type figureOfCohort struct {
	Kind    string     `json:"kind"`
	Column  string     `json:"column"`
	Value   *estimate  `json:"value,omitempty"`
	Cuts    []int64    `json:"cuts,omitempty"`
	Buckets []estimate `json:"buckets,omitempty"`
}

func figuresOf(s *sdk.CohortStatistics) []figureOfCohort {
	out := make([]figureOfCohort, len(s.Figures))
	for i := range s.Figures {
		f := &s.Figures[i]
		v := figureOfCohort{Kind: f.Statistic.Kind.String(), Column: f.Statistic.Column}
		switch f.Statistic.Kind {
		case cohort.Histogram:
			v.Cuts = f.Statistic.Cuts
			for _, n := range f.Buckets {
				v.Buckets = append(v.Buckets, estimateOf(float64(n), f.Deviation))
			}
		case cohort.Sum:
			n, _ := f.Sum.Float64()
			e := estimateOf(n, f.Deviation)
			v.Value = &e
		default:
			e := estimateOf(f.Mean, f.Deviation)
			v.Value = &e
		}
		out[i] = v
	}
	return out
}

func (a *app) showCohort(r *sdk.CohortResult) error {
	d := r.Decision
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	seats := make([]cohortSeatView, len(d.Record.Seats))
	for i := range d.Record.Seats {
		seats[i] = viewOfCohortSeat(&d.Record.Seats[i])
	}
	v := map[string]any{
		"cohortId": d.ID.Hex(), "decision": "DENY", "code": string(d.Code), "height": d.Height, "banks": seats, "verified": r.Verified != nil,
		"epsilon": epsilon(d.Record.Plan.EpsilonMicro), "k": d.Record.Plan.K, "year": d.Record.Year,
		"timing": map[string]float64{"decidedMs": ms(r.Timing.Decided), "openedMs": ms(r.Timing.Opened), "verifiedMs": ms(r.Timing.Verified)},
	}
	var count estimate
	var figures []figureOfCohort
	if d.Permit {
		count, figures = estimateOf(float64(r.Statistics.Count), r.Statistics.Deviation), figuresOf(r.Statistics)
		v["decision"], v["count"], v["figures"] = "PERMIT", count, figures
		for i := range seats {
			seats[i].Outcome = string(r.Verified.Receipts[i].Outcome)
		}
	} else {
		v["remedy"] = d.Remedy
	}
	err := a.show(v, func(w io.Writer) {
		if !d.Permit {
			fmt.Fprintf(w, "DENY %s\t%s\n", d.Code, d.Remedy)
			for _, s := range seats {
				fmt.Fprintf(w, "%s\t%s\tepsilon %s left of the year\n", s.Bank, s.Code, plainNumber(s.Left))
			}
			return
		}
		fmt.Fprintf(w, "people\t%s over %d banks\n", count, len(seats))
		for _, f := range figures {
			if f.Value != nil {
				fmt.Fprintf(w, "%s of %s\t%s\n", f.Kind, f.Column, f.Value)
				continue
			}
			for i, b := range f.Buckets {
				fmt.Fprintf(w, "%s %s\t%s\n", f.Column, bucketName(f.Cuts, i), b)
			}
		}
		fmt.Fprintf(w, "noise\tin brackets where the figure without it lies, in about 95 of 100 answers\n")
		fmt.Fprintf(w, "epsilon\t%s debited from each bank's product; the least that one has left of %d is %s\n", plainNumber(epsilon(d.Record.Plan.EpsilonMicro)), d.Record.Year, plainNumber(leastLeft(seats)))
		fmt.Fprintf(w, "request\t%s, permitted at height %d\n", d.ID.Hex(), d.Height)
		fmt.Fprintf(w, "verified\teach bank's shares against its receipt; that its data are true, nobody proves\n")
		fmt.Fprintf(w, "timing\tdecided %.1f ms, opened %.1f ms, verified %.1f ms\n", ms(r.Timing.Decided), ms(r.Timing.Opened), ms(r.Timing.Verified))
	})
	if err == nil && !d.Permit {
		return verdict(exitDenied)
	}
	return err
}

func leastLeft(seats []cohortSeatView) float64 {
	least := seats[0].Left
	for _, s := range seats[1:] {
		least = min(least, s.Left)
	}
	return least
}

// bucketName says which values a bucket holds.
func bucketName(cuts []int64, i int) string {
	switch {
	case i == 0:
		return fmt.Sprintf("below %d", cuts[0])
	case i == len(cuts):
		return fmt.Sprintf("from %d", cuts[i-1])
	}
	return fmt.Sprintf("%d to below %d", cuts[i-1], cuts[i])
}

// cohortRemedies say what to do about a bank at fault.
var cohortRemedies = map[cohort.FaultKind]string{
	cohort.Missing:     "Ask again when the bank's node answers; it debits again. If it stays away, ask the bank's operator, or other banks.",
	cohort.Late:        "Ask again with a longer --deadline; it debits again.",
	cohort.Malformed:   "The bank's node sent what is no share: tell its operator; its receipt proves what it committed to.",
	cohort.Replayed:    "The bank sent a share of another request or seat: tell its operator.",
	cohort.Conflicting: "The bank sent two different shares: tell its operator and the authority.",
	cohort.MaskDispute: "One of the two banks lied about the mask between them: have the authority audit the request.",
	cohort.ViewDispute: "One of the two banks lied about the first share: have the authority audit the request.",
	cohort.Garbled:     "The shares add up to no possible figure: have the authority audit the request, which names the bank.",
}

// showNoStatistics says why nothing was released.
func (a *app) showNoStatistics(n *sdk.NoStatistics) error {
	type faultView struct {
		Bank   string `json:"bank,omitempty"`
		Kind   string `json:"kind"`
		With   string `json:"with,omitempty"`
		Detail string `json:"detail,omitempty"`
		Remedy string `json:"remedy"`
	}
	out := make([]faultView, len(n.Faults))
	for i, f := range n.Faults {
		out[i] = faultView{string(f.Bank), string(f.Kind), string(f.With), f.Detail, cohortRemedies[f.Kind]}
	}
	v := map[string]any{
		"cohortId": n.ID.Hex(), "decision": "PERMIT", "error": n.Error(), "faults": out, "k": n.K, "released": false, "retryable": n.Retryable(), "tooFew": n.TooFew,
	}
	const wider = "Ask with a wider condition, or over more banks: asking the same again debits again."
	if n.TooFew {
		v["remedy"] = wider
	}
	err := a.show(v, func(w io.Writer) {
		fmt.Fprintln(w, "no statistics\tnothing is released; what was debited stays debited")
		if n.TooFew {
			fmt.Fprintf(w, "TOO_FEW\tfewer than %d people, as far as the noised count tells. %s\n", n.K, wider)
		}
		for i, f := range n.Faults {
			fmt.Fprintf(w, "%s\t%s\n", f.String(), out[i].Remedy)
		}
	})
	switch {
	case err != nil:
		return err
	case n.TooFew:
		return verdict(exitDenied)
	case n.Retryable():
		return verdict(exitLater)
	}
	return verdict(exitLie)
}

func (a *app) cohortShowCmd() *cobra.Command {
	return leaf("show REQUEST", "Show a permitted request for statistics, what it debited, and which banks have recorded their shares, proven", func(c *cobra.Command, args []string) error {
		id, err := parseHash(args[0])
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		r, err := client.Cohorts().Get(c.Context(), id)
		if err != nil {
			return err
		}
		seats := make([]cohortSeatView, len(r.Seats))
		for i := range r.Seats {
			seats[i] = viewOfCohortSeat(&r.Seats[i])
			x, err := client.Queries().Receipt(c.Context(), r.Seats[i].RequestID)
			if err != nil {
				return err
			}
			if x.ReceiptProof != nil {
				seats[i].Outcome = string(x.Receipt.Outcome)
			}
		}
		v := map[string]any{
			"cohortId": id.Hex(), "consumer": string(r.Consumer), "purpose": string(r.Purpose), "requestedAt": when(r.RequestedAt), "deadline": when(r.Deadline),
			"epsilon": epsilon(r.Plan.EpsilonMicro), "k": r.Plan.K, "year": r.Year, "banks": seats,
		}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "asked\t%s by %s for %s, shares wanted until %s\n", when(r.RequestedAt), r.Consumer, r.Purpose, when(r.Deadline))
			fmt.Fprintf(w, "debited\tepsilon %s from each bank's account of %d; nothing of fewer than %d people\n", plainNumber(epsilon(r.Plan.EpsilonMicro)), r.Year, r.Plan.K)
			for _, s := range seats {
				fmt.Fprintf(w, "%s\t%s\t%s\n", s.Bank, s.Product, first(s.Outcome, "no receipt yet"))
			}
		})
	})
}

func (a *app) cohortBudgetCmd() *cobra.Command {
	var year uint64
	c := leaf("budget PRODUCT", "Show what statistics took from a product this year, over all lenders, and what is left, proven", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), false)
		if err != nil {
			return err
		}
		b, err := client.Cohorts().Budget(c.Context(), sdk.ProductID(args[0]), year)
		if err != nil {
			return err
		}
		type columnView struct {
			Column string  `json:"column"`
			Cap    float64 `json:"epsilonOfYear"`
			Left   float64 `json:"epsilonLeft"`
			K      uint64  `json:"k"`
		}
		columns := make([]columnView, len(b.Columns))
		for i, x := range b.Columns {
			columns[i] = columnView{x.Column, epsilon(x.Cap), epsilon(x.Left), x.K}
		}
		v := map[string]any{"product": string(b.Product), "provider": string(b.Provider), "year": b.Year, "epsilonSpent": epsilon(b.Spent), "answers": b.Answers, "columns": columns}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "%d\tepsilon %s spent in %d answers, over all lenders\n", b.Year, plainNumber(epsilon(b.Spent)), b.Answers)
			for _, x := range columns {
				fmt.Fprintf(w, "%s\t%s left of %s; statistics of at least %d people\n", x.Column, plainNumber(x.Left), plainNumber(x.Cap), x.K)
			}
		})
	})
	c.Long = "The account begins anew on 1 January UTC: around it, two years' budgets can be spent within a short time, never three within\n" +
		"twelve months. A bank that wants a bound over any twelve months states half of it as epsilonMicro of its columns."
	c.Flags().Uint64Var(&year, "year", 0, "UTC calendar year (default: this one)")
	return example(c, "  assent cohort budget bank-a.statistics")
}
