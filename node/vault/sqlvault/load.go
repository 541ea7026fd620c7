package sqlvault

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"modernc.org/sqlite"

	"github.com/assent-network/assent/node/vault"
)

// ImportConfig says how a CSV file becomes a table of the embedded vault.
type ImportConfig struct {
	Path  string // of the SQLite file; created if it does not exist
	Table string
	// Key is the table's column for the canonical subject identifier, KeyHeader the
	// CSV column it comes from. It must be unique.
	Key, KeyHeader string
	Columns        []ImportColumn
	// Replace drops a table of this name first, in the same transaction. Without it
	// an existing table is an error.
	Replace bool
	// Comma separates fields; default ','.
	Comma rune
	// MaxRecord bounds one record in bytes; default 64 KiB.
	MaxRecord int
	// Progress, if set, hears now and then, and at the end, how far the import is.
	Progress func(Progress)
}

// ImportColumn maps one CSV column. Empty fields become null.
type ImportColumn struct {
	Name   string // column of the table, and what the catalogue calls it
	Header string // in the CSV's first record; "" means Name
	Type   vault.Type
	Scale  uint8 // decimals are stored as integers of minor units
}

// Progress of an import.
type Progress struct {
	Rows  int64 // records read, header excluded
	Bytes int64 // of the input
}

// Mapping is the mapping that serves the imported table.
func (c ImportConfig) Mapping() Mapping {
	m := Mapping{Table: c.Table, Key: c.Key}
	for _, col := range c.Columns {
		m.Columns = append(m.Columns, ColumnMapping{Name: col.Name, Type: col.Type})
	}
	return m
}

// maxBadCells is how many complaints an import collects before it gives up.
const maxBadCells = 20

// progressRows is how many rows pass between two calls of Progress.
const progressRows = 1000

// ErrTableExists refuses an import into a table that is there already.
var ErrTableExists = errors.New("vault import: the table exists already; import with replace to load it anew")

