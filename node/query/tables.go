package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/assent-network/assent/chaincode/record"
)

// A subject appears here only as a tag (see Config.TagKey). Times are Unix
// milliseconds, bits are thousandths.
const createTables = `
CREATE TABLE IF NOT EXISTS query_parts ( -- sealed parts as they came
	consent_id TEXT NOT NULL,
	version INTEGER NOT NULL,
	commitment BLOB NOT NULL, -- of what is inside
	sender TEXT NOT NULL,
	sealed BLOB NOT NULL,
	received INTEGER NOT NULL,
	PRIMARY KEY (consent_id, version, commitment)
) STRICT;
CREATE TABLE IF NOT EXISTS query_wallets ( -- customer ↔ wallet, made in the bank's own session
	tag BLOB NOT NULL,
	wallet BLOB NOT NULL,
	bound INTEGER NOT NULL,
	PRIMARY KEY (tag, wallet)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS query_sessions ( -- customer ↔ consent, where the bank authenticated the customer
	consent_id TEXT PRIMARY KEY NOT NULL,
	tag BLOB NOT NULL,
	bound INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS query_requests ( -- one row per finished request: its one outcome
	request_id TEXT PRIMARY KEY NOT NULL,
	consent_id TEXT NOT NULL,
	outcome TEXT NOT NULL,
	body BLOB, -- record.AnswerBody with its salt: the opening; none when there is nothing to open
	height INTEGER NOT NULL,
	finished INTEGER NOT NULL,
	frozen INTEGER NOT NULL DEFAULT 0 -- kind of tag under which its answer is frozen, 0: it is not
) STRICT;
CREATE TABLE IF NOT EXISTS query_frozen ( -- what the subject's answer is for the rest of the epoch
	tag BLOB NOT NULL,
	code_hash BLOB NOT NULL,
	params BLOB NOT NULL, -- digest
	epoch INTEGER NOT NULL,
	value TEXT NOT NULL,
	uses INTEGER NOT NULL DEFAULT 1, -- requests that were given it and are not erased
	PRIMARY KEY (tag, code_hash, params, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS query_account ( -- the leak account
	tag BLOB NOT NULL,
	product TEXT NOT NULL,
	period TEXT NOT NULL, -- "epoch 7" or "year 2026"
	used TEXT NOT NULL, -- {"column": thousandths of a bit}
	PRIMARY KEY (tag, product, period)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS query_waiting ( -- permits that wait for a part or the vault
	request_id TEXT PRIMARY KEY NOT NULL,
	consent_id TEXT NOT NULL,
	needs INTEGER NOT NULL,
	deadline INTEGER NOT NULL,
	permit BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS query_checkpoint (
	one INTEGER PRIMARY KEY CHECK (one = 1),
	height INTEGER NOT NULL
) STRICT`

// statements are prepared once and end with their connections.
type statements struct {
	request, addRequest, frozen, freeze, account, debit, unwait *sql.Stmt // writing
	seen, part, wallet, session                                 *sql.Stmt // reading
}

func (a *Answerer) createTables(ctx context.Context) error {
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(createTables); err != nil {
			return err
		}
		if _, err := tx.Exec(createLost); err != nil {
			return err
		}
		// Files of before erasure counted nothing.
		return errors.Join(addColumn(tx, "query_requests", "frozen", "INTEGER NOT NULL DEFAULT 0"),
			addColumn(tx, "query_frozen", "uses", "INTEGER NOT NULL DEFAULT 1"))
	})
	if err != nil {
		return fmt.Errorf("create query tables: %w", err)
	}
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&a.sql.request, `SELECT 1 FROM query_requests WHERE request_id = ?`},
		{&a.sql.addRequest, `INSERT INTO query_requests VALUES (?,?,?,?,?,?,?)`},
		{&a.sql.frozen, `UPDATE query_frozen SET uses = uses + 1 WHERE tag = ? AND code_hash = ? AND params = ? AND epoch = ? RETURNING value`},
		{&a.sql.freeze, `INSERT INTO query_frozen (tag, code_hash, params, epoch, value) VALUES (?,?,?,?,?)`},
		{&a.sql.account, `SELECT used FROM query_account WHERE tag = ? AND product = ? AND period = ?`},
		{&a.sql.debit, `INSERT INTO query_account VALUES (?,?,?,?) ON CONFLICT (tag, product, period) DO UPDATE SET used = excluded.used`},
		{&a.sql.unwait, `DELETE FROM query_waiting WHERE request_id = ?`},
	} {
		if *p.to, err = a.cfg.Store.Prepare(p.sql); err != nil {
			return fmt.Errorf("prepare query statement: %w", err)
		}
	}
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&a.sql.seen, `SELECT 1 FROM query_requests WHERE request_id = ?`},
		{&a.sql.part, `SELECT sealed FROM query_parts WHERE consent_id = ? AND version = ? AND (commitment = ? OR sender = ?)
			ORDER BY commitment = ? DESC LIMIT 1`},
		{&a.sql.wallet, `SELECT EXISTS (SELECT 1 FROM query_wallets WHERE tag = ? AND wallet = ?)`},
		{&a.sql.session, `SELECT EXISTS (SELECT 1 FROM query_sessions WHERE tag = ? AND consent_id = ?)`},
	} {
		if *p.to, err = a.cfg.Store.Reader().PrepareContext(ctx, p.sql); err != nil {
			return fmt.Errorf("prepare query statement: %w", err)
		}
	}
	return nil
}

// addColumn adds a column that an older file lacks.
func addColumn(tx *sql.Tx, table, column, definition string) error {
	var there bool
	err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM pragma_table_info(?) WHERE name = ?)`, table, column).Scan(&there)
	if err != nil || there {
		return err
	}
	_, err = tx.Exec(fmt.Sprintf(`ALTER TABLE %s ADD COLUMN %s %s`, table, column, definition))
	return err
}

// known reports whether a request has its outcome or waits for it.
func (a *Answerer) known(ctx context.Context, id record.RequestID) (bool, error) {
	a.mu.Lock()
	_, waits := a.waiting.byRequest[id]
	a.mu.Unlock()
	if waits {
		return true, nil
	}
	var one int
	err := a.sql.seen.QueryRowContext(ctx, string(id)).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for request %s: %w", id, err)
	}
	return true, nil
}

// Checkpoint is the height that SaveCheckpoint kept last, 0 if none: every permit
// up to it is taken care of. A restart delivers permits from there.
func (a *Answerer) Checkpoint(ctx context.Context) (uint64, error) {
	var h int64
	err := a.cfg.Store.Reader().QueryRowContext(ctx, `SELECT height FROM query_checkpoint`).Scan(&h)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read checkpoint: %w", err)
	}
	return uint64(h), nil
}

// SaveCheckpoint keeps a height up to which HandlePermit returned nil for every
// permit. Saving rarely costs repeated deliveries after a crash and nothing else.
func (a *Answerer) SaveCheckpoint(ctx context.Context, height uint64) error {
	err := a.cfg.Store.Do(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO query_checkpoint VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET height = max(height, excluded.height)`, int64(height))
		return err
	})
	if err != nil {
		return fmt.Errorf("save checkpoint %d: %w", height, err)
	}
	return nil
}
