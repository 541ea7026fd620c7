package sqlvault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assent-network/assent/node/vault"
)

// Dialect holds what differs between database engines.
type Dialect struct {
	Name string
	// Placeholder of the one bound parameter: "?" or "$1".
	Placeholder string
	// Classify sorts a driver's error: nil means that the database is
	// unavailable, otherwise it returns the SchemaError to report.
	Classify func(err error) *vault.SchemaError
	// Present, if set, is asked by Check before anything else, for engines that go
	// on working on a file that is gone.
	Present func() error
}

// Config of a connector. The zero value of a limit means its default.
type Config struct {
	Dialect Dialect
	Mapping Mapping
	// Timeout of one lookup; default 2 s.
	Timeout time.Duration
}

// maxStatements bounds the prepared statements kept: one per distinct list of
// columns, which is one per approved template.
const maxStatements = 128

// checkRows is how many rows Check reads to see the types behind the mapping.
const checkRows = 16

// Vault implements vault.Connector over database/sql.
type Vault struct {
	cfg    Config
	db     *sql.DB
	byName map[string]ColumnMapping // immutable after New

	mu         sync.Mutex // guards statements
	statements map[string]*lookup
}

// lookup is one prepared statement and the columns it reads.
type lookup struct {
	stmt *sql.Stmt
	cols []ColumnMapping // what the statement selects
	want int             // how many of them were asked for: all, or none of one
}

var _ vault.Connector = (*Vault)(nil)

