// Package vault is the port through which a node reads its member's own
// database: one subject's row at a time, by a read-only query that the operator
// maps in the node's configuration.
//
// It owns the words of that port: columns and their types, values, a subject
// identifier that never prints itself, and the errors a connector may return.
// It promises that whoever holds a Connector can read exactly the mapped columns
// of one subject, and nothing else: no table names, no SQL and no writing pass
// through it. Connectors live in sub-packages; the conformance suite that each of
// them runs is vault/vaulttest. What an answer may say about a row is decided
// elsewhere (package query); nothing read here ever goes on the ledger.
package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/assent-network/assent/node/redact"
)

// Limits on what the port carries.
const (
	// MaxSubjectBytes bounds a subject identifier.
	MaxSubjectBytes = 128
	// MaxColumns bounds how many columns one connector maps.
	MaxColumns = 256
	// MaxStringBytes bounds a string value; a longer one is ErrSchema, because a
	// template over it could not be costed.
	MaxStringBytes = 256
)

// Errors a Connector returns, wrapped with the step and its facts but never with
// a subject identifier or a value.
var (
	// ErrUnknownSubject means that the vault holds no row for the subject. The
	// layer above turns it into an ordinary answer; it must not reach a lender.
	ErrUnknownSubject = errors.New("vault: no such subject")
	// ErrUnavailable means that the database is down, locked or too slow. Trying
	// again later may work.
	ErrUnavailable = errors.New("vault: unavailable")
	// ErrSchema means that the mapping and the database disagree: a column is
	// missing or holds another type. Only the operator can mend it. The error is
	// also a *SchemaError.
	ErrSchema = errors.New("vault: mapping does not fit the database")
	// ErrAmbiguous means that the query returned more than one row for one
	// subject. Only the operator can mend it.
	ErrAmbiguous = errors.New("vault: more than one row for one subject")
	// ErrAccount means that the database account may do more than read. Nothing is
	// read with it. Only the operator can mend it. The error is also an
	// *AccountError.
	ErrAccount = errors.New("vault: the database account may write")
)

// SchemaError says which mapped column does not fit and what to do about it.
type SchemaError struct {
	Column string // the mapped name, "" when the whole query is at fault
	InRow  bool   // found in the row of one subject: others may be in order
	Detail string // what was found; never a value
	Remedy string
}

// Error names column, finding and remedy.
func (e *SchemaError) Error() string {
	where := "the mapped query"
	if e.Column != "" {
		where = fmt.Sprintf("column %q", e.Column)
	}
	return fmt.Sprintf("vault: %s: %s; %s", where, e.Detail, e.Remedy)
}

// Is makes errors.Is(err, ErrSchema) true.
func (e *SchemaError) Is(target error) bool { return target == ErrSchema }

// AccountError says what a database account may do beyond reading, and the SQL
// that takes it away.
type AccountError struct {
	Account string
	Finding string
	Remedy  string
}

// Error names account, finding and remedy.
func (e *AccountError) Error() string {
	return fmt.Sprintf("vault: the account %q may do more than read: %s; %s", e.Account, e.Finding, e.Remedy)
}

// Is makes errors.Is(err, ErrAccount) true.
func (e *AccountError) Is(target error) bool { return target == ErrAccount }

// Subject is a canonical subject identifier: the text that the bank's records
// and a consent's sealed part both use for one person. It prints as "[redacted]"
// so that it cannot slip into a log line or an error.
type Subject string

// String hides the identifier. Use string(s) where the identifier itself is needed.
func (Subject) String() string { return redact.Mark }

// Format hides the identifier from every verb.
func (Subject) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redact.Mark) }

// LogValue hides the identifier from slog.
func (Subject) LogValue() slog.Value { return slog.StringValue(redact.Mark) }

// MarshalText hides the identifier from JSON and every other text encoding.
func (Subject) MarshalText() ([]byte, error) { return []byte(redact.Mark), nil }

// ParseSubject checks that s can be a canonical identifier: 1 to MaxSubjectBytes
// bytes of valid UTF-8, no control characters, no space at either end. It does
// not rewrite s: two spellings are two subjects.
func ParseSubject(s string) (Subject, error) {
	switch {
	case s == "":
		return "", errors.New("vault: empty subject identifier")
	case len(s) > MaxSubjectBytes:
		return "", fmt.Errorf("vault: subject identifier of %d bytes, at most %d", len(s), MaxSubjectBytes)
	case !utf8.ValidString(s):
		return "", errors.New("vault: subject identifier is not UTF-8")
	case strings.TrimSpace(s) != s:
		return "", errors.New("vault: subject identifier begins or ends with a space")
	case strings.IndexFunc(s, unicode.IsControl) >= 0:
		return "", errors.New("vault: subject identifier holds a control character")
	}
	return Subject(s), nil
}

// Column is one mapped column.
type Column struct {
	Name string
	Type Type
}

// Connector reads one member's data. It is safe for concurrent use.
type Connector interface {
	// Describe lists the mapped columns in the order of the mapping. It reads the
	// mapping only and cannot fail.
	Describe() []Column

	// Check asks the database whether the mapping fits: it prepares the query and
	// probes the type of every mapped column on at most a few rows. On a database
	// with accounts it also asks whether the account can do more than read. It
	// returns nil, ErrUnavailable, ErrAccount, or ErrSchema for the first column
	// that does not fit.
	Check(ctx context.Context) error

	// Lookup reads the named columns of one subject, in that order. Every name
	// must be mapped. It returns within the connector's time limit or ctx's,
	// whichever is shorter. A column whose type in the database has changed since
	// it was first read is ErrSchema, even if its values could be read. Errors:
	// ErrUnknownSubject, ErrUnavailable, ErrSchema, ErrAccount, ErrAmbiguous, or
	// ctx's own error when ctx was cancelled.
	Lookup(ctx context.Context, subject Subject, columns []string) (Row, error)

	// Close releases the database. Lookups after it return ErrUnavailable.
	Close() error
}

// Scanner is a Connector that can also read every subject's row, for answers that
// are worked out before anybody asks.
type Scanner interface {
	Connector

	// Scan visits every subject with the named columns, in that order, in any order
	// of the subjects, as one consistent state of the database. The row is nil where
	// it cannot be used (a value of another type). A key that is no canonical
	// identifier is left out; a subject with two rows is visited twice. It holds one
	// row at a time and ends with visit's first error, or with those of Lookup, or
	// ctx's. No time limit of the connector applies.
	Scan(ctx context.Context, columns []string, visit func(Subject, Row) error) error
}
