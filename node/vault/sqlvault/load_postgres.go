package sqlvault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/assent-network/assent/node/vault"
)

// PostgresTarget says where and as whom ImportPostgres loads.
type PostgresTarget struct {
	// URL names server, database and an account that may create the table, as
	// ServerConfig's does. It is not the account that the node reads with.
	URL      string
	Password func() (string, error)
	// Reader, if set, is the account that the node reads with. It is granted SELECT
	// on the table and USAGE of its schema, no more.
	Reader string
}

// ImportPostgres loads a CSV file into one table by COPY, in one transaction, as
// Import does.
func ImportPostgres(ctx context.Context, to PostgresTarget, cfg ImportConfig, r io.Reader) (Progress, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Progress{}, err
	}
	pc, err := postgresConfig(&ServerConfig{URL: to.URL, Password: to.Password, Timeout: time.Minute})
	if err != nil {
		return Progress{}, fmt.Errorf("vault import: %w", err)
	}
	for _, reading := range []string{"default_transaction_read_only", "statement_timeout", "idle_in_transaction_session_timeout"} {
		delete(pc.RuntimeParams, reading)
	}
	in := newImporter(cfg, r)
	if err := in.header(); err != nil {
		return in.progress, err
	}
	conn, err := pgx.ConnectConfig(ctx, pc)
	if err != nil {
		return in.progress, loadFailed("connect", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx)
	if err != nil {
		return in.progress, loadFailed("begin", err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx)) // after Commit it does nothing
	if err := in.createPostgres(ctx, tx, to.Reader); err != nil {
		return in.progress, err
	}
	if err := in.copyPostgres(ctx, tx); err != nil {
		return in.progress, err
	}
	if err := tx.Commit(ctx); err != nil {
		return in.progress, loadFailed(fmt.Sprintf("commit %d rows", in.progress.Rows), err)
	}
	in.report()
	return in.progress, nil
}

// loadFailed tells the code and why, never the server's text, which quotes rows.
func loadFailed(step string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("vault import: %s: %w", step, context.Canceled)
	}
	code, why := sqlState(err), postgresReason(err)
	if code == "42501" {
		why = "the account may not do that (42501): import with one that may create tables in the schema"
	}
	if why == "" {
		why = "the connection failed: see whether the server runs and is reachable from here"
	}
	return fmt.Errorf("vault import: %s: %s", step, why)
}

func (in *importer) createPostgres(ctx context.Context, tx pgx.Tx, reader string) error {
	table := quote(in.cfg.Table)
	defs := []string{quote(in.cfg.Key) + " text PRIMARY KEY"}
	for _, c := range in.cfg.Columns {
		defs = append(defs, quote(c.Name)+" "+postgresColumn(c))
	}
	var steps []string
	if in.cfg.Replace {
		steps = append(steps, "DROP TABLE IF EXISTS "+table)
	}
	steps = append(steps, "CREATE TABLE "+table+" ("+strings.Join(defs, ", ")+")")
	if reader != "" {
		role := pgx.Identifier{reader}.Sanitize()
		if schema, _, ok := strings.Cut(in.cfg.Table, "."); ok {
			steps = append(steps, "GRANT USAGE ON SCHEMA "+quote(schema)+" TO "+role)
		}
		steps = append(steps, "GRANT SELECT ON "+table+" TO "+role)
	}
	for _, text := range steps {
		_, err := tx.Exec(ctx, text)
		switch {
		case err == nil:
		case sqlState(err) == "42P07":
			return ErrTableExists
		case sqlState(err) == "42704" && strings.HasPrefix(text, "GRANT"):
			return fmt.Errorf("vault import: the account %q of the vault is not there yet: as an administrator: CREATE ROLE %s LOGIN PASSWORD '…'", reader, pgx.Identifier{reader}.Sanitize())
		default:
			return loadFailed(strings.ToLower(strings.Join(strings.Fields(text)[:2], " "))+" "+in.cfg.Table, err)
		}
	}
	return nil
}

func postgresColumn(c ImportColumn) string {
	switch {
	case c.Type == vault.String:
		return "text"
	case c.Type == vault.Bool:
		return "boolean"
	case c.Scale > 0:
		return fmt.Sprintf("numeric(19,%d)", c.Scale) // 64 bits
	}
	return "bigint"
}

// copyLine is how the server says in which row of a COPY something is wrong. It is
// the one thing taken from its text: a number.
var copyLine = regexp.MustCompile(`(?:line|行|Zeile|ligne)\D{0,3}(\d+)`)

func (in *importer) copyPostgres(ctx context.Context, tx pgx.Tx) error {
	columns := []string{in.cfg.Key}
	for _, c := range in.cfg.Columns {
		columns = append(columns, c.Name)
	}
	rows := &copyRows{ctx: ctx, in: in, values: make([]vault.Value, len(columns)), out: make([]any, len(columns))}
	_, err := tx.CopyFrom(ctx, pgx.Identifier(strings.Split(in.cfg.Table, ".")), columns, rows)
	var pe *pgconn.PgError
	switch {
	case rows.err != nil: // of the file, not of the server
		return rows.err
	case errors.As(err, &pe) && pe.Code == "23505":
		where := ""
		if m := copyLine.FindStringSubmatch(pe.Where); m != nil {
			where = fmt.Sprintf("  row %s, ", m[1])
		}
		return fmt.Errorf("vault import: nothing was loaded:\n%scolumn %s (header %q): the key stands in an earlier row too", where, in.cfg.Key, in.cfg.KeyHeader)
	case err != nil:
		return loadFailed(fmt.Sprintf("copy, about row %d", in.progress.Rows), err)
	}
	return nil
}

// copyRows feeds the rows of a file to COPY. It implements pgx.CopyFromSource.
type copyRows struct {
	ctx    context.Context
	in     *importer
	values []vault.Value
	out    []any
	err    error
}

func (c *copyRows) Next() bool {
	more, err := c.in.next(c.ctx, c.values)
	c.err = err
	return more && err == nil
}

func (c *copyRows) Err() error { return c.err }

func (c *copyRows) Values() ([]any, error) {
	for i, v := range c.values {
		c.out[i] = nil
		if n, ok := v.Int(); ok {
			if scale := c.in.cfg.Columns[i-1].Scale; scale > 0 {
				var num pgtype.Numeric
				if err := num.Scan(decimal(n, scale)); err != nil {
					return nil, errors.New("vault import: a decimal cannot be written") // cannot happen: decimal writes digits
				}
				c.out[i] = num
				continue
			}
			c.out[i] = n
		} else if b, ok := v.Bool(); ok {
			c.out[i] = b
		} else if s, ok := v.Str(); ok {
			c.out[i] = s
		}
	}
	return c.out, nil
}
