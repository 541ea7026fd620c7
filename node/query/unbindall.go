package query

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/assent-network/assent/node/vault"
)

// UnbindAll ends every binding of a customer, as Unbind does for one wallet.
// A customer without any is a success: the answer tells nothing.
func (a *Answerer) UnbindAll(ctx context.Context, subject vault.Subject) error {
	t := a.tag(subjectTag, string(subject))
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM query_wallets WHERE tag = ?`, t[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("unbind customer: %w", err)
	}
	return nil
}
