package sqlvault

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"time"

	"modernc.org/sqlite"

	"github.com/assent-network/assent/node/vault"
)

// SQLiteConfig opens the embedded vault.
type SQLiteConfig struct {
	Path    string
	Mapping Mapping
	// Timeout of one lookup, waiting for a lock included; default 2 s.
	Timeout time.Duration
	// Readers bounds concurrent lookups; default 4.
	Readers int
}

// OpenSQLite opens an existing SQLite file read-only (mode=ro and query_only, so
// that a mapping cannot write even by accident). A missing file is an error: a
// typo must not create an empty vault.
func OpenSQLite(cfg SQLiteConfig) (*Vault, error) {
	if _, err := regular(cfg.Path); err != nil {
		return nil, fmt.Errorf("open vault: %w; load it first with vault import, or correct the path", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Readers == 0 {
		cfg.Readers = 4
	}
	// Waiting for a lock must end before the lookup's own limit, or the caller
	// would see a time-out where the cause is a lock.
	q := url.Values{"mode": {"ro"}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", cfg.Timeout.Milliseconds()/2), "query_only(1)", "trusted_schema(0)"}}
	db, err := sql.Open("sqlite", fileURI(cfg.Path, q))
	if err != nil {
		return nil, fmt.Errorf("open vault %s: %w", cfg.Path, err)
	}
	db.SetMaxOpenConns(cfg.Readers)
	db.SetMaxIdleConns(cfg.Readers)
	v, err := New(db, Config{
		Dialect: Dialect{Name: "sqlite", Match: func(key string) string { return key + " = ?" }, Classify: classifySQLite, File: cfg.Path},
		Mapping: cfg.Mapping, Timeout: cfg.Timeout})
	if err != nil {
		db.Close()
		return nil, err
	}
	return v, nil
}

func fileURI(path string, q url.Values) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}
	return u.String()
}

var (
	missingColumn = regexp.MustCompile(`no such column: (?:v\.)?"?([A-Za-z0-9_.]+)`)
	missingTable  = regexp.MustCompile(`no such table: ([A-Za-z0-9_.]+)`)
)

const (
	sqliteError  = 1  // SQLITE_ERROR: the statement does not fit the schema
	sqliteNotADB = 26 // SQLITE_NOTADB
)

// classifySQLite tells a mapping that does not fit from a database that cannot
// be read now. SQLite's "no such …" texts name schema objects only.
func classifySQLite(err error) *vault.SchemaError {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return nil
	}
	switch se.Code() & 0xff {
	case sqliteNotADB:
		return &vault.SchemaError{Detail: "the file is not a SQLite database", Remedy: "correct the vault's path"}
	case sqliteError:
		if m := missingColumn.FindStringSubmatch(se.Error()); m != nil {
			return &vault.SchemaError{Column: m[1], Detail: "does not exist in the database", Remedy: "correct its expression in the vault mapping or add it to the table"}
		}
		if m := missingTable.FindStringSubmatch(se.Error()); m != nil {
			return &vault.SchemaError{Detail: fmt.Sprintf("table %q does not exist", m[1]), Remedy: "load it with vault import or correct the mapping's table"}
		}
		return &vault.SchemaError{Detail: "the database refuses the SQL", Remedy: "run the mapped query by hand in the database's shell and correct it"}
	}
	return nil
}
