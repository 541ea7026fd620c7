package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assent-network/assent/node/durable"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

func (a *app) consentCmd() *cobra.Command {
	return group("consent", "Consents, from the lender's and the bank's side",
		append(a.lifeCmds(), a.consentOfferCmd(), a.consentCreateCmd(), a.consentShowCmd(), a.consentListCmd(), a.consentAuthoriseCmd(),
			a.consentBindCmd(), a.consentRevokeCmd(), a.consentRejectCmd(), a.consentExpireCmd(), a.consentUsesCmd())...)
}

// draftFlags are what a lender asks for.
type draftFlags struct {
	provider, product, notice, impact, from, until, supersedes string
	templates, purposes, declined                              []string
	uses, daily                                                uint64
	automated, written                                         bool
}

func (d *draftFlags) add(f *pflag.FlagSet) {
	f.StringVar(&d.provider, "provider", "", "member that answers")
	f.StringVar(&d.product, "product", "", "data product")
	f.StringSliceVar(&d.templates, "template", nil, "query template; repeat")
	f.StringSliceVar(&d.purposes, "purpose", nil, "purpose; repeat")
	f.StringSliceVar(&d.declined, "declined", nil, "purpose shown and declined; repeat")
	f.StringVar(&d.notice, "notice", "", "hash of the published privacy notice")
	f.StringVar(&d.impact, "impact-assessment", "", "hash of the impact assessment")
	f.StringVar(&d.from, "from", "", "begin, RFC 3339 (default: now)")
	f.StringVar(&d.until, "until", "", "end, RFC 3339 or a date")
	f.Uint64Var(&d.uses, "max-uses", 1, "uses in all")
	f.Uint64Var(&d.daily, "per-day", 0, "uses per UTC day (default: all)")
	f.BoolVar(&d.automated, "automated", false, "the answer feeds a decision made without a person")
	f.BoolVar(&d.written, "written", false, "given on paper: evidence is brought, and another officer of the bank countersigns")
	f.StringVar(&d.supersedes, "supersedes", "", "consent that this one replaces")
}

func typed[S ~string](list []string) []S {
	out := make([]S, len(list))
	for i, s := range list {
		out[i] = S(s)
	}
	return out
}

func (d *draftFlags) draft() (sdk.ConsentDraft, error) {
	out := sdk.ConsentDraft{
		Provider: sdk.OrgID(d.provider), Product: sdk.ProductID(d.product), Templates: typed[sdk.TemplateID](d.templates),
		Purposes: typed[sdk.Purpose](d.purposes), Declined: typed[sdk.Purpose](d.declined), Automated: d.automated,
		Written: d.written, MaxUses: d.uses, PerDay: d.daily, Supersedes: sdk.ConsentID(d.supersedes),
	}
	for _, t := range []struct {
		text string
		to   *time.Time
	}{{d.from, &out.ValidFrom}, {d.until, &out.Expires}} {
		ms, err := parseTime(t.text)
		if err != nil {
			return out, err
		}
		if ms != 0 {
			*t.to = time.UnixMilli(ms)
		}
	}
	if d.until == "" {
		return out, usageError{errors.New("give --until: a consent ends")}
	}
	for _, h := range []struct {
		text string
		to   *sdk.Hash
	}{{d.notice, &out.NoticeHash}, {d.impact, &out.ImpactAssessment}} {
		if h.text == "" {
			continue
		}
		v, err := parseHash(h.text)
		if err != nil {
			return out, usageError{err}
		}
		*h.to = v
	}
	return out, nil
}

func (a *app) consentOfferCmd() *cobra.Command {
	var d draftFlags
	var wait time.Duration
	var withNotice bool
	cmd := leaf("offer", "Draft terms and print the link that a subject's wallet answers", func(c *cobra.Command, _ []string) error {
		draft, err := d.draft()
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		terms, err := client.Consents().Draft(c.Context(), draft)
		if err != nil {
			return err
		}
		names, err := a.titles(c, client, terms)
		if err != nil {
			return err
		}
		var notice *sdk.NoticeSpec
		if withNotice {
			n, err := client.Products().Notice(c.Context(), terms.NoticeHash)
			if err != nil {
				return err
			}
			notice = &n.NoticeSpec
		}
		offer, err := wallet.NewOffer(client.ChainID(), terms, names, notice, a.now().Add(wait).UnixMilli())
		if err != nil {
			return usageError{err}
		}
		link, err := wallet.Link(offer)
		if err != nil {
			return err
		}
		v := map[string]string{"consentId": string(terms.ConsentID), "link": link}
		return a.show(v, func(w io.Writer) { fmt.Fprintln(w, link) })
	})
	d.add(cmd.Flags())
	cmd.Flags().DurationVar(&wait, "wait", 7*24*time.Hour, "how long the lender waits for an answer")
	cmd.Flags().BoolVar(&withNotice, "with-notice", false, "carry the notice's text in the link (too long for a QR code)")
	return cmd
}

