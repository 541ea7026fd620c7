package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

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

	Failed *problem `json:"failed,omitempty"` // why the ledger could not be asked for this one
}

// Bounds of wallet list --ledger: each consent is asked for with a key, and so a
// connection, of its own.
const (
	ledgerAtOnce = 4
	ledgerPage   = 50
)

func (a *app) walletListCmd() *cobra.Command {
	var ledger bool
	var page, size uint
	c := leaf("list", "List the consents that this wallet knows, their state and how they ended", func(c *cobra.Command, _ []string) error {
		if page == 0 || size > 1000 {
			return usageError{errors.New("--page counts from 1, --page-size goes up to 1000")}
		}
		if size == 0 && ledger {
			size = ledgerPage
		}
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		known := w.Consents()
		listed := pageOf(known, page, size)
		rows := make([]walletRow, len(listed))
		for i := range listed {
			e := &listed[i]
			rows[i] = walletRow{
				Consent: string(e.Consent), State: string(e.State), Lender: string(e.Terms.Consumer()), Bank: string(e.Terms.Provider()),
				Until: time.UnixMilli(e.Terms.ExpirationDateTime).UTC().Format(time.RFC3339), Version: e.Terms.Version,
				Ending: ending(w, e, a.now()), Disputes: len(e.Claims),
			}
		}
		var failed error
		if ledger {
			if failed, err = a.askLedger(c.Context(), w, rows); err != nil {
				return err
			}
		}
		if err := a.show(rows, func(out io.Writer) {
			fmt.Fprintln(out, "CONSENT\tSTATE\tLENDER\tBANK\tUNTIL\tENDING\tLEDGER")
			for _, r := range rows {
				said := dash(r.Ledger)
				if r.Failed != nil {
					said = "FAILED " + r.Failed.Error
				}
				fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Consent, r.State, r.Lender, r.Bank, r.Until, dash(r.Ending), said)
			}
		}); err != nil {
			return err
		}
		if len(rows) != 0 && listed[len(listed)-1].Consent != known[len(known)-1].Consent {
			fmt.Fprintf(a.err, "%d of %d consents; --page %d goes on\n", len(rows), len(known), page+1)
		}
		if failed != nil {
			return verdict(exitCode(failed))
		}
		return nil
	})
	c.Flags().BoolVar(&ledger, "ledger", false, "ask a node as well, and check its proof: others may have ended a consent")
	c.Flags().UintVar(&page, "page", 1, "which page")
	c.Flags().UintVar(&size, "page-size", 0, fmt.Sprintf("consents of a page (default: all, with --ledger %d)", ledgerPage))
	return example(c, "  assent wallet list\n  assent wallet list --ledger --json")
}

// pageOf cuts a page out of a list; a size of 0 is all of it.
func pageOf(all []wallet.Entry, page, size uint) []wallet.Entry {
	n := uint(len(all))
	if size == 0 {
		size = n
	}
	if n == 0 || page-1 > n/size { // also keeps the product small
		return []wallet.Entry{}
	}
	from := min((page-1)*size, n)
	return all[from:min(from+size, n)]
}

// askLedger asks for the consents of rows, some at once, and goes on after what
// fails: the row says why, and so does a line on standard error. failed is the
// error that weighs most; err ends the command before anything was asked.
func (a *app) askLedger(ctx context.Context, w *wallet.Wallet, rows []walletRow) (failed, err error) {
	p, err := a.settings()
	if err != nil {
		return nil, err
	}
	opts, err := a.trusted(p, false)
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(rows))
	var g errgroup.Group
	g.SetLimit(ledgerAtOnce)
	for i := range rows {
		g.Go(func() error {
			rows[i].Ledger, errs[i] = a.onLedger(ctx, p, opts, w, sdk.ConsentID(rows[i].Consent))
			return nil
		})
	}
	_ = g.Wait() // its functions return nil
	count := 0
	for i, err := range errs {
		if err == nil {
			continue
		}
		k := problemOf(err)
		rows[i].Failed = &k
		fmt.Fprintf(a.err, "assent: consent %s: %s\n", rows[i].Consent, said(&k))
		if count++; failed == nil || exitCode(err) > exitCode(failed) { // a lie weighs more than a delay
			failed = err
		}
	}
	if failed != nil {
		fmt.Fprintf(a.err, "%d of %d consents could not be looked up on the ledger\n", count, len(rows))
	}
	return failed, nil
}

func said(p *problem) string {
	if p.Code == "" {
		return p.Error
	}
	return p.Code + ": " + p.Error + ". " + p.Remedy
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

// onLedger is what the ledger certifies of a consent's state and last change. Each
// consent has a connection of its own, with its own key.
func (a *app) onLedger(ctx context.Context, p *profile, opts []sdk.Option, w *wallet.Wallet, id sdk.ConsentID) (string, error) {
	signer, err := w.Principal(id)
	if err != nil {
		return "", err
	}
	client, err := a.open(ctx, p, append(slices.Clone(opts), sdk.WithSubject(signer)))
	if err != nil {
		return "", err
	}
	defer client.Close()
	v, _, err := client.Consents().Proven(ctx, id)
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
