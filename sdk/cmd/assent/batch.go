package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/durable"
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
			tickets, file, err := a.takeBatch(client.Queries(), args, deadline, ticket)
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

// takeBatch reads the tickets in file, or makes them from the questions and keeps
// them there before anything is asked.
func (a *app) takeBatch(steps sdk.Queries, args []string, deadline time.Duration, file string) ([]*sdk.Ticket, string, error) {
	if file != "" {
		b, err := readFile(file, maxBatchTickets)
		if err == nil {
			tickets, err := parseBatchTickets(b)
			if err != nil {
				return nil, "", usageError{fmt.Errorf("%s is damaged or holds no batch: take another --ticket for a new one", file)}
			}
			return tickets, file, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, "", usageError{err}
		}
	}
	if len(args) == 0 {
		return nil, "", usageError{fmt.Errorf("%s: no batch is under way there: give a FILE with questions", file)}
	}
	b, err := a.input(args[0], maxQuestions)
	if err != nil {
		return nil, "", err
	}
	questions, err := readQuestions(b)
	if err != nil {
		return nil, "", usageError{fmt.Errorf("%s: %w", args[0], err)}
	}
	for i := range questions {
		questions[i].Deadline = deadline
	}
	tickets, err := steps.PrepareBatch(questions)
	if err != nil {
		return nil, "", err
	}
	if file == "" {
		if file, err = a.batchPath(tickets[0]); err != nil {
			return nil, "", err
		}
	}
	kept, err := json.Marshal(batchTickets{kindBatch, tickets[0].Transaction, tickets[0].AnswerKey, questions})
	if err != nil {
		return nil, "", err
	}
	return tickets, file, durable.WriteFile(file, kept)
}

// batchPath is where a batch is kept that was given no file.
func (a *app) batchPath(t *sdk.Ticket) (string, error) {
	id, err := t.RequestID()
	if err != nil {
		return "", err
	}
	dir, err := a.configDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "tickets")
	return filepath.Join(dir, "batch-"+string(id)+".json"), os.MkdirAll(dir, 0o700)
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
	if a.flags.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.flags.timeout)
		defer cancel()
	}
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
	a.kept = ""
	if keep {
		return nil
	}
	return os.Remove(file)
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