// New makes a connector over an open database, which it owns from then on. It
// checks the mapping's form; call Check to ask the database.
func New(db *sql.DB, cfg Config) (*Vault, error) {
	if err := cfg.Mapping.check(); err != nil {
		return nil, err
	}
	if cfg.Dialect.Placeholder == "" || cfg.Dialect.Classify == nil {
		return nil, errors.New("vault: the dialect needs a placeholder and a classifier of errors")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	v := &Vault{cfg: cfg, db: db, byName: map[string]ColumnMapping{}, statements: map[string]*lookup{}}
	for _, c := range cfg.Mapping.Columns {
		v.byName[c.Name] = c
	}
	return v, nil
}

// Describe implements vault.Connector.
func (v *Vault) Describe() []vault.Column {
	cols := make([]vault.Column, len(v.cfg.Mapping.Columns))
	for i, c := range v.cfg.Mapping.Columns {
		cols[i] = vault.Column{Name: c.Name, Type: c.Type}
	}
	return cols
}

// Lookup implements vault.Connector.
func (v *Vault) Lookup(ctx context.Context, subject vault.Subject, columns []string) (vault.Row, error) {
	limited, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	l, err := v.prepare(limited, columns)
	if err != nil {
		return nil, v.failure(ctx, "prepare lookup", err)
	}
	rows, err := l.stmt.QueryContext(limited, string(subject))
	if err != nil {
		return nil, v.failure(ctx, "look up subject", err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, v.failure(ctx, "look up subject", err)
		}
		return nil, vault.ErrUnknownSubject
	}
	row, err := l.read(rows)
	if err != nil {
		return nil, v.failure(ctx, "read row", err)
	}
	if rows.Next() {
		return nil, fmt.Errorf("look up subject by key %q: %w; make the key column unique or map a query that returns one row", v.cfg.Mapping.Key, vault.ErrAmbiguous)
	}
	if err := rows.Err(); err != nil {
		return nil, v.failure(ctx, "look up subject", err)
	}
	return row, nil
}

func (l *lookup) read(rows *sql.Rows) (vault.Row, error) {
	raw := make([]any, len(l.cols))
	ptr := make([]any, len(l.cols))
	for i := range raw {
		ptr[i] = &raw[i]
	}
	if err := rows.Scan(ptr...); err != nil {
		return nil, err
	}
	row := make(vault.Row, len(l.cols))
	for i, c := range l.cols {
		val, err := c.decode(raw[i])
		if err != nil {
			return nil, err
		}
		row[i] = val
	}
	return row[:l.want], nil
}

// prepare returns the statement for a list of columns. Statements are prepared
// outside the lock; of two racing for the same list one is closed again.
func (v *Vault) prepare(ctx context.Context, columns []string) (*lookup, error) {
	key := strings.Join(columns, "\x00")
	v.mu.Lock()
	l, ok := v.statements[key]
	v.mu.Unlock()
	if ok {
		return l, nil
	}
	cols := make([]ColumnMapping, len(columns))
	for i, name := range columns {
		c, ok := v.byName[name]
		if !ok {
			return nil, &vault.SchemaError{Column: name, Detail: "is not mapped", Remedy: "add it to the vault mapping of the node's configuration"}
		}
		cols[i] = c
	}
	if len(cols) == 0 { // a template over parameters alone still costs one look-up
		cols = []ColumnMapping{{Name: "present", Expr: "1", Type: vault.Int}}
	}
	stmt, err := v.db.PrepareContext(ctx, v.cfg.Mapping.selectSQL(cols, v.cfg.Dialect.Placeholder))
	if err != nil {
		return nil, err
	}
	return v.keep(key, &lookup{stmt: stmt, cols: cols, want: len(columns)}), nil
}

func (v *Vault) keep(key string, l *lookup) *lookup {
	v.mu.Lock()
	defer v.mu.Unlock()
	if other, ok := v.statements[key]; ok {
		l.stmt.Close()
		return other
	}
	if len(v.statements) >= maxStatements {
		for k, old := range v.statements { // any one: this happens only on a misconfigured node
			old.stmt.Close()
			delete(v.statements, k)
			break
		}
	}
	v.statements[key] = l
	return l
}

// Check implements vault.Connector.
func (v *Vault) Check(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	if v.cfg.Dialect.Present != nil {
		if err := v.cfg.Dialect.Present(); err != nil {
			return fmt.Errorf("check vault: %w: %w", vault.ErrUnavailable, err)
		}
	}
	m := v.cfg.Mapping
	if err := v.probe(limited, ColumnMapping{Name: m.Key, Type: vault.String}, false); err != nil {
		return v.failure(ctx, "check key", err)
	}
	for _, c := range m.Columns {
		if err := v.probe(limited, c, true); err != nil {
			return v.failure(ctx, "check column", err)
		}
	}
	return nil
}

// probe reads one mapped column of a few rows; with types it decodes them too.
func (v *Vault) probe(ctx context.Context, c ColumnMapping, types bool) error {
	rows, err := v.db.QueryContext(ctx, v.cfg.Mapping.selectFrom([]ColumnMapping{c})+fmt.Sprintf(" LIMIT %d", checkRows))
	if err != nil {
		if s := v.cfg.Dialect.Classify(err); s != nil && s.Column == "" {
			s.Column = c.Name
			return s
		}
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var raw any
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		if !types {
			continue
		}
		if _, err := c.decode(raw); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Close implements vault.Connector.
func (v *Vault) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, l := range v.statements {
		l.stmt.Close()
	}
	clear(v.statements)
	return v.db.Close()
}

// failure turns a driver's error into one of the port's. outer is the caller's
// context: its cancellation is the caller's own, our time limit is not. A driver's
// text is not passed on when the database is merely unavailable: some drivers
// quote bound values in it.
func (v *Vault) failure(outer context.Context, step string, err error) error {
	if outer.Err() != nil && errors.Is(outer.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", step, outer.Err())
	}
	if errors.Is(err, vault.ErrSchema) {
		return fmt.Errorf("%s: %w", step, err)
	}
	if s := v.cfg.Dialect.Classify(err); s != nil {
		return fmt.Errorf("%s: %w", step, v.blame(s))
	}
	if errors.Is(err, context.DeadlineExceeded) || outer.Err() != nil {
		return fmt.Errorf("%s: no result within %v: %w; look at the database's load or raise the vault's timeout", step, v.cfg.Timeout, vault.ErrUnavailable)
	}
	return fmt.Errorf("%s on %s: %w; see whether the database is running and reachable", step, v.cfg.Dialect.Name, vault.ErrUnavailable)
}

// blame names the mapped column when the database named only its own.
func (v *Vault) blame(s *vault.SchemaError) *vault.SchemaError {
	if s.Column == "" {
		return s
	}
	i := slices.IndexFunc(v.cfg.Mapping.Columns, func(c ColumnMapping) bool { return c.Name == s.Column })
	if i < 0 {
		i = slices.IndexFunc(v.cfg.Mapping.Columns, func(c ColumnMapping) bool { return c.Expr != "" && strings.Contains(c.Expr, s.Column) })
	}
	if i >= 0 {
		s.Column = v.cfg.Mapping.Columns[i].Name
	}
	return s
}
