package node

import (
	"context"
	"crypto/ecdsa"
	"database/sql"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault"
	"github.com/assent-network/assent/sdk"
)

// customer is an invented person whom both banks know.
type customer struct {
	identity string
	income   int
	late     int
}

// someCustomers invents twenty people, always the same, in a region that does
// not exist.
func someCustomers() []customer {
	rng := rand.New(rand.NewPCG(7, 7))
	out := make([]customer, 20)
	for i := range out {
		out[i] = customer{fmt.Sprintf("9%05d%04d%02d%02d%04d", i, 1950+rng.IntN(50), 1+rng.IntN(12), 1+rng.IntN(28), rng.IntN(10_000)), 1000 + rng.IntN(40_000), rng.IntN(4)}
	}
	return out
}

// band is what the income template must answer.
func (x *customer) band() string {
	switch {
	case x.income < 5_000:
		return "LOW"
	case x.income < 20_000:
		return "MIDDLE"
	}
	return "HIGH"
}

func (c *cluster) vaultPath(member string) string { return filepath.Join(c.dir, "vault-"+member+".db") }

func (c *cluster) makeVault(member string) {
	c.t.Helper()
	var text strings.Builder
	w := csv.NewWriter(&text)
	_ = w.Write([]string{"identity", "income", "late"}) // a Builder does not fail
	for _, x := range c.customers {
		_ = w.Write([]string{x.identity, strconv.Itoa(x.income), strconv.Itoa(x.late)})
	}
	w.Flush()
	_, err := sqlvault.Import(c.t.Context(), sqlvault.ImportConfig{
		Path: c.vaultPath(member), Table: "customers", Key: "identity", KeyHeader: "identity",
		Columns: []sqlvault.ImportColumn{{Name: "income", Type: vault.Int}, {Name: "late", Type: vault.Int}},
	}, strings.NewReader(text.String()))
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) vaultOf(member string) config.Vault {
	return config.Vault{
		Product: string(productOf(member)), Connector: "sqlite", Source: c.vaultPath(member), Table: "customers", Key: "identity",
		Timeout: 2 * time.Second, Columns: []config.Column{{Name: "income", Type: "int"}, {Name: "late", Type: "int"}},
	}
}

// changeVault runs a statement on a bank's own database.
func (c *cluster) changeVault(member, statement string, args ...any) {
	c.t.Helper()
	db, err := sql.Open("sqlite", "file:"+c.vaultPath(member)+"?_pragma=busy_timeout(5000)")
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(c.t.Context(), statement, args...); err != nil {
		c.t.Fatal(err)
	}
}

