package testnet

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

// The banks of a total, who is asked about, and what that person owes them; at the
// last one it is nobody's customer.
var (
	loanBanks = []string{"bank-a", "bank-b", "bank-c", "bank-d"}
	owed      = map[string]int64{"bank-a": 120_000_00, "bank-b": 0, "bank-c": 35_500_00}
)

const (
	borrower   = "900001198802020011"
	totalOwed  = 155_500_00
	loanLender = "quick-loan"
)

// totalsNet is a network of four banks and a lender, with a subject that agreed.
type totalsNet struct {
	t     *testing.T
	net   *Net
	keys  sdk.Option
	lend  *sdk.Client
	items []sdk.ExposureItem
}

func newTotalsNet(t *testing.T) *totalsNet {
	t.Helper()
	if testing.Short() {
		t.Skip("processes are not for -short")
	}
	keys, err := filepath.Abs("../../node/query/exposure/testdata/keys") // of a ceremony that nobody should trust
	if err != nil {
		t.Fatal(err)
	}
	m := Manifest{Network: "totals", ExposureKeys: keys, Members: []ManifestMember{
		{ID: loanLender, Name: "Quick Loan", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
	}}
	for _, bank := range loanBanks {
		v := LoansVault(bank, filepath.Join(t.TempDir(), bank+".db"))
		rows := map[string]int64{"900001197001010000": 77_00}
		if amount, ok := owed[bank]; ok {
			rows[borrower] = amount
		}
		if err := LoadLoans(t.Context(), v, rows); err != nil {
			t.Fatal(err)
		}
		x := ManifestMember{ID: bank, Name: bank, Roles: []string{"DATA_PROVIDER"}, Vaults: []config.Vault{v}, Validators: 1}
		m.Members = append(m.Members, x)
	}
	w := &totalsNet{t: t, net: up(t, m)}
	if w.keys, err = ExposureKey(keys); err != nil {
		t.Fatal(err)
	}
	for _, bank := range loanBanks {
		if err := w.net.PublishLoans(t.Context(), bank); err != nil {
			t.Fatal(err)
		}
	}
	if w.lend, err = w.net.Client(t.Context(), loanLender, "integration", w.keys); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.lend.Close)
	w.agree()
	return w
}

// agree makes the subject's consents, once it is bound where it is a customer.
func (w *totalsNet) agree() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	subject, err := wallet.Create(filepath.Join(w.t.TempDir(), "wallet.json"), "a password")
	if err != nil {
		w.t.Fatal(err)
	}
	for bank := range owed {
		if err := w.net.BindWallet(ctx, bank, borrower, subject); err != nil {
			w.t.Fatal(err)
		}
	}
	if w.items, err = w.net.AgreeOnSet(ctx, w.lend, subject, borrower, loanBanks...); err != nil {
		w.t.Fatal(err)
	}
	if err := AwaitPledges(ctx, w.lend, w.items, 1); err != nil {
		w.t.Fatal(err)
	}
}

func (w *totalsNet) question(items ...sdk.ExposureItem) sdk.ExposureRequest {
	return sdk.ExposureRequest{Items: items, Purpose: record.CreditChecking}
}

// TestATotalOverProcesses adds up what a person owes to four banks that are processes,
// at one of which it is nobody's customer, and asks again.
func TestATotalOverProcesses(t *testing.T) {
	w := newTotalsNet(t)
	var took []time.Duration
	for range 7 {
		r, err := w.lend.Exposure(t.Context(), w.question(w.items...))
		if err != nil {
			t.Fatal(err)
		}
		if !r.Decision.Permit || r.Total != totalOwed || r.Verified == nil || len(r.Verified.Receipts) != len(loanBanks) {
			t.Fatalf("permit %t, total %d, want %d, verified %v", r.Decision.Permit, r.Total, totalOwed, r.Verified != nil)
		}
		took = append(took, r.Timing.Opened)
	}
	slices.Sort(took)
	t.Logf("a total over %d banks: opened after %s (median of %d)", len(loanBanks), took[len(took)/2], len(took))

	// Another set that leaves one bank out would show it.
	r, err := w.lend.Exposure(t.Context(), w.question(w.items[:3]...))
	if err != nil {
		t.Fatal(err)
	}
	if r.Decision.Permit || r.Decision.Code != record.CodeSetTooClose || r.Total != 0 {
		t.Fatalf("a set one bank apart: %+v", r.Decision)
	}
	w.bankIsDown()
}

// bankIsDown: a bank that does not deliver in time is named, and nothing is added up.
func (w *totalsNet) bankIsDown() {
	t := w.t
	last := w.net.First(loanBanks[3])
	if err := last.StopNode(); err != nil {
		t.Fatal(err)
	}
	q := w.question(w.items...)
	q.Deadline = 2 * time.Second
	_, err := w.lend.Exposure(t.Context(), q)
	var none *sdk.NoTotal
	if !errors.As(err, &none) || len(none.Faults) != 1 || string(none.Faults[0].Bank) != loanBanks[3] || none.Faults[0].Kind != exposure.Missing || !none.Retryable() {
		t.Fatalf("a bank that is down: %v", err)
	}
	if err := w.net.Start(t.Context(), func(x *Node) bool { return x == last }); err != nil {
		t.Fatal(err)
	}
	r, err := w.lend.Exposure(t.Context(), w.question(w.items...)) // the same set tells nothing new
	if err != nil || r.Total != totalOwed {
		t.Fatalf("asked again: %v", err)
	}
}
