package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

func (a *app) walletCmd() *cobra.Command {
	g := group("wallet", "The subject's side: keys, consents, signatures",
		a.walletNewCmd(), a.walletInfoCmd(), a.walletBindCmd(), a.walletEndorseCmd(), a.walletEndorseSetCmd(), a.walletSignCmd(), a.walletRefuseCmd(),
		a.walletListCmd(), a.walletRevokeCmd(), a.walletUsesCmd(), a.walletDisputeCmd(), a.walletEraseCmd())
	g.PersistentFlags().String("wallet", "", "wallet file (ASSENT_WALLET; default <config directory>/assent/wallet.json)")
	return g
}

// walletPath finds the wallet file and the profile that may name its password.
func (a *app) walletPath(c *cobra.Command) (string, *profile, error) {
	p, err := a.settings()
	if err != nil {
		return "", nil, err
	}
	flag, err := c.Flags().GetString("wallet")
	if err != nil {
		return "", nil, err
	}
	path := first(flag, p.Wallet)
	if path == "" {
		dir, err := a.configDir()
		if err != nil {
			return "", nil, err
		}
		path = filepath.Join(dir, "wallet.json")
	}
	return path, p, nil
}

func (a *app) openWallet(c *cobra.Command) (*wallet.Wallet, error) {
	path, p, err := a.walletPath(c)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, usageError{fmt.Errorf("%w: make a wallet with assent wallet new", err)}
	}
	password, err := a.password(p, "password of the wallet", false)
	if err != nil {
		return nil, err
	}
	return wallet.Open(path, password)
}

func (a *app) walletNewCmd() *cobra.Command {
	return leaf("new", "Make a wallet: a random key in a file encrypted with a password", func(c *cobra.Command, _ []string) error {
		path, p, err := a.walletPath(c)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		password, err := a.password(p, "new password for the wallet", true)
		if err != nil {
			return err
		}
		w, err := wallet.Create(path, password)
		if err != nil {
			return err
		}
		return a.showWallet(w, path)
	})
}

func (a *app) walletInfoCmd() *cobra.Command {
	return leaf("info", "Show the address that the bank binds to its customer", func(c *cobra.Command, _ []string) error {
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		path, _, err := a.walletPath(c)
		if err != nil {
			return err
		}
		return a.showWallet(w, path)
	})
}

func (a *app) showWallet(w *wallet.Wallet, path string) error {
	v := map[string]any{"address": lower(w.Address()), "file": path, "consents": len(w.Consents())}
	return a.show(v, func(out io.Writer) {
		fmt.Fprintf(out, "address %s\nGive it to your bank in its own app or branch, and to nobody else. Keep a copy of %s: without it you cannot withdraw by yourself.\n", lower(w.Address()), path)
	})
}

