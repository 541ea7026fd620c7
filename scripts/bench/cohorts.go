package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// cohortsReport is the JSON object of --cohorts.
type cohortsReport struct {
	setReport
	Customers int `json:"customers"` // over all banks
	Answers   int `json:"answers"`
}

const (
	cohortBanks     = 3
	cohortCustomers = 30_000
)

// cohorts measures statistics one after the other, on a network of its own: three banks
// with 10,000 customers each on SQLite, and a lender. A quarter meets the condition.
func cohorts(ctx context.Context, dir string, o options) (err error) {
	b := &bench{opts: o, began: time.Now()}
	if err := b.setNet(ctx, dir, "", cohortBanks, func(i int, path string) (config.Vault, error) {
		var csv strings.Builder
		csv.WriteString(testnet.StatsHeader)
		for c := range cohortCustomers / cohortBanks {
			testnet.StatsRow(&csv, fmt.Sprintf("9%02d%07d", i, c), 20+c%60, 10_000+c%90*10_000, c%4/3*2)
		}
		v := testnet.StatsVault(setBank(i), path)
		return v, testnet.LoadVault(ctx, v, strings.NewReader(csv.String()))
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.net.Stop()) }()
	banks := setBanks(cohortBanks)
	for _, bank := range banks {
		if err := b.net.PublishStats(ctx, bank, uint64(o.cohorts+setWarmUp)*testnet.StatsEpsilon); err != nil {
			return err
		}
	}
	lend, err := b.net.Client(ctx, lenders[0], "integration")
	if err != nil {
		return err
	}
	defer lend.Close()
	r := &cohortsReport{Customers: cohortCustomers, Answers: o.cohorts}
	if r.setReport, err = b.measureSet(o.cohorts, func() (t sdk.QueryTiming, err error) {
		x, err := lend.Cohort(ctx, testnet.LatePayers(2, banks...))
		if err != nil {
			return t, err
		}
		if !x.Decision.Permit || x.Verified == nil {
			return t, fmt.Errorf("decided %s", x.Decision.Code)
		}
		return x.Timing, nil
	}); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf("%d statistics over %d customers of %d banks, one after the other, %d node processes on %d cores, the client beside them.\n\n%s",
		r.Answers, r.Customers, r.Banks, r.Nodes, r.Cores, &r.setReport)
	return nil
}
