package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/sdk"
)

// answerDisputeCmds are the lender's dispute of an answer and the authority's
// verdict.
func (a *app) answerDisputeCmds() []*cobra.Command {
	return []*cobra.Command{a.disputeAnswerCmd(), a.notReceivedCmd(), a.openingCmd(), a.judgeCmd(), a.answerDisputesCmd()}
}

func (a *app) disputeAnswerCmd() *cobra.Command {
	var claim, authority, out, part string
	var item int
	c := leaf("dispute TICKET", "Dispute an answer before an authority, by its kept ticket (lender)", func(c *cobra.Command, args []string) error {
		if err := oneOf("--claim", claim, []string{"MISMATCH", "IMPLAUSIBLE", "NOT_ANCHORED"}); err != nil {
			return err
		}
		if out == "" || authority == "" {
			return usageError{fmt.Errorf("give --authority, an AUDITOR, and --out, the file for what you hand to it")}
		}
		if claim == string(sdk.ClaimNotAnchored) && part == "" {
			return usageError{fmt.Errorf("give --part, the file that assent consent create --keep-part wrote: it proves about whom the answer is")}
		}
		ticket, err := readTicket(args[0], item)
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		answer, err := a.reopen(c, client, ticket)
		if err != nil {
			return err
		}
		opening, err := openingFor(answer, claim, part)
		if err != nil {
			return err
		}
		if opening == nil {
			return usageError{fmt.Errorf("request %s has no answer to open: its receipt says %s", answer.RequestID, answer.Outcome)}
		}
		// First the file: who has raised the dispute must be able to show it.
		if err := durable.Output(out, opening, 0o600); err != nil {
			return err
		}
		o, err := client.Queries().DisputeAnswer(c.Context(), answer, sdk.AnswerClaim(claim), sdk.OrgID(authority))
		if err != nil {
			return err
		}
		return a.done(o, fmt.Sprintf("answer to %s disputed before %s; hand it %s, which shows the answer,", answer.RequestID, authority, out))
	})
	f := c.Flags()
	f.StringVar(&part, "part", "", "NOT_ANCHORED: the consent's sealed part, as --keep-part kept it")
	f.StringVar(&claim, "claim", "", "MISMATCH (it is not what the receipt commits to), IMPLAUSIBLE, or NOT_ANCHORED (not what the provider anchored for the epoch)")
	f.StringVar(&authority, "authority", "", "member that judges, an AUDITOR")
	f.StringVarP(&out, "out", "o", "", "file for the opening: the answer with its salt, a secret between you and the authority")
	f.IntVar(&item, "item", 0, "for the tickets of a batch: the question's place, from 0")
	return example(c, "  assent query … --ticket t.json --keep\n  assent receipt dispute t.json --claim IMPLAUSIBLE --authority regulator --out opening.json")
}

// openingFor is what the authority gets to see for a claim, nil if there is nothing.
func openingFor(a *sdk.Answer, claim, part string) ([]byte, error) {
	if claim != string(sdk.ClaimNotAnchored) {
		return a.Opening()
	}
	b, err := readFile(part, sdk.MaxOpening)
	if err != nil {
		return nil, usageError{err}
	}
	return a.AnchorOpening(b)
}

// reopen fetches and opens an answer again; there is nothing to wait for.
func (a *app) reopen(c *cobra.Command, client *sdk.Client, t *sdk.Ticket) (*sdk.Answer, error) {
	id, err := t.RequestID()
	if err != nil {
		return nil, usageError{err}
	}
	delivery, err := a.await(c.Context(), client.Queries(), t, &sdk.Decision{RequestID: id})
	if err != nil {
		return nil, err
	}
	return client.Queries().Open(t, delivery)
}

