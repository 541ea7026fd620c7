// Package vaulttest is the conformance suite of vault.Connector. Every connector
// runs it against a real database of its kind.
package vaulttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/node/vault"
)

// Setup describes the database and mapping that one test wants.
type Setup struct {
	Columns []Column
	Rows    []Row // two rows with one key mean that the key is not unique
	Timeout time.Duration
	Slow    bool // the mapped query runs for minutes unless it is stopped
	Down    bool // the database cannot be read
}

// Column is one mapped column.
type Column struct {
	Name    string
	Type    vault.Type // as mapped
	Stored  vault.Type // as stored; 0: as mapped
	Missing bool       // mapped, but not in the database
	Scale   uint8      // the database holds decimals: value / 10^Scale
}

// Row is one subject's row; values are as stored, nulls allowed.
type Row struct {
	Key    string
	Values []vault.Value
}

// Factory makes a connector over a fresh database and closes it with the test.
type Factory func(t *testing.T, s Setup) vault.Connector

const secret = "Wang Xiaoming 110101199001011234" // must show up in no error

var columns = []Column{
	{Name: "income", Type: vault.Int},
	{Name: "region", Type: vault.String},
	{Name: "active", Type: vault.Bool},
	{Name: "balance", Type: vault.Int, Scale: 2},
}

var rows = []Row{
	{"cn:1", []vault.Value{vault.IntValue(500_000), vault.StringValue("东城 O'Brien; --"), vault.BoolValue(true), vault.IntValue(-1210)}},
	{"cn:2", []vault.Value{vault.Null(), vault.Null(), vault.Null(), vault.Null()}},
	{"cn:3", []vault.Value{vault.IntValue(-1 << 63), vault.StringValue(""), vault.BoolValue(false), vault.IntValue(9_007_199_254_740_93)}},
	{"cn:4", []vault.Value{vault.IntValue(1<<63 - 1), vault.StringValue("x"), vault.BoolValue(true), vault.IntValue(5)}},
}

// Run runs the suite.
func Run(t *testing.T, open Factory) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Factory)
	}{
		{"DescribeListsTheMapping", describe},
		{"CheckAcceptsAFittingMapping", checkFits},
		{"LookupReturnsTypedValuesInTheOrderAskedFor", typedValues},
		{"LookupWithoutColumnsOnlyFindsTheSubject", noColumns},
		{"UnknownSubject", unknown},
		{"SubjectIsDataNotSQL", injection},
		{"TwoRowsForOneSubjectAreAnError", ambiguous},
		{"UnmappedColumnIsRefused", unmapped},
		{"MissingColumnIsNamed", missing},
		{"WrongTypeIsNamedWithoutItsValue", wrongType},
		{"SlowQueryEndsAtTheTimeLimit", slow},
		{"CancellingStopsASlowQuery", cancelled},
		{"DatabaseDownIsUnavailable", down},
		{"ClosedIsUnavailable", closed},
		{"ConcurrentLookups", concurrent},
		{"ScanVisitsEverySubject", scans},
		{"ScanEndsWithItsVisitor", scanEnds},
		{"ScanGoesOnPastARowThatCannotBeUsed", scanBadRow},
		{"ScanOfADatabaseDownIsUnavailable", scanDown},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open) })
	}
}

func names(cols []Column) []string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = c.Name
	}
	return out
}

func describe(t *testing.T, open Factory) {
	got := open(t, Setup{Columns: columns, Rows: rows}).Describe()
	if len(got) != len(columns) {
		t.Fatalf("%d columns described, want %d", len(got), len(columns))
	}
	for i, c := range columns {
		if got[i] != (vault.Column{Name: c.Name, Type: c.Type}) {
			t.Errorf("column %d is %v, want %s %v", i, got[i], c.Name, c.Type)
		}
	}
}

func checkFits(t *testing.T, open Factory) {
	if err := open(t, Setup{Columns: columns, Rows: rows}).Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func typedValues(t *testing.T, open Factory) {
	v := open(t, Setup{Columns: columns, Rows: rows})
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1}, {2, 0}} {
		for _, row := range rows {
			ask := make([]string, len(order))
			for i, at := range order {
				ask[i] = columns[at].Name
			}
			got, err := v.Lookup(t.Context(), vault.Subject(row.Key), ask)
			if err != nil {
				t.Fatalf("%s %v: %v", row.Key, ask, err)
			}
			for i, at := range order {
				if got[i] != row.Values[at] {
					t.Errorf("%s %s: the value read differs from the one stored", row.Key, ask[i])
				}
			}
		}
	}
}

func noColumns(t *testing.T, open Factory) {
	v := open(t, Setup{Columns: columns, Rows: rows})
	if row, err := v.Lookup(t.Context(), "cn:1", nil); err != nil || len(row) != 0 {
		t.Fatalf("row of %d values, error %v", len(row), err)
	}
	if _, err := v.Lookup(t.Context(), "cn:9", nil); !errors.Is(err, vault.ErrUnknownSubject) {
		t.Fatalf("error %v, want unknown subject", err)
	}
}

func unknown(t *testing.T, open Factory) {
	v := open(t, Setup{Columns: columns, Rows: rows})
	for _, s := range []vault.Subject{"cn:5", "CN:1", "cn:1 ", "", "\x00"} {
		if _, err := v.Lookup(t.Context(), s, names(columns)); !errors.Is(err, vault.ErrUnknownSubject) {
			t.Errorf("error %v, want unknown subject", err)
		}
	}
}

