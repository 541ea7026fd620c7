package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
)

// showUses prints the proven list of uses of a consent.
func (a *app) showUses(ctx context.Context, client *sdk.Client, id sdk.ConsentID) error {
	list, err := client.Uses(ctx, id)
	if err != nil {
		return err
	}
	rows := []json.RawMessage{}
	for i := range list.Uses {
		b, err := sdk.JSON(&list.Uses[i])
		if err != nil {
			return err
		}
		rows = append(rows, b)
	}
	v := map[string]any{"consentId": string(id), "complete": true, "height": list.Height, "requests": list.Usage.Requests, "permits": list.Usage.Uses, "uses": rows}
	return a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "%d requests, %d permitted; proven complete as of height %d\n", list.Usage.Requests, list.Usage.Uses, list.Height)
		fmt.Fprintln(w, "#\tAT\tLENDER\tTEMPLATE\tPURPOSE\tDECISION\tREQUEST")
		for _, r := range list.Uses {
			decision := string(r.Code)
			if decision != string(r.Decision) {
				decision = string(r.Decision) + " " + decision
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Sequence, when(r.RequestedAt), r.Consumer, r.TemplateID, r.Purpose, decision, r.RequestID)
		}
	})
}

func (a *app) queryCmd() *cobra.Command {
	var q sdk.QueryRequest
	var consent, template, purpose, ticket, subject string
	var params []string
	var keep bool
	cmd := leaf("query", "Ask one question under a consent: request, open, verify", func(c *cobra.Command, _ []string) error {
		var err error
		if q.Params, err = namedParams(params); err != nil {
			return err
		}
		q.Consent, q.Template, q.Purpose = sdk.ConsentID(consent), sdk.TemplateID(template), sdk.Purpose(purpose)
		q.Subject = sdk.SubjectID(subject)
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return a.query(c.Context(), client, q, ticket, keep)
	})
	f := cmd.Flags()
	f.StringVar(&consent, "consent", "", "consent id")
	f.StringVar(&template, "template", "", "query template")
	f.StringVar(&purpose, "purpose", "CreditChecking", "purpose of this use")
	f.StringArrayVar(&params, "param", nil, "name=value; repeat")
	f.DurationVar(&q.Deadline, "deadline", 0, "the answer is wanted within this time (default: what the template allows)")
	f.StringVar(&ticket, "ticket", "", "file that keeps the query under way, a secret (default: one below the configuration directory, removed when done); if it exists, that query goes on and the other flags are ignored")
	f.StringVar(&subject, "subject", "", "about whom the consent is, as in its sealed part: an answer that the provider has anchored is then held against the anchor; never leaves this program and is in no ticket")
	f.BoolVar(&keep, "keep", false, "keep the ticket file when done, to dispute the answer later")
	cmd.AddCommand(a.queryBatchCmd(), a.queryExplainCmd())
	return example(cmd, "  assent query --consent 0x000102030405060708090a0b0c0d0e0f --template income-band --param months=12")
}

// query goes through the steps one by one, so that a ticket file carries them
// over a crash.
func (a *app) query(ctx context.Context, client *sdk.Client, q sdk.QueryRequest, file string, keep bool) error {
	steps := client.Queries()
	t, file, err := takeTicket(a, &queryTickets, file, func() (*sdk.Ticket, error) { return steps.Prepare(q) })
	if err != nil {
		return err
	}
	t.Query.Subject = q.Subject                          // a ticket that goes on does not name it
	a.kept, a.goOn = file, "assent query --ticket "+file // until it is done, errors say where to go on
	r, err := a.steps(ctx, steps, t)
	if err != nil {
		return err
	}
	if err := a.dropTicket(file, keep); err != nil {
		return err
	}
	return a.showResult(r, a.learnt(ctx, client, r.Verified, valueOf(r)))
}

// valueOf is the output that was opened; "" if there is none.
func valueOf(r *sdk.QueryResult) string {
	if r.Answer == nil {
		return ""
	}
	return r.Answer.Value
}

func (a *app) steps(ctx context.Context, steps sdk.Queries, t *sdk.Ticket) (*sdk.QueryResult, error) {
	begin := a.now()
	d, err := steps.Request(ctx, t)
	if err != nil {
		return nil, err
	}
	r := &sdk.QueryResult{Decision: *d}
	r.Timing.Decided = a.now().Sub(begin)
	if !d.Permit {
		return r, nil
	}
	delivery, err := a.await(ctx, steps, t, d)
	if err != nil {
		return nil, err
	}
	if r.Answer, err = steps.Open(t, delivery); err != nil {
		return nil, err
	}
	r.Timing.Opened = a.now().Sub(begin)
	if r.Verified, err = steps.Verify(ctx, t, r.Answer); err != nil {
		return nil, err
	}
	r.Timing.Verified = a.now().Sub(begin)
	return r, nil
}

// await waits until the answer's deadline, or shorter with --timeout.
func (a *app) await(ctx context.Context, steps sdk.Queries, t *sdk.Ticket, d *sdk.Decision) (*sdk.Delivery, error) {
	ctx, cancel := a.within(ctx)
	defer cancel()
	return steps.Await(ctx, t, d)
}

const maxTicket = 512 << 10

var queryTickets = ticketKind[*sdk.Ticket]{
	most: maxTicket, parse: parseTicket, store: jsonOf[*sdk.Ticket],
	id: func(t *sdk.Ticket) (string, error) { id, err := t.RequestID(); return string(id), err },
}

