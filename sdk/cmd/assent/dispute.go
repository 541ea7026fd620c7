package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

func (a *app) disputeCmd() *cobra.Command {
	return group("dispute", "A subject's objection to data or an answer, and its settlement within 20 days",
		a.disputeRaiseCmd(), a.disputeResolveCmd(), a.disputeListCmd())
}

func (a *app) disputeRaiseCmd() *cobra.Command {
	var link, hash, claim, kind, request string
	c := leaf("raise CONSENT", "Bring a dispute: a wallet's link, or for the bank its customer's word", func(c *cobra.Command, args []string) error {
		id := sdk.ConsentID(args[0])
		var spec sdk.DisputeSpec
		var e sdk.Evidence
		if link != "" {
			d, err := linked[wallet.Dispute](a, link, id)
			if err != nil {
				return err
			}
			spec, e = d.Spec(), d.Evidence()
		} else {
			var random [16]byte
			rand.Read(random[:]) // never fails since Go 1.24
			spec = sdk.DisputeSpec{ConsentID: id, DisputeID: sdk.NewDisputeID(random), Kind: sdk.DisputeKind(kind), RequestID: sdk.RequestID(request)}
			var err error
			if spec.ClaimCommitment, err = hashFlag("--claim-hash", claim, "what your customer says is wrong"); err != nil {
				return err
			}
			if e.EvidenceHash, err = hashFlag("--evidence-hash", hash, "your own authentication of the customer"); err != nil {
				return err
			}
			if err := spec.Check(); err != nil {
				return usageError{err}
			}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		d, err := client.Consents().RaiseDispute(c.Context(), spec, e)
		if err != nil {
			return err
		}
		return a.showOne(d, "dispute %s is raised; %s settles it by %s", d.DisputeID, d.Provider, when(d.Due))
	})
	f := c.Flags()
	f.StringVar(&link, "link", "", "link that assent wallet dispute printed, or a file with it")
	f.StringVar(&hash, "evidence-hash", "", "for the bank: salted commitment to its own authentication of its customer")
	f.StringVar(&claim, "claim-hash", "", "for the bank: salted commitment to what the customer says is wrong")
	f.StringVar(&kind, "kind", "WRONG", "for the bank: WRONG, OUTDATED, NOT_MINE or MISUSED")
	f.StringVar(&request, "request", "", "for the bank: the one answer that is disputed (default: the data as such)")
	return example(c, "  assent consent dispute raise 0x000102030405060708090a0b0c0d0e0f --link dispute.link")
}

func (a *app) disputeResolveCmd() *cobra.Command {
	var outcome, reason, hash string
	c := leaf("resolve CONSENT DISPUTE", "Settle a dispute: the data are corrected, or it is rejected with a reason (officer of the bank)", func(c *cobra.Command, args []string) error {
		statement, err := hashFlag("--statement-hash", hash, "what you told the subject")
		if err != nil {
			return err
		}
		spec := sdk.ResolutionSpec{
			ConsentID: sdk.ConsentID(args[0]), DisputeID: sdk.DisputeID(args[1]), Outcome: sdk.DisputeOutcome(outcome),
			Reason: sdk.DisputeReason(reason), StatementHash: statement,
		}
		if err := oneOf("--outcome", spec.Outcome, []sdk.DisputeOutcome{"CORRECTED", "REJECTED"}); err != nil {
			return err
		}
		if err := spec.Check(); err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		d, err := client.Consents().ResolveDispute(c.Context(), spec)
		if err != nil {
			return err
		}
		return a.showOne(d, "dispute %s is settled: %s", d.DisputeID, d.Resolution.Outcome)
	})
	f := c.Flags()
	f.StringVar(&outcome, "outcome", "", "CORRECTED or REJECTED")
	f.StringVar(&reason, "reason", "", "with REJECTED: DATA_ACCURATE, DATA_NOT_HELD or NO_EVIDENCE")
	f.StringVar(&hash, "statement-hash", "", "salted commitment to what you told the subject")
	return example(c, "  assent consent dispute resolve CONSENT DISPUTE --outcome REJECTED --reason DATA_ACCURATE --statement-hash 0x5c1e…")
}

func (a *app) disputeListCmd() *cobra.Command {
	return example(leaf("list CONSENT", "List every dispute under a consent", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return showAll(a, client.Consents().Disputes(c.Context(), sdk.ConsentID(args[0])), "DISPUTE\tKIND\tREQUEST\tRAISED\tDUE\tSETTLED", func(w io.Writer, d *sdk.Dispute) {
			settled := "open"
			if r := d.Resolution; r != nil {
				settled = fmt.Sprintf("%s %s %s", r.Outcome, r.Reason, when(r.At))
			}
			request := string(d.RequestID)
			if request == "" {
				request = "-"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.DisputeID, d.Kind, request, when(d.RaisedAt), when(d.Due), settled)
		})
	}), "  assent consent dispute list 0x000102030405060708090a0b0c0d0e0f")
}

