package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// One row per waiting item. What ended is deleted: secure_delete overwrites it.
// Times are Unix microseconds, durations microseconds, 0 means none.
const createItems = `CREATE TABLE IF NOT EXISTS outbox_items (
	id TEXT PRIMARY KEY NOT NULL,
	kind INTEGER NOT NULL,
	recipient TEXT NOT NULL,
	consent_id TEXT NOT NULL,
	payload BLOB NOT NULL,
	not_before INTEGER NOT NULL,
	grid INTEGER NOT NULL,
	deadline INTEGER NOT NULL,
	after_id TEXT NOT NULL,
	may_have_left INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outbox_after ON outbox_items (after_id) WHERE after_id <> ''`

// statements are prepared once on the writing connection and end with it.
type statements struct {
	put, remove, dropFollowers, left, release *sql.Stmt
}

func (o *Outbox) createTables(ctx context.Context) error {
	err := o.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(createItems)
		return err
	})
	if err != nil {
		return fmt.Errorf("create outbox tables: %w", err)
	}
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&o.sql.put, `INSERT INTO outbox_items VALUES (?,?,?,?,?,?,?,?,?,0) ON CONFLICT (id) DO NOTHING`},
		{&o.sql.remove, `DELETE FROM outbox_items WHERE id = ?`},
		{&o.sql.dropFollowers, `DELETE FROM outbox_items WHERE after_id = ?`},
		{&o.sql.left, `UPDATE outbox_items SET may_have_left = 1 WHERE id = ?`},
		{&o.sql.release, `UPDATE outbox_items SET after_id = '' WHERE after_id = ?`},
	} {
		if *p.to, err = o.cfg.Store.Prepare(p.sql); err != nil {
			return fmt.Errorf("prepare outbox statement: %w", err)
		}
	}
	return nil
}

func (s *statements) insert(tx *sql.Tx, it Item) error {
	payload := it.Payload
	if payload == nil {
		payload = []byte{}
	}
	_, err := tx.Stmt(s.put).Exec(it.ID, int(it.Kind), it.Recipient, it.ConsentID, payload,
		micros(it.NotBefore), it.Grid.Microseconds(), micros(it.Deadline), it.After)
	return err
}

// load reads everything that waits, without payloads.
func (o *Outbox) load(ctx context.Context) error {
	rows, err := o.cfg.Store.Reader().QueryContext(ctx, `SELECT i.id, i.kind, i.recipient, i.consent_id, i.not_before, i.grid, i.deadline,
		CASE WHEN l.id IS NULL OR l.may_have_left THEN '' ELSE i.after_id END, i.may_have_left
		FROM outbox_items i LEFT JOIN outbox_items l ON l.id = i.after_id
		ORDER BY i.after_id <> ''`) // what is waited for must be there first
	if err != nil {
		return fmt.Errorf("load outbox: %w", err)
	}
	defer rows.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	for rows.Next() {
		var it Item
		var notBefore, grid, deadline int64
		if err := rows.Scan(&it.ID, &it.Kind, &it.Recipient, &it.ConsentID, &notBefore, &grid, &deadline, &it.After, &it.MayHaveLeft); err != nil {
			return fmt.Errorf("load outbox: %w", err)
		}
		it.NotBefore, it.Deadline, it.Grid = fromMicros(notBefore), fromMicros(deadline), time.Duration(grid)*time.Microsecond
		o.addLocked(it)
	}
	return rows.Err()
}

func (o *Outbox) readPayload(ctx context.Context, id string) ([]byte, error) {
	var payload []byte
	err := o.cfg.Store.Reader().QueryRowContext(ctx, `SELECT payload FROM outbox_items WHERE id = ?`, id).Scan(&payload)
	return payload, err
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}
