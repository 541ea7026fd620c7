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
	if _, err := CheckFile(ctx, path); err != nil {
		return fmt.Errorf("copy private.db: %w", err)
	}
	return nil
}

// ErrDamaged: a database file is not what was written.
var ErrDamaged = errors.New("the private database is damaged: stop the node and restore it from a backup (assentd restore), or move it away; then questions may be asked twice: open a new epoch of every product before answering again")

// CheckFile checks a database that nobody writes, and changes nothing: every byte,
// where the hashes of the last closing are there (sealed), and in any case the log and
// the form of every page, row and index.
func CheckFile(ctx context.Context, path string) (sealed bool, err error) {
	if _, err := os.Stat(path); err != nil {
		return false, fmt.Errorf("check private.db: %w: restore it from a backup (assentd restore)", err)
	}
	if sealed, err = checkSums(path); err == nil {
		err = checkJournal(path + "-wal")
	}
	if err != nil {
		return sealed, fmt.Errorf("check private.db: %w", err)
	}
	db, err := OpenReadOnly(path)
	if err != nil {
		return sealed, fmt.Errorf("check private.db: %w", err)
	}
	err = checkForm(ctx, db, `PRAGMA integrity_check(1)`)
	if err = errors.Join(err, db.Close()); err != nil {
		return sealed, fmt.Errorf("check %s: %w", path, err)
	}
	return sealed, nil
}

// OpenReadOnly opens a database that nobody writes.
func OpenReadOnly(path string) (*sql.DB, error) {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)", "trusted_schema(0)", "cell_size_check(1)"}}.Encode()}
	return sql.Open("sqlite", u.String())
}

// checkForm runs one of SQLite's own checks.
func checkForm(ctx context.Context, db *sql.DB, pragma string) error {
	var said string
	if err := db.QueryRowContext(ctx, pragma).Scan(&said); err != nil {
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	if said != "ok" {
		return fmt.Errorf("%w (%.200s)", ErrDamaged, said)
	}
	return nil
}