// lockVault keeps everybody else from reading a bank's database.
func (c *cluster) lockVault(member string) (unlock func()) {
	c.t.Helper()
	db, err := sql.Open("sqlite", "file:"+c.vaultPath(member)+"?_pragma=busy_timeout(5000)")
	if err != nil {
		c.t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(c.t.Context(), `PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE`); err != nil {
		c.t.Fatal(err)
	}
	return func() {
		if _, err := db.Exec(`ROLLBACK`); err != nil {
			c.t.Error(err)
		}
		if err := db.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

func productOf(member string) sdk.ProductID { return sdk.ProductID(member + ".card") }

// Templates of every bank. everLate and onTime read the same column, whose leak
// account has room for one of them in an epoch.
const (
	incomeBand = "income-band"
	everLate   = "ever-late"
	onTime     = "on-time"
)

func templateOf(member, name string) sdk.TemplateID { return sdk.TemplateID(member + "." + name) }

// answerTTL is how long an answer may take, unless a test asks for less.
const answerTTL = 60 * time.Second

// publish puts a bank's notice, product, templates and first epoch on the ledger
// and returns the notice's hash.
func (c *cluster) publish(member string) sdk.Hash {
	t := c.t
	t.Helper()
	ctx, officer := t.Context(), c.node(member).as("officer")
	notice, _, err := officer.Products().PublishNotice(ctx, sdk.NoticeSpec{NoticeID: record.NoticeID(member + ".notice"), Language: "en", Title: "Notice", Text: "The lender may ask your bank."})
	if err != nil {
		t.Fatal(err)
	}
	column := func(name string, epoch, year uint64) sdk.Column {
		return sdk.Column{Name: name, Type: record.TypeInt, DataClass: record.C2, Class: record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: epoch, BitsPerYear: year}}
	}
	_, err = officer.Products().Publish(ctx, sdk.ProductSpec{
		ProductID: productOf(member), Title: "Card", Version: 1, Methods: record.Methods(),
		Purposes: []sdk.Purpose{record.CreditChecking}, Columns: []sdk.Column{column("income", 60, 600), column("late", 2, 60)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []sdk.TemplateSpec{
		{Kind: record.Bucket, TemplateID: templateOf(member, incomeBand), Columns: []string{"income"}, Outputs: []string{"LOW", "MIDDLE", "HIGH", record.NoRecord},
			Source: `band(income, [5000, 20000], ["LOW", "MIDDLE", "HIGH"])`},
		{Kind: record.Bucket, TemplateID: templateOf(member, everLate), Columns: []string{"late"}, Outputs: []string{"YES", "NO", record.NoRecord},
			Source: `late > 0 ? "YES" : "NO"`},
		{Kind: record.Bucket, TemplateID: templateOf(member, onTime), Columns: []string{"late"}, Outputs: []string{"YES", "NO", record.NoRecord},
			Source: `late == 0 ? "YES" : "NO"`},
	} {
		s.ProductID, s.Version, s.CostLimit, s.AnswerTTL = productOf(member), 1, 1_000, answerTTL.Milliseconds()
		hash, _, err := officer.Templates().Propose(ctx, s)
		if err != nil {
			t.Fatalf("template %s: %v", s.TemplateID, err)
		}
		if _, err := c.node(member).as(string(secondOfficer)).Templates().Approve(ctx, s.TemplateID, hash); err != nil {
			t.Fatalf("template %s: %v", s.TemplateID, err)
		}
	}
	if _, err := officer.Products().OpenEpoch(ctx, productOf(member), 1); err != nil {
		t.Fatal(err)
	}
	c.known(record.EpochKey(productOf(member)))
	return notice
}

// known waits until every running node has executed what wrote a record: a client
// of another node reads that node's ledger.
func (c *cluster) known(key string) {
	c.t.Helper()
	for _, p := range c.inside() {
		if !p.running() {
			continue
		}
		eventually(c.t, 20*time.Second, func() error {
			_, ok, err := p.node.state.View().Get(key)
			if err == nil && !ok {
				err = fmt.Errorf("%s has no %s yet", p.name, key)
			}
			return err
		})
	}
}

// agreement is an authorised consent and the keys of its subject.
type agreement struct {
	c         *cluster
	bank      string
	id        sdk.ConsentID
	terms     sdk.ConsentTerms
	principal *ecdsa.PrivateKey
	wallet    record.Address
	prepared  *sdk.PreparedConsent
}

// agree makes a consent with a bank about an identity, with a wallet that the
// bank has bound to it or not, and has the subject authorise it. It lasts a day
// if nothing else is said.
func (c *cluster) agree(bank string, notice sdk.Hash, identity string, bound bool, expires ...time.Time) *agreement {
	t := c.t
	t.Helper()
	ctx, lend := t.Context(), c.node(lender).as("integration")
	terms, err := lend.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: sdk.OrgID(bank), Product: productOf(bank), Purposes: []sdk.Purpose{record.CreditChecking}, NoticeHash: notice,
		Templates: []sdk.TemplateID{templateOf(bank, incomeBand), templateOf(bank, everLate), templateOf(bank, onTime)},
		Expires:   append(expires, time.Now().Add(24*time.Hour))[0], MaxUses: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	wallet := newKey(t)
	if bound {
		if err := c.node(bank).as("officer").Bind(ctx, identity, crypto.PubkeyToAddress(wallet.PublicKey)); err != nil {
			t.Fatal(err)
		}
	}
	a := &agreement{c: c, bank: bank, id: terms.ConsentID, principal: newKey(t)}
	terms.PrincipalKey = crypto.PubkeyToAddress(a.principal.PublicKey)
	endorsement := &record.WalletEndorsement{Wallet: crypto.PubkeyToAddress(wallet.PublicKey), Signature: c.sign(wallet, record.EndorsementOf(terms).Digest)}
	prepared, err := lend.Consents().Prepare(ctx, terms, sdk.SealedPart{SubjectID: identity, Endorsement: endorsement})
	if err != nil {
		t.Fatal(err)
	}
	a.terms, a.prepared, a.wallet = prepared.Terms, prepared, crypto.PubkeyToAddress(wallet.PublicKey)
	if _, err := lend.Consents().Create(ctx, prepared); err != nil {
		t.Fatal(err)
	}
	if _, err := lend.Consents().Authorise(ctx, a.id, record.Wallet, record.Evidence{Signature: c.sign(a.principal, a.terms.Digest)}); err != nil {
		t.Fatal(err)
	}
	return a
}

func (c *cluster) sign(key *ecdsa.PrivateKey, digest func(record.Hash) (record.Hash, error)) []byte {
	c.t.Helper()
	d, err := digest(c.genesis.Hash())
	if err != nil {
		c.t.Fatal(err)
	}
	sig, err := ledger.NewKeySigner(key).Sign(d)
	if err != nil {
		c.t.Fatal(err)
	}
	return sig[:]
}

// revoke withdraws the consent through a node and returns the height at which
// that was ordered.
func (a *agreement) revoke(via *peer) uint64 {
	a.c.t.Helper()
	const why = record.ReasonWithdrawn
	e := record.Evidence{Signature: a.c.sign(a.principal, record.RevocationOf(&a.terms, why).Digest)}
	body, err := record.Encode(&e)
	if err != nil {
		a.c.t.Fatal(err)
	}
	o, err := via.as("integration").Invoke(a.c.t.Context(), record.ContractConsent, "Revoke", string(a.id), string(record.BySubject), string(why), string(body))
	if err != nil {
		a.c.t.Fatalf("revoke through %s: %v", via.name, err)
	}
	return o.Height
}

// signer is the subject's own key for this consent.
func (a *agreement) signer() sdk.Signer { return ledger.NewKeySigner(a.principal) }

func (a *agreement) question(template string) sdk.QueryRequest {
	return sdk.QueryRequest{Consent: a.id, Template: templateOf(a.bank, template), Purpose: record.CreditChecking}
}

// ask takes a query from request to verified answer.
func (a *agreement) ask(template string) *sdk.QueryResult {
	a.c.t.Helper()
	r, err := a.c.node(lender).as("integration").Query(a.c.t.Context(), a.question(template))
	if err != nil {
		a.c.t.Fatalf("query %s: %v", template, err)
	}
	return r
}

// value is the verified answer, "REFUSED", or the code of a denial.
func value(r *sdk.QueryResult) string {
	switch {
	case !r.Decision.Permit:
		return "DENY " + string(r.Decision.Code)
	case r.Verified == nil || r.Verified.Receipt.Outcome != r.Answer.Outcome:
		return "NOT VERIFIED"
	case r.Answer.Outcome != record.Answered:
		return string(r.Answer.Outcome)
	}
	return r.Answer.Value
}

// request puts a query on the ledger and does not wait for the answer.
func (a *agreement) request(q sdk.QueryRequest) (*sdk.Ticket, *sdk.Decision) {
	a.c.t.Helper()
	steps := a.c.node(lender).as("integration").Queries()
	ticket, err := steps.Prepare(q)
	if err != nil {
		a.c.t.Fatal(err)
	}
	d, err := steps.Request(a.c.t.Context(), ticket)
	if err != nil {
		a.c.t.Fatal(err)
	}
	return ticket, d
}

// receive waits for what comes of a request: a verified answer, or a verified
// receipt that says why none comes.
func (a *agreement) receive(ticket *sdk.Ticket, d *sdk.Decision) *sdk.QueryResult {
	a.c.t.Helper()
	ctx, cancel := context.WithTimeout(a.c.t.Context(), 30*time.Second)
	defer cancel()
	steps := a.c.node(lender).as("integration").Queries()
	r := &sdk.QueryResult{Decision: *d}
	got, err := steps.Await(ctx, ticket, d)
	if err == nil {
		r.Answer, err = steps.Open(ticket, got)
	}
	if err == nil {
		r.Verified, err = steps.Verify(ctx, ticket, r.Answer)
	}
	if err != nil {
		a.c.t.Fatalf("receive answer to %s: %v", d.RequestID, err)
	}
	return r
}
