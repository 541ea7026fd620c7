package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/scripts/testnet"
)

// cohortsReport is the JSON object of --cohorts.
type cohortsReport struct {
	Cores       int     `json:"cores"`
	Profiled    bool    `json:"profiled"`
	Banks       int     `json:"banks"`
	Nodes       int     `json:"nodes"`
	Customers   int     `json:"customers"` // over all banks
	Answers     int     `json:"answers"`
	DecidedMs   spread  `json:"decidedMs"`
	OpenedMs    spread  `json:"openedMs"`   // every share checked, and combined
	VerifiedMs  spread  `json:"verifiedMs"` // and held against receipts and votes
	SignatureUs float64 `json:"signatureUs"`
}

const (
	cohortBanks     = 3
	cohortCustomers = 30_000
)

// cohorts measures statistics one after the other, on a network of its own: three banks
// with 10,000 customers each on SQLite, and a lender. A quarter meets the condition.
func cohorts(ctx context.Context, dir string, o options) (err error) {
	b := &bench{opts: o, began: time.Now()}
	m := testnet.Manifest{Network: "bench", ClientRate: 100_000, Members: []testnet.ManifestMember{
		{ID: lenders[0], Name: "Lender 1", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
	}}
	banks := make([]string, cohortBanks)
	for i := range banks {
		banks[i] = totalBank(i)
		path, err := filepath.Abs(filepath.Join(dir, banks[i]+".db"))
		if err != nil {
			return err
		}
		var csv strings.Builder
		csv.WriteString(testnet.StatsHeader)
		for c := range cohortCustomers / cohortBanks {
			testnet.StatsRow(&csv, fmt.Sprintf("9%02d%07d", i, c), 20+c%60, 10_000+c%90*10_000, c%4/3*2)
		}
		v := testnet.StatsVault(banks[i], path)
		if err := testnet.LoadStats(ctx, v, strings.NewReader(csv.String())); err != nil {
			return err
		}
		m.Members = append(m.Members, testnet.ManifestMember{ID: banks[i], Name: banks[i], Roles: []string{"DATA_PROVIDER"}, Validators: 1, Vaults: []config.Vault{v}})
	}
	program := o.program
	if program == "" {
		if program, err = b.build(ctx, dir); err != nil {
			return err
		}
	}
	if b.net, err = testnet.Create(ctx, filepath.Join(dir, "net"), program, m); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.net.Stop()) }()
	if err := b.net.Up(ctx); err != nil {
		return err
	}
	const warmUp = 3
	for _, bank := range banks {
		if err := b.net.PublishStats(ctx, bank, uint64(o.cohorts+warmUp)*testnet.StatsEpsilon); err != nil {
			return err
		}
	}
	lend, err := b.net.Client(ctx, lenders[0], "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	before, err := signatureCost()
	if err != nil {
		return err
	}
	var decided, opened, verified []time.Duration
	for i := range warmUp + o.cohorts {
		x, err := lend.Cohort(ctx, testnet.LatePayers(2, banks...))
		if err != nil {
			return fmt.Errorf("statistics %d: %w", i, err)
		}
		if !x.Decision.Permit || x.Verified == nil {
			return fmt.Errorf("statistics %d were decided %s", i, x.Decision.Code)
		}
		if i >= warmUp {
			decided, opened, verified = append(decided, x.Timing.Decided), append(opened, x.Timing.Opened), append(verified, x.Timing.Verified)
		}
	}
	after, err := signatureCost()
	if err != nil {
		return err
	}
	r := &cohortsReport{
		Cores: runtime.NumCPU(), Profiled: b.report.Profiled, Banks: cohortBanks, Nodes: len(b.net.Nodes), Customers: cohortCustomers, Answers: o.cohorts,
		DecidedMs: distribution(decided), OpenedMs: distribution(opened), VerifiedMs: distribution(verified), SignatureUs: min(before, after),
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf(`Statistics over %d customers of %d banks, one after the other, %d node processes on %d cores, the client beside them.

decided    %8.1f ms p50, %.1f p95, %.1f p99 (%d answers)
opened     %8.1f ms p50, %.1f p95, %.1f p99
verified   %8.1f ms p50, %.1f p95, %.1f p99
signature check %.0f µs
`, r.Customers, r.Banks, r.Nodes, r.Cores, r.DecidedMs.P50, r.DecidedMs.P95, r.DecidedMs.P99, r.Answers,
		r.OpenedMs.P50, r.OpenedMs.P95, r.OpenedMs.P99, r.VerifiedMs.P50, r.VerifiedMs.P95, r.VerifiedMs.P99, r.SignatureUs)
	return nil
}
