package testnet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

// Totals over several banks: what every bank of a set publishes, a subject agrees to
// and a lender asks for.

// ExposureKey is the option with which a client checks totals.
func ExposureKey(dir string) (sdk.Option, error) {
	b, err := os.ReadFile(filepath.Join(dir, string(exposure.InRange)+".verify"))
	if err != nil {
		return nil, err
	}
	return sdk.WithExposureKeys(b), nil
}

const loanColumn = "outstanding"

// LoansProduct is what a bank publishes for totals, LoansTemplate what it lets add up.
func LoansProduct(bank string) sdk.ProductID   { return sdk.ProductID(bank + ".loans") }
func LoansTemplate(bank string) sdk.TemplateID { return sdk.TemplateID(bank + ".outstanding") }

// LoansVault maps a bank's loans to a SQLite vault at path.
func LoansVault(bank, path string) config.Vault {
	return config.Vault{
		Product: string(LoansProduct(bank)), Connector: "sqlite", Source: path, Table: "loans", Key: "id",
		Timeout: 2 * time.Second, Columns: []config.Column{{Name: loanColumn, Type: "int"}},
	}
}

// LoadLoans fills a vault with what each customer owes.
func LoadLoans(ctx context.Context, v config.Vault, owed map[string]int64) error {
	var csv strings.Builder
	fmt.Fprintf(&csv, "id,%s\n", loanColumn)
	for id, amount := range owed {
		fmt.Fprintf(&csv, "%s,%d\n", id, amount)
	}
	return LoadVault(ctx, v, strings.NewReader(csv.String()))
}

func loansNotice(bank string) sdk.NoticeSpec {
	return sdk.NoticeSpec{
		NoticeID: record.NoticeID(bank + ".loans-notice"), Language: "en", Title: "Total of your loans 多头借贷",
		Text: "The lender may ask for the total of what you owe to several banks. It learns the total, never what you owe to one of them.",
	}
}

// PublishLoans puts on the ledger what a bank offers for totals, and opens its first
// epoch.
func (n *Net) PublishLoans(ctx context.Context, bank string, opts ...sdk.Option) error {
	officer, err := n.Client(ctx, bank, "officer", opts...)
	if err != nil {
		return err
	}
	defer officer.Close()
	if _, _, err := officer.Products().PublishNotice(ctx, loansNotice(bank)); err != nil {
		return fmt.Errorf("publish notice of %s: %w", bank, err)
	}
	if _, err := officer.Products().Publish(ctx, sdk.ProductSpec{
		ProductID: LoansProduct(bank), Title: "Loans", Version: 1, Methods: []sdk.Method{record.Wallet}, Purposes: []sdk.Purpose{record.CreditChecking},
		Columns: []sdk.Column{{Name: loanColumn, Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassSumOnly}}},
	}); err != nil {
		return fmt.Errorf("publish product of %s: %w", bank, err)
	}
	if err := n.ApproveTemplate(ctx, bank, sdk.TemplateSpec{
		TemplateID: LoansTemplate(bank), Version: 1, ProductID: LoansProduct(bank), Kind: record.Total, Columns: []string{loanColumn}, Source: loanColumn,
		CostLimit: 1, AnswerTTL: 20_000,
	}, opts...); err != nil {
		return err
	}
	_, err = officer.Products().OpenEpoch(ctx, LoansProduct(bank), 1)
	return err
}

// BindWallet is what a bank does in its own session with an authenticated customer.
func (n *Net) BindWallet(ctx context.Context, bank, identity string, w *wallet.Wallet, opts ...sdk.Option) error {
	officer, err := n.Client(ctx, bank, "officer", opts...)
	if err != nil {
		return err
	}
	defer officer.Close()
	return officer.Bind(ctx, identity, w.Address())
}

// AgreeOnSet makes consents of a subject to a lender with every bank of a set: offers,
// endorsed with one key, sealed parts, signatures. It returns what the lender may ask.
func (n *Net) AgreeOnSet(ctx context.Context, lend *sdk.Client, w *wallet.Wallet, identity string, banks ...string) ([]sdk.ExposureItem, error) {
	drafts := make([]*sdk.ConsentTerms, len(banks))
	offers := make([]*wallet.Offer, len(banks))
	for i, bank := range banks {
		notice := loansNotice(bank)
		hash, err := notice.Hash()
		if err != nil {
			return nil, err
		}
		if drafts[i], err = lend.Consents().Draft(ctx, sdk.ConsentDraft{
			Provider: sdk.OrgID(bank), Product: LoansProduct(bank), Templates: []sdk.TemplateID{LoansTemplate(bank)}, Purposes: []sdk.Purpose{record.CreditChecking},
			Expires: time.Now().Add(24 * time.Hour), MaxUses: 10_000, NoticeHash: hash,
		}); err != nil {
			return nil, fmt.Errorf("draft consent with %s: %w", bank, err)
		}
		if offers[i], err = wallet.NewOffer(lend.ChainID(), drafts[i], nil, &notice, time.Now().Add(time.Hour).UnixMilli()); err != nil {
			return nil, err
		}
	}
	endorsed, err := w.EndorseSet(offers)
	if err != nil {
		return nil, err
	}
	items := make([]sdk.ExposureItem, len(banks))
	for i, bank := range banks {
		drafts[i].PrincipalKey = endorsed[i].PrincipalKey
		if err := signOne(ctx, lend, w, drafts[i], endorsed[i], identity); err != nil {
			return nil, fmt.Errorf("consent with %s: %w", bank, err)
		}
		items[i] = sdk.ExposureItem{Consent: drafts[i].ConsentID, Template: LoansTemplate(bank)}
	}
	return items, nil
}

func signOne(ctx context.Context, lend *sdk.Client, w *wallet.Wallet, draft *sdk.ConsentTerms, e *wallet.Endorsement, identity string) error {
	p, err := lend.Consents().Prepare(ctx, draft, sdk.SealedPart{SubjectID: identity, Endorsement: e.Record()})
	if err != nil {
		return err
	}
	if _, err := lend.Consents().Create(ctx, p); err != nil {
		return err
	}
	sealed, err := p.ForSubject(e.PartKey[:])
	if err != nil {
		return err
	}
	terms, err := wallet.NewTerms(lend.ChainID(), &p.Terms, sealed)
	if err != nil {
		return err
	}
	yes, err := w.Sign(terms)
	if err != nil {
		return err
	}
	_, err = lend.Consents().Authorise(ctx, p.Terms.ConsentID, record.Wallet, yes.Evidence())
	return err
}

// AwaitPledges waits until every bank of a set has pledged for an epoch.
func AwaitPledges(ctx context.Context, c *sdk.Client, items []sdk.ExposureItem, epoch uint64) error {
	for _, it := range items {
		for {
			p, err := c.Exposures().Pledge(ctx, it.Consent, it.Template, epoch)
			if err != nil {
				return err
			}
			if p != nil {
				break
			}
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%s has not pledged for consent %s: %w", it.Template, it.Consent, ctx.Err())
			}
		}
	}
	return nil
}
