package sqlvault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/node/vault"
)

// Config of a connector. The zero value of a limit means its default.
type Config struct {
	Dialect Dialect
	Mapping Mapping
	// Timeout of one lookup; default 2 s.
	Timeout time.Duration
	// AccountEvery is how often the account's rights are looked at again; default
	// one minute. After a new connection they are looked at at once.
	AccountEvery time.Duration
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

	admitted  atomic.Pointer[time.Time] // when the account was last found in order
	admitting chan struct{}             // capacity 1: held by whoever asks

	failures atomic.Int32          // lookups in a row that found the database unavailable
	failed   atomic.Pointer[error] // the newest of them
	trial    chan struct{}         // capacity 1: held by the one lookup that may try then

	fileMu sync.RWMutex // held for reading by every use of the file; guards file
	file   os.FileInfo  // that the connections were opened on; nil without Dialect.File

	mu         sync.Mutex // guards what follows
	statements map[string]*lookup
	types      map[string]string // of each column in the database, when first read
}

// lookup is one prepared statement and the columns it reads.
type lookup struct {
	key  string
	stmt *sql.Stmt
	cols []ColumnMapping // what the statement selects
	want int             // how many of them were asked for: all, or none of one
	gone atomic.Bool     // closed, or about to be
}

var _ vault.Connector = (*Vault)(nil)

// New makes a connector over an open database, which it owns from then on. It
// checks the mapping's form; call Check to ask the database.
func New(db *sql.DB, cfg Config) (*Vault, error) {
	if err := cfg.Mapping.check(); err != nil {
		return nil, err
	}
	if cfg.Dialect.Match == nil || cfg.Dialect.Classify == nil {
		return nil, errors.New("vault: the dialect needs a condition on the key and a classifier of errors")
	}
	cfg.Dialect.Bind = max(cfg.Dialect.Bind, 1)
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.AccountEvery == 0 {
		cfg.AccountEvery = time.Minute
	}
	v := &Vault{cfg: cfg, db: db, byName: map[string]ColumnMapping{}, admitting: make(chan struct{}, 1), trial: make(chan struct{}, 1),
		statements: map[string]*lookup{}, types: map[string]string{}}
	for _, c := range cfg.Mapping.Columns {
		v.byName[c.Name] = c
	}
	if cfg.Dialect.File != "" {
		var err error
		if v.file, err = regular(cfg.Dialect.File); err != nil {
			return nil, fmt.Errorf("open vault: %w", err)
		}
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

// nobody is looked up in place of what cannot be a canonical identifier, so that
// it costs the same. No canonical identifier holds a control character.
const nobody = "\x01"

// maxFailures is after how many failures in a row one lookup at a time tries.
const maxFailures = 3

// Lookup implements vault.Connector. While the database is down or too slow, one
// lookup at a time finds out whether it is back, and the others fail at once:
// otherwise each would hold its caller for the whole time limit, and with it the
// products whose databases are well.
func (v *Vault) Lookup(ctx context.Context, subject vault.Subject, columns []string) (vault.Row, error) {
	if v.failures.Load() >= maxFailures {
		select {
		case v.trial <- struct{}{}:
			defer func() { <-v.trial }()
		default:
			if err := v.failed.Load(); err != nil {
				return nil, *err
			}
		}
	}
	row, err := v.lookup(ctx, subject, columns)
	switch {
	case !errors.Is(err, vault.ErrUnavailable):
		v.failures.Store(0)
	case ctx.Err() == nil: // the database's time was up, not the caller's
		v.failed.Store(&err)
		v.failures.Add(1)
	}
	return row, err
}

func (v *Vault) lookup(ctx context.Context, subject vault.Subject, columns []string) (vault.Row, error) {
	limited, cancel := context.WithTimeout(ctx, v.cfg.Timeout)
	defer cancel()
	if _, err := vault.ParseSubject(string(subject)); err != nil {
		subject = nobody
	}
	for attempt := 0; ; attempt++ {
		row, retry, err := v.attempt(limited, subject, columns)
		switch {
		case err == nil || errors.Is(err, vault.ErrUnknownSubject) || errors.Is(err, vault.ErrAmbiguous):
			return row, err
		case attempt == 0 && retry && limited.Err() == nil:
		default:
			return nil, v.failure(ctx, "look up subject", v.name(ctx, err, columns))
		}
	}
}

// attempt is one try of a lookup. With retry, another may succeed at once: the
// statement was made for another schema, was dropped by somebody else, or the
// connection broke.
func (v *Vault) attempt(ctx context.Context, subject vault.Subject, columns []string) (row vault.Row, retry bool, err error) {
	release, err := v.hold()
	if err != nil {
		return nil, false, err
	}
	defer release()
	if err := v.admit(ctx, false); err != nil {
		return nil, v.lost(err), err
	}
	l, err := v.prepare(ctx, columns)
	if err != nil {
		return nil, v.lost(err), err
	}
	row, err = v.read(ctx, l, subject)
	if err == nil || errors.Is(err, vault.ErrUnknownSubject) {
		// A new connection may have come in between: nothing leaves that was read
		// with an account nobody looked at.
		if denied := v.admit(ctx, false); denied != nil {
			return nil, v.lost(denied), denied
		}
		return row, false, err
	}
	if stale := v.cfg.Dialect.Stale; stale != nil && stale(err) {
		v.forget(l)
	}
	return nil, v.lost(err) || l.gone.Load(), err
}

// lost reports a broken connection.
func (v *Vault) lost(err error) bool {
	lost := v.cfg.Dialect.Lost
	return lost != nil && lost(err)
}

// connected is called for every new connection of the pool. What answers may be
// another server than before, or the same one after an administrator's work: the
// account is looked at again.
func (v *Vault) connected() { v.admitted.Store(nil) }

// read runs a lookup.
func (v *Vault) read(ctx context.Context, l *lookup, subject vault.Subject) (row vault.Row, err error) {
	args := make([]any, v.cfg.Dialect.Bind)
	for i := range args {
		args[i] = string(subject)
	}
	rows, end, err := v.query(ctx, func(tx *sql.Tx) (*sql.Rows, error) {
		stmt := l.stmt
		if tx != nil {
			stmt = tx.StmtContext(ctx, stmt)
		}
		return stmt.QueryContext(ctx, args...)
	})
	if err != nil {
		return nil, err
	}
	defer end()
	types, err := v.checkTypes(rows, l.cols)
	if err != nil {
		return nil, err
	}
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, err
		}
		return nil, vault.ErrUnknownSubject
	}
	if row, err = l.decode(rows, types); err != nil {
		return nil, err
	}
	if rows.Next() {
		return nil, fmt.Errorf("look up subject by key %q: %w; make the key column unique or map a query that returns one row", v.cfg.Mapping.Key, vault.ErrAmbiguous)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if subject == nobody {
		return nil, vault.ErrUnknownSubject
	}
	return row, nil
}

// query runs a query, in a READ ONLY transaction where the dialect has one; end
// ends both.
func (v *Vault) query(ctx context.Context, run func(*sql.Tx) (*sql.Rows, error)) (rows *sql.Rows, end func(), err error) {
	if !v.cfg.Dialect.ReadOnly {
		if rows, err = run(nil); err != nil {
			return nil, nil, err
		}
		return rows, func() { rows.Close() }, nil
	}
	tx, err := v.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	if rows, err = run(tx); err != nil {
		tx.Rollback()
		return nil, nil, err
	}
	return rows, func() { rows.Close(); tx.Rollback() }, nil
}

func (l *lookup) decode(rows *sql.Rows, types []StoredType) (vault.Row, error) {
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
		val, err := c.decode(unpadded(raw[i], types[i]))
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
	cols, err := v.columns(columns)
	if err != nil {
		return nil, err
	}
	stmt, err := v.db.PrepareContext(ctx, v.cfg.Mapping.selectSQL(cols, &v.cfg.Dialect))
	if err != nil {
		return nil, err
	}
	return v.keep(&lookup{key: key, stmt: stmt, cols: cols, want: len(columns)}), nil
}

// columns are the mapped columns with these names, at least one.
func (v *Vault) columns(names []string) ([]ColumnMapping, error) {
	cols := make([]ColumnMapping, len(names))
	for i, name := range names {
		c, ok := v.byName[name]
		if !ok {
			return nil, &vault.SchemaError{Column: name, Detail: "is not mapped", Remedy: "add it to the vault mapping of the node's configuration"}
		}
		cols[i] = c
	}
	if len(cols) == 0 { // a template over parameters alone still costs one look-up
		cols = []ColumnMapping{{Name: "present", Expr: "1", Type: vault.Int}}
	}
	return cols, nil
}

func (v *Vault) keep(l *lookup) *lookup {
	v.mu.Lock()
	defer v.mu.Unlock()
	if other, ok := v.statements[l.key]; ok {
		l.stmt.Close()
		return other
	}
	if len(v.statements) >= maxStatements {
		for _, old := range v.statements { // any one: this happens only on a misconfigured node
			v.dropLocked(old)
			break
		}
	}
	v.statements[l.key] = l
	return l
}

// forget closes a statement; the next lookup prepares it anew.
func (v *Vault) forget(l *lookup) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.statements[l.key] == l {
		v.dropLocked(l)
	}
}

