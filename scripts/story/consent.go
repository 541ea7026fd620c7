package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

// cast is who and what the story is about.
type cast struct {
	notices  [2]sdk.Hash
	borrower *customer
	wallet   *wallet.Wallet
	consent  sdk.ConsentID
	asked    uint64 // height of the newest request
}

const bankOfStory = 0

// choose picks the first customer of the bank with a blemish, so that the answer
// is one that a lender would want.
func (t *teller) choose(bank int) (*customer, error) {
	for i := range t.people {
		if c := &t.people[i]; c.banks[bank] && expectedWorst(c) == "LATE_2_MONTHS" {
			return c, nil
		}
	}
	for i := range t.people {
		if c := &t.people[i]; c.banks[bank] {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%s has no customer: give more rows", banks[bank])
}

// agree: the bank binds the borrower's wallet, the lender asks for consent, the
// wallet endorses a fresh key and signs.
func (t *teller) agree(ctx context.Context) error {
	var err error
	if t.cast.borrower, err = t.choose(bankOfStory); err != nil {
		return err
	}
	if t.cast.wallet, err = wallet.Create(filepath.Join(t.dir, "wallet.json"), "a wallet of the demo"); err != nil {
		return err
	}
	bank, err := t.client(ctx, banks[bankOfStory], "officer")
	if err != nil {
		return err
	}
	defer bank.Close()
	if err := bank.Bind(ctx, t.cast.borrower.identity, t.cast.wallet.Address()); err != nil {
		return fmt.Errorf("the bank binds the wallet: %w", err)
	}
	t.chapter("A borrower, authenticated by the bank, has a wallet bound. Nobody else learns of it.")

	lend, err := t.client(ctx, lender, "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	terms, part, err := t.negotiate(ctx, lend)
	if err != nil {
		return err
	}
	prepared, err := lend.Consents().Prepare(ctx, terms, *part)
	if err != nil {
		return err
	}
	if _, err := lend.Consents().Create(ctx, prepared); err != nil {
		return fmt.Errorf("create consent: %w", err)
	}
	if err := t.sign(ctx, lend, prepared); err != nil {
		return err
	}
	t.cast.consent = terms.ConsentID
	return nil
}

// negotiate is the exchange of links: the lender's offer, the wallet's
// endorsement of a fresh key.
func (t *teller) negotiate(ctx context.Context, lend *sdk.Client) (*sdk.ConsentTerms, *sdk.SealedPart, error) {
	var ids []sdk.TemplateID
	for _, spec := range templatesFor(bankOfStory) {
		ids = append(ids, spec.TemplateID)
	}
	draft, err := lend.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: sdk.OrgID(banks[bankOfStory]), Product: productID(bankOfStory), Templates: ids,
		Purposes: []sdk.Purpose{record.CreditChecking}, Declined: []sdk.Purpose{record.CreditScoreEvaluation},
		Automated: true, Expires: time.Now().Add(90 * 24 * time.Hour), MaxUses: 5, PerDay: 5,
		NoticeHash: t.cast.notices[bankOfStory],
	})
	if err != nil {
		return nil, nil, fmt.Errorf("draft consent: %w", err)
	}
	notice := noticeFor(bankOfStory)
	names := map[string]string{"org/" + lender: "Quick Loan 快贷", "org/" + banks[bankOfStory]: "Harbour Bank 海港银行"}
	offer, err := wallet.NewOffer(lend.ChainID(), draft, names, &notice, time.Now().Add(time.Hour).UnixMilli())
	if err != nil {
		return nil, nil, err
	}
	link, err := wallet.Link(offer)
	if err != nil {
		return nil, nil, err
	}
	t.chapter("The lender sends the borrower a link of %d characters. The wallet shows what it means:", len(link))
	for _, l := range wallet.Explain(draft, names) {
		t.say("%-34s %s", l.Label, l.Text)
	}
	got, err := wallet.ParseAs[wallet.Offer](link)
	if err != nil {
		return nil, nil, err
	}
	endorsed, err := t.cast.wallet.Endorse(got)
	if err != nil {
		return nil, nil, err
	}
	draft.PrincipalKey = endorsed.PrincipalKey
	part := &sdk.SealedPart{SubjectID: t.cast.borrower.identity, NoticeLanguage: "en", Endorsement: endorsed.Record()}
	t.partKey = endorsed.PartKey[:]
	return draft, part, nil
}

// sign: the wallet reads what it is to sign, signs, and the bank relays.
func (t *teller) sign(ctx context.Context, lend *sdk.Client, p *sdk.PreparedConsent) error {
	sealed, err := p.ForSubject(t.partKey)
	if err != nil {
		return err
	}
	toSign, err := wallet.NewTerms(lend.ChainID(), &p.Terms, sealed)
	if err != nil {
		return err
	}
	yes, err := t.cast.wallet.Sign(toSign)
	if err != nil {
		return fmt.Errorf("the wallet signs: %w", err)
	}
	if _, err := lend.Consents().Authorise(ctx, p.Terms.ConsentID, record.Wallet, yes.Evidence()); err != nil {
		return fmt.Errorf("authorise consent: %w", err)
	}
	t.say("")
	t.say("The borrower agrees: an EIP-712 signature by a key made for this consent alone, checked by the contract.")
	return nil
}

// ask is the lender's query, from request to verified answer.
func (t *teller) ask(ctx context.Context) error {
	lend, err := t.client(ctx, lender, "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	q := sdk.QueryRequest{Consent: t.cast.consent, Template: templateID(bankOfStory, "worst-status"), Purpose: record.CreditChecking}
	r, err := lend.Query(ctx, q)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	if !r.Decision.Permit {
		return fmt.Errorf("the query was denied with %s", r.Decision.Code)
	}
	v := r.Verified
	t.result.Answer = answered{
		Template: string(q.Template), Value: r.Answer.Value, RequestID: string(r.Decision.RequestID),
		ReceiptVerified: v != nil && v.Receipt.Outcome == record.Answered,
		ProofVerified:   v != nil && v.ReceiptProof != nil && v.RequestProof != nil,
		OpenedMs:        ms(r.Timing.Opened), VerifiedMs: ms(r.Timing.Verified),
	}
	t.chapter("The lender asks for the worst repayment status of six months: %s", t.result.Answer.Value)
	t.say("PERMIT on the ledger after %.1f ms, sealed answer opened after %.1f ms, receipt proven", ms(r.Timing.Decided), ms(r.Timing.Opened))
	t.say("against the votes of a quorum after %.1f ms. No node was trusted for that.", ms(r.Timing.Verified))
	if want := expectedWorst(t.cast.borrower); t.result.Answer.Value != want {
		return fmt.Errorf("the answer is %s, the bank's row says %s", t.result.Answer.Value, want)
	}
	for _, name := range []string{"utilisation", "score"} {
		q.Template = templateID(bankOfStory, name)
		r, err := lend.Query(ctx, q)
		if err != nil {
			return fmt.Errorf("query %s: %w", name, err)
		}
		if r.Answer == nil {
			return fmt.Errorf("query %s was denied with %s", name, r.Decision.Code)
		}
		t.cast.asked = r.Decision.Height
		t.say("And %s: %s (opened after %.1f ms, verified after %.1f ms)", name, r.Answer.Value, ms(r.Timing.Opened), ms(r.Timing.Verified))
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()/10) / 100 }

// revoke: the borrower sees every use, revokes, and the next request is denied.
func (t *teller) revoke(ctx context.Context) error {
	if err := t.listUses(ctx, 3, t.cast.asked); err != nil {
		return err
	}
	no, err := t.cast.wallet.Revoke(t.cast.consent, record.ReasonWithdrawn)
	if err != nil {
		return err
	}
	bank, err := t.client(ctx, banks[bankOfStory], "integration")
	if err != nil {
		return err
	}
	defer bank.Close()
	began := time.Now()
	if _, err := bank.Consents().Revoke(ctx, t.cast.consent, no.Reason, no.Evidence()); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	t.chapter("The borrower revokes; the bank relays it, any member could. On the ledger after %.1f ms.", ms(time.Since(began)))
	lend, err := t.client(ctx, lender, "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	r, err := lend.Query(ctx, sdk.QueryRequest{Consent: t.cast.consent, Template: templateID(bankOfStory, "worst-status"), Purpose: record.CreditChecking})
	if err != nil {
		return fmt.Errorf("query after the revocation: %w", err)
	}
	t.result.AfterRevocation = decision{"PERMIT", string(r.Decision.Code)}
	if !r.Decision.Permit {
		t.result.AfterRevocation.Decision = "DENY"
	}
	if r.Decision.Permit {
		return fmt.Errorf("a request after the revocation was permitted")
	}
	t.chapter("The lender asks again: DENY, %s. The denial is on the ledger too:", r.Decision.Code)
	return t.listUses(ctx, 4, r.Decision.Height)
}

// listUses is the borrower's complete list, read with the consent's own key.
func (t *teller) listUses(ctx context.Context, want int, since uint64) error {
	key, err := t.cast.wallet.Principal(t.cast.consent)
	if err != nil {
		return err
	}
	self, err := t.net.Dial(ctx, t.net.First("regulator"), sdk.WithSubject(key), sdk.WithMiddleware(t.replies.wrap))
	if err != nil {
		return err
	}
	defer self.Close()
	list, err := self.UsesSince(ctx, t.cast.consent, since)
	if err != nil {
		return fmt.Errorf("list of uses: %w", err)
	}
	t.chapter("The borrower lists every use, here from the regulator's node; that none is missing follows from a certified hash chain:")
	for _, u := range list.Uses {
		t.say("%s  %-10s %-24s %-7s %s", time.UnixMilli(u.RequestedAt).UTC().Format("15:04:05"), u.Consumer, u.TemplateID, u.Decision, u.Code)
	}
	if len(list.Uses) != want {
		return fmt.Errorf("the list has %d uses, want %d", len(list.Uses), want)
	}
	return nil
}