// parseTicket reads the ticket of a query as it is kept.
func parseTicket(b []byte) (*sdk.Ticket, error) {
	t := new(sdk.Ticket)
	if err := json.Unmarshal(b, t); err != nil {
		return nil, err
	}
	return t, nil
}

// resultView is a query's result as --json prints it.
type resultView struct {
	RequestID string `json:"requestId"`
	Decision  string `json:"decision"`
	Code      string `json:"code"`
	Remedy    string `json:"remedy,omitempty"`
	Height    uint64 `json:"height"`
	Outcome   string `json:"outcome,omitempty"`
	Value     string `json:"value,omitempty"`
	Verified  bool   `json:"verified"`
	Receipt   string `json:"receiptTxId,omitempty"`
	Anchored  string `json:"anchored,omitempty"` // NOT_ANCHORED, PROVEN, UNCHECKED or NO_OUTPUT
	Timing    struct {
		Decided  float64 `json:"decidedMs"`
		Opened   float64 `json:"openedMs,omitempty"`
		Verified float64 `json:"verifiedMs,omitempty"`
	} `json:"timing"`
	Learnt *sdk.Learnt `json:"record,omitempty"` // what each party learnt, and what remains
}

// viewOfDecision is what is known of a query before its answer.
func viewOfDecision(r *sdk.QueryResult) resultView {
	d := r.Decision
	v := resultView{RequestID: string(d.RequestID), Decision: "DENY", Code: string(d.Code), Remedy: d.Remedy, Height: d.Height}
	if d.Permit {
		v.Decision = "PERMIT"
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	v.Timing.Decided, v.Timing.Opened, v.Timing.Verified = ms(r.Timing.Decided), ms(r.Timing.Opened), ms(r.Timing.Verified)
	return v
}

// viewOfResult is what became of a query that came to its end.
func viewOfResult(r *sdk.QueryResult) resultView {
	v := viewOfDecision(r)
	if r.Decision.Permit {
		v.Outcome, v.Value, v.Verified = string(r.Answer.Outcome), r.Answer.Value, true
		v.Anchored = string(r.Verified.Anchored)
		v.Receipt = r.Verified.ReceiptProof.TxID.Hex()
	}
	return v
}

func (a *app) showResult(r *sdk.QueryResult, l *sdk.Learnt) error {
	d, v := r.Decision, viewOfResult(r)
	v.Learnt = l
	err := a.show(v, func(w io.Writer) {
		if !d.Permit {
			fmt.Fprintf(w, "DENY %s\t%s\n", v.Code, v.Remedy)
			return
		}
		fmt.Fprintf(w, "%s\t%s\n", v.Outcome, v.Value)
		fmt.Fprintf(w, "request\t%s, permitted at height %d\n", v.RequestID, v.Height)
		fmt.Fprintf(w, "verified\tagainst receipt %s\n", v.Receipt)
		fmt.Fprintf(w, "anchored\t%s\n", v.Anchored)
		fmt.Fprintf(w, "timing\tdecided %.1f ms, opened %.1f ms, verified %.1f ms\n", v.Timing.Decided, v.Timing.Opened, v.Timing.Verified)
		showLearnt(w, l)
	})
	if err == nil && !d.Permit {
		return verdict(exitDenied)
	}
	return err
}

func (a *app) receiptCmd() *cobra.Command {
	show := leaf("show REQUEST", "Show what became of an access request, proven", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		v, err := client.Queries().Receipt(c.Context(), sdk.RequestID(args[0]))
		if err != nil {
			return err
		}
		request, err := sdk.JSON(&v.Request)
		if err != nil {
			return err
		}
		out := map[string]json.RawMessage{"request": request}
		if v.ReceiptProof != nil {
			if out["receipt"], err = sdk.JSON(&v.Receipt); err != nil {
				return err
			}
		}
		l := a.learnt(c.Context(), client, v, "")
		if l != nil {
			if out["record"], err = json.Marshal(l); err != nil {
				return err
			}
		}
		return a.show(out, func(w io.Writer) {
			fmt.Fprintf(w, "request\t%s %s at height %d\n", v.Request.Decision, v.Request.Code, v.RequestProof.Height)
			if v.ReceiptProof != nil {
				fmt.Fprintf(w, "receipt\t%s at height %d, by %s\n", v.Receipt.Outcome, v.ReceiptProof.Height, v.Receipt.OrgID)
			}
			showLearnt(w, l)
		})
	})
	tx := leaf("tx TRANSACTION", "Find out what became of a transaction", func(c *cobra.Command, args []string) error {
		id, err := parseHash(args[0])
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.ResolveID(c.Context(), id)
		if err != nil {
			return err
		}
		v := map[string]any{"txId": o.TxID.Hex(), "height": o.Height, "index": o.Index, "code": string(o.Code), "message": o.Message}
		return a.show(v, func(w io.Writer) { fmt.Fprintf(w, "%s\tin block %d\t%s\n", o.Code, o.Height, o.Message) })
	})
	overdue := leaf("overdue REQUEST", "Record that a permitted request was not answered in time (lender)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Queries().Overdue(c.Context(), sdk.RequestID(args[0]))
		if err != nil {
			return err
		}
		return a.done(o, "recorded as OVERDUE")
	})
	example(overdue, "  assent receipt overdue 0x5c1e…")
	return group("receipt", "What became of requests and transactions", append(a.answerDisputeCmds(), show, tx, overdue)...)
}
