package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

// totalsReport is the JSON object of --totals.
type totalsReport struct {
	Cores       int     `json:"cores"`
	Profiled    bool    `json:"profiled"`
	Banks       int     `json:"banks"`
	Nodes       int     `json:"nodes"`
	Totals      int     `json:"totals"`
	DecidedMs   spread  `json:"decidedMs"`
	OpenedMs    spread  `json:"openedMs"`   // every share checked and added up
	VerifiedMs  spread  `json:"verifiedMs"` // and held against receipts and votes
	PledgedMs   float64 `json:"pledgedMs"`  // from the last consent until every bank had pledged: beforehand, off the request's path
	SignatureUs float64 `json:"signatureUs"`
}

// totalBanks is how many banks a total is over.
const totalBanks = 5

// totals measures totals over five banks, one after the other, on a network of its own:
// five banks with a vault each, and a lender.
func totals(ctx context.Context, dir string, o options) (err error) {
	b := &bench{opts: o, began: time.Now()}
	if b.net, err = b.totalsNet(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.net.Stop()) }()
	key, err := testnet.ExposureKey(rangeKeys)
	if err != nil {
		return fmt.Errorf("%w: run in the repository", err)
	}
	lend, err := b.net.Client(ctx, lenders[0], "integration", key)
	if err != nil {
		return err
	}
	defer lend.Close()
	r := &totalsReport{Cores: runtime.NumCPU(), Profiled: b.report.Profiled, Banks: totalBanks, Nodes: len(b.net.Nodes), Totals: o.totals}
	items, err := b.agreeOnTotals(ctx, lend, dir, r)
	if err != nil {
		return err
	}
	if err := b.askTotals(ctx, lend, items, r); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf(`Totals over %d banks, one after the other, %d node processes on %d cores, the client beside them.

decided    %8.1f ms p50, %.1f p95, %.1f p99 (%d totals)
opened     %8.1f ms p50, %.1f p95, %.1f p99
verified   %8.1f ms p50, %.1f p95, %.1f p99
pledged    %8.1f ms, beforehand: all banks, after the last consent
signature check %.0f µs
`, r.Banks, r.Nodes, r.Cores, r.DecidedMs.P50, r.DecidedMs.P95, r.DecidedMs.P99, r.Totals,
		r.OpenedMs.P50, r.OpenedMs.P95, r.OpenedMs.P99, r.VerifiedMs.P50, r.VerifiedMs.P95, r.VerifiedMs.P99, r.PledgedMs, r.SignatureUs)
	return nil
}

// rangeKeys is the folder of the range proofs' keys: those of the tests.
const rangeKeys = "node/query/exposure/testdata/keys"

const totalsSubject = "900001198802020011"

func totalBank(i int) string { return fmt.Sprintf("bank-%c", 'a'+i) }

func (b *bench) totalsNet(ctx context.Context, dir string) (*testnet.Net, error) {
	keys, err := filepath.Abs(rangeKeys)
	if err != nil {
		return nil, err
	}
	m := testnet.Manifest{Network: "bench", ExposureKeys: keys, ClientRate: 100_000, Members: []testnet.ManifestMember{
		{ID: lenders[0], Name: "Lender 1", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
	}}
	for i := range totalBanks {
		path, err := filepath.Abs(filepath.Join(dir, totalBank(i)+".db"))
		if err != nil {
			return nil, err
		}
		v := testnet.LoansVault(totalBank(i), path)
		if err := testnet.LoadLoans(ctx, v, map[string]int64{totalsSubject: int64(i+1) * 10_000}); err != nil {
			return nil, err
		}
		m.Members = append(m.Members, testnet.ManifestMember{ID: totalBank(i), Name: totalBank(i), Roles: []string{"DATA_PROVIDER"}, Validators: 1, Vaults: []config.Vault{v}})
	}
	program := b.opts.program
	if program == "" {
		if program, err = b.build(ctx, dir); err != nil {
			return nil, err
		}
	}
	n, err := testnet.Create(ctx, filepath.Join(dir, "net"), program, m)
	if err != nil {
		return nil, err
	}
	if err := n.Up(ctx); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

func (b *bench) agreeOnTotals(ctx context.Context, lend *sdk.Client, dir string, r *totalsReport) ([]sdk.ExposureItem, error) {
	subject, err := wallet.Create(filepath.Join(dir, "wallet.json"), "a password")
	if err != nil {
		return nil, err
	}
	banks := make([]string, totalBanks)
	for i := range banks {
		banks[i] = totalBank(i)
		if err := b.net.PublishLoans(ctx, banks[i]); err != nil {
			return nil, err
		}
		if err := b.net.BindWallet(ctx, banks[i], totalsSubject, subject); err != nil {
			return nil, err
		}
	}
	items, err := b.net.AgreeOnSet(ctx, lend, subject, totalsSubject, banks...)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err = testnet.AwaitPledges(wait, lend, items, 1)
	r.PledgedMs = float64(time.Since(began).Microseconds()) / 1000
	return items, err
}

// askTotals asks the same set again and again: the protocol has the same steps each time.
func (b *bench) askTotals(ctx context.Context, lend *sdk.Client, items []sdk.ExposureItem, r *totalsReport) error {
	const warmUp = 5
	var want uint64
	for i := range totalBanks {
		want += uint64(i+1) * 10_000
	}
	before, err := signatureCost()
	if err != nil {
		return err
	}
	var decided, opened, verified []time.Duration
	for i := range warmUp + r.Totals {
		x, err := lend.Exposure(ctx, sdk.ExposureRequest{Items: items, Purpose: record.CreditChecking})
		if err != nil {
			return fmt.Errorf("total %d: %w", i, err)
		}
		if !x.Decision.Permit || x.Total != want {
			return fmt.Errorf("total %d was decided %s and is %d, want %d", i, x.Decision.Code, x.Total, want)
		}
		if i < warmUp {
			continue
		}
		decided, opened, verified = append(decided, x.Timing.Decided), append(opened, x.Timing.Opened), append(verified, x.Timing.Verified)
	}
	after, err := signatureCost()
	r.SignatureUs = min(before, after)
	r.DecidedMs, r.OpenedMs, r.VerifiedMs = distribution(decided), distribution(opened), distribution(verified)
	return err
}
