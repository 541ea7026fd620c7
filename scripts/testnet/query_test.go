package testnet

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/sdk"
)

const (
	bank      = "harbour-bank"
	asker     = "quick-loan"
	product   = sdk.ProductID("harbour-bank.card")
	late      = sdk.TemplateID("harbour-bank.late")
	customers = 20
)

func identity(i int) string { return fmt.Sprintf("900001197001%06d", i) }

// truth is what the bank's row of customer i says.
func truth(i int) string {
	if i%3 == 0 {
		return "LATE"
	}
	return "ON_TIME"
}

// withVault is the usual network, whose first bank answers from a vault.
func withVault(t *testing.T) Manifest {
	t.Helper()
	v := config.Vault{
		Product: string(product), Connector: "sqlite", Source: filepath.Join(t.TempDir(), "vault.db"), Table: "customers", Key: "id",
		Timeout: 2 * time.Second, Columns: []config.Column{{Name: "late", Type: "int"}},
	}
	var csv strings.Builder
	csv.WriteString("id,late\n")
	for i := range customers {
		fmt.Fprintf(&csv, "%s,%d\n", identity(i), map[string]int{"LATE": 2, "ON_TIME": 0}[truth(i)])
	}
	if err := LoadVault(t.Context(), v, strings.NewReader(csv.String())); err != nil {
		t.Fatal(err)
	}
	m := DefaultManifest()
	for i := range m.Members {
		if m.Members[i].ID == bank {
			m.Members[i].Vaults = []config.Vault{v}
		}
	}
	return m
}

