package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

func (a *app) walletDisputeCmd() *cobra.Command {
	var kind, request, claim, save string
	c := leaf("dispute CONSENT", "Sign that data, or one answer, under your consent are wrong; any member brings it to the ledger", func(c *cobra.Command, args []string) error {
		if claim == "" || save == "" {
			return usageError{fmt.Errorf("give --claim, what is wrong, and --save, the file that you hand to your bank: the ledger sees neither")}
		}
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		d, full, err := w.Dispute(sdk.ConsentID(args[0]), sdk.DisputeKind(kind), sdk.RequestID(request), claim)
		if err != nil {
			return err
		}
		b, err := json.Marshal(full)
		if err != nil {
			return err
		}
		if err := durable.Output(save, append(b, '\n'), 0o600); err != nil {
			return err
		}
		return a.showLink(d)
	})
	f := c.Flags()
	f.StringVar(&kind, "kind", "WRONG", "WRONG, OUTDATED, NOT_MINE or MISUSED")
	f.StringVar(&request, "request", "", "the one answer (see assent wallet uses) that is disputed (default: the data as such)")
	f.StringVar(&claim, "claim", "", "what is wrong, in your words; for your bank's eyes")
	f.StringVar(&save, "save", "", "file for the claim with its salt, to hand to your bank")
	return example(c, "  assent wallet dispute 0x000102030405060708090a0b0c0d0e0f --claim 'I was never late' --save claim.json > dispute.link")
}

func (a *app) walletEraseCmd() *cobra.Command {
	return example(leaf("erase CONSENT", "Sign that what identifies you under an ended consent be destroyed; any member brings it to the ledger", func(c *cobra.Command, args []string) error {
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		if err := a.confirm("Have everything destroyed that connects you with " + args[0] + "? It cannot be taken back."); err != nil {
			return err
		}
		d, err := w.Erase(sdk.ConsentID(args[0]))
		if err != nil {
			return err
		}
		return a.showLink(d)
	}), "  assent wallet erase 0x000102030405060708090a0b0c0d0e0f --yes > erase.link")
}

// explainVersion says what a new version changes.
func (a *app) explainVersion(w *wallet.Wallet, t *sdk.ConsentTerms, names map[string]string) {
	if t.Supersedes == "" {
		return
	}
	old, ok := w.Previous(t)
	if !ok {
		a.explain([]wallet.Line{{
			Label: "New version 新版本", Text: fmt.Sprintf("it replaces the consent %s, which this wallet did not sign: ask the lender why 本钱包未签署原同意", t.Supersedes),
		}})
		return
	}
	a.explain(wallet.Compare(&old.Terms, t, names))
}

// walletRow is a consent as assent wallet list shows it.
type walletRow struct {
	Consent  string `json:"consentId"`
	State    string `json:"state"`
	Lender   string `json:"lender"`
	Bank     string `json:"provider"`
	Until    string `json:"until"`
	Version  uint64 `json:"version"`
	Ending   string `json:"ending,omitempty"`
	Disputes int    `json:"disputes,omitempty"`
	Ledger   string `json:"ledger,omitempty"`
}

func (a *app) walletListCmd() *cobra.Command {
	var ledger bool
	c := leaf("list", "List the consents that this wallet knows, their state and how they ended", func(c *cobra.Command, _ []string) error {
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		rows := []walletRow{}
		for _, e := range w.Consents() {
			r := walletRow{
				Consent: string(e.Consent), State: string(e.State), Lender: string(e.Terms.Consumer()), Bank: string(e.Terms.Provider()),
				Until: time.UnixMilli(e.Terms.ExpirationDateTime).UTC().Format(time.RFC3339), Version: e.Terms.Version,
				Ending: ending(w, &e, a.now()), Disputes: len(e.Claims),
			}
			if ledger {
				if r.Ledger, err = a.onLedger(c, w, e.Consent); err != nil {
					return err
				}
			}
			rows = append(rows, r)
		}
		return a.show(rows, func(out io.Writer) {
			fmt.Fprintln(out, "CONSENT\tSTATE\tLENDER\tBANK\tUNTIL\tENDING\tLEDGER")
			for _, r := range rows {
				fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Consent, r.State, r.Lender, r.Bank, r.Until, dash(r.Ending), dash(r.Ledger))
			}
		})
	})
	c.Flags().BoolVar(&ledger, "ledger", false, "ask a node as well, and check its proof: others may have ended a consent")
	return example(c, "  assent wallet list\n  assent wallet list --ledger --json")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ending is what the wallet itself knows of a consent's end.
func ending(w *wallet.Wallet, e *wallet.Entry, now time.Time) string {
	said := ""
	switch {
	case e.State == wallet.Refused, e.State == wallet.Revoked:
		if said = string(e.Reason); said == "" {
			said = "by you"
		}
	case now.UnixMilli() >= e.Terms.ExpirationDateTime:
		said = "time is over"
	}
	for _, other := range w.Consents() {
		if said == "" && other.State == wallet.Signed && other.Terms.Supersedes == e.Consent {
			said = "replaced by " + string(other.Consent)
		}
	}
	if e.Erasing {
		if said != "" {
			said += ", "
		}
		said += "erasure asked for"
	}
	return said
}

// onLedger is what the ledger certifies of a consent's state and last change.
func (a *app) onLedger(c *cobra.Command, w *wallet.Wallet, id sdk.ConsentID) (string, error) {
	client, err := a.dialSubject(c.Context(), w, id)
	if err != nil {
		return "", err
	}
	defer func() { // each consent has a connection of its own, with its own key
		client.Close()
		a.client = nil
	}()
	v, _, err := client.Consents().Proven(c.Context(), id)
	if code := sdk.CodeOf(err); code == "CONSENT_UNKNOWN" || code == "NOT_FOUND" || code == "FORBIDDEN" {
		return "not there, or erased", nil
	}
	if err != nil {
		return "", err
	}
	said := string(v.Status)
	if n := len(v.StatusReason); n > 0 {
		last := v.StatusReason[n-1]
		said += fmt.Sprintf(" (%s by %s, %s)", last.Code, last.Initiator, when(last.At))
	}
	if v.Disputed {
		said += ", disputed"
	}
	if v.ErasureStatus != "" {
		said += ", erasure " + string(v.ErasureStatus)
	}
	return said, nil
}
