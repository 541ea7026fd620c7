package testnet

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/sdk"
)

// Statistics over the customers of several banks: what every bank of a set publishes,
// and what a lender asks for.

// Columns of a bank's customers, in their order in a vault.
const (
	cohortAge   = "age"
	cohortLimit = "credit_limit"
	cohortLate  = "months_late"
)

// StatsProduct is what a bank publishes for statistics, StatsTemplate what it lets ask.
func StatsProduct(bank string) sdk.ProductID   { return sdk.ProductID(bank + ".statistics") }
func StatsTemplate(bank string) sdk.TemplateID { return sdk.TemplateID(bank + ".late-payers") }

// StatsVault maps a bank's customers to a SQLite vault at path.
func StatsVault(bank, path string) config.Vault {
	v := config.Vault{Product: string(StatsProduct(bank)), Connector: "sqlite", Source: path, Table: "customers", Key: "id", Timeout: 2 * time.Second}
	for _, name := range []string{cohortAge, cohortLimit, cohortLate} {
		v.Columns = append(v.Columns, config.Column{Name: name, Type: "int"})
	}
	return v
}

// StatsRow writes one line of a CSV for such a vault.
func StatsRow(b *strings.Builder, id string, age, limit, late int) {
	fmt.Fprintf(b, "%s,%d,%d,%d\n", id, age, limit, late)
}

// StatsHeader is its first line.
const StatsHeader = "id," + cohortAge + "," + cohortLimit + "," + cohortLate + "\n"

// StatsEpsilon is what one answer takes, and StatsBudget what a product has in a year,
// in millionths.
const (
	StatsEpsilon = 1_000_000
	StatsBudget  = 3_500_000
	StatsK       = 100
)

// PublishStats puts on the ledger what a bank offers for statistics, and opens its
// first epoch. budget is what the product has in a year.
func (n *Net) PublishStats(ctx context.Context, bank string, budget uint64, opts ...sdk.Option) error {
	officer, err := n.Client(ctx, bank, "officer", opts...)
	if err != nil {
		return err
	}
	defer officer.Close()
	p := sdk.ProductSpec{
		ProductID: StatsProduct(bank), Title: "Statistics of customers", Version: 1, Methods: []sdk.Method{record.Wallet}, Purposes: []sdk.Purpose{record.CreditChecking},
	}
	for _, name := range []string{cohortAge, cohortLimit, cohortLate} {
		p.Columns = append(p.Columns, sdk.Column{Name: name, Type: record.TypeInt, DataClass: record.C2, Class: record.Class{
			Kind: record.ClassStatOnly, K: StatsK, EpsilonMicro: budget,
		}})
	}
	if _, err := officer.Products().Publish(ctx, p); err != nil {
		return fmt.Errorf("publish product of %s: %w", bank, err)
	}
	if err := n.ApproveTemplate(ctx, bank, sdk.TemplateSpec{
		TemplateID: StatsTemplate(bank), Version: 1, ProductID: StatsProduct(bank), Kind: record.CohortKind,
		Columns: []string{cohortAge, cohortLimit, cohortLate}, Source: cohortLate + " >= params.late", CostLimit: 100, AnswerTTL: 60_000,
		Params: []record.Param{{Name: "late", Type: record.TypeInt, Values: []string{"0", "2", "9"}}},
		Cohort: &sdk.CohortPlan{EpsilonMicro: StatsEpsilon, K: StatsK, Statistics: []record.CohortStatistic{
			{Kind: record.StatisticMean, Column: cohortLimit, Low: "0", High: "1000000", Granule: 1000},
			{Kind: record.StatisticHistogram, Column: cohortAge, Cuts: []string{"30", "40", "50", "60"}},
		}},
	}, opts...); err != nil {
		return err
	}
	_, err = officer.Products().OpenEpoch(ctx, StatsProduct(bank), 1)
	return err
}

// LatePayers asks for statistics of who is at least so many months late.
func LatePayers(late int, banks ...string) sdk.CohortRequest {
	q := sdk.CohortRequest{Purpose: record.CreditChecking, Params: map[string]string{"late": fmt.Sprint(late)}}
	for _, bank := range banks {
		q.Templates = append(q.Templates, StatsTemplate(bank))
	}
	return q
}