// publishProduct puts what the bank offers on the ledger and returns its notice.
func publishProduct(t *testing.T, n *Net, officer *sdk.Client) sdk.Hash {
	t.Helper()
	ctx := t.Context()
	notice, _, err := officer.Products().PublishNotice(ctx, sdk.NoticeSpec{NoticeID: "harbour-bank.notice", Language: "en", Title: "Notice", Text: "The lender may ask."})
	if err != nil {
		t.Fatal(err)
	}
	class := record.Class{Kind: record.ClassAnswerOnly, BitsPerEpoch: 100, BitsPerYear: 1000}
	if _, err := officer.Products().Publish(ctx, sdk.ProductSpec{
		ProductID: product, Title: "Card", Version: 1, Methods: []sdk.Method{record.ProviderAuthenticated, record.WrittenEvidence}, Purposes: []sdk.Purpose{record.CreditChecking},
		Columns: []sdk.Column{{Name: "late", Type: record.TypeInt, DataClass: record.C2, Class: class}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := n.ApproveTemplate(ctx, bank, sdk.TemplateSpec{
		TemplateID: late, Version: 1, ProductID: product, Kind: record.Bucket, Columns: []string{"late"}, CostLimit: 1000, AnswerTTL: 120_000,
		Source: `late > 1 ? "LATE" : "ON_TIME"`, Outputs: []string{"LATE", "ON_TIME", record.NoRecord},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := officer.Products().OpenEpoch(ctx, product, 1); err != nil {
		t.Fatal(err)
	}
	return notice
}

// agree makes a consent about a customer whom the bank itself authenticates.
func agree(t *testing.T, lend, officer *sdk.Client, notice sdk.Hash, customer int) sdk.ConsentID {
	t.Helper()
	ctx := t.Context()
	terms, err := lend.Consents().Draft(ctx, sdk.ConsentDraft{
		Provider: bank, Product: product, Templates: []sdk.TemplateID{late}, Purposes: []sdk.Purpose{record.CreditChecking},
		Expires: time.Now().Add(time.Hour), MaxUses: 10_000, NoticeHash: notice,
	})
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := lend.Consents().Prepare(ctx, terms, sdk.SealedPart{SubjectID: identity(customer)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lend.Consents().Create(ctx, prepared); err != nil {
		t.Fatal(err)
	}
	if err := officer.BindConsent(ctx, terms.ConsentID, identity(customer)); err != nil {
		t.Fatal(err)
	}
	var evidence sdk.Hash
	rand.Read(evidence[:])
	if _, err := officer.Consents().Authorise(ctx, terms.ConsentID, record.ProviderAuthenticated, sdk.Evidence{EvidenceHash: evidence}); err != nil {
		t.Fatal(err)
	}
	return terms.ConsentID
}

func question(id sdk.ConsentID) sdk.QueryRequest {
	return sdk.QueryRequest{Consent: id, Template: late, Purpose: record.CreditChecking}
}

// TestConsentedQueriesOverProcesses reports how long a query takes, and kills the
// provider in the midst of many.
func TestConsentedQueriesOverProcesses(t *testing.T) {
	n := up(t, withVault(t))
	ctx := t.Context()
	lend, err := n.Client(ctx, asker, "integration")
	if err != nil {
		t.Fatal(err)
	}
	defer lend.Close()
	officer, err := n.Client(ctx, bank, "officer")
	if err != nil {
		t.Fatal(err)
	}
	defer officer.Close()
	notice := publishProduct(t, n, officer)
	consents := make([]sdk.ConsentID, customers)
	for i := range consents {
		consents[i] = agree(t, lend, officer, notice, i)
	}

	measure(t, lend, consents)
	provider := n.First(bank)
	tickets, decisions := askMany(t, lend, consents, provider.Kill)
	if err := n.StartNode(provider); err != nil {
		t.Fatal(err)
	}
	receiveAll(t, lend, tickets, decisions)
	if err := provider.WaitReady(ctx); err != nil {
		t.Error(err)
	}
	sameEverywhere(t, n)
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	receipts(t, n, tickets)
}

// measure asks 220 times, one after the other.
func measure(t *testing.T, lend *sdk.Client, consents []sdk.ConsentID) {
	t.Helper()
	var decided, opened, verified []time.Duration
	for i := range 220 {
		r, err := lend.Query(t.Context(), question(consents[i%customers]))
		if err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
		if !r.Decision.Permit || r.Answer.Value != truth(i%customers) || r.Verified == nil {
			t.Fatalf("query %d: %+v, want %s", i, r, truth(i%customers))
		}
		if i < customers {
			continue // the first of each warms up
		}
		decided, opened, verified = append(decided, r.Timing.Decided), append(opened, r.Timing.Opened), append(verified, r.Timing.Verified)
	}
	for _, x := range []struct {
		what string
		d    []time.Duration
	}{{"decided", decided}, {"opened", opened}, {"verified", verified}} {
		slices.Sort(x.d)
		t.Logf("%-8s p50 %s, p99 %s over %d queries", x.what, x.d[len(x.d)/2].Round(100*time.Microsecond), x.d[len(x.d)*99/100].Round(100*time.Microsecond), len(x.d))
	}
}

// askMany puts sixty requests on the ledger at once, and meanwhile something
// happens.
func askMany(t *testing.T, lend *sdk.Client, consents []sdk.ConsentID, meanwhile func()) ([]*sdk.Ticket, []*sdk.Decision) {
	t.Helper()
	const many = 60
	tickets, decisions := make([]*sdk.Ticket, many), make([]*sdk.Decision, many)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			var err error
			if tickets[i], err = lend.Queries().Prepare(question(consents[i%customers])); err == nil {
				decisions[i], err = lend.Queries().Request(t.Context(), tickets[i])
			}
			if err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	meanwhile()
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return tickets, decisions
}

func receiveAll(t *testing.T, lend *sdk.Client, tickets []*sdk.Ticket, decisions []*sdk.Decision) {
	t.Helper()
	steps := lend.Queries()
	var wg sync.WaitGroup
	for i := range tickets {
		wg.Go(func() {
			got, err := steps.Await(t.Context(), tickets[i], decisions[i])
			if err != nil {
				t.Errorf("await %d: %v", i, err)
				return
			}
			a, err := steps.Open(tickets[i], got)
			if err == nil {
				_, err = steps.Verify(t.Context(), tickets[i], a)
			}
			if err != nil || a.Value != truth(i%customers) {
				t.Errorf("answer %d: %+v, %v, want %s", i, a, err, truth(i%customers))
			}
		})
	}
	wg.Wait()
}

// receipts checks that every request has one receipt on every node.
func receipts(t *testing.T, n *Net, tickets []*sdk.Ticket) {
	t.Helper()
	for _, x := range n.Nodes {
		count := make(map[sdk.RequestID]int)
		err := outcomes(t, n, x, func(o *outcome) {
			for i := range o.Events {
				if e := &o.Events[i]; e.Contract == record.ContractAccess && e.Name == "receipt" {
					r, err := record.Load[record.Receipt](e.Payload)
					if err != nil {
						t.Fatal(err)
					}
					count[r.RequestID]++
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, ticket := range tickets {
			id, err := ticket.RequestID()
			if err != nil {
				t.Fatal(err)
			}
			if count[id] != 1 {
				t.Errorf("%s: request %s has %d receipts", x.Name, id, count[id])
			}
		}
	}
}
