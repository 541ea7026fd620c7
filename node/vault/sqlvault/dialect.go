package sqlvault

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/assent-network/assent/node/vault"
)

// Dialect holds what differs between database engines.
type Dialect struct {
	Name string
	// Match returns the condition that holds for exactly the rows whose key is the
	// subject, byte for byte, whatever collation the column has. It binds the
	// subject Bind times; 0 means once.
	Match func(key string) string
	Bind  int
	// Classify sorts a driver's error: nil means that the database is
	// unavailable, otherwise it returns the SchemaError to report.
	Classify func(err error) *vault.SchemaError

	// What follows may be nil.

	// Reason says in the operator's words why the database is unavailable. It must
	// not repeat the driver's text, which may quote values.
	Reason func(err error) string
	// Stale reports that a prepared statement was made for another schema.
	Stale func(err error) bool
	// Lost reports that the connection broke, not the query.
	Lost func(err error) bool
	// Fits says what is wrong with a column of the given type in the database, and
	// what to do; "" when it can hold what is mapped. Nil: types are told by the
	// values alone.
	Fits func(c ColumnMapping, t StoredType) (wrong, remedy string)
	// FitsKey is the same for the key.
	FitsKey func(t StoredType) (wrong, remedy string)
	// Account refuses an account that may do more than read: *vault.AccountError.
	Account func(ctx context.Context, db *sql.DB) error
	// Patient lifts the server's time limits on one connection, for a scan.
	Patient func(ctx context.Context, conn *sql.Conn) error
	// ReadOnly runs every query in a READ ONLY transaction.
	ReadOnly bool
	// File is the database's file, for engines that go on reading one they hold
	// open after it was removed or replaced. It is looked at before every lookup:
	// the vault is what stands under its name.
	File string
}

// StoredType is the type of a column in the database.
type StoredType struct {
	Name             string // as the driver names it, upper case
	Precision, Scale int64
	Sized            bool // Precision and Scale are known
}

// String is the type as Stored of a mapping names it: "NUMERIC(12,2)".
func (t StoredType) String() string {
	if t.Sized {
		return fmt.Sprintf("%s(%d,%d)", t.Name, t.Precision, t.Scale)
	}
	if _, err := strconv.ParseUint(t.Name, 10, 32); err == nil {
		return "a type of its own (oid " + t.Name + ")" // an enumeration, for example
	}
	return t.Name
}

// storedType reads what the driver says about a column. A scale beyond a thousand
// is how a driver says that a decimal has no fixed one.
func storedType(c *sql.ColumnType) StoredType {
	t := StoredType{Name: strings.ToUpper(c.DatabaseTypeName())}
	if p, s, ok := c.DecimalSize(); ok && s >= 0 && s <= 1000 && p > 0 && p <= 1000 && (t.Name == "NUMERIC" || t.Name == "DECIMAL") {
		t.Precision, t.Scale, t.Sized = p, s, true
	}
	return t
}

// fitting judges a column by the names of the types that its mapped type may be
// read from, engine by engine.
type fitting struct {
	whole, decimal, instant, text, truth []string
	cast                                 map[vault.Type]string // SQL that turns something else into the type
	naive                                []string              // points in time without a zone
	naiveRemedy                          string
}

func (f fitting) judge(c ColumnMapping, t StoredType) (wrong, remedy string) {
	in := func(list []string) bool {
		for _, n := range list {
			if n == t.Name {
				return true
			}
		}
		return false
	}
	cast := "map an expression that casts it: " + f.cast[c.Type]
	switch {
	case c.Type == vault.Int && in(f.whole), c.Type == vault.String && in(f.text), c.Type == vault.Bool && in(f.truth):
		return "", ""
	case c.Type == vault.Int && in(f.decimal):
		if t.Sized && t.Scale > int64(c.Scale) {
			return fmt.Sprintf("is mapped with %d decimal places but is %s in the database", c.Scale, t), fmt.Sprintf("set the mapping's scale to %d, or round it in an expression", t.Scale)
		}
		return "", ""
	case c.Type == vault.Int && in(f.instant):
		if c.Scale != 0 {
			return fmt.Sprintf("has scale %d but is %s in the database, which is read as Unix milliseconds", c.Scale, t), "set the mapping's scale to 0"
		}
		return "", ""
	case c.Type == vault.Int && in(f.naive):
		return fmt.Sprintf("is %s in the database: a time without a zone is no point in time", t), f.naiveRemedy
	case c.Type == vault.Int && (strings.HasPrefix(t.Name, "FLOAT") || t.Name == "DOUBLE" || t.Name == "REAL"):
		return fmt.Sprintf("is mapped as int but is %s in the database, which cannot hold money exactly", t), cast
	}
	return fmt.Sprintf("is mapped as %s but is %s in the database", c.Type, t), "change the column's type in the mapping or " + cast
}