func (a *app) eraseCmd() *cobra.Command {
	var link, hash string
	request := leaf("request CONSENT", "Bring the subject's wish that an ended consent be erased: a wallet's link, or the bank's evidence", func(c *cobra.Command, args []string) error {
		id := sdk.ConsentID(args[0])
		var e sdk.Evidence
		if link != "" {
			d, err := linked[wallet.Erasure](a, link, id)
			if err != nil {
				return err
			}
			e = d.Evidence()
		} else {
			var err error
			if e.EvidenceHash, err = hashFlag("--evidence-hash", hash, "what your customer told you (a subject with a wallet gives --link)"); err != nil {
				return err
			}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		v, err := client.Consents().RequestErasure(c.Context(), id, e)
		if err != nil {
			return err
		}
		return a.showOne(v, "erasure of %s is requested; %s confirm it by %s", v.ConsentID, words(v.Pending), when(v.Due))
	})
	request.Flags().StringVar(&link, "link", "", "link that assent wallet erase printed, or a file with it")
	request.Flags().StringVar(&hash, "evidence-hash", "", "for the bank: salted commitment to what its customer told it")
	confirm := leaf("confirm CONSENT", "Sign that salt, key and mapping of a consent are destroyed (each party; its node does so by itself)", func(c *cobra.Command, args []string) error {
		if err := a.confirm("Is everything that connects " + args[0] + " with a person destroyed?"); err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		v, err := client.Consents().ConfirmErasure(c.Context(), sdk.ConsentID(args[0]))
		if err != nil {
			return err
		}
		return a.showOne(v, "erasure of %s confirmed; still pending: %s", v.ConsentID, none(words(v.Pending)))
	})
	show := leaf("show CONSENT", "Show how far a consent's erasure has come", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		v, err := client.Consents().Erasure(c.Context(), sdk.ConsentID(args[0]))
		if err != nil {
			return err
		}
		return a.showRecord(v)
	})
	return group("erase", "Destroy what identifies the subject of an ended consent",
		example(request, "  assent consent erase request 0x000102030405060708090a0b0c0d0e0f --link erase.link"),
		example(confirm, "  assent consent erase confirm 0x000102030405060708090a0b0c0d0e0f --yes"),
		example(show, "  assent consent erase show 0x000102030405060708090a0b0c0d0e0f"))
}

// suspension makes suspend and reinstate of what is called kind.
func (a *app) suspension(kind string, suspend func(*sdk.Client, *cobra.Command, string, sdk.SuspensionReason) (*sdk.Outcome, error), reinstate func(*sdk.Client, *cobra.Command, string) (*sdk.Outcome, error)) []*cobra.Command {
	var why string
	const reasons = "INVESTIGATION, MISUSE, SECURITY_INCIDENT, LICENCE_WITHDRAWN or COURT_ORDER"
	upper := map[string]string{"product": "PRODUCT", "template": "TEMPLATE"}[kind]
	off := leaf("suspend "+upper, "Take a "+kind+" out of use until it is reinstated (admin or officer of an AUDITOR)", func(c *cobra.Command, args []string) error {
		if why == "" {
			return usageError{errors.New("give --reason: " + reasons)}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := suspend(client, c, args[0], sdk.SuspensionReason(why))
		if err != nil {
			return err
		}
		return a.done(o, kind+" "+args[0]+" suspended")
	})
	off.Flags().StringVar(&why, "reason", "", reasons)
	on := leaf("reinstate "+upper, "End a "+kind+"'s suspension (admin or officer of an AUDITOR)", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		o, err := reinstate(client, c, args[0])
		if err != nil {
			return err
		}
		return a.done(o, kind+" "+args[0]+" reinstated")
	})
	return []*cobra.Command{
		example(off, "  assent "+kind+" suspend salary-account --reason INVESTIGATION"), example(on, "  assent "+kind+" reinstate salary-account"),
	}
}

func (a *app) suspendProductCmds() []*cobra.Command {
	return a.suspension("product",
		func(client *sdk.Client, c *cobra.Command, id string, why sdk.SuspensionReason) (*sdk.Outcome, error) {
			return client.Products().Suspend(c.Context(), sdk.ProductID(id), why)
		},
		func(client *sdk.Client, c *cobra.Command, id string) (*sdk.Outcome, error) {
			return client.Products().Reinstate(c.Context(), sdk.ProductID(id))
		})
}

func (a *app) suspendTemplateCmds() []*cobra.Command {
	return a.suspension("template",
		func(client *sdk.Client, c *cobra.Command, id string, why sdk.SuspensionReason) (*sdk.Outcome, error) {
			return client.Templates().Suspend(c.Context(), sdk.TemplateID(id), why)
		},
		func(client *sdk.Client, c *cobra.Command, id string) (*sdk.Outcome, error) {
			return client.Templates().Reinstate(c.Context(), sdk.TemplateID(id))
		})
}
