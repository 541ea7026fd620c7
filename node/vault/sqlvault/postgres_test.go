package sqlvault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
	"github.com/assent-network/assent/node/vault/vaulttest"
)

// pg is a schema of the shared server, and the account that may look into it.
type pg struct {
	t      *testing.T
	server *pgtest.Server
	name   string
}

func postgres(t *testing.T) pg {
	t.Helper()
	s := pgtest.Shared(t)
	return pg{t, s, s.NewSpace(t)}
}

func (p pg) exec(statements ...string) {
	p.t.Helper()
	if err := p.server.Exec(p.t.Context(), pgtest.Database, append([]string{"SET search_path = " + p.name}, statements...)...); err != nil {
		p.t.Fatal(err)
	}
}

func (p pg) config(m Mapping) ServerConfig {
	return ServerConfig{URL: p.server.URL(pgtest.Database, p.name, ""), Password: func() (string, error) { return p.name, nil }, Mapping: m, Timeout: 20 * time.Second}
}

func (p pg) open(cfg ServerConfig) *Vault {
	p.t.Helper()
	v, err := OpenPostgres(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { v.Close() })
	return v
}

// table is the usual small table: three customers, readable by the account.
func (p pg) table(columns string, rows ...string) {
	p.t.Helper()
	p.exec("CREATE TABLE customers (id text PRIMARY KEY, "+columns+")", "GRANT SELECT ON customers TO "+p.name)
	for _, r := range rows {
		p.exec("INSERT INTO customers VALUES (" + r + ")")
	}
}

var postgresTypes = map[vault.Type]string{vault.Int: "bigint", vault.String: "text", vault.Bool: "boolean"}

func TestPostgresConforms(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T, s vaulttest.Setup) vault.Connector {
		p := postgres(t)
		p.build(s)
		m := Mapping{Table: "customers", Key: "id"}
		for _, c := range s.Columns {
			col := ColumnMapping{Name: c.Name, Type: c.Type, Scale: c.Scale}
			if s.Slow {
				col.Expr = "(SELECT 1 FROM pg_sleep(600))"
			}
			m.Columns = append(m.Columns, col)
		}
		cfg := p.config(m)
		cfg.Timeout = s.Timeout
		if s.Timeout == 0 {
			cfg.Timeout = 20 * time.Second
		}
		if s.Down {
			cfg.URL = strings.Replace(cfg.URL, fmt.Sprint(p.server.Port), fmt.Sprint(closedPort(t)), 1)
		}
		return p.open(cfg)
	})
}

// closedPort is a port on which nothing listens.
func closedPort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// build makes the table that a setup describes, without any constraint.
func (p pg) build(s vaulttest.Setup) {
	p.t.Helper()
	defs := []string{"id text"}
	var stored []vaulttest.Column
	for _, c := range s.Columns {
		if c.Missing {
			continue
		}
		typ := postgresTypes[c.Type]
		if c.Stored != 0 {
			typ = postgresTypes[c.Stored]
		}
		if c.Scale > 0 {
			typ = fmt.Sprintf("numeric(30,%d)", c.Scale)
		}
		defs = append(defs, c.Name+" "+typ)
		stored = append(stored, c)
	}
	p.exec("CREATE TABLE customers ("+strings.Join(defs, ",")+")", "GRANT SELECT ON customers TO "+p.name)
	db, err := sql.Open("pgx", p.server.AdminURL(pgtest.Database))
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	for _, row := range s.Rows {
		args, marks := []any{row.Key}, "$1"
		for i, c := range stored {
			args = append(args, store(row.Values[i], c.Scale))
			marks += fmt.Sprintf(", $%d", i+2)
		}
		if _, err := db.ExecContext(p.t.Context(), "INSERT INTO "+p.name+".customers VALUES ("+marks+")", args...); err != nil {
			p.t.Fatal(err)
		}
	}
}

