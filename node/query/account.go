package query

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/vault"
)

// The leak account. Per subject, product, column and period (the product's epoch,
// and the UTC calendar year of the request's block) it counts what answers may
// have told, over all lenders, in thousandths of a bit. A new answer of a template
// with n outputs costs ceil(1000·log2 n) on every column that the template
// declares; a frozen answer costs nothing. If any of them would exceed its column's
// bitsPerEpoch or bitsPerYear, nothing is debited and the request is refused.

// usage maps a column to thousandths of a bit used in one period.
type usage map[string]uint64

func epochPeriod(epoch uint64) string { return fmt.Sprintf("epoch %d", epoch) }

func yearPeriod(blockTime record.Millis) string {
	return fmt.Sprintf("year %d", time.UnixMilli(blockTime).UTC().Year())
}

// debit books one new answer, or reports that the account does not allow it. It
// reads and writes the same rows for everybody.
func (a *Answerer) debit(tx *sql.Tx, p *Permit, t tag) (allowed bool, err error) {
	cost := answer.LeakMillibits(len(p.Template.Outputs))
	periods := []string{epochPeriod(p.Request.Epoch), yearPeriod(p.Request.RequestedAt)}
	budget := func(period int, c *record.Column) uint64 {
		if period == 0 {
			return c.Class.BitsPerEpoch * 1000
		}
		return c.Class.BitsPerYear * 1000
	}
	allowed = true
	accounts := make([]usage, len(periods))
	for i, period := range periods {
		if accounts[i], err = a.usage(tx, t, p.Product.ProductID, period); err != nil {
			return false, err
		}
		for _, name := range p.Template.Columns {
			col, ok := p.Product.Column(name)
			if !ok || accounts[i][name]+cost > budget(i, col) {
				allowed = false
			}
		}
	}
	for i, period := range periods {
		if allowed {
			for _, name := range p.Template.Columns {
				accounts[i][name] += cost
			}
		}
		if err := a.book(tx, t, p.Product.ProductID, period, accounts[i]); err != nil {
			return false, err
		}
	}
	return allowed, nil
}

func (a *Answerer) book(tx *sql.Tx, t tag, product record.ProductID, period string, used usage) error {
	text, err := json.Marshal(used)
	if err != nil {
		return err
	}
	if _, err := tx.Stmt(a.sql.debit).Exec(t[:], string(product), period, string(text)); err != nil {
		return fmt.Errorf("debit leak account: %w", err)
	}
	return nil
}

func (a *Answerer) usage(tx *sql.Tx, t tag, product record.ProductID, period string) (usage, error) {
	var text string
	err := tx.Stmt(a.sql.account).QueryRow(t[:], string(product), period).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return usage{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read leak account: %w", err)
	}
	used := usage{}
	if err := json.Unmarshal([]byte(text), &used); err != nil {
		return nil, fmt.Errorf("read leak account: %w", err)
	}
	return used, nil
}

// Leaked is one line of a subject's leak account.
type Leaked struct {
	Product   record.ProductID
	Period    string // "epoch 7" or "year 2026"
	Column    string
	Millibits uint64
}

// Leaked lists what answers about a customer may have told so far, for the bank's
// own officers and for the customer's right of access.
func (a *Answerer) Leaked(ctx context.Context, subject vault.Subject) ([]Leaked, error) {
	t := a.tag(subjectTag, string(subject))
	rows, err := a.cfg.Store.Reader().QueryContext(ctx, `SELECT product, period, key, value FROM query_account, json_each(used)
		WHERE tag = ? ORDER BY product, period, key`, t[:])
	if err != nil {
		return nil, fmt.Errorf("read leak account: %w", err)
	}
	defer rows.Close()
	var out []Leaked
	for rows.Next() {
		var l Leaked
		var bits int64
		if err := rows.Scan(&l.Product, &l.Period, &l.Column, &bits); err != nil {
			return nil, fmt.Errorf("read leak account: %w", err)
		}
		l.Millibits = uint64(bits)
		out = append(out, l)
	}
	return out, rows.Err()
}