// Import loads a CSV file (RFC 4180; UTF-8 with or without byte order mark; LF or
// CRLF) into one table, in one transaction: on any error the vault is as before. The
// error names the rows and columns at fault, up to 20 of them, never their values.
func Import(ctx context.Context, cfg ImportConfig, r io.Reader) (Progress, error) {
	if cfg.Comma == 0 {
		cfg.Comma = ','
	}
	if cfg.MaxRecord == 0 {
		cfg.MaxRecord = 64 << 10
	}
	if err := cfg.Mapping().check(); err != nil {
		return Progress{}, err
	}
	created, err := createFile(cfg.Path)
	if err != nil {
		return Progress{}, fmt.Errorf("vault import: %w", err)
	}
	in := &importer{cfg: cfg, input: &recordLimit{r: bufio.NewReaderSize(r, 64<<10), max: cfg.MaxRecord}}
	if err = in.run(ctx); err != nil && created {
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

// importer is one import under way.
type importer struct {
	cfg      ImportConfig
	input    *recordLimit
	csv      *csv.Reader
	fields   []int // position in the record: key first, then Columns in order
	progress Progress
	bad      []error
}

func (in *importer) run(ctx context.Context) error {
	if err := in.header(); err != nil {
		return err
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", fileURI(in.cfg.Path, q))
	if err != nil {
		return fmt.Errorf("vault import: open %s: %w", in.cfg.Path, err)
	}
	defer db.Close()
	tx, err := db.Begin() // rows watches ctx: database/sql would roll back under its hands
	if err != nil {
		return fmt.Errorf("vault import: begin on %s: %w; is another import running?", in.cfg.Path, err)
	}
	defer tx.Rollback() // after Commit it does nothing
	if err := in.createTable(tx); err != nil {
		return err
	}
	if err := in.rows(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("vault import: commit %d rows: %w", in.progress.Rows, err)
	}
	in.report()
	return nil
}

// header reads the first record and finds the mapped columns in it.
func (in *importer) header() error {
	if mark, err := in.input.r.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		in.input.r.Discard(3)
		in.input.total = 3
	}
	in.csv = csv.NewReader(in.input)
	in.csv.Comma = in.cfg.Comma
	in.csv.ReuseRecord = true
	record, err := in.csv.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("vault import: the file is empty; its first line must name the columns")
	}
	if err != nil {
		return fmt.Errorf("vault import: header: %w", err)
	}
	at := map[string]int{}
	for i, name := range record {
		name = strings.TrimSpace(name)
		if _, twice := at[name]; twice {
			return fmt.Errorf("vault import: the header names %q twice", name)
		}
		at[name] = i
	}
	wanted := []string{in.cfg.KeyHeader}
	for _, c := range in.cfg.Columns {
		wanted = append(wanted, c.header())
	}
	var missing []string
	for _, name := range wanted {
		i, ok := at[name]
		if !ok {
			missing = append(missing, fmt.Sprintf("%q", name))
		}
		in.fields = append(in.fields, i)
	}
	if missing != nil {
		return fmt.Errorf("vault import: the header has no %s; correct the mapping or the separator", strings.Join(missing, ", "))
	}
	return nil
}

func (c ImportColumn) header() string {
	if c.Header == "" {
		return c.Name
	}
	return c.Header
}

func (in *importer) createTable(tx *sql.Tx) error {
	table := quote(in.cfg.Table)
	if in.cfg.Replace {
		if _, err := tx.Exec("DROP TABLE IF EXISTS " + table); err != nil {
			return fmt.Errorf("vault import: drop table %s: %w", in.cfg.Table, err)
		}
	}
	defs := []string{quote(in.cfg.Key) + " TEXT PRIMARY KEY NOT NULL"}
	for _, c := range in.cfg.Columns {
		t := " INTEGER"
		if c.Type == vault.String {
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

func (in *importer) rows(ctx context.Context, tx *sql.Tx) error {
	marks := strings.Repeat(", ?", len(in.cfg.Columns))
	insert, err := tx.Prepare("INSERT INTO " + quote(in.cfg.Table) + " VALUES (?" + marks + ")")
	if err != nil {
		return fmt.Errorf("vault import: prepare: %w", err)
	}
	defer insert.Close()
	args := make([]any, len(in.fields))
	for {
		record, err := in.csv.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("vault import: row %d: %w", in.progress.Rows+1, err)
		}
		in.progress.Rows++
		if !in.convert(record, args) {
			if len(in.bad) >= maxBadCells {
				break
			}
			continue
		}
		if _, err := insert.Exec(args...); err != nil {
			if err := in.refused(err); err != nil {
				return err
			}
		}
		if in.progress.Rows%progressRows == 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("vault import: row %d: %w", in.progress.Rows, err)
			}
			in.report()
		}
	}
	if in.bad != nil {
		return fmt.Errorf("vault import: nothing was loaded:\n%w", errors.Join(in.bad...))
	}
	return nil
}

const sqliteConstraint = 19 // SQLITE_CONSTRAINT

// refused turns a duplicate key into a complaint about the row.
func (in *importer) refused(err error) error {
	var se *sqlite.Error
	if errors.As(err, &se) && se.Code()&0xff == sqliteConstraint {
		in.complain(0, "the key stands in an earlier row too")
		if len(in.bad) >= maxBadCells {
			return fmt.Errorf("vault import: nothing was loaded:\n%w", errors.Join(in.bad...))
		}
		return nil
	}
	return fmt.Errorf("vault import: row %d: %w", in.progress.Rows, err)
}

// convert turns a record into the arguments of the insert.
func (in *importer) convert(record []string, args []any) bool {
	ok := true
	subject, err := vault.ParseSubject(strings.TrimSpace(record[in.fields[0]]))
	if err != nil {
		in.complain(0, strings.TrimPrefix(err.Error(), "vault: "))
		ok = false
	}
	args[0] = strings.Clone(string(subject))
	for i, c := range in.cfg.Columns {
		field := record[in.fields[i+1]]
		if c.Type != vault.String {
			field = strings.TrimSpace(field)
		}
		if args[i+1] = nil; field == "" {
			continue
		}
		v, err := ColumnMapping{Name: c.Name, Type: c.Type, Scale: c.Scale}.decode(field)
		if err != nil {
			in.complain(i+1, wanted(c))
			ok = false
			continue
		}
		args[i+1] = plainValue(v)
	}
	return ok
}

func wanted(c ImportColumn) string {
	switch {
	case c.Type == vault.Int && c.Scale > 0:
		return fmt.Sprintf("is not a number with at most %d decimal places", c.Scale)
	case c.Type == vault.Int:
		return "is not a whole number of at most 64 bits"
	case c.Type == vault.Bool:
		return "is neither true nor false"
	}
	return fmt.Sprintf("is not UTF-8 text of at most %d bytes", vault.MaxStringBytes)
}

func plainValue(v vault.Value) any {
	if n, ok := v.Int(); ok {
		return n
	}
	if b, ok := v.Bool(); ok {
		if b {
			return int64(1)
		}
		return int64(0)
	}
	s, _ := v.Str()
	return s
}

// complain records what is wrong with one cell; field 0 is the key.
func (in *importer) complain(field int, what string) {
	line, _ := in.csv.FieldPos(in.fields[field])
	name, header := in.cfg.Key, in.cfg.KeyHeader
	if field > 0 {
		name, header = in.cfg.Columns[field-1].Name, in.cfg.Columns[field-1].header()
	}
	in.bad = append(in.bad, fmt.Errorf("  row %d (line %d), column %s (header %q): %s", in.progress.Rows, line, name, header, what))
}

func (in *importer) report() {
	in.progress.Bytes = in.input.total
	if in.cfg.Progress != nil {
		in.cfg.Progress(in.progress)
	}
}

// recordLimit refuses records that are longer than max, so that a file without
// line ends, or with a quote left open, cannot fill the memory.
type recordLimit struct {
	r      *bufio.Reader
	max    int
	length int // of the record so far
	quoted bool
	total  int64
}

// Read implements io.Reader.
func (l *recordLimit) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.total += int64(n)
	for _, b := range p[:n] {
		l.length++
		switch {
		case b == '"':
			l.quoted = !l.quoted
		case b == '\n' && !l.quoted:
			l.length = 0
		}
		if l.length > l.max {
			return 0, fmt.Errorf("a record is longer than %d bytes; is a quote left open, or is this no CSV file?", l.max)
		}
	}
	return n, err
}