func TestPostgresTypes(t *testing.T) {
	p := postgres(t)
	p.exec("CREATE TYPE colour AS ENUM ('red')")
	p.table("x integer", "'a', 1")
	for _, c := range []struct {
		expr  string
		typ   vault.Type
		scale uint8
		want  vault.Value
		wrong string // part of the complaint
	}{
		{expr: "7::smallint", typ: vault.Int, want: vault.IntValue(7)},
		{expr: "12.10::numeric(10,2)", typ: vault.Int, scale: 2, want: vault.IntValue(1210)},
		{expr: "12.1::numeric", typ: vault.Int, scale: 2, want: vault.IntValue(1210)},
		{expr: "90071992547409.93::numeric(20,2)", typ: vault.Int, scale: 2, want: vault.IntValue(9_007_199_254_740_993)},
		{expr: "12.125::numeric", typ: vault.Int, scale: 2, wrong: "scale is 2"},
		{expr: "'NaN'::numeric", typ: vault.Int, scale: 2, wrong: "returned text"},
		{expr: "12.5::numeric(10,3)", typ: vault.Int, scale: 2, wrong: "is NUMERIC(10,3) in the database"},
		{expr: "12.5::double precision", typ: vault.Int, scale: 2, wrong: "cannot hold money exactly"},
		{expr: "12.5::real", typ: vault.Int, scale: 2, wrong: "cannot hold money exactly"},
		{expr: "'5'::text", typ: vault.Int, wrong: "is mapped as int but is TEXT"},
		{expr: "'2026-01-02 03:04:05.678901+08'::timestamptz", typ: vault.Int, want: vault.IntValue(1767294245678)},
		{expr: "'1969-12-31 23:59:59.9985+00'::timestamptz", typ: vault.Int, want: vault.IntValue(-2)},
		{expr: "'infinity'::timestamptz", typ: vault.Int, wrong: "returned text"},
		{expr: "'2026-01-02'::date", typ: vault.Int, want: vault.IntValue(1767312000000)},
		{expr: "'2026-01-02'::date", typ: vault.Int, scale: 1, wrong: "Unix milliseconds"},
		{expr: "'2026-01-02 03:04:05'::timestamp", typ: vault.Int, wrong: "AT TIME ZONE"},
		{expr: "'东城'::varchar(9)", typ: vault.String, want: vault.StringValue("东城")},
		{expr: "'ab'::char(6)", typ: vault.String, want: vault.StringValue("ab")},
		{expr: "'5EB63BBB-E01E-EED0-93CB-22BB8F5ACDC3'::uuid", typ: vault.String, want: vault.StringValue("5eb63bbb-e01e-eed0-93cb-22bb8f5acdc3")},
		{expr: "'red'::colour", typ: vault.String, wrong: "a type of its own"},
		{expr: "'red'::colour::text", typ: vault.String, want: vault.StringValue("red")},
		{expr: "7", typ: vault.String, wrong: "is mapped as string but is INT4"},
		{expr: "repeat('x', 257)", typ: vault.String, wrong: "257 bytes"},
		{expr: "x > 0", typ: vault.Bool, want: vault.BoolValue(true)},
		{expr: "x", typ: vault.Bool, wrong: "is mapped as bool but is INT4"},
		{expr: "NULL::boolean", typ: vault.Bool},
		{expr: "NULL::bigint", typ: vault.Int},
		{expr: "1 / (x - 1)", typ: vault.Int, wrong: "22012"},
		{expr: "nosuch(x)", typ: vault.Int, wrong: "42883"},
		{expr: "x FROM", typ: vault.Int, wrong: "42601"},
	} {
		v := p.open(p.config(oneColumn(c.expr, c.typ, c.scale)))
		row, err := v.Lookup(t.Context(), "a", []string{"x"})
		cerr := v.Check(t.Context())
		v.Close()
		if c.wrong == "" {
			if err != nil || cerr != nil || row[0] != c.want {
				t.Errorf("%s: %v, %v, or another value than expected", c.expr, err, cerr)
			}
			continue
		}
		for _, err := range []error{err, cerr} {
			var s *vault.SchemaError
			if !errors.As(err, &s) || s.Column != "x" || s.Remedy == "" || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v, want a schema error on x about %q", c.expr, err, c.wrong)
			}
		}
	}
}

