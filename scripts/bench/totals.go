package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/wallet"
)

// totalsReport is the JSON object of --totals.
type totalsReport struct {
	setReport
	Totals    int     `json:"totals"`
	PledgedMs float64 `json:"pledgedMs"` // from the last consent until every bank had pledged: beforehand, off the request's path
}

// totalBanks is how many banks a total is over.
const totalBanks = 5

// totals measures totals over five banks, the same set again and again, on a network of
// its own: the protocol has the same steps each time.
func totals(ctx context.Context, dir string, o options) (err error) {
	b := &bench{opts: o, began: time.Now()}
	keys, err := filepath.Abs(rangeKeys)
	if err != nil {
		return err
	}
	var want uint64
	if err := b.setNet(ctx, dir, keys, totalBanks, func(i int, path string) (config.Vault, error) {
		v, owed := testnet.LoansVault(setBank(i), path), int64(i+1)*10_000
		want += uint64(owed)
		return v, testnet.LoadLoans(ctx, v, map[string]int64{totalsSubject: owed})
	}); err != nil {
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
	r := &totalsReport{Totals: o.totals}
	items, err := b.agreeOnTotals(ctx, lend, dir)
	if err != nil {
		return err
	}
	if r.PledgedMs, err = awaitPledges(ctx, lend, items); err != nil {
		return err
	}
	if r.setReport, err = b.measureSet(o.totals, func() (t sdk.QueryTiming, err error) {
		x, err := lend.Exposure(ctx, sdk.ExposureRequest{Items: items, Purpose: record.CreditChecking})
		if err != nil {
			return t, err
		}
		if !x.Decision.Permit || x.Total != want {
			return t, fmt.Errorf("decided %s and is %d, want %d", x.Decision.Code, x.Total, want)
		}
		return x.Timing, nil
	}); err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	fmt.Printf("%d totals over %d banks, one after the other, %d node processes on %d cores, the client beside them.\n\n%spledged    %8.1f ms, beforehand: all banks, after the last consent\n",
		r.Totals, r.Banks, r.Nodes, r.Cores, &r.setReport, r.PledgedMs)
	return nil
}

// rangeKeys is the folder of the range proofs' keys: those of the tests.
const rangeKeys = "node/query/exposure/testdata/keys"

const totalsSubject = "900001198802020011"

func (b *bench) agreeOnTotals(ctx context.Context, lend *sdk.Client, dir string) ([]sdk.ExposureItem, error) {
	subject, err := wallet.Create(filepath.Join(dir, "wallet.json"), "a password")
	if err != nil {
		return nil, err
	}
	banks := setBanks(totalBanks)
	for _, bank := range banks {
		if err := b.net.PublishLoans(ctx, bank); err != nil {
			return nil, err
		}
		if err := b.net.BindWallet(ctx, bank, totalsSubject, subject); err != nil {
			return nil, err
		}
	}
	return b.net.AgreeOnSet(ctx, lend, subject, totalsSubject, banks...)
}

// awaitPledges says how many milliseconds the banks took to pledge.
func awaitPledges(ctx context.Context, lend *sdk.Client, items []sdk.ExposureItem) (float64, error) {
	began := time.Now()
	wait, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := testnet.AwaitPledges(wait, lend, items, 1)
	return float64(time.Since(began).Microseconds()) / 1000, err
}
