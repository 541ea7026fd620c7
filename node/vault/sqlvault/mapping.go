// Package sqlvault is the vault connector for database/sql engines: it turns an
// operator's mapping into one prepared, read-only SELECT per set of columns and
// reads single rows through it. What differs between engines is a Dialect: SQLite,
// the embedded default (OpenSQLite), PostgreSQL (OpenPostgres), MySQL and MariaDB
// (OpenMySQL). Import and ImportPostgres load CSV files.
//
// It promises that nothing but those statements and its own questions about types
// and rights is ever sent to the database, the statements prepared; that a subject
// identifier travels only as a bound parameter and is compared byte for byte; that
// two rows for one subject are an error and never a guess; that nothing is answered
// from a column whose type is not the mapped one or not the one it was, nor read
// with an account that may write; and that no error text holds a value, a subject
// or a password. It leaves types and errors to package vault.
package sqlvault

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/assent-network/assent/node/vault"
)

// Mapping says where one data product's columns live. It comes from the node's
// configuration: the operator wrote it, a lender never sees it.
type Mapping struct {
	// Table is the name of a table or view, optionally "schema.table". Exactly one
	// of Table and Query is set.
	Table string
	// Query is a SELECT used as a sub-query where a table does not do, for example
	// a join. It takes no parameters.
	Query string
	// Key is the column of Table or Query that holds the canonical subject
	// identifier. It should be unique and indexed.
	Key string
	// Columns are the columns that templates may name.
	Columns []ColumnMapping
}

// ColumnMapping maps one column.
type ColumnMapping struct {
	Name string // what the catalogue and templates call it: [a-z][a-z0-9_]*
	Expr string // SQL expression over Table or Query; "" means a column of the same name
	Type vault.Type
	// Stored, if set, is the type that the column must have in the database, in the
	// words of Check's complaints: "NUMERIC(12,2)". Empty: any type that fits Type.
	Stored string
	// Scale turns a decimal into an integer of minor units: with Scale 2 the
	// database's 12.5 is read as 1250. Int columns only, 0 to 9.
	Scale uint8
}

var (
	mappedName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`) // as the ledger's catalogue
	columnName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	tableName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$`)
)

const maxSQLBytes = 16 << 10

// check joins every complaint about the mapping, so that an operator mends them
// in one go.
func (m Mapping) check() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf("vault mapping: "+format, args...)) }
	switch {
	case m.Table == "" && m.Query == "":
		complain("neither table nor query is set; name the table that holds the customers")
	case m.Table != "" && m.Query != "":
		complain("both table and query are set; keep one")
	case m.Table != "" && !tableName.MatchString(m.Table):
		complain("table %q is not a plain name; use a query for anything else", m.Table)
	}
	if q := strings.TrimSpace(m.Query); q != "" {
		if err := checkSQL(q); err != nil {
			complain("query %w", err)
		} else if first := words(q); len(first) == 0 || !strings.EqualFold(first[0].text, "SELECT") && !strings.EqualFold(first[0].text, "WITH") {
			complain("query must begin with SELECT or WITH")
		}
	}
	if !columnName.MatchString(m.Key) {
		complain("key %q is not a column name; name the column with the canonical subject identifier", m.Key)
	}
	if len(m.Columns) == 0 || len(m.Columns) > vault.MaxColumns {
		complain("%d columns mapped, want 1 to %d", len(m.Columns), vault.MaxColumns)
	}
	seen := map[string]bool{}
	for _, c := range m.Columns {
		if err := c.check(); err != nil {
			complain("column %q: %w", c.Name, err)
		}
		if seen[c.Name] {
			complain("column %q is mapped twice", c.Name)
		}
		seen[c.Name] = true
	}
	return errors.Join(errs...)
}

func (c ColumnMapping) check() error {
	if !mappedName.MatchString(c.Name) {
		return errors.New("name must be lower-case letters, digits and underscores, beginning with a letter; the database's own name goes into the expression")
	}
	if c.Type < vault.Int || c.Type > vault.Bool {
		return errors.New("type must be int, string or bool")
	}
	if c.Scale != 0 && c.Type != vault.Int {
		return fmt.Errorf("scale %d on type %s; only int columns have a scale", c.Scale, c.Type)
	}
	if c.Scale > 9 {
		return fmt.Errorf("scale %d, at most 9", c.Scale)
	}
	return checkSQL(c.Expr)
}

// checkSQL refuses what cannot be part of one SELECT and what is not read-only on
// its face. It does not understand SQL: that the account may only SELECT is the
// database's business, and Check asks it.
func checkSQL(s string) error {
	if len(s) > maxSQLBytes {
		return fmt.Errorf("of %d bytes, at most %d", len(s), maxSQLBytes)
	}
	if strings.ContainsAny(s, ";?\x00") {
		return errors.New("must not hold ';', '?' or a zero byte")
	}
	if strings.Contains(s, "--") || strings.Contains(s, "/*") {
		return errors.New("must not hold a comment")
	}
	return checkReadOnly(s)
}

func quote(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = `"` + p + `"`
	}
	return strings.Join(parts, ".")
}

// selectSQL is the lookup for the given columns; LIMIT 2 is enough to see that a
// key is not unique. A column without an expression is named with its table
// alias: SQLite reads a bare "x" that is no column as the string 'x', which would
// answer with a column's name instead of failing.
func (m Mapping) selectSQL(cols []ColumnMapping, d *Dialect) string {
	return m.selectFrom(cols) + " WHERE " + d.Match("v."+quote(m.Key)) + " LIMIT 2"
}

func (m Mapping) selectFrom(cols []ColumnMapping) string {
	exprs := make([]string, len(cols))
	for i, c := range cols {
		exprs[i] = "v." + quote(c.Name)
		if c.Expr != "" {
			exprs[i] = "(" + c.Expr + ")"
		}
	}
	from := quote(m.Table)
	if m.Query != "" {
		from = "(" + m.Query + ")"
	}
	return "SELECT " + strings.Join(exprs, ", ") + " FROM " + from + " AS v"
}
