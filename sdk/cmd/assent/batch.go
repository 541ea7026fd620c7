package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
)

func (a *app) queryBatchCmd() *cobra.Command {
	var deadline time.Duration
	var ticket string
	var keep bool
	c := &cobra.Command{
		Use:   "batch FILE",
		Short: "Ask up to 1,000 questions in one transaction: request, open, verify each",
		Long: "FILE holds one question a line: JSON documents {\"consent\",\"template\",\"purpose\",\"params\":{name: value}}, or CSV with the\n" +
			"header consent,template,purpose and after these three fields name=value for each parameter; \"-\" is standard input.\n" +
			"Results come in the order in which they are known, with --json one document a line. Exit code 0 says that every\n" +
			"question was decided and every permitted one answered; a denial is a result.",
		Example: "  assent query batch questions.csv --ticket batch.json --json > results.jsonl\n  assent query batch --ticket batch.json --json > results.jsonl   # goes on after a crash",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 0 && ticket == "" {
				return usageError{errors.New("assent query batch: want one FILE with questions, or --ticket with the file of a batch under way")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			client, err := a.dial(c.Context(), true)
			if err != nil {
				return err
			}
			tickets, file, err := takeTicket(a, &batchKept, ticket, func() ([]*sdk.Ticket, error) { return a.prepareBatch(client.Queries(), args, deadline, ticket) })
			if err != nil {
				return err
			}
			return a.batch(c.Context(), client.Queries(), tickets, file, keep)
		},
	}
	f := c.Flags()
	f.DurationVar(&deadline, "deadline", 0, "the answers are wanted within this time (default: what each template allows)")
	f.StringVar(&ticket, "ticket", "", "file that keeps the batch under way, a secret (default: one below the configuration directory, removed when done); if it exists, that batch goes on and FILE is not read")
	f.BoolVar(&keep, "keep", false, "keep the ticket file when done, to dispute an answer later")
	return c
}

// batchTickets is the file that keeps a batch under way: what the tickets share
// is in it once.
type batchTickets struct {
	Kind        string             `json:"kind"`
	Transaction []byte             `json:"transaction"`
	AnswerKey   []byte             `json:"answerKey"` // X25519 private key
	Queries     []sdk.QueryRequest `json:"queries"`
}

const (
	kindBatch       = "assent-batch"
	maxBatchTickets = 4 << 20
)

// parseBatchTickets reads a file of batchTickets.
func parseBatchTickets(b []byte) ([]*sdk.Ticket, error) {
	var kept batchTickets
	if err := json.Unmarshal(b, &kept); err != nil || kept.Kind != kindBatch || len(kept.Queries) == 0 || len(kept.Queries) > sdk.MaxBatch {
		return nil, errors.New("not the tickets of a batch")
	}
	if _, err := sdk.ParseTransaction(kept.Transaction); err != nil {
		return nil, err
	}
	tickets := make([]*sdk.Ticket, len(kept.Queries))
	for i, q := range kept.Queries {
		tickets[i] = &sdk.Ticket{Query: q, Transaction: kept.Transaction, AnswerKey: kept.AnswerKey, Batch: true, Item: i}
	}
	return tickets, nil
}

var batchKept = ticketKind[[]*sdk.Ticket]{
	name: "batch-", most: maxBatchTickets, parse: parseBatchTickets,
	store: func(tickets []*sdk.Ticket) ([]byte, error) {
		kept := batchTickets{Kind: kindBatch, Transaction: tickets[0].Transaction, AnswerKey: tickets[0].AnswerKey}
		for _, t := range tickets {
			kept.Queries = append(kept.Queries, t.Query)
		}
		return json.Marshal(kept)
	},
	id: func(tickets []*sdk.Ticket) (string, error) {
		id, err := tickets[0].RequestID()
		return string(id), err
	},
}

// prepareBatch makes the tickets of the questions in the file that the command line
// names.
func (a *app) prepareBatch(steps sdk.Queries, args []string, deadline time.Duration, file string) ([]*sdk.Ticket, error) {
	if len(args) == 0 {
		return nil, usageError{fmt.Errorf("%s: no batch is under way there: give a FILE with questions", file)}
	}
	b, err := a.input(args[0], maxQuestions)
	if err != nil {
		return nil, err
	}
	questions, err := readQuestions(b)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", args[0], err)}
	}
	for i := range questions {
		questions[i].Deadline = deadline
	}
	return steps.PrepareBatch(questions)
}

// itemView is what became of one question, as --json prints it.
type itemView struct {
	Item    int    `json:"item"`
	Consent string `json:"consentId"`
	resultView
	Failed *problem `json:"failed,omitempty"`
}

// batch asks, prints what becomes of each question as it is known, and counts.
func (a *app) batch(ctx context.Context, steps sdk.Queries, tickets []*sdk.Ticket, file string, keep bool) error {
	a.kept, a.goOn = file, "assent query batch --ticket "+file
	ctx, cancel := a.within(ctx)
	defer cancel()
	fmt.Fprintf(a.err, "%d questions; kept in %s until all are done\n", len(tickets), file)
	var done, denied int
	var failed error
	for r, err := range steps.Batch(ctx, tickets) {
		if errors.Is(err, context.DeadlineExceeded) {
			return notYet{fmt.Errorf("%d of %d questions are done: the time of --timeout is over; go on with the ticket", done, len(tickets))}
		}
		if err != nil {
			return err
		}
		done++
		v := itemView{Item: r.Item, Consent: string(tickets[r.Item].Query.Consent)}
		switch {
		case r.Err != nil:
			p := problemOf(r.Err)
			v.Failed, v.resultView = &p, viewOfDecision(r.Result)
			if failed == nil || exitCode(r.Err) > exitCode(failed) { // a lie weighs more than a delay
				failed = r.Err
			}
		default:
			v.resultView = viewOfResult(r.Result)
			if !r.Result.Decision.Permit {
				denied++
			}
		}
		if err := a.showItem(&v); err != nil {
			return err
		}
		if done%100 == 0 && done < len(tickets) {
			fmt.Fprintf(a.err, "%d of %d\n", done, len(tickets))
		}
	}
	fmt.Fprintf(a.err, "%d of %d done, %d denied\n", done, len(tickets), denied)
	if failed != nil {
		return failed
	}
	return a.dropTicket(file, keep)
}

// showItem prints one line at once: a batch is long, and may not come to its end.
func (a *app) showItem(v *itemView) error {
	if a.flags.json {
		return a.encode(v)
	}
	said := v.Value
	switch {
	case v.Failed != nil:
		said = "FAILED " + v.Failed.Error
	case v.Decision != "PERMIT":
		said = "DENY " + v.Code
	case v.Value == "":
		said = v.Outcome
	}
	_, err := fmt.Fprintf(a.out, "%d\t%s\t%s\t%s\n", v.Item, v.Consent, v.RequestID, said)
	return err
}
