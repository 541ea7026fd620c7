package sqlvault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"modernc.org/sqlite"

	"github.com/assent-network/assent/node/vault"
)

// Import loads a CSV file (RFC 4180; UTF-8 with or without byte order mark; LF or
// CRLF) into one table of an SQLite file, in one transaction: on any error the vault
// is as before. The error names the rows and columns at fault, up to 20 of them,
// never their values.
func Import(ctx context.Context, cfg ImportConfig, r io.Reader) (Progress, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Progress{}, err
	}
	created, err := createFile(cfg.Path)
	if err != nil {
		return Progress{}, fmt.Errorf("vault import: %w", err)
	}
	in := newImporter(cfg, r)
	if err = in.intoSQLite(ctx); err != nil && created {
		// Otherwise a later OpenSQLite would find a vault without a table.
		err = errors.Join(err, os.Remove(cfg.Path))
	}
	return in.progress, err
}

// createFile makes the database file readable by its owner alone, before SQLite
// would make it readable by all. It reports whether the file is new.
func createFile(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

func (in *importer) intoSQLite(ctx context.Context) error {
	if err := in.header(); err != nil {
		return err
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", fileURI(in.cfg.Path, q))
	if err != nil {
		return fmt.Errorf("vault import: open %s: %w", in.cfg.Path, err)
	}
	defer db.Close()
	tx, err := db.Begin() // next watches ctx: database/sql would roll back under its hands
	if err != nil {
		return fmt.Errorf("vault import: begin on %s: %w; is another import running?", in.cfg.Path, err)
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := in.createSQLite(tx); err != nil {
		return err
	}
	if err := in.insertSQLite(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("vault import: commit %d rows: %w", in.progress.Rows, err)
	}
	in.report()
	return nil
}

func (in *importer) createSQLite(tx *sql.Tx) error {
	table := quote(in.cfg.Table)
	if in.cfg.Replace {
		if _, err := tx.Exec("DROP TABLE IF EXISTS " + table); err != nil {
			return fmt.Errorf("vault import: drop table %s: %w", in.cfg.Table, err)
		}
	}
	defs := []string{quote(in.cfg.Key) + " TEXT PRIMARY KEY NOT NULL"}
	for _, c := range in.cfg.Columns {
		t := " INTEGER"
		if c.Type == vault.String || c.Scale > 0 {
			t = " TEXT"
		}
		defs = append(defs, quote(c.Name)+t)
	}
	_, err := tx.Exec("CREATE TABLE " + table + " (" + strings.Join(defs, ", ") + ") STRICT, WITHOUT ROWID")
	if err != nil && strings.Contains(err.Error(), "already exists") {
		return ErrTableExists
	}
	if err != nil {
		return fmt.Errorf("vault import: create table %s: %w", in.cfg.Table, err)
	}
	return nil
}

func (in *importer) insertSQLite(ctx context.Context, tx *sql.Tx) error {
	marks := strings.Repeat(", ?", len(in.cfg.Columns))
	insert, err := tx.Prepare("INSERT INTO " + quote(in.cfg.Table) + " VALUES (?" + marks + ")")
	if err != nil {
		return fmt.Errorf("vault import: prepare: %w", err)
	}
	defer insert.Close()
	values, args := make([]vault.Value, len(in.fields)), make([]any, len(in.fields))
	for {
		more, err := in.next(ctx, values)
		if err != nil || !more {
			return err
		}
		for i, v := range values {
			args[i] = in.sqliteValue(i, v)
		}
		if _, err := insert.Exec(args...); err != nil {
			var se *sqlite.Error
			if !errors.As(err, &se) || se.Code()&0xff != sqliteConstraint {
				return fmt.Errorf("vault import: row %d: %w", in.progress.Rows, err)
			}
			in.complain(0, "the key stands in an earlier row too")
		}
	}
}

const sqliteConstraint = 19 // SQLITE_CONSTRAINT

func (in *importer) sqliteValue(at int, v vault.Value) any {
	if n, ok := v.Int(); ok {
		if c := in.cfg.Columns[at-1]; c.Scale > 0 {
			return decimal(n, c.Scale)
		}
		return n
	}
	if b, ok := v.Bool(); ok {
		if b {
			return int64(1)
		}
		return int64(0)
	}
	if s, ok := v.Str(); ok {
		return s
	}
	return nil
}
