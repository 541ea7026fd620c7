package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// A private.db from a backup does not know what was answered after the backup was
// made. Nothing of that may be answered again: a second answer could differ from
// the first, and would be paid for by nobody. So the node hands over such permits to
// Forgo, and in an epoch in which that happened nothing more is answered.

const createLost = `CREATE TABLE IF NOT EXISTS query_lost ( -- epochs whose frozen answers are not all here
	product TEXT PRIMARY KEY NOT NULL,
	epoch INTEGER NOT NULL -- the newest
) STRICT, WITHOUT ROWID`

// Rewind prepares a database from a backup, before it is opened for answering:
// nothing waits in it any more, and every permit is delivered again.
func Rewind(ctx context.Context, store Store) error {
	err := store.Do(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"query_waiting", "query_checkpoint"} {
			var there bool
			if err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)`, table).Scan(&there); err != nil {
				return err
			}
			if !there {
				continue // of a node that never answered
			}
			if _, err := tx.Exec(`DELETE FROM ` + table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("rewind private.db: %w", err)
	}
	return nil
}

// Forgo gives a permit an outcome without an answer, because it may have been
// answered before by a node whose database is lost. told is the outcome that the
// ledger has, "" if it has none: then the receipt says WITHHELD. With given, what an
// answer may have told is debited, as far as the subject can still be found, and the
// product's epoch is closed: see Closed. Nothing happens to a permit whose outcome is
// here.
func (a *Answerer) Forgo(ctx context.Context, p Permit, told record.ReceiptOutcome, given bool) error {
	known, err := a.known(ctx, p.Request.RequestID)
	if err != nil || known {
		return err
	}
	given = given && (told == "" || told == record.Answered)
	var who person
	var missing result
	if p.Cohort != nil {
		given = false // no answer is frozen, and its epsilon was debited on the ledger
	} else if who, missing, err = a.identify(ctx, &p); err != nil {
		return fmt.Errorf("forgo request %s: %w", p.Request.RequestID, err)
	}
	withheld := Departure{
		RequestID: p.Request.RequestID, ConsentID: p.Consent.ConsentID, Lender: p.Request.Consumer, NotBefore: a.cfg.Clock(),
		Receipt: record.ReceiptSpec{RequestID: p.Request.RequestID, Outcome: record.Withheld, EvaluatedHeight: p.Height},
	}
	var done bool
	err = a.cfg.Store.Do(ctx, func(tx *sql.Tx) (err error) {
		if done, err = a.hasOutcome(tx, p.Request.RequestID); err != nil || done {
			return err
		}
		if given {
			if err := closeEpoch(tx, &p); err != nil {
				return err
			}
			if missing == 0 {
				if err := a.charge(tx, &p, who.tag); err != nil {
					return err
				}
			}
		}
		if told == "" {
			return a.finish(tx, &p, &answer.Answer{Outcome: record.Withheld}, 0, withheld)
		}
		_, err = tx.Stmt(a.sql.addRequest).Exec(string(p.Request.RequestID), string(p.Consent.ConsentID), string(told), nil, int64(p.Height), a.cfg.Clock().UnixMilli(), 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("forgo request %s: %w", p.Request.RequestID, err)
	}
	if !done && told == "" {
		a.cfg.Departures.Committed(withheld)
		a.cfg.Counted(record.Withheld, false)
	}
	return nil
}

func closeEpoch(tx *sql.Tx, p *Permit) error {
	_, err := tx.Exec(`INSERT INTO query_lost VALUES (?,?) ON CONFLICT (product) DO UPDATE SET epoch = max(epoch, excluded.epoch)`,
		string(p.Product.ProductID), int64(p.Request.Epoch))
	return err
}

// charge debits an answer that may have been given, whatever the account allows:
// it is not asked for leave, it is told.
func (a *Answerer) charge(tx *sql.Tx, p *Permit, t tag) error {
	var frozen bool
	if err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM query_frozen WHERE tag = ? AND code_hash = ? AND params = ? AND epoch = ?)`,
		frozenKey(t, p.Template.CodeHash, p.Request.Params, p.Request.Epoch)...).Scan(&frozen); err != nil || frozen {
		return err
	}
	cost := answer.LeakMillibits(len(p.Template.Outputs))
	for _, period := range []string{epochPeriod(p.Request.Epoch), yearPeriod(p.Request.RequestedAt)} {
		used, err := a.usage(tx, t, p.Product.ProductID, period)
		if err != nil {
			return err
		}
		for _, name := range p.Template.Columns {
			used[name] += cost
		}
		if err := a.book(tx, t, p.Product.ProductID, period, used); err != nil {
			return err
		}
	}
	return nil
}

// Closed reports whether answers of a product's epoch were lost, so that nothing
// more is answered in it: the provider opens a new one.
func (a *Answerer) Closed(ctx context.Context, product record.ProductID, epoch uint64) (bool, error) {
	var last int64
	err := a.cfg.Store.Reader().QueryRowContext(ctx, `SELECT epoch FROM query_lost WHERE product = ?`, string(product)).Scan(&last)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for lost answers of product %s: %w", product, err)
	}
	return epoch <= uint64(last), nil
}

// LostEpoch is the newest epoch of a product of which answers were lost.
type LostEpoch struct {
	Product record.ProductID
	Epoch   uint64
}

// Lost lists them for every product of a private database, which need not be one of
// a node that answers.
func Lost(ctx context.Context, db *sql.DB) (out []LostEpoch, err error) {
	var there bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'query_lost')`).Scan(&there); err != nil || !there {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, `SELECT product, epoch FROM query_lost ORDER BY product`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var l LostEpoch
		if err := rows.Scan(&l.Product, &l.Epoch); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, rows.Err()
}
