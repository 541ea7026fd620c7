package vaulttest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/vault"
)

func scanner(t *testing.T, c vault.Connector) vault.Scanner {
	t.Helper()
	s, ok := c.(vault.Scanner)
	if !ok {
		t.Fatalf("%T cannot scan", c)
	}
	return s
}

// scans holds a scan against lookups: both read the same.
func scans(t *testing.T, open Factory) {
	twice := append(slices.Clone(rows), rows[0], Row{" blank", rows[0].Values})
	c := scanner(t, open(t, Setup{Columns: columns, Rows: twice}))
	names := []string{"balance", "region", "income"}
	seen := map[string]int{}
	err := c.Scan(t.Context(), names, func(s vault.Subject, row vault.Row) error {
		seen[string(s)]++
		if s == "cn:1" {
			return nil // which a lookup finds twice
		}
		want, err := c.Lookup(t.Context(), s, names)
		if err != nil {
			return err
		}
		if !slices.Equal(row, want) {
			t.Errorf("a row differs from the one that is looked up")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		want := 1
		if r.Key == "cn:1" {
			want = 2
		}
		if seen[r.Key] != want {
			t.Errorf("a subject was visited %d times, want %d", seen[r.Key], want)
		}
	}
	if len(seen) != len(rows) {
		t.Errorf("%d subjects visited, want %d: a key that is no identifier is left out", len(seen), len(rows))
	}
	n := 0
	if err := c.Scan(t.Context(), nil, func(_ vault.Subject, row vault.Row) error { n++; return check(len(row) == 0) }); err != nil || n != len(rows)+1 {
		t.Errorf("without columns: %d visits, %v", n, err)
	}
	var schema *vault.SchemaError
	if err := c.Scan(t.Context(), []string{"nothing"}, nil); !errors.As(err, &schema) || schema.Column != "nothing" {
		t.Errorf("an unmapped column: %v", err)
	}
}

func check(ok bool) error {
	if !ok {
		return errors.New("values nobody asked for")
	}
	return nil
}

func scanEnds(t *testing.T, open Factory) {
	c := scanner(t, open(t, Setup{Columns: columns, Rows: rows}))
	mine, n := errors.New("enough"), 0
	if err := c.Scan(t.Context(), []string{"income"}, func(vault.Subject, vault.Row) error { n++; return mine }); !errors.Is(err, mine) || n != 1 {
		t.Errorf("%d visits, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Scan(ctx, []string{"income"}, func(vault.Subject, vault.Row) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := c.Lookup(t.Context(), "cn:1", []string{"income"}); err != nil {
		t.Errorf("a lookup afterwards: %v", err)
	}
}

func scanBadRow(t *testing.T, open Factory) {
	long := slices.Clone(rows)
	long[3].Values = slices.Clone(rows[3].Values)
	long[3].Values[1] = vault.StringValue(strings.Repeat("x", vault.MaxStringBytes+1))
	c := scanner(t, open(t, Setup{Columns: columns, Rows: long}))
	usable, not := 0, 0
	err := c.Scan(t.Context(), []string{"region"}, func(_ vault.Subject, row vault.Row) error {
		if row == nil {
			not++
		} else {
			usable++
		}
		return nil
	})
	if err != nil || usable != 3 || not != 1 {
		t.Errorf("%d usable rows, %d not, %v", usable, not, err)
	}
}

func scanDown(t *testing.T, open Factory) {
	c := scanner(t, open(t, Setup{Columns: columns, Rows: rows, Down: true}))
	if err := c.Scan(t.Context(), []string{"income"}, func(vault.Subject, vault.Row) error { return nil }); !errors.Is(err, vault.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}
