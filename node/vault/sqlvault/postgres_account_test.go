package sqlvault

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
)

// TestPostgresAccountThatMayWriteIsRefused: each power is granted, seen, taken
// away by the SQL that the error itself names, and then the vault answers.
func TestPostgresAccountThatMayWriteIsRefused(t *testing.T) {
	p := postgres(t)
	p.table("x int", "'a', 1")
	p.exec("CREATE TABLE other (id text)", "CREATE SEQUENCE s", "CREATE ROLE "+p.name+"_group NOLOGIN")
	cfg := p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}})
	for _, grant := range []string{
		"GRANT INSERT ON customers TO %s",
		"GRANT UPDATE (x) ON customers TO %s",
		"GRANT DELETE ON other TO %s", // not mapped, but a mapping may call a function that writes it
		"GRANT TRUNCATE ON customers TO PUBLIC",
		"GRANT ALL ON customers TO %s_group; GRANT %s_group TO %s",
		"GRANT TRIGGER ON customers TO %s_group; ALTER ROLE %s NOINHERIT",
		"ALTER TABLE other OWNER TO %s",
		"GRANT USAGE ON SEQUENCE s TO %s",
		"GRANT CREATE ON SCHEMA %s TO %s",
		"GRANT CREATE ON DATABASE postgres TO %s",
		"ALTER ROLE %s CREATEROLE CREATEDB",
		"ALTER ROLE %s REPLICATION",
		"GRANT pg_execute_server_program TO %s",
		"GRANT pg_write_all_data TO %s",
	} {
		p.exec(strings.ReplaceAll(grant, "%s", p.name))
		v := p.open(cfg)
		_, err := v.Lookup(t.Context(), "a", []string{"x"})
		var account *vault.AccountError
		if !errors.As(err, &account) || !errors.Is(err, vault.ErrAccount) || account.Account != p.name {
			t.Errorf("%s: %v", grant, err)
			continue
		}
		if err := v.Check(t.Context()); !errors.Is(err, vault.ErrAccount) {
			t.Errorf("%s: check says %v", grant, err)
		}
		_, remedy, _ := strings.Cut(account.Remedy, "\n")
		p.exec(strings.ReplaceAll(strings.ReplaceAll(remedy, " OWNER TO postgres", " OWNER TO "+pgtest.Admin), `"postgres" OWNER`, `"postgres" OWNER`))
		if grant == "GRANT pg_write_all_data TO %s" {
			// Every table is named first; the role itself stands behind them.
			p.exec("REVOKE pg_write_all_data FROM " + p.name)
		}
		if _, err := v.Lookup(t.Context(), "a", []string{"x"}); err != nil {
			t.Errorf("%s, then %s: %v", grant, remedy, err)
		}
	}
}

func TestPostgresSuperuserIsRefused(t *testing.T) {
	p := postgres(t)
	p.table("x int", "'a', 1")
	p.exec("ALTER ROLE " + p.name + " SUPERUSER")
	v := p.open(p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}}))
	err := v.Check(t.Context())
	if !errors.Is(err, vault.ErrAccount) || !strings.Contains(err.Error(), "superuser") || !strings.Contains(err.Error(), "GRANT SELECT") {
		t.Error(err)
	}
	p.exec("ALTER ROLE " + p.name + " NOSUPERUSER")
}

