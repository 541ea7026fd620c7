package survey

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
)

// Keep is how long shares and counts are kept after they were made or came. The request
// is over within a week of it (record.MaxAnswerTTL), and nothing is made of it again
// after its deadline; what follows is time in which an authority may be shown what the
// other banks sent. The lender has both rounds' shares for as long as it likes.
const Keep = 90 * 24 * time.Hour

// maxSwept bounds the requests that one pass looks at.
const maxSwept = 256

// Sweep forgets the shares and counts of requests that are over for Keep and have their
// outcome here: a request without one may still be delivered again, from the checkpoint
// or after a restore, and must find the bytes that it found before. One pass is one
// bounded transaction; the next goes on where it ended. It returns how many requests
// were forgotten.
func (b *Book) Sweep(ctx context.Context, now time.Time) (int, error) {
	b.sweep.Lock()
	defer b.sweep.Unlock()
	old, err := b.old(ctx, b.swept, now)
	if err != nil {
		return 0, fmt.Errorf("look for shares that are over: %w", err)
	}
	b.swept = record.Hash{}
	if len(old) == maxSwept {
		b.swept = old[maxSwept-1]
	}
	var over []record.Hash
	for _, id := range old {
		done, err := b.over(ctx, id)
		if err != nil {
			return 0, fmt.Errorf("look for the outcome of cohort %s: %w", id, err)
		}
		if done {
			over = append(over, id)
		}
	}
	if len(over) == 0 {
		return 0, nil
	}
	err = b.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		for _, id := range over { // both or none: shares without counts would tell the lender of banks that never were silent
			for _, table := range []string{"survey_counts", "survey_shares"} {
				if _, err := tx.Exec(`DELETE FROM `+table+` WHERE cohort = ?`, id[:]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("forget shares that are over: %w", err)
	}
	return len(over), nil
}

// old are the next requests of which something was kept before Keep, by id.
func (b *Book) old(ctx context.Context, after record.Hash, now time.Time) (out []record.Hash, err error) {
	before := now.Add(-Keep).UnixMilli()
	rows, err := b.cfg.Store.Reader().QueryContext(ctx, `
		SELECT cohort FROM survey_shares WHERE made < ?1 AND cohort > ?2
		UNION SELECT cohort FROM survey_counts WHERE came < ?1 AND cohort > ?2
		ORDER BY cohort LIMIT ?3`, before, after[:], maxSwept)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, record.Hash(bytes.Clone(id)))
	}
	return out, rows.Err()
}

// over says whether this bank's request of a cohort has its outcome. At which seat the
// bank sits is not kept: it is the only one of them that has requests here.
func (b *Book) over(ctx context.Context, id record.Hash) (bool, error) {
	for seat := range record.MaxCohortBanks {
		if done, err := b.cfg.Finished(ctx, record.BatchRequestID(id, seat)); done || err != nil {
			return done, err
		}
	}
	return false, nil
}
