package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// CopyTo writes a consistent copy of the database to path, which must not exist
// and becomes readable by its owner alone, while others go on reading and writing.
// The copy holds no deleted row, needs no log beside it, and is checked. It takes as
// much space as the database; until it is done, what is deleted meanwhile stands in
// the database's log. An error leaves no file behind.
func (p *Private) CopyTo(ctx context.Context, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("copy private.db: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("copy private.db: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	// A connection of its own: a snapshot must not hold the readers' pool, and the
	// writers' is one.
	db, err := openSQLite(ctx, p.path, "cache_size(-2000)")
	if err != nil {
		return fmt.Errorf("copy private.db: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return fmt.Errorf("copy private.db: %w", err)
	}
	if err := CheckFile(ctx, path); err != nil {
		return fmt.Errorf("copy private.db: %w", err)
	}
	return nil
}

// ErrDamaged: a database file is not what was written.
var ErrDamaged = errors.New("the private database is damaged: stop the node and restore it from a backup (assentd restore), or move it away; then questions may be asked twice: open a new epoch of every product before answering again")

// CheckFile reads a database that nobody writes, and checks the form of every
// page, row and index. What a row says it cannot check. Nothing is changed.
func CheckFile(ctx context.Context, path string) (err error) {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("check private.db: %w", err)
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)", "trusted_schema(0)", "cell_size_check(1)"}}.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return fmt.Errorf("check private.db: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, `PRAGMA integrity_check(1)`)
	if err != nil {
		return fmt.Errorf("check %s: %w (%w)", path, ErrDamaged, err)
	}
	defer rows.Close()
	for rows.Next() {
		var said string
		if err := rows.Scan(&said); err != nil {
			return fmt.Errorf("check %s: %w (%w)", path, ErrDamaged, err)
		}
		if said != "ok" {
			return fmt.Errorf("check %s: %w (%.200s)", path, ErrDamaged, said)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("check %s: %w (%w)", path, ErrDamaged, err)
	}
	return nil
}