func (a *app) walletBindCmd() *cobra.Command {
	var subject, address string
	cmd := leaf("bind", "For the bank: record on your own node that a wallet is your authenticated customer's", func(c *cobra.Command, _ []string) error {
		key, err := parseAddress(address)
		if err != nil {
			return usageError{err}
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		if err := client.Bind(c.Context(), subject, key); err != nil {
			return err
		}
		return a.show(map[string]any{"bound": true, "address": lower(key)}, func(w io.Writer) { fmt.Fprintf(w, "wallet %s is bound; nothing of it is on the ledger\n", lower(key)) })
	})
	cmd.Flags().StringVar(&subject, "subject", "", "canonical subject identifier; stays on your node")
	cmd.Flags().StringVar(&address, "address", "", "the wallet's address")
	return cmd
}

func (a *app) explain(lines []wallet.Line) {
	for _, l := range lines {
		fmt.Fprintf(a.err, "  %s: %s\n", l.Label, l.Text)
	}
}

func (a *app) showLink(d wallet.Document) error {
	link, err := wallet.Link(d)
	if err != nil {
		return err
	}
	return a.show(map[string]any{"link": link, "document": d}, func(w io.Writer) { fmt.Fprintln(w, link) })
}

func (a *app) walletEndorseCmd() *cobra.Command {
	return leaf("endorse OFFER", "Answer a lender's offer with a fresh key; it authorises nothing yet", func(c *cobra.Command, args []string) error {
		text, err := a.text(args[0])
		if err != nil {
			return err
		}
		o, err := wallet.ParseAs[wallet.Offer](text)
		if err != nil {
			return err
		}
		if a.now().UnixMilli() > o.Until {
			return usageError{fmt.Errorf("the offer ended at %s: ask the lender for a new one", when(o.Until))}
		}
		terms, err := o.Draft()
		if err != nil {
			return err
		}
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		fmt.Fprintln(a.err, "A lender asks:")
		a.explain(wallet.Explain(terms, o.Names))
		if n, err := o.NoticeText(); err == nil && n != nil {
			fmt.Fprintf(a.err, "\n%s\n\n%s\n\n", n.Title, n.Text)
		}
		if err := a.confirm("Answer this offer?"); err != nil {
			return err
		}
		e, err := w.Endorse(o)
		if err != nil {
			return err
		}
		return a.showLink(e)
	})
}

// terms reads a link with terms and shows what they mean.
func (a *app) terms(w *wallet.Wallet, arg string) (*wallet.Terms, error) {
	text, err := a.text(arg)
	if err != nil {
		return nil, err
	}
	t, err := wallet.ParseAs[wallet.Terms](text)
	if err != nil {
		return nil, err
	}
	final, part, err := w.Review(t)
	if err != nil {
		return nil, err
	}
	var names map[string]string
	for _, e := range w.Consents() {
		if e.Consent == final.ConsentID {
			names = e.Names
		}
	}
	a.explain(wallet.Explain(final, names))
	a.explainVersion(w, final, names)
	a.explain(wallet.ExplainPart(part))
	return t, nil
}

func (a *app) walletSignCmd() *cobra.Command {
	return leaf("sign TERMS", "Show what terms mean and sign the consent", func(c *cobra.Command, args []string) error {
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		t, err := a.terms(w, args[0])
		if err != nil {
			return err
		}
		if err := a.confirm("Give this consent?"); err != nil {
			return err
		}
		yes, err := w.Sign(t)
		if err != nil {
			return err
		}
		return a.showLink(yes)
	})
}

func (a *app) walletRefuseCmd() *cobra.Command {
	return leaf("refuse TERMS", "Sign a no to terms", func(c *cobra.Command, args []string) error {
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		t, err := a.terms(w, args[0])
		if err != nil {
			return err
		}
		no, err := w.Refuse(t)
		if err != nil {
			return err
		}
		return a.showLink(no)
	})
}

func (a *app) walletRevokeCmd() *cobra.Command {
	var why string
	cmd := leaf("revoke CONSENT", "Sign the withdrawal of a consent; any member brings it to the ledger", func(c *cobra.Command, args []string) error {
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		end, err := w.Revoke(sdk.ConsentID(args[0]), sdk.Reason(why))
		if err != nil {
			return err
		}
		return a.showLink(end)
	})
	cmd.Flags().StringVar(&why, "reason", "WITHDRAWN", "WITHDRAWN, PURPOSE_ENDED, MISTAKE or MISUSE")
	return cmd
}

func (a *app) walletUsesCmd() *cobra.Command {
	return leaf("uses CONSENT", "List every request ever made under your consent, proven complete", func(c *cobra.Command, args []string) error {
		w, err := a.openWallet(c)
		if err != nil {
			return err
		}
		client, err := a.dialSubject(c.Context(), w, sdk.ConsentID(args[0]))
		if err != nil {
			return err
		}
		return a.showUses(c.Context(), client, sdk.ConsentID(args[0]))
	})
}

// dialSubject connects as the subject of one consent.
func (a *app) dialSubject(ctx context.Context, w *wallet.Wallet, id sdk.ConsentID) (*sdk.Client, error) {
	signer, err := w.Principal(id)
	if err != nil {
		return nil, err
	}
	p, err := a.settings()
	if err != nil {
		return nil, err
	}
	opts, err := a.trusted(p, false)
	if err != nil {
		return nil, err
	}
	return a.connect(ctx, p, append(opts, sdk.WithSubject(signer)))
}