func TestPostgresKeysAreComparedByteForByte(t *testing.T) {
	p := postgres(t)
	p.exec("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
		"CREATE TABLE folded (id text COLLATE nocase PRIMARY KEY, x int)", "INSERT INTO folded VALUES ('cn:1', 1)",
		"CREATE TABLE padded (id char(8) PRIMARY KEY, x int)", "INSERT INTO padded VALUES ('cn:1', 1)",
		"CREATE TABLE whole (id bigint PRIMARY KEY, x int)", "INSERT INTO whole VALUES (1, 1)",
		"GRANT SELECT ON folded, padded, whole TO "+p.name)
	for _, table := range []string{"folded", "padded"} {
		v := p.open(p.config(Mapping{Table: table, Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}}))
		if row, err := v.Lookup(t.Context(), "cn:1", []string{"x"}); err != nil || row[0] != vault.IntValue(1) {
			t.Errorf("%s: %v", table, err)
		}
		for _, other := range []vault.Subject{"CN:1", "cn:1 ", "cn:1\x00"} {
			if _, err := v.Lookup(t.Context(), other, []string{"x"}); !errors.Is(err, vault.ErrUnknownSubject) {
				t.Errorf("%s, another spelling: %v", table, err)
			}
		}
	}
	v := p.open(p.config(Mapping{Table: "whole", Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}}))
	if err := v.Check(t.Context()); !errors.Is(err, vault.ErrSchema) || !strings.Contains(err.Error(), `"id": is the key but is INT8`) {
		t.Errorf("a key of another type: %v", err)
	}
}

func TestPostgresSchemaDrift(t *testing.T) {
	for _, c := range []struct {
		name, ddl string
		column    string
		want      []string
	}{
		{"column gone", "ALTER TABLE customers DROP COLUMN balance", "balance", []string{"does not exist in the database"}},
		{"column renamed", "ALTER TABLE customers RENAME COLUMN balance TO saldo", "balance", []string{"does not exist in the database"}},
		{"decimal to whole", "ALTER TABLE customers ALTER COLUMN balance TYPE bigint USING (balance * 100)::bigint", "balance", []string{"NUMERIC(12,2)", "INT8", "restart the node"}},
		{"to text", "ALTER TABLE customers ALTER COLUMN balance TYPE text", "balance", []string{"mapped as int", "TEXT"}},
		{"more decimals", "ALTER TABLE customers ALTER COLUMN balance TYPE numeric(12,4)", "balance", []string{"2 decimal places", "NUMERIC(12,4)"}},
		{"to float", "ALTER TABLE customers ALTER COLUMN balance TYPE double precision", "balance", []string{"FLOAT8"}},
		{"table gone", "DROP TABLE customers", "", []string{"does not exist"}},
		{"right gone", "REVOKE SELECT ON customers FROM %s", "", []string{"may not read", "GRANT SELECT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := postgres(t)
			p.table("region text, balance numeric(12,2)", "'a', 'north', 12.50")
			v := p.open(p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{
				{Name: "region", Type: vault.String}, {Name: "balance", Type: vault.Int, Scale: 2}}}))
			if err := v.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			ask := []string{"region", "balance"}
			if row, err := v.Lookup(t.Context(), "a", ask); err != nil || row[1] != vault.IntValue(1250) {
				t.Fatal(err)
			}
			p.exec(strings.Replace(c.ddl, "%s", p.name, 1))
			_, err := v.Lookup(t.Context(), "a", ask)
			for _, err := range []error{err, v.Check(t.Context())} {
				var s *vault.SchemaError
				if !errors.As(err, &s) || s.InRow || c.column != "" && s.Column != c.column {
					t.Fatalf("error %v, want a schema error on %q", err, c.column)
				}
				for _, w := range c.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("no word of %q in %q", w, err)
					}
				}
			}
			// What the change has not touched is read on.
			if c.column != "" {
				if row, err := v.Lookup(t.Context(), "a", []string{"region"}); err != nil || row[0] != vault.StringValue("north") {
					t.Errorf("another column: %v", err)
				}
			}
		})
	}
}

func TestPostgresHarmlessChangeIsReadOn(t *testing.T) {
	p := postgres(t)
	p.table("region text, balance numeric(12,2)", "'a', 'north', 12.50")
	v := p.open(p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "balance", Type: vault.Int, Scale: 2}}}))
	for _, ddl := range []string{"", "ALTER TABLE customers ADD COLUMN more int DEFAULT 5", "ALTER TABLE customers DROP COLUMN region",
		"ALTER TABLE customers RENAME TO old", "ALTER TABLE old RENAME TO customers"} {
		if ddl != "" {
			p.exec(ddl)
		}
		row, err := v.Lookup(t.Context(), "a", []string{"balance"})
		if strings.HasSuffix(ddl, "TO old") {
			if !errors.Is(err, vault.ErrSchema) {
				t.Errorf("%s: %v", ddl, err)
			}
			continue
		}
		if err != nil || row[0] != vault.IntValue(1250) {
			t.Errorf("after %q: %v", ddl, err)
		}
	}
}