func (a *app) notReceivedCmd() *cobra.Command {
	var authority string
	c := leaf("not-received REQUEST", "Dispute a receipt that says ANSWERED when no answer came (lender)", func(c *cobra.Command, args []string) error {
		if authority == "" {
			return usageError{fmt.Errorf("give --authority: the member that judges, an AUDITOR")}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Queries().DisputeAnswer(c.Context(), &sdk.Answer{RequestID: sdk.RequestID(args[0])}, sdk.ClaimNotReceived, sdk.OrgID(authority))
		if err != nil {
			return err
		}
		return a.done(o, "receipt of "+args[0]+" disputed before "+authority)
	})
	c.Flags().StringVar(&authority, "authority", "", "member that judges, an AUDITOR")
	return example(c, "  assent receipt not-received 0x5c1e… --authority regulator")
}

func (a *app) openingCmd() *cobra.Command {
	return example(leaf("opening REQUEST FILE", "Hold what the lender handed over against the ledger and show the disputed answer (authority)", func(c *cobra.Command, args []string) error {
		b, err := a.input(args[1], sdk.MaxOpening)
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		d, err := client.Queries().AnswerDispute(c.Context(), sdk.RequestID(args[0]))
		if err != nil {
			return err
		}
		if d.Claim == sdk.ClaimNotAnchored {
			return a.settle(c.Context(), client, d.RequestID, b)
		}
		value, provider, err := sdk.ReadOpening(b, d)
		if err != nil {
			return err
		}
		v := map[string]any{"requestId": args[0], "claim": string(d.Claim), "lenderCommitted": true, "providerCommitted": provider, "value": value}
		return a.show(v, func(w io.Writer) {
			fmt.Fprintf(w, "answer\t%s\nclaim\t%s\n", value, d.Claim)
			if provider {
				fmt.Fprintln(w, "receipt\tthe provider committed to this same answer")
			} else {
				fmt.Fprintln(w, "receipt\tthe provider committed to ANOTHER answer")
			}
		})
	}), "  assent receipt opening 0x5c1e… opening.json")
}

// settle computes the verdict on a claim NOT_ANCHORED and shows it.
func (a *app) settle(ctx context.Context, client *sdk.Client, id sdk.RequestID, opening []byte) error {
	s, d, err := client.Queries().SettleDispute(ctx, id, opening)
	if err != nil {
		return err
	}
	v := map[string]any{"requestId": string(id), "claim": string(d.Claim), "value": s.Value, "finding": string(s.Finding), "why": s.Why, "anchorRoot": d.AnchorRoot.Hex()}
	return a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "answer\t%s\nclaim\t%s\nfinding\t%s\nwhy\t%s\n", s.Value, d.Claim, s.Finding, s.Why)
	})
}

func (a *app) judgeCmd() *cobra.Command {
	var finding, hash string
	c := leaf("judge REQUEST", "Record the verdict on a disputed answer, once (officer of the authority)", func(c *cobra.Command, args []string) error {
		if err := oneOf("--finding", finding, []string{"UPHELD", "DISMISSED", "UNDECIDED"}); err != nil {
			return err
		}
		statement, err := hashFlag("--statement-hash", hash, "the reasons of the verdict")
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := client.Queries().JudgeAnswer(c.Context(), sdk.VerdictSpec{
			RequestID: sdk.RequestID(args[0]), Finding: sdk.AnswerFinding(finding), StatementHash: statement,
		})
		if err != nil {
			return err
		}
		return a.done(o, "dispute of "+args[0]+" judged "+finding)
	})
	c.Flags().StringVar(&finding, "finding", "", "UPHELD, DISMISSED or UNDECIDED")
	c.Flags().StringVar(&hash, "statement-hash", "", "salted commitment to the reasons")
	return example(c, "  assent receipt judge 0x5c1e… --finding DISMISSED --statement-hash 0x5c1e…")
}

func (a *app) answerDisputesCmd() *cobra.Command {
	var authority string
	c := leaf("disputes", "List the open disputes of answers before an authority", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Queries().AnswerDisputes(c.Context(), sdk.OrgID(authority)), "REQUEST\tCLAIM\tLENDER\tPROVIDER\tRAISED", func(w io.Writer, d *sdk.AnswerDispute) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.RequestID, d.Claim, d.Consumer, d.Provider, when(d.RaisedAt))
		})
	})
	c.Flags().StringVar(&authority, "authority", "", "member (default: your own)")
	return example(c, "  assent receipt disputes\n  assent receipt disputes --authority regulator --json")
}

// readTicket reads the ticket of a query, or one of a batch's.
func readTicket(path string, item int) (*sdk.Ticket, error) {
	b, err := readFile(path, maxBatchTickets)
	if err != nil {
		return nil, usageError{fmt.Errorf("%w: keep the ticket of a query with --keep to dispute its answer", err)}
	}
	if tickets, err := parseBatchTickets(b); err == nil {
		if item < 0 || item >= len(tickets) {
			return nil, usageError{fmt.Errorf("--item %d: the batch has the questions 0 to %d", item, len(tickets)-1)}
		}
		return tickets[item], nil
	}
	t, err := parseTicket(b)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s is no ticket that assent query kept, or it is damaged", path)}
	}
	return t, nil
}
