package survey

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query/cohort"
)

// ErrRefused: the count is of no use here and never will be.
var ErrRefused = errors.New("survey: no count of a permitted request")

// Take keeps another bank's count of a permitted request, as its authenticated node
// sent it, and returns when it is on disk. The same count again is a success; a second
// version of it is kept too, and names its bank. Errors: ErrRefused.
func (b *Book) Take(ctx context.Context, c *record.Cohort, from record.OrgID, share []byte) error {
	s, err := cohort.SessionOf(b.cfg.ChainID, c)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	_, sits := s.Seat(from)
	if _, here := s.Seat(b.cfg.Member); !sits || !here || from == b.cfg.Member {
		return fmt.Errorf("%w: %s and %s are not both banks of it", ErrRefused, from, b.cfg.Member)
	}
	if len(share) == 0 || len(share) > cohort.MaxShare {
		return fmt.Errorf("%w: a share of %d bytes", ErrRefused, len(share))
	}
	now := b.cfg.Clock()
	if now.After(time.UnixMilli(c.Deadline).Add(Keep)) {
		return fmt.Errorf("%w: the request has been over for %s", ErrRefused, Keep)
	}
	late := 0
	if !now.Before(roundEnds(c)) {
		late = 1
	}
	err = b.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		var versions int
		if err := tx.QueryRow(`SELECT count(*) FROM survey_counts WHERE cohort = ? AND bank = ?`, c.CohortID[:], string(from)).Scan(&versions); err != nil {
			return err
		}
		if versions >= 2 {
			return nil // two are enough to name it
		}
		_, err := tx.Exec(`INSERT INTO survey_counts VALUES (?,?,?,?,?) ON CONFLICT DO NOTHING`, c.CohortID[:], string(from), share, late, now.UnixMilli())
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the count of %s: %w", from, err)
	}
	return nil
}

// counts are what the other banks sent, and how many of them did.
func (b *Book) counts(ctx context.Context, c *record.Cohort, s *cohort.Session) (out []cohort.Delivery, banks int, err error) {
	rows, err := b.cfg.Store.Reader().QueryContext(ctx, `SELECT bank, share, late FROM survey_counts WHERE cohort = ? ORDER BY bank, came`, c.CohortID[:])
	if err != nil {
		return nil, 0, fmt.Errorf("read the counts of a request: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var d cohort.Delivery
		if err := rows.Scan(&d.Bank, &d.Share, &d.Late); err != nil {
			return nil, 0, fmt.Errorf("read the counts of a request: %w", err)
		}
		if _, ok := s.Seat(d.Bank); !ok || d.Bank == b.cfg.Member {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Bank != d.Bank {
			banks++
		}
		out = append(out, d)
	}
	return out, banks, rows.Err()
}