func TestStoredTypeIsHeldAgainstTheDatabase(t *testing.T) {
	p := postgres(t)
	p.table("balance numeric(12,2)", "'a', 12.50")
	for stored, ok := range map[string]bool{"numeric(12, 2)": true, "NUMERIC(12,2)": true, "": true, "numeric(10,2)": false, "bigint": false} {
		v := p.open(p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "balance", Type: vault.Int, Scale: 2, Stored: stored}}}))
		if err := v.Check(t.Context()); ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "NUMERIC(12,2)") {
			t.Errorf("stored %q: %v", stored, err)
		}
	}
}

func TestPostgresServerRestart(t *testing.T) {
	for _, how := range []string{"restart", "crash"} {
		t.Run(how, func(t *testing.T) {
			p := postgres(t)
			p.table("x int", "'a', 1")
			cfg := p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}})
			v := p.open(cfg)
			lookup := func() error {
				row, err := v.Lookup(t.Context(), "a", []string{"x"})
				if err == nil && row[0] != vault.IntValue(1) {
					t.Error("another value")
				}
				return err
			}
			if err := lookup(); err != nil {
				t.Fatal(err)
			}
			stop := p.server.Down
			if how == "crash" {
				stop = p.server.Crash
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			err := lookup()
			if !errors.Is(err, vault.ErrUnavailable) || strings.Contains(err.Error(), p.name) {
				t.Errorf("while the server is down: %v", err)
			}
			if err := p.server.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := lookup(); err != nil {
				t.Errorf("after the server is back: %v", err)
			}
		})
	}
}

// TestPostgresBrokenConnectionsAreReplacedWithinALookup: an administrator ends
// every session; no lookup fails.
func TestPostgresBrokenConnectionsAreReplacedWithinALookup(t *testing.T) {
	p := postgres(t)
	p.table("x int", "'a', 1")
	v := p.open(p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}}))
	for range 5 {
		if _, err := v.Lookup(t.Context(), "a", []string{"x"}); err != nil {
			t.Fatal(err)
		}
		p.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + p.name + "'")
	}
}