// titles looks up what organisations, product and templates are called.
func (a *app) titles(c *cobra.Command, client *sdk.Client, t *sdk.ConsentTerms) (map[string]string, error) {
	names := map[string]string{}
	for _, p := range t.Parties {
		m, err := client.Members().Get(c.Context(), p.PartyID)
		if err != nil {
			return nil, err
		}
		names["org/"+string(p.PartyID)] = m.Title
	}
	p, err := client.Products().Get(c.Context(), t.ProductID)
	if err != nil {
		return nil, err
	}
	names["product/"+string(t.ProductID)] = p.Title
	return names, nil
}

func (a *app) consentCreateCmd() *cobra.Command {
	var d draftFlags
	var offerLink, endorsementLink, language, save, keepPart string
	var part sdk.SealedPart
	cmd := leaf("create", "Create a consent: from a wallet's answer (--offer, --endorsement), or for a subject that the bank authenticates", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		part.NoticeLanguage = language
		var terms *sdk.ConsentTerms
		var endorsed *wallet.Endorsement
		if offerLink != "" {
			terms, endorsed, err = a.answered(client, offerLink, endorsementLink)
		} else {
			var draft sdk.ConsentDraft
			if draft, err = d.draft(); err == nil {
				terms, err = client.Consents().Draft(c.Context(), draft)
			}
		}
		if err != nil {
			return err
		}
		if endorsed != nil {
			terms.PrincipalKey, part.Endorsement = endorsed.PrincipalKey, endorsed.Record()
		}
		prepared, err := client.Consents().Prepare(c.Context(), terms, part)
		if err != nil {
			return err
		}
		if keepPart != "" { // first the file: afterwards its salt would be lost
			b, err := prepared.PartJSON()
			if err != nil {
				return err
			}
			if err := durable.WriteFile(keepPart, b); err != nil {
				return err
			}
		}
		consent, err := client.Consents().Create(c.Context(), prepared)
		if err != nil {
			return err
		}
		return a.created(client, prepared, consent, endorsed, save)
	})
	d.add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&offerLink, "offer", "", "link that assent consent offer printed, or a file with it")
	f.StringVar(&endorsementLink, "endorsement", "", "link that the wallet answered with, or a file with it")
	f.StringVar(&part.SubjectID, "subject", "", "subject identifier, as the provider keys its customers; goes sealed to the provider, never on the ledger")
	f.StringVar(&part.Account, "account", "", "the subject's account at the provider; sealed as well")
	f.StringVar(&language, "language", "en", "language in which the notice was shown")
	f.StringVar(&keepPart, "keep-part", "", "file for the sealed part in clear: it names the person, and proves about whom an answer is if one must be disputed as NOT_ANCHORED")
	f.StringVar(&save, "save", "", "file for the wallet's link with the terms to sign")
	return cmd
}