func (v *Vault) dropLocked(l *lookup) {
	l.gone.Store(true)
	l.stmt.Close()
	delete(v.statements, l.key)
}

// Close implements vault.Connector.
func (v *Vault) Close() error {
	v.mu.Lock()
	for _, l := range v.statements {
		l.stmt.Close()
	}
	clear(v.statements)
	v.mu.Unlock()
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
	if errors.Is(err, vault.ErrSchema) || errors.Is(err, vault.ErrAccount) || errors.Is(err, vault.ErrUnavailable) {
		return fmt.Errorf("%s: %w", step, err)
	}
	if s := v.cfg.Dialect.Classify(err); s != nil {
		return fmt.Errorf("%s: %w", step, v.blame(s))
	}
	if errors.Is(err, context.DeadlineExceeded) || outer.Err() != nil {
		return fmt.Errorf("%s: no result within %v: %w; look at the database's load or raise the vault's timeout", step, v.cfg.Timeout, vault.ErrUnavailable)
	}
	if v.cfg.Dialect.Reason != nil {
		if why := v.cfg.Dialect.Reason(err); why != "" {
			return fmt.Errorf("%s on %s: %w: %s", step, v.cfg.Dialect.Name, vault.ErrUnavailable, why)
		}
	}
	return fmt.Errorf("%s on %s: %w; see whether the database is running and reachable", step, v.cfg.Dialect.Name, vault.ErrUnavailable)
}
