package testnet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/sdk"
)

var statBanks = []string{"bank-a", "bank-b", "bank-c"}

// TestStatisticsOverProcesses asks three banks that are processes, of 10,000 customers
// each: figures, a cohort below k, a bank that is down, and an exhausted account.
func TestStatisticsOverProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("processes are not for -short")
	}
	m := Manifest{Network: "statistics", Members: []ManifestMember{{ID: loanLender, Name: "Quick Loan", Roles: []string{"DATA_CONSUMER"}, Validators: 1}}}
	for b, bank := range statBanks {
		v := StatsVault(bank, filepath.Join(t.TempDir(), bank+".db"))
		var csv strings.Builder
		csv.WriteString(StatsHeader)
		for i := range 10_000 {
			late := 0
			if i%4 == 0 {
				late = 2
			}
			if i == 7 {
				late = 9 // one at each bank: nobody learns that there is anybody
			}
			StatsRow(&csv, fmt.Sprintf("9%02d%07d", b, i), 25+10*(i%3), 100_000, late)
		}
		if err := LoadVault(t.Context(), v, strings.NewReader(csv.String())); err != nil {
			t.Fatal(err)
		}
		m.Members = append(m.Members, ManifestMember{ID: bank, Name: bank, Roles: []string{"DATA_PROVIDER"}, Vaults: []config.Vault{v}, Validators: 1})
	}
	net := up(t, m)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	for _, bank := range statBanks {
		if err := net.PublishStats(ctx, bank, StatsBudget); err != nil {
			t.Fatal(err)
		}
	}
	lend, err := net.Client(ctx, loanLender, "integration")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lend.Close)

	r, err := lend.Cohort(ctx, LatePayers(2, statBanks...))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Decision.Permit || r.Verified == nil || len(r.Verified.Receipts) != len(statBanks) {
		t.Fatalf("permit %t (%s), verified %v", r.Decision.Permit, r.Decision.Code, r.Verified != nil)
	}
	t.Logf("statistics over %d banks: opened after %s, verified after %s", len(statBanks), r.Timing.Opened, r.Timing.Verified)
	near := func(what string, got, want, deviation float64) {
		if math.Abs(got-want) > 30*deviation { // noise beyond that is not seen in the life of this test
			t.Errorf("%s: %v, want about %v, deviation %v", what, got, want, deviation)
		}
	}
	s := r.Statistics
	near("count", float64(s.Count), 3*2501, s.Deviation)
	near("mean", s.Figures[0].Mean, 100_000, s.Figures[0].Deviation)
	for i, want := range []float64{2501, 2500, 2500, 0, 0} {
		near(fmt.Sprintf("bucket %d", i), float64(s.Figures[1].Buckets[i]), want, s.Figures[1].Deviation+3)
	}

	// A cohort of three people.
	_, err = lend.Cohort(ctx, LatePayers(9, statBanks...))
	var none *sdk.NoStatistics
	if !errors.As(err, &none) || !none.TooFew || none.Retryable() || len(none.Faults) != 0 {
		t.Fatalf("a cohort of three: %v", err)
	}

	// A bank is down: it is named, by the others too, and nothing is released.
	last := net.First(statBanks[2])
	if err := last.StopNode(); err != nil {
		t.Fatal(err)
	}
	q := LatePayers(2, statBanks...)
	q.Deadline = 6 * time.Second
	_, err = lend.Cohort(ctx, q)
	if !errors.As(err, &none) || none.TooFew || !none.Retryable() || !slices.ContainsFunc(none.Faults, func(f sdk.CohortFault) bool {
		return string(f.Bank) == statBanks[2] && f.Kind == cohort.Missing
	}) || slices.ContainsFunc(none.Faults, func(f sdk.CohortFault) bool { return string(f.Bank) != statBanks[2] }) {
		t.Fatalf("a bank that is down: %v", err)
	}
	if err := net.Start(ctx, func(x *Node) bool { return x == last }); err != nil {
		t.Fatal(err)
	}

	// Three answers were debited, of three and a half: the fourth is denied, and says
	// what is left.
	r, err = lend.Cohort(ctx, LatePayers(2, statBanks...))
	if err != nil {
		t.Fatal(err)
	}
	if r.Decision.Permit || r.Decision.Code != record.CodeEpsilonExhausted || r.Statistics != nil {
		t.Fatalf("a fourth answer: %+v", r.Decision)
	}
	for i := range r.Decision.Record.Seats {
		if seat := &r.Decision.Record.Seats[i]; seat.Left() != StatsBudget-3*StatsEpsilon {
			t.Errorf("%s has %d left", seat.Bank, seat.Left())
		}
	}
	b, err := lend.Cohorts().Budget(ctx, StatsProduct(statBanks[0]), r.Decision.Record.Year)
	if err != nil || b.Spent != 3*StatsEpsilon || b.Answers != 3 || b.Columns[0].Left != StatsBudget-3*StatsEpsilon {
		t.Errorf("budget %+v, %v", b, err)
	}
}