// answered returns an offer's terms and the wallet's answer to it.
func (a *app) answered(client *sdk.Client, offerLink, endorsementLink string) (*sdk.ConsentTerms, *wallet.Endorsement, error) {
	var o *wallet.Offer
	var e *wallet.Endorsement
	text, err := a.text(offerLink)
	if err == nil {
		o, err = wallet.ParseAs[wallet.Offer](text)
	}
	if err == nil {
		if text, err = a.text(endorsementLink); err == nil {
			e, err = wallet.ParseAs[wallet.Endorsement](text)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	terms, err := o.Draft()
	if err != nil {
		return nil, nil, err
	}
	if e.ConsentID != terms.ConsentID || e.Chain != o.Chain || o.Chain != client.ChainID() {
		return nil, nil, usageError{errors.New("offer, endorsement and network do not belong together")}
	}
	return terms, e, nil
}

func (a *app) created(client *sdk.Client, p *sdk.PreparedConsent, consent *sdk.Consent, e *wallet.Endorsement, save string) error {
	v := map[string]string{"consentId": string(consent.ConsentID), "status": string(consent.Status)}
	if e != nil {
		sealed, err := p.ForSubject(e.PartKey[:])
		if err != nil {
			return err
		}
		t, err := wallet.NewTerms(client.ChainID(), &p.Terms, sealed)
		if err != nil {
			return err
		}
		if v["link"], err = wallet.Link(t); err != nil {
			return err
		}
		if save != "" {
			if err := durable.Output(save, []byte(v["link"]+"\n"), 0o600); err != nil {
				return err
			}
		}
	}
	return a.show(v, func(w io.Writer) {
		fmt.Fprintf(w, "consent %s is %s\n", consent.ConsentID, consent.Status)
		if v["link"] != "" {
			fmt.Fprintf(w, "for the wallet to sign:\n%s\n", v["link"])
		}
	})
}

func (a *app) consentShowCmd() *cobra.Command {
	return leaf("show CONSENT", "Show a consent, proven under a certified root", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		consent, _, err := client.Consents().Proven(c.Context(), sdk.ConsentID(args[0]))
		if err != nil {
			return err
		}
		return a.showRecord(consent)
	})
}

func (a *app) consentListCmd() *cobra.Command {
	var filter sdk.ConsentFilter
	var party, status string
	cmd := leaf("list", "List a party's consents", func(c *cobra.Command, _ []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		filter.Party, filter.Status = sdk.OrgID(party), sdk.Status(status)
		return showAll(a, client.Consents().List(c.Context(), filter), "CONSENT\tSTATUS\tLENDER\tPROVIDER\tPRODUCT\tUNTIL", consentRow)
	})
	cmd.Flags().StringVar(&party, "party", "", "member (default: your own)")
	cmd.Flags().StringVar(&status, "status", "", "AwaitingAuthorisation, Authorised, Rejected, Revoked or Expired")
	return cmd
}

func consentRow(w io.Writer, v *sdk.Consent) {
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", v.ConsentID, v.Status, v.Consumer(), v.Provider(), v.ProductID, when(v.ExpirationDateTime))
}

// changed prints a consent after a change.
func (a *app) changed(consent *sdk.Consent, err error) error {
	if err != nil {
		return err
	}
	v := map[string]string{"consentId": string(consent.ConsentID), "status": string(consent.Status)}
	return a.show(v, func(w io.Writer) { fmt.Fprintf(w, "consent %s is %s\n", consent.ConsentID, consent.Status) })
}

// evidence is a provider's commitment to its own authentication of the customer.
func evidence(hash string) (sdk.Evidence, error) {
	h, err := parseHash(hash)
	if err != nil {
		return sdk.Evidence{}, usageError{fmt.Errorf("--evidence-hash: %w", err)}
	}
	return sdk.Evidence{EvidenceHash: h}, nil
}

func (a *app) consentAuthoriseCmd() *cobra.Command {
	var link, hash string
	var written bool
	cmd := leaf("authorise CONSENT", "Bring the subject's yes: a wallet's link, the bank's evidence, or a written document's", func(c *cobra.Command, args []string) error {
		id, method := sdk.ConsentID(args[0]), sdk.MethodWallet
		e, err := sdk.Evidence{}, error(nil)
		if link != "" {
			var yes *wallet.Authorisation
			if yes, err = linked[wallet.Authorisation](a, link, id); err == nil {
				e = yes.Evidence()
			}
		} else {
			if method = sdk.MethodProvider; written {
				method = sdk.MethodWritten
			}
			e, err = evidence(hash)
		}
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return a.changed(client.Consents().Authorise(c.Context(), id, method, e))
	})
	cmd.Flags().StringVar(&link, "link", "", "link that assent wallet sign printed, or a file with it")
	cmd.Flags().StringVar(&hash, "evidence-hash", "", "salted commitment to the bank's own authentication of its customer")
	cmd.Flags().BoolVar(&written, "written", false, "with --evidence-hash: the consent was given on paper, and the hash is of the signed document")
	return cmd
}

// linked reads a link of a kind that belongs to a consent.
func linked[T any, P interface {
	*T
	wallet.Document
}](a *app, arg string, id sdk.ConsentID) (*T, error) {
	text, err := a.text(arg)
	if err != nil {
		return nil, err
	}
	d, err := wallet.ParseAs[T, P](text)
	if err != nil {
		return nil, err
	}
	if got := consentOf(P(d)); got != id {
		return nil, usageError{fmt.Errorf("the link is of consent %s", got)}
	}
	return d, nil
}

func consentOf(d wallet.Document) sdk.ConsentID {
	switch d := d.(type) {
	case *wallet.Authorisation:
		return d.ConsentID
	case *wallet.Ending:
		return d.ConsentID
	case *wallet.Dispute:
		return d.ConsentID
	case *wallet.Erasure:
		return d.ConsentID
	}
	return ""
}

func (a *app) consentBindCmd() *cobra.Command {
	var subject string
	cmd := leaf("bind CONSENT", "For the bank: record on your own node for which customer you authorised a consent yourself", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		if err := client.BindConsent(c.Context(), sdk.ConsentID(args[0]), subject); err != nil {
			return err
		}
		return a.show(map[string]any{"bound": true, "consentId": args[0]}, func(w io.Writer) {
			fmt.Fprintf(w, "consent %s is bound; nothing of it is on the ledger\n", args[0])
		})
	})
	cmd.Flags().StringVar(&subject, "subject", "", "canonical subject identifier; stays on your node")
	return cmd
}

