package sqlvault

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/assent-network/assent/node/vault"
)

// ImportConfig says how a CSV file becomes a table of a vault.
type ImportConfig struct {
	Path  string // of the SQLite file; created if it does not exist. Not used for a server
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
	Scale  uint8 // decimal places; stored as a decimal, exactly (as text in SQLite, which has none)
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
		m.Columns = append(m.Columns, ColumnMapping{Name: col.Name, Type: col.Type, Scale: col.Scale})
	}
	return m
}

// maxBadCells is how many complaints an import collects before it gives up.
const maxBadCells = 20

// progressRows is how many rows pass between two calls of Progress.
const progressRows = 1000

// withDefaults fills in the limits and checks the names.
func (c ImportConfig) withDefaults() (ImportConfig, error) {
	if c.Comma == 0 {
		c.Comma = ','
	}
	if c.MaxRecord == 0 {
		c.MaxRecord = 64 << 10
	}
	return c, c.Mapping().check()
}

// ErrTableExists refuses an import into a table that is there already.
var ErrTableExists = errors.New("vault import: the table exists already; import with replace to load it anew")

// importer reads the rows of one import: those in order, and the complaints about
// the others.
type importer struct {
	cfg      ImportConfig
	input    *recordLimit
	csv      *csv.Reader
	fields   []int // position in the record: key first, then Columns in order
	progress Progress
	bad      []error
}

func newImporter(cfg ImportConfig, r io.Reader) *importer {
	return &importer{cfg: cfg, input: &recordLimit{r: bufio.NewReaderSize(r, 64<<10), max: cfg.MaxRecord}}
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

// next puts the next row that is in order into values: key first, then Columns.
// It returns false at the end, and then an error if any row was not in order: all
// rows are looked through, so that an operator sees every complaint at once.
func (in *importer) next(ctx context.Context, values []vault.Value) (bool, error) {
	for len(in.bad) < maxBadCells {
		record, err := in.csv.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, fmt.Errorf("vault import: row %d: %w", in.progress.Rows+1, err)
		}
		in.progress.Rows++
		if in.progress.Rows%progressRows == 0 {
			if err := ctx.Err(); err != nil {
				return false, fmt.Errorf("vault import: row %d: %w", in.progress.Rows, err)
			}
			in.report()
		}
		if in.convert(record, values) {
			return true, nil
		}
	}
	return false, in.complaints()
}

func (in *importer) complaints() error {
	if in.bad == nil {
		return nil
	}
	return fmt.Errorf("vault import: nothing was loaded:\n%w", errors.Join(in.bad...))
}

// convert turns a record into the values of a row.
func (in *importer) convert(record []string, values []vault.Value) bool {
	ok := true
	subject, err := vault.ParseSubject(strings.TrimSpace(record[in.fields[0]]))
	if err != nil {
		in.complain(0, strings.TrimPrefix(err.Error(), "vault: "))
		ok = false
	}
	values[0] = vault.StringValue(strings.Clone(string(subject)))
	for i, c := range in.cfg.Columns {
		field := record[in.fields[i+1]]
		if c.Type != vault.String {
			field = strings.TrimSpace(field)
		}
		if values[i+1] = vault.Null(); field == "" {
			continue
		}
		v, err := ColumnMapping{Name: c.Name, Type: c.Type, Scale: c.Scale}.decode(field)
		if err != nil {
			in.complain(i+1, wanted(c))
			ok = false
			continue
		}
		if text, is := v.Str(); is {
			v = vault.StringValue(strings.Clone(text))
		}
		values[i+1] = v
	}
	return ok
}

// decimal writes n × 10^-scale with all its decimal places.
func decimal(n int64, scale uint8) string {
	if scale == 0 {
		return strconv.FormatInt(n, 10)
	}
	sign, digits := "", strconv.FormatInt(n, 10)
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	if short := int(scale) + 1 - len(digits); short > 0 {
		digits = strings.Repeat("0", short) + digits
	}
	point := len(digits) - int(scale)
	return sign + digits[:point] + "." + digits[point:]
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