func injection(t *testing.T, open Factory) {
	v := open(t, Setup{Columns: columns, Rows: rows})
	for _, s := range []vault.Subject{"' OR '1'='1", "cn:1' --", "cn:1; DROP TABLE customers", `cn:1" OR ""="`, "%", "cn:_"} {
		if _, err := v.Lookup(t.Context(), s, names(columns)); !errors.Is(err, vault.ErrUnknownSubject) {
			t.Errorf("error %v, want unknown subject", err)
		}
	}
	if _, err := v.Lookup(t.Context(), "cn:1", names(columns)); err != nil {
		t.Errorf("the table is gone: %v", err)
	}
}

func ambiguous(t *testing.T, open Factory) {
	twice := append(append([]Row(nil), rows...), rows[0])
	_, err := open(t, Setup{Columns: columns, Rows: twice}).Lookup(t.Context(), "cn:1", names(columns))
	if !errors.Is(err, vault.ErrAmbiguous) {
		t.Fatalf("error %v, want ambiguous", err)
	}
}

func unmapped(t *testing.T, open Factory) {
	_, err := open(t, Setup{Columns: columns, Rows: rows}).Lookup(t.Context(), "cn:1", []string{"income", "salary"})
	wantSchema(t, err, "salary")
}

func missing(t *testing.T, open Factory) {
	v := open(t, Setup{Columns: append(append([]Column(nil), columns...), Column{Name: "ghost", Type: vault.Int, Missing: true}), Rows: rows})
	wantSchema(t, v.Check(t.Context()), "ghost")
	_, err := v.Lookup(t.Context(), "cn:1", []string{"income", "ghost"})
	wantSchema(t, err, "ghost")
	if _, err := v.Lookup(t.Context(), "cn:1", []string{"income"}); err != nil {
		t.Errorf("a column that is there cannot be read: %v", err)
	}
}

func wrongType(t *testing.T, open Factory) {
	v := open(t, Setup{
		Columns: []Column{{Name: "income", Type: vault.Int, Stored: vault.String}},
		Rows:    []Row{{"cn:1", []vault.Value{vault.StringValue(secret)}}},
	})
	wantSchema(t, v.Check(t.Context()), "income")
	_, err := v.Lookup(t.Context(), "cn:1", []string{"income"})
	wantSchema(t, err, "income")
}

func wantSchema(t *testing.T, err error, column string) {
	t.Helper()
	var s *vault.SchemaError
	if !errors.Is(err, vault.ErrSchema) || !errors.As(err, &s) {
		t.Fatalf("error %v, want a schema error", err)
	}
	if s.Column != column || s.Remedy == "" {
		t.Errorf("error %q: names column %q, want %q with a remedy", err, s.Column, column)
	}
	for _, word := range strings.Fields(secret) {
		if strings.Contains(err.Error(), word) {
			t.Errorf("the error text holds a value: %q", err)
		}
	}
}

var slowSetup = Setup{
	Columns: []Column{{Name: "income", Type: vault.Int}},
	Rows:    []Row{{secret, []vault.Value{vault.IntValue(1)}}},
	Slow:    true,
}

func slow(t *testing.T, open Factory) {
	s := slowSetup
	s.Timeout = 50 * time.Millisecond
	v := open(t, s)
	start := time.Now()
	_, err := v.Lookup(t.Context(), secret, []string{"income"})
	wantUnavailable(t, err)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v with a limit of %v", took, s.Timeout)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	s.Timeout = time.Minute
	_, err = open(t, s).Lookup(ctx, secret, []string{"income"})
	wantUnavailable(t, err)
}

func cancelled(t *testing.T, open Factory) {
	s := slowSetup
	s.Timeout = time.Minute
	v := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := v.Lookup(ctx, secret, []string{"income"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want the caller's own cancellation", err)
	}
}

func down(t *testing.T, open Factory) {
	v := open(t, Setup{Columns: columns, Rows: rows, Down: true, Timeout: 200 * time.Millisecond})
	_, err := v.Lookup(t.Context(), secret, names(columns))
	wantUnavailable(t, err)
	wantUnavailable(t, v.Check(t.Context()))
}

func closed(t *testing.T, open Factory) {
	v := open(t, Setup{Columns: columns, Rows: rows})
	if _, err := v.Lookup(t.Context(), "cn:1", names(columns)); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := v.Lookup(t.Context(), secret, names(columns))
	wantUnavailable(t, err)
}

func wantUnavailable(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, vault.ErrUnavailable) {
		t.Fatalf("error %v, want unavailable", err)
	}
	if strings.Contains(err.Error(), "Wang") {
		t.Errorf("the error text names the subject: %q", err)
	}
}

func concurrent(t *testing.T, open Factory) {
	v := open(t, Setup{Columns: columns, Rows: rows})
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for i := range 64 {
		wg.Go(func() {
			row := rows[i%len(rows)]
			col := i % len(columns)
			got, err := v.Lookup(context.Background(), vault.Subject(row.Key), names(columns[col:]))
			if err == nil && got[0] != row.Values[col] {
				err = fmt.Errorf("%s of %s differs", columns[col].Name, row.Key)
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}