func (a *app) consentRevokeCmd() *cobra.Command {
	var link, hash, why, by string
	cmd := leaf("revoke CONSENT", "End a consent: bring the subject's withdrawal, or decide it as a party or an authority", func(c *cobra.Command, args []string) error {
		id, reason := sdk.ConsentID(args[0]), sdk.Reason(why)
		if by != "subject" {
			return a.revokeAs(c, id, by, why, hash)
		}
		e, err := sdk.Evidence{}, error(nil)
		if link != "" {
			var end *wallet.Ending
			if end, err = linked[wallet.Ending](a, link, id); err == nil {
				e, reason = end.Evidence(), end.Reason
			}
		} else {
			e, err = evidence(hash)
		}
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return a.changed(client.Consents().Revoke(c.Context(), id, reason, e))
	})
	cmd.Flags().StringVar(&link, "link", "", "link that assent wallet revoke printed, or a file with it")
	cmd.Flags().StringVar(&hash, "evidence-hash", "", "salted commitment to the bank's own authentication of its customer; with --by, to the grounds")
	cmd.Flags().StringVar(&why, "reason", "WITHDRAWN", "with --evidence-hash: "+words(sdk.RevocationReasons(sdk.BySubject))+
		"; a party's: "+words(sdk.RevocationReasons(sdk.ByParty))+"; an authority's: "+words(sdk.RevocationReasons(sdk.ByAuthority)))
	cmd.Flags().StringVar(&by, "by", "subject", "who decides: subject, party (officer, integration of lender or bank) or authority (officer of an AUDITOR)")
	return example(cmd, "  assent consent revoke CONSENT --link end.link\n  assent consent revoke CONSENT --by party --reason SERVICE_ENDED --evidence-hash 0x5c1e…")
}

func (a *app) consentRejectCmd() *cobra.Command {
	var link, hash string
	cmd := leaf("reject CONSENT", "Bring the subject's refusal: a wallet's link, or the bank's evidence", func(c *cobra.Command, args []string) error {
		id := sdk.ConsentID(args[0])
		e, err := sdk.Evidence{}, error(nil)
		if link != "" {
			var end *wallet.Ending
			if end, err = linked[wallet.Ending](a, link, id); err == nil {
				e = end.Evidence()
			}
		} else {
			e, err = evidence(hash)
		}
		if err != nil {
			return err
		}
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return a.changed(client.Consents().Reject(c.Context(), id, e))
	})
	cmd.Flags().StringVar(&link, "link", "", "link that assent wallet refuse printed, or a file with it")
	cmd.Flags().StringVar(&hash, "evidence-hash", "", "salted commitment to the bank's own authentication of its customer")
	return cmd
}

func (a *app) consentExpireCmd() *cobra.Command {
	return leaf("expire CONSENT", "Record that a consent's time is over", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return a.changed(client.Consents().Expire(c.Context(), sdk.ConsentID(args[0])))
	})
}

func (a *app) consentUsesCmd() *cobra.Command {
	return leaf("uses CONSENT", "List every request under a consent, proven complete", func(c *cobra.Command, args []string) error {
		client, err := a.dial(c.Context(), true)
		if err != nil {
			return err
		}
		return a.showUses(c.Context(), client, sdk.ConsentID(args[0]))
	})
}
