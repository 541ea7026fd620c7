package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// The network of the measurements: a bank that answers, a bank that publishes but
// runs no vault, and two lenders.
const (
	answering = "bank-a"
	silent    = "bank-b"
)

var lenders = []string{"lender-1", "lender-2"}

// bench is a running network with clients.
type bench struct {
	opts   options
	began  time.Time
	net    *testnet.Net
	vault  config.Vault
	report report

	lend     []*sdk.Client // one per lender
	notice   sdk.Hash
	template map[string]sdk.TemplateID // by bank
	consents [][]sdk.ConsentID         // by lender, on the silent bank's product
	queried  []sdk.ConsentID           // of the first lender, with an answer behind each
	turn     atomic.Int64              // consents used by load so far
}

func manifest(v config.Vault, profiles bool) testnet.Manifest {
	return testnet.Manifest{Network: "bench", Profiles: profiles, ClientRate: 100_000, Members: []testnet.ManifestMember{
		{ID: answering, Name: "Bank A", Roles: []string{"DATA_PROVIDER"}, Validators: 1, Vaults: []config.Vault{v}},
		{ID: silent, Name: "Bank B", Roles: []string{"DATA_PROVIDER"}, Validators: 1},
		{ID: lenders[0], Name: "Lender 1", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
		{ID: lenders[1], Name: "Lender 2", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
	}}
}

func productID(bank string) sdk.ProductID { return sdk.ProductID(bank + ".card") }

const customers = 1000

func customer(i int) string { return fmt.Sprintf("customer-%06d", i) }

// makeVault loads the answering bank's customers.
func makeVault(ctx context.Context, path string) (config.Vault, error) {
	v := config.Vault{
		Product: string(productID(answering)), Connector: "sqlite", Source: path, Table: "customers", Key: "id", Timeout: 2 * time.Second,
		Columns: []config.Column{{Name: "late", Type: "int"}, {Name: "balance", Type: "int"}},
	}
	var csv strings.Builder
	csv.WriteString("id,late,balance\n")
	for i := range customers {
		fmt.Fprintf(&csv, "%s,%d,%d\n", customer(i), i%4, 1000*i)
	}
	return v, testnet.LoadVault(ctx, v, strings.NewReader(csv.String()))
}

// dial connects the lenders and publishes both banks' product.
func (b *bench) dial(ctx context.Context) error {
	b.template = make(map[string]sdk.TemplateID)
	for _, l := range lenders {
		c, err := b.net.Client(ctx, l, "integration")
		if err != nil {
			return err
		}
		b.lend = append(b.lend, c)
	}
	for _, bank := range []string{answering, silent} {
		officer, err := b.net.Client(ctx, bank, "officer")
		if err != nil {
			return err
		}
		err = b.publish(ctx, officer, bank)
		officer.Close()
		if err != nil {
			return fmt.Errorf("%s publishes: %w", bank, err)
		}
	}
	return nil
}

func (b *bench) publish(ctx context.Context, officer *sdk.Client, bank string) error {
	var err error
	b.notice, _, err = officer.Products().PublishNotice(ctx, sdk.NoticeSpec{NoticeID: record.NoticeID(bank + ".notice"), Language: "en", Title: "Notice", Text: "What may be asked."})
	if err != nil {
		return err
	}
	class := record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 1_000_000, BitsPerYear: 10_000_000}
	_, err = officer.Products().Publish(ctx, sdk.ProductSpec{
		ProductID: productID(bank), Title: "Card history", Version: 1,
		Columns: []sdk.Column{{Name: "balance", Type: record.TypeInt, DataClass: record.C2, Class: class}, {Name: "late", Type: record.TypeInt, DataClass: record.C2, Class: class}},
		Methods: []sdk.Method{record.ProviderAuthenticated, record.Wallet}, Purposes: []sdk.Purpose{record.CreditChecking},
	})
	if err != nil {
		return err
	}
	b.template[bank] = sdk.TemplateID(bank + ".late")
	err = b.net.ApproveTemplate(ctx, bank, sdk.TemplateSpec{
		TemplateID: b.template[bank], Version: 1, ProductID: productID(bank), Kind: record.Bucket, Columns: []string{"late"},
		Source: `late > 1 ? "LATE" : "ON_TIME"`, Outputs: []string{"LATE", "ON_TIME", "NO_RECORD"}, CostLimit: 1000, AnswerTTL: 60_000,
	})
	if err != nil {
		return err
	}
	_, err = officer.Products().OpenEpoch(ctx, productID(bank), 1)
	return err
}

func (b *bench) close() error {
	for _, c := range b.lend {
		c.Close()
	}
	if b.net == nil {
		return nil
	}
	return b.net.Stop()
}

// draft makes the terms of a lender's consent at a bank.
func (b *bench) draft(ctx context.Context, lender int, bank string) (*sdk.ConsentTerms, error) {
	return b.lend[lender].Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: sdk.OrgID(bank), Product: productID(bank), Templates: []sdk.TemplateID{b.template[bank]},
		Purposes: []sdk.Purpose{record.CreditChecking}, Expires: time.Now().Add(24 * time.Hour), MaxUses: 1_000_000, NoticeHash: b.notice,
	})
}

// makeConsents fills the ledger: the silent bank authorises them for customers
// it authenticated itself, which costs one signature less than a wallet.
func (b *bench) makeConsents(ctx context.Context) error {
	began := time.Now()
	bank, err := b.net.Client(ctx, silent, "officer")
	if err != nil {
		return err
	}
	defer bank.Close()
	b.consents = make([][]sdk.ConsentID, len(lenders))
	var made atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(256)
	for l := range lenders {
		draft, err := b.draft(ctx, l, silent)
		if err != nil {
			return err
		}
		share := b.opts.consents / len(lenders)
		if l == 0 {
			share += b.opts.consents % len(lenders)
		}
		b.consents[l] = make([]sdk.ConsentID, share)
		for i := range share {
			g.Go(func() error {
				id, err := b.makeConsent(ctx, b.lend[l], bank, *draft)
				b.consents[l][i] = id
				if n := made.Add(1); n%5000 == 0 {
					b.progress("%d of %d consents", n, b.opts.consents)
				}
				return err
			})
		}
	}
	err = g.Wait()
	b.report.SetupSeconds = time.Since(began).Seconds()
	return err
}

func (b *bench) makeConsent(ctx context.Context, lend, bank *sdk.Client, t sdk.ConsentTerms) (sdk.ConsentID, error) {
	var id, ref [16]byte
	var evidence sdk.Hash
	rand.Read(id[:])
	rand.Read(ref[:])
	rand.Read(t.RecordCommitment[:])
	rand.Read(evidence[:])
	t.ConsentID, t.PrincipalRef = record.NewConsentID(id), record.NewPrincipalRef(ref)
	body, err := sdk.JSON(&t)
	if err != nil {
		return "", err
	}
	if _, err := lend.Invoke(ctx, record.ContractConsent, "Create", string(body)); err != nil {
		return "", err
	}
	_, err = bank.Consents().Authorise(ctx, t.ConsentID, record.ProviderAuthenticated, sdk.Evidence{EvidenceHash: evidence})
	return t.ConsentID, err
}

// makeQueried makes a consent with everything behind it: a wallet bound at the
// answering bank, a fresh principal key, a sealed part delivered.
func (b *bench) makeQueried(ctx context.Context, bank *sdk.Client, i int) (sdk.ConsentID, error) {
	t, err := b.draft(ctx, 0, answering)
	if err != nil {
		return "", err
	}
	return t.ConsentID, testnet.Agree(ctx, b.lend[0], bank, customer(i), t)
}