func TestPostgresSlowQueryIsStoppedAtTheServer(t *testing.T) {
	p := postgres(t)
	p.table("x int", "'a', 1")
	cfg := p.config(oneColumn("(SELECT 1 FROM pg_sleep(600))", vault.Int, 0))
	cfg.Timeout = 300 * time.Millisecond
	v := p.open(cfg)
	if _, err := v.Lookup(t.Context(), "a", []string{"x"}); !errors.Is(err, vault.ErrUnavailable) {
		t.Errorf("slow: %v", err)
	}
	p.idle()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	cfg.Timeout = time.Minute
	if _, err := p.open(cfg).Lookup(ctx, "a", []string{"x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	p.idle()
}

// TestOneLookupTriesWhileTheDatabaseIsStuck: the others do not wait with it.
func TestOneLookupTriesWhileTheDatabaseIsStuck(t *testing.T) {
	p := postgres(t)
	p.table("x int", "'a', 1")
	cfg := p.config(oneColumn("", vault.Int, 0))
	cfg.Timeout = 50 * time.Millisecond
	db, err := sql.Open("pgx", p.server.AdminURL(pgtest.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("LOCK TABLE " + p.name + ".customers"); err != nil {
		t.Fatal(err)
	}
	v := p.open(cfg)
	lookup := func() error { _, err := v.Lookup(t.Context(), "a", []string{"x"}); return err }
	for range maxFailures {
		if err := lookup(); !errors.Is(err, vault.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	v.cfg.Timeout = time.Minute // nobody is looking up
	v.trial <- struct{}{}       // the one that tries
	for range 20 {
		if err := lookup(); err != *v.failed.Load() {
			t.Fatalf("beside the trial: %v, want the last failure", err)
		}
	}
	<-v.trial
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for err := lookup(); err != nil; err = lookup() { // the server's limit is still 50 ms, which a loaded machine may need
		if !errors.Is(err, vault.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if n := v.failures.Load(); n != 0 {
		t.Errorf("%d failures are still counted", n)
	}
}

// idle waits until the account runs nothing any more.
func (p pg) idle() {
	p.t.Helper()
	db, err := sql.Open("pgx", p.server.AdminURL(pgtest.Database))
	if err != nil {
		p.t.Fatal(err)
	}
	defer db.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 1; n > 0; <-tick.C {
		if err := db.QueryRowContext(p.t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND state = 'active'`, p.name).Scan(&n); err != nil {
			p.t.Fatal(err)
		}
	}
}

func TestPostgresConnectionsAreBounded(t *testing.T) {
	p := postgres(t)
	p.table("x int", "'a', 1")
	cfg := p.config(oneColumn("(SELECT 1 FROM pg_sleep(0.05))", vault.Int, 0))
	cfg.Connections = 2
	v := p.open(cfg)
	errs := make(chan error, 12)
	for range cap(errs) {
		go func() {
			_, err := v.Lookup(t.Context(), "a", []string{"x"})
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := v.db.Stats().OpenConnections; n > 2 {
		t.Errorf("%d connections", n)
	}
}

func TestPostgresHugeValueIsRefused(t *testing.T) {
	p := postgres(t)
	p.table("x text", "'a', repeat('x', 3000000)", "'b', 'y'")
	v := p.open(p.config(oneColumn("", vault.String, 0)))
	if _, err := v.Lookup(t.Context(), "a", []string{"x"}); err == nil {
		t.Error("a value of 3 MB was read")
	}
	if row, err := v.Lookup(t.Context(), "b", []string{"x"}); err != nil || row[0] != vault.StringValue("y") {
		t.Errorf("the next subject: %v", err)
	}
}

func TestPostgresSourceIsChecked(t *testing.T) {
	const secret = "hunter2secret"
	m := oneColumn("", vault.Int, 0)
	for source, want := range map[string]string{
		"postgres://reader:" + secret + "@db/core":                  "password",
		"postgres://reader@db/core?password=" + secret:              "password",
		"host=db user=reader password=" + secret:                    "want a URL",
		"mysql://reader@db/core":                                    "want a URL",
		"postgres://db.example/core":                                "account",
		"postgres://reader@db.example/core?sslmode=disable":         "verify-full",
		"postgres://reader@db.example/core?sslmode=prefer":          "verify-full",
		"postgres://reader@db.example/core?sslmode=require":         "verify-full",
		"postgres://reader@127.0.0.1,db.example/core?sslmode=allow": "verify-full",
		"postgres://reader@db.example/core?sslrootcert=/no/such":    "sslrootcert",
		"postgres://reader@db.example:x" + secret + "/core":         "want a URL",
	} {
		_, err := OpenPostgres(ServerConfig{URL: source, Mapping: m})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
	for _, source := range []string{"postgres://reader@db.example/core", "postgres://reader@db.example/core?sslmode=verify-full",
		"postgres://reader@localhost/core", "postgres://reader@127.0.0.1:1/core", "postgres://reader@/core?host=/run/postgresql", "postgresql://reader@[::1]:1/core"} {
		v, err := OpenPostgres(ServerConfig{URL: source, Mapping: m})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		v.Close()
	}
}

func TestPostgresFailuresTellReasonsButNoSecrets(t *testing.T) {
	p := postgres(t)
	p.table("x int", "'a', 1")
	m := oneColumn("", vault.Int, 0)
	wrong := p.config(m)
	wrong.Password = func() (string, error) { return "hunter2secret", nil }
	nowhere := p.config(m)
	u, err := url.Parse(nowhere.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/nosuchdatabase"
	nowhere.URL = u.String()
	tls := p.config(m)
	tls.URL = strings.Replace(tls.URL, "sslmode=disable", "sslmode=verify-full", 1)
	for want, cfg := range map[string]ServerConfig{"refuses the password": wrong, "no such database": nowhere, "no connection": tls} {
		v := p.open(cfg)
		_, err := v.Lookup(t.Context(), "a", []string{"x"})
		for _, err := range []error{err, v.Check(t.Context())} {
			if !errors.Is(err, vault.ErrUnavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), p.name) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
	unreadable := p.config(m)
	unreadable.Password = func() (string, error) { return "", errors.New("no such file") }
	if _, err := OpenPostgres(unreadable); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("an unreadable password: %v", err)
	}
}
