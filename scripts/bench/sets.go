package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"time"

	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// What --totals and --cohorts have in common: a set of banks with a vault and a
// validator each, a lender that asks them one thing after the other, and what that
// takes it.

// setReport is what both say of themselves.
type setReport struct {
	Cores       int     `json:"cores"`
	Profiled    bool    `json:"profiled"`
	Banks       int     `json:"banks"`
	Nodes       int     `json:"nodes"`
	DecidedMs   spread  `json:"decidedMs"`
	OpenedMs    spread  `json:"openedMs"`   // every share checked, and combined
	VerifiedMs  spread  `json:"verifiedMs"` // and held against receipts and votes
	SignatureUs float64 `json:"signatureUs"`
}

// String is its lines for people.
func (r *setReport) String() string {
	line := func(name string, s spread) string {
		return fmt.Sprintf("%-10s %8.1f ms p50, %.1f p95, %.1f p99\n", name, s.P50, s.P95, s.P99)
	}
	return line("decided", r.DecidedMs) + line("opened", r.OpenedMs) + line("verified", r.VerifiedMs) +
		fmt.Sprintf("signature check %.0f µs\n", r.SignatureUs)
}

func setBank(i int) string { return fmt.Sprintf("bank-%c", 'a'+i) }

func setBanks(n int) []string {
	banks := make([]string, n)
	for i := range banks {
		banks[i] = setBank(i)
	}
	return banks
}

// setNet starts a lender and so many banks. vault maps bank i's, kept at path, and fills
// it; rangeKeys is empty where nothing is added up.
func (b *bench) setNet(ctx context.Context, dir, rangeKeys string, banks int, vault func(i int, path string) (config.Vault, error)) error {
	m := testnet.Manifest{Network: "bench", ExposureKeys: rangeKeys, ClientRate: 100_000, Members: []testnet.ManifestMember{
		{ID: lenders[0], Name: "Lender 1", Roles: []string{"DATA_CONSUMER"}, Validators: 1},
	}}
	for i := range banks {
		path, err := filepath.Abs(filepath.Join(dir, setBank(i)+".db"))
		if err != nil {
			return err
		}
		v, err := vault(i, path)
		if err != nil {
			return err
		}
		m.Members = append(m.Members, testnet.ManifestMember{ID: setBank(i), Name: setBank(i), Roles: []string{"DATA_PROVIDER"}, Validators: 1, Vaults: []config.Vault{v}})
	}
	program, err := b.build(ctx, dir)
	if err != nil {
		return err
	}
	if b.net, err = testnet.Create(ctx, filepath.Join(dir, "net"), program, m); err != nil {
		return err
	}
	if err := b.net.Up(ctx); err != nil {
		return errors.Join(err, b.net.Stop())
	}
	return nil
}

// setWarmUp is how many requests do not count.
const setWarmUp = 5

// measureSet asks n times, after the warm-up.
func (b *bench) measureSet(n int, ask func() (sdk.QueryTiming, error)) (setReport, error) {
	r := setReport{Cores: runtime.NumCPU(), Profiled: b.report.Profiled, Nodes: len(b.net.Nodes), Banks: len(b.net.Nodes) - 1}
	before, err := signatureCost()
	if err != nil {
		return r, err
	}
	var decided, opened, verified []time.Duration
	for i := range setWarmUp + n {
		t, err := ask()
		if err != nil {
			return r, fmt.Errorf("request %d: %w", i, err)
		}
		if i >= setWarmUp {
			decided, opened, verified = append(decided, t.Decided), append(opened, t.Opened), append(verified, t.Verified)
		}
	}
	after, err := signatureCost()
	r.SignatureUs = min(before, after)
	r.DecidedMs, r.OpenedMs, r.VerifiedMs = distribution(decided), distribution(opened), distribution(verified)
	return r, err
}