// TestPostgresGrantWhileRunningIsNoticed: at the latest when the account's rights
// are due to be looked at, and after a new connection.
func TestPostgresGrantWhileRunningIsNoticed(t *testing.T) {
	for name, every := range map[string]time.Duration{"when due": time.Nanosecond, "new connection": time.Hour} {
		t.Run(name, func(t *testing.T) {
			p := postgres(t)
			p.table("x int", "'a', 1")
			cfg := p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}})
			cfg.AccountEvery = every
			v := p.open(cfg)
			lookup := func() error {
				_, err := v.Lookup(t.Context(), "a", []string{"x"})
				return err
			}
			if err := lookup(); err != nil {
				t.Fatal(err)
			}
			p.exec("GRANT INSERT ON customers TO " + p.name)
			if every == time.Hour {
				if err := lookup(); err != nil { // nothing has happened that would make it look
					t.Fatal(err)
				}
				p.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + p.name + "'")
			}
			if err := lookup(); !errors.Is(err, vault.ErrAccount) {
				t.Error(err)
			}
			p.exec("REVOKE INSERT ON customers FROM " + p.name)
			if err := lookup(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPostgresSessionCannotWrite: with an account that could, which the connector
// never uses, the session itself still refuses.
func TestPostgresSessionCannotWrite(t *testing.T) {
	p := postgres(t)
	p.table("x int", "'a', 1")
	p.exec("GRANT ALL ON customers TO "+p.name, "CREATE SEQUENCE s", "GRANT ALL ON SEQUENCE s TO "+p.name,
		"CREATE FUNCTION wipe() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM "+p.name+".customers RETURNING 1'")
	v := p.open(p.config(oneColumn("wipe()", vault.Int, 0)))
	for _, text := range []string{"INSERT INTO customers VALUES ('m', 1)", "DELETE FROM customers", "SELECT nextval('s')", "CREATE TABLE t (x int)", "SELECT wipe()"} {
		if _, err := v.db.ExecContext(t.Context(), text); sqlState(err) != "25006" {
			t.Errorf("%s: %v", text, err)
		}
	}
	// A function that writes, in the mapping: no word of it says so.
	p.exec("REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON customers FROM "+p.name, "REVOKE ALL ON SEQUENCE s FROM "+p.name)
	for _, err := range []error{v.Check(t.Context()), func() error { _, err := v.Lookup(t.Context(), "a", []string{"x"}); return err }()} {
		var s *vault.SchemaError
		if !errors.As(err, &s) || s.InRow || s.Column != "x" || !strings.Contains(err.Error(), "writes") {
			t.Errorf("a function that writes: %v", err)
		}
	}
	if row, err := p.open(p.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}})).Lookup(t.Context(), "a", []string{"x"}); err != nil || row[0] != vault.IntValue(1) {
		t.Errorf("the row: %v", err)
	}
}

func TestSQLThatIsNotReadOnlyIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"WITH x AS (DELETE FROM c RETURNING *) SELECT * FROM x":  "DELETE",
		"WITH x AS (INSERT INTO c VALUES (1)) SELECT 1":          "INSERT",
		"SELECT * INTO copy FROM c":                              "INTO",
		"SELECT * FROM c FOR UPDATE":                             "UPDATE",
		"select * from c for no key update":                      "UPDATE",
		"SELECT * FROM c FOR KEY SHARE":                          "FOR SHARE",
		"SELECT * FROM c FOR SHARE SKIP LOCKED":                  "FOR SHARE",
		"SELECT setval('s', 1)":                                  "setval",
		"SELECT pg_catalog.set_config('a', 'b', false)":          "set_config",
		"SELECT \"id\", Pg_Terminate_Backend (1) FROM c":         "pg_terminate_backend",
		"SELECT lo_import('/etc/passwd')":                        "lo_import",
		"SELECT dblink_exec('x')":                                "dblink_exec",
		"SELECT query_to_xml('delete from c', true, true, '')":   "query_to_xml",
		"DELETE FROM c":                                          "DELETE",
		"TRUNCATE c":                                             "TRUNCATE",
		"SELECT 1; DROP TABLE c":                                 "';'",
		"SELECT 1 -- DROP":                                       "comment",
		"SELECT $1":                                              "'$'",
		"SELECT $x$DROP$x$":                                      "'$'",
		"VALUES (1)":                                             "begin with SELECT",
		"SELECTED":                                               "begin with SELECT",
		"SELECT 'it''s' || (WITH d AS (DELETE FROM c) SELECT 1)": "DELETE",
	} {
		m := Mapping{Query: text, Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}}
		if err := m.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{
		"SELECT id, replace(name, 'DELETE', 'x') AS x FROM c", `SELECT id, "update" AS x, v.insert FROM c AS v`,
		"WITH recent AS (SELECT * FROM c) SELECT * FROM recent", "SELECT last_update, created, share, set, dropped FROM c",
		"SELECT id, substring(x FROM 1 FOR 3) AS x FROM c", "SELECT json_extract(doc, '$.a') AS x FROM c", "select/**/1",
	} {
		m := Mapping{Query: text, Key: "id", Columns: []ColumnMapping{{Name: "x", Type: vault.Int}}}
		if err := m.check(); err != nil && text != "select/**/1" {
			t.Errorf("%s: %v", text, err)
		}
	}
	m := Mapping{Table: "c", Key: "id", Columns: []ColumnMapping{{Name: "x", Expr: "(SELECT setval('s', 1))", Type: vault.Int}}}
	if err := m.check(); err == nil || !strings.Contains(err.Error(), `column "x": is not read-only`) {
		t.Error(err)
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"SELECT 'a''b', \"x\" FROM c", "'", "a.b(", "é`x`$1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, w := range words(s) {
			if w.text == "" || !strings.Contains(s, w.text) {
				t.Errorf("%q is no word of %q", w.text, s)
			}
		}
		_ = fmt.Sprint(checkReadOnly(s)) // must not panic
	})
}
