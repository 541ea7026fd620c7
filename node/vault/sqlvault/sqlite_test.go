package sqlvault

import (
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/vaulttest"
)

// endless counts until it is interrupted.
const endless = `(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 100000000000) SELECT max(n) FROM c)`

func TestSQLiteConforms(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T, s vaulttest.Setup) vault.Connector {
		path := filepath.Join(t.TempDir(), "vault.db")
		db := build(t, path, s)
		m := Mapping{Table: "customers", Key: "id"}
		for _, c := range s.Columns {
			col := ColumnMapping{Name: c.Name, Type: c.Type, Scale: c.Scale}
			if s.Slow {
				col.Expr = endless
			}
			m.Columns = append(m.Columns, col)
		}
		v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: m, Timeout: s.Timeout})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { v.Close() })
		if s.Down { // another process writes and does not let go
			if _, err := db.Exec(`BEGIN EXCLUSIVE`); err != nil {
				t.Fatal(err)
			}
		}
		return v
	})
}

// build makes the table that a setup describes, without any constraint.
func build(t *testing.T, path string, s vaulttest.Setup) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	defs := []string{"id TEXT"}
	var stored []vaulttest.Column
	for _, c := range s.Columns {
		if !c.Missing {
			defs = append(defs, `"`+c.Name+`"`)
			stored = append(stored, c)
		}
	}
	if _, err := db.Exec("CREATE TABLE customers (" + strings.Join(defs, ",") + ")"); err != nil {
		t.Fatal(err)
	}
	for _, row := range s.Rows {
		args := []any{row.Key}
		for i, c := range stored {
			args = append(args, store(row.Values[i], c.Scale))
		}
		if _, err := db.Exec("INSERT INTO customers VALUES (?"+strings.Repeat(",?", len(args)-1)+")", args...); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func store(v vault.Value, scale uint8) any {
	switch v.Type() {
	case vault.Int:
		n, _ := v.Int()
		if scale == 0 {
			return n
		}
		r := big.NewRat(n, int64(1))
		for range scale {
			r.Quo(r, big.NewRat(10, 1))
		}
		return r.FloatString(int(scale)) // as text: SQLite has no decimals
	case vault.Bool:
		b, _ := v.Bool()
		return b
	case vault.String:
		s, _ := v.Str()
		return s
	}
	return nil
}

func oneColumn(expr string, t vault.Type, scale uint8) Mapping {
	return Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "x", Expr: expr, Type: t, Scale: scale}}}
}

func TestDecimalsAreReadExactlyOrNotAtAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	build(t, path, vaulttest.Setup{Rows: []vaulttest.Row{{Key: "a"}}})
	for _, c := range []struct {
		expr  string
		scale uint8
		want  int64
		ok    bool
	}{
		{"12.1", 2, 1210, true}, {"'12.1'", 2, 1210, true}, {"12", 2, 1200, true}, {"'-0.05'", 2, -5, true}, {"'+7'", 0, 7, true},
		{"0.1 + 0.2", 2, 0, false}, {"12.345", 2, 0, false}, {"'12.340'", 2, 1234, true}, {"1e300", 0, 0, false}, {"'1e3'", 0, 0, false},
		{"'9223372036854775807'", 0, 1<<63 - 1, true}, {"'9223372036854775808'", 0, 0, false}, {"9223372036854775807", 1, 0, false},
		{"'.5'", 1, 0, false}, {"'5.'", 1, 0, false}, {"'-' || '-5'", 0, 0, false}, {"'-'", 0, 0, false}, {"' 5'", 0, 0, false}, {"x'35'", 0, 5, true},
	} {
		v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: oneColumn(c.expr, vault.Int, c.scale)})
		if err != nil {
			t.Fatal(err)
		}
		row, err := v.Lookup(t.Context(), "a", []string{"x"})
		v.Close()
		if !c.ok {
			if !errors.Is(err, vault.ErrSchema) {
				t.Errorf("%s at scale %d: error %v, want a schema error", c.expr, c.scale, err)
			}
			continue
		}
		if err != nil || row[0] != vault.IntValue(c.want) {
			t.Errorf("%s at scale %d: error %v or another value than %d", c.expr, c.scale, err, c.want)
		}
	}
}

