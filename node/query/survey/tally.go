package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/node/vault"
)

// tally adds up this bank's customers in one pass over its vault. Who has a null that
// the condition does not handle, or on whom it fails, is not of the cohort; nor is who
// has a null in one of the figures. Errors: errNever for a template that cannot run.
func (b *Book) tally(ctx context.Context, p *query.Permit, s *cohort.Session) (*cohort.Tally, error) {
	product, t := &p.Product.ProductSpec, &p.Template
	if _, err := b.cfg.Engine.Check(product, &t.TemplateSpec); err != nil {
		return nil, fmt.Errorf("%w: %w", errNever, err)
	}
	conn, mapped := b.cfg.Vault(product.ProductID)
	scanner, can := conn.(vault.Scanner)
	if !mapped || !can {
		return nil, fmt.Errorf("%w: product %s", query.ErrNoVault, product.ProductID)
	}
	if err := query.CheckMapping(product, t.Columns, conn.Describe()); err != nil {
		return nil, err
	}
	places := make([]int, len(s.Plan.Statistics))
	for i := range places {
		places[i] = slices.Index(t.Columns, s.Plan.Statistics[i].Column)
		if places[i] < 0 {
			return nil, fmt.Errorf("%w: statistic %d reads a column that the template does not declare", errNever, i)
		}
	}
	tally := cohort.NewTally(&s.Plan)
	values := make([]cohort.Value, len(places))
	failed := 0
	err := scanner.Scan(ctx, t.Columns, func(who vault.Subject, row vault.Row) error {
		if row == nil {
			failed++
			return nil
		}
		said, err := b.cfg.Engine.Evaluate(product, t, p.Request.Params, row)
		switch {
		case err == nil:
		case errors.Is(err, query.ErrNull):
			return nil
		case errors.Is(err, query.ErrEvaluation):
			failed++
			return nil
		default:
			return fmt.Errorf("%w: %w", errNever, err)
		}
		if said != query.InCohort {
			return nil
		}
		for i, at := range places {
			n, ok := row[at].Int()
			values[i] = cohort.Value{N: n, Null: !ok}
		}
		return tally.Add(string(who), values)
	})
	if err != nil {
		return nil, fmt.Errorf("read the vault of product %s: %w", product.ProductID, err)
	}
	if failed > 0 {
		b.cfg.Logger.Warn("survey: rows could not be used and are not of the cohort", "product", product.ProductID, "template", t.TemplateID)
	}
	return tally, nil
}