func TestMappedQueryAndExpressions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	db := build(t, path, vaulttest.Setup{Columns: []vaulttest.Column{{Name: "income"}}, Rows: []vaulttest.Row{{Key: "a", Values: []vault.Value{vault.IntValue(7)}}}})
	if _, err := db.Exec(`CREATE TABLE loans (owner TEXT, amount INTEGER); INSERT INTO loans VALUES ('a', 10), ('a', 20), ('b', 1)`); err != nil {
		t.Fatal(err)
	}
	v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: Mapping{
		Query: `SELECT c.id, c.income, (SELECT sum(amount) FROM loans WHERE owner = c.id) AS debt FROM customers c`,
		Key:   "id",
		Columns: []ColumnMapping{
			{Name: "debt", Type: vault.Int}, {Name: "rich", Expr: "income > 5", Type: vault.Bool}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	row, err := v.Lookup(t.Context(), "a", []string{"rich", "debt"})
	if err != nil || row[0] != vault.BoolValue(true) || row[1] != vault.IntValue(30) {
		t.Fatalf("%v: rich and 30 expected", err)
	}
}

func TestVaultCannotBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	build(t, path, vaulttest.Setup{Columns: []vaulttest.Column{{Name: "x"}}})
	v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: oneColumn("", vault.Int, 0)})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, stmt := range []string{"INSERT INTO customers VALUES ('m', 1)", "DROP TABLE customers", "PRAGMA journal_mode=WAL; CREATE TABLE t (x)"} {
		if _, err := v.db.Exec(stmt); err == nil {
			t.Errorf("%s succeeded", stmt)
		}
	}
}

func TestBadMappingsAreRefusedTogether(t *testing.T) {
	bad := Mapping{Table: "customers; DROP", Key: "id--", Columns: []ColumnMapping{
		{Name: "Income", Type: vault.Int}, {Name: "a", Type: 9}, {Name: "a", Type: vault.String, Scale: 2}, {Name: "b", Expr: "1; DELETE", Type: vault.Int}}}
	err := bad.check()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"customers; DROP", "id--", `"Income"`, "int, string or bool", "mapped twice", "only int columns", "';'"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %q in:\n%v", want, err)
		}
	}
	for _, m := range []Mapping{{Key: "id", Columns: []ColumnMapping{{Name: "a", Type: vault.Int}}},
		{Table: "t", Query: "SELECT 1", Key: "id", Columns: []ColumnMapping{{Name: "a", Type: vault.Int}}},
		{Query: "DELETE FROM t", Key: "id", Columns: []ColumnMapping{{Name: "a", Type: vault.Int}}},
		{Table: "t", Key: "id"}} {
		if m.check() == nil {
			t.Errorf("%+v accepted", m)
		}
	}
}

func TestMissingOrForeignFileIsAClearError(t *testing.T) {
	dir := t.TempDir()
	m := oneColumn("", vault.Int, 0)
	_, err := OpenSQLite(SQLiteConfig{Path: filepath.Join(dir, "typo.db"), Mapping: m})
	if err == nil || !strings.Contains(err.Error(), "vault import") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "typo.db")); !errors.Is(err, os.ErrNotExist) {
		t.Error("opening made a new, empty vault")
	}
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := OpenSQLite(SQLiteConfig{Path: text, Mapping: m})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Check(t.Context()); !errors.Is(err, vault.ErrSchema) || !strings.Contains(err.Error(), "not a SQLite database") {
		t.Errorf("foreign file: %v", err)
	}
	gone := filepath.Join(dir, "gone.db")
	build(t, gone, vaulttest.Setup{Columns: []vaulttest.Column{{Name: "x"}}})
	v2, err := OpenSQLite(SQLiteConfig{Path: gone, Mapping: m})
	if err != nil {
		t.Fatal(err)
	}
	defer v2.Close()
	os.Remove(gone)
	if err := v2.Check(t.Context()); !errors.Is(err, vault.ErrUnavailable) {
		t.Errorf("file gone while running: %v", err)
	}
}

func TestStatementsKeptAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	m := Mapping{Table: "customers", Key: "id"}
	s := vaulttest.Setup{Rows: []vaulttest.Row{{Key: "a"}}}
	for i := range 20 {
		m.Columns = append(m.Columns, ColumnMapping{Name: fmt.Sprintf("c%d", i), Type: vault.Int})
		s.Columns = append(s.Columns, vaulttest.Column{Name: fmt.Sprintf("c%d", i)})
		s.Rows[0].Values = append(s.Rows[0].Values, vault.IntValue(int64(i)))
	}
	build(t, path, s)
	v, err := OpenSQLite(SQLiteConfig{Path: path, Mapping: m})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for i := range 20 {
		for j := range 20 {
			row, err := v.Lookup(t.Context(), "a", []string{m.Columns[i].Name, m.Columns[j].Name})
			if err != nil || row[0] != vault.IntValue(int64(i)) || row[1] != vault.IntValue(int64(j)) {
				t.Fatal(i, j, err)
			}
		}
	}
	if len(v.statements) > maxStatements {
		t.Errorf("%d statements kept", len(v.statements))
	}
}
