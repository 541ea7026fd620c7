package sqlvault

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/assent-network/assent/node/vault"
	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
	"github.com/assent-network/assent/node/vault/vaulttest"
)

// mariaServer is a private MariaDB server, reached by its socket.
type mariaServer struct {
	dir  string
	proc *exec.Cmd
	done chan struct{}
	as   *syscall.Credential
}

var (
	mariaOnce   sync.Once
	mariaShared *mariaServer
	mariaErr    error
	mariaCount  int
)

var errNoMaria = errors.New("MariaDB is not installed: run 'apt-get install mariadb-server-core'")

// maria returns the server that these tests share. Without MariaDB's programs it
// skips, unless the whole test run has found them.
func maria(t *testing.T) *mariaServer {
	t.Helper()
	mariaOnce.Do(func() { mariaShared, mariaErr = startMaria(context.Background()) })
	if errors.Is(mariaErr, errNoMaria) && os.Getenv("ASSENT_REQUIRE_MARIADB") == "" {
		t.Skip(mariaErr)
	}
	if mariaErr != nil {
		t.Fatal(mariaErr)
	}
	return mariaShared
}

func startMaria(ctx context.Context) (_ *mariaServer, err error) {
	program := "/usr/sbin/mariadbd"
	if _, err := os.Stat(program); err != nil {
		return nil, errNoMaria
	}
	s := &mariaServer{}
	if s.dir, err = os.MkdirTemp("", "assent-my-"); err != nil {
		return nil, err
	}
	if s.as, err = pgtest.Unprivileged(s.dir); err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return nil, err
	}
	if s.as != nil {
		if err := os.Chown(data, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return nil, err
		}
	}
	if err := writeCertificates(s.dir, s.as); err != nil {
		return nil, err
	}
	common := []string{"--no-defaults", "--datadir=" + data, "--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M", "--innodb-flush-method=nosync", "--log-warnings=0"}
	script := bytes.NewBufferString("create database mysql;\nuse mysql;\nset @auth_root_socket=NULL;\n")
	for _, name := range []string{"mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data"} {
		b, err := os.ReadFile("/usr/share/mysql/" + name + ".sql")
		if err != nil {
			return nil, err
		}
		script.Write(b)
	}
	boot := exec.CommandContext(ctx, program, append(common, "--bootstrap", "--max-allowed-packet=8M")...)
	boot.SysProcAttr, boot.Stdin = &syscall.SysProcAttr{Credential: s.as}, script
	if out, err := boot.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bootstrap MariaDB: %w\n%s", err, out)
	}
	s.proc = exec.Command(program, append(common, "--skip-networking", "--socket="+s.socket(), "--pid-file="+filepath.Join(s.dir, "pid"), "--lower-case-table-names=0",
		"--ssl-cert="+filepath.Join(s.dir, serverCert), "--ssl-key="+filepath.Join(s.dir, serverKey))...)
	s.proc.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.as}
	if err := s.proc.Start(); err != nil {
		return nil, err
	}
	s.done = make(chan struct{})
	go func() {
		s.proc.Wait()
		close(s.done)
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.exec("", "SELECT 1")
		if err == nil {
			return s, nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return nil, fmt.Errorf("MariaDB ended: %w", err)
		}
	}
}

func (s *mariaServer) socket() string { return filepath.Join(s.dir, "s") }

// stop ends the shared server.
func (s *mariaServer) stop() {
	if s == nil {
		return
	}
	s.proc.Process.Signal(syscall.SIGTERM)
	<-s.done
	os.RemoveAll(s.dir)
}

func (s *mariaServer) admin(database string) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = "root", "unix", s.socket(), database
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}

func (s *mariaServer) exec(database string, statements ...string) error {
	db, err := s.admin(database)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, text := range statements {
		if _, err := db.Exec(text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

// my is a database of the server, and the account that may read its tables.
type my struct {
	t      *testing.T
	server *mariaServer
	name   string
}

func mariaSpace(t *testing.T) my {
	t.Helper()
	s := maria(t)
	mariaCount++
	m := my{t, s, fmt.Sprintf("test%d", mariaCount)}
	if err := s.exec("", "CREATE DATABASE "+m.name+" CHARACTER SET utf8mb4", "CREATE USER "+m.name+" IDENTIFIED BY '"+m.name+"'", "GRANT SELECT ON "+m.name+".* TO "+m.name); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m my) exec(statements ...string) {
	m.t.Helper()
	if err := m.server.exec(m.name, statements...); err != nil {
		m.t.Fatal(err)
	}
}

func (m my) config(mapping Mapping) ServerConfig {
	return ServerConfig{URL: "mysql://" + m.name + "@localhost/" + m.name + "?socket=" + url.QueryEscape(m.server.socket()),
		Password: func() (string, error) { return m.name, nil }, Mapping: mapping, Timeout: 20 * time.Second}
}

func (m my) open(cfg ServerConfig) *Vault {
	m.t.Helper()
	v, err := OpenMySQL(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { v.Close() })
	return v
}

func TestMariaDBConforms(t *testing.T) {
	types := map[vault.Type]string{vault.Int: "bigint", vault.String: "varchar(300)", vault.Bool: "boolean"}
	vaulttest.Run(t, func(t *testing.T, s vaulttest.Setup) vault.Connector {
		m := mariaSpace(t)
		defs, marks := []string{"id varchar(128)"}, "?"
		var stored []vaulttest.Column
		mapping := Mapping{Table: "customers", Key: "id"}
		for _, c := range s.Columns {
			col := ColumnMapping{Name: c.Name, Type: c.Type, Scale: c.Scale}
			if s.Slow {
				col.Expr = "(SELECT SLEEP(600) = 0)"
			}
			mapping.Columns = append(mapping.Columns, col)
			if c.Missing {
				continue
			}
			typ := types[c.Type]
			if c.Stored != 0 {
				typ = types[c.Stored]
			}
			if c.Scale > 0 {
				typ = fmt.Sprintf("decimal(30,%d)", c.Scale)
			}
			defs, marks, stored = append(defs, c.Name+" "+typ), marks+", ?", append(stored, c)
		}
		m.exec("CREATE TABLE customers (" + strings.Join(defs, ", ") + ")")
		db, err := m.server.admin(m.name)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, row := range s.Rows {
			args := []any{row.Key}
			for i, c := range stored {
				args = append(args, store(row.Values[i], c.Scale))
			}
			if _, err := db.Exec("INSERT INTO customers VALUES ("+marks+")", args...); err != nil {
				t.Fatal(err)
			}
		}
		cfg := m.config(mapping)
		if s.Timeout != 0 {
			cfg.Timeout = s.Timeout
		}
		if s.Down {
			cfg.URL = strings.Replace(cfg.URL, "socket=", "socket=%2Fnowhere", 1)
		}
		return m.open(cfg)
	})
}

func TestMariaDBTypes(t *testing.T) {
	m := mariaSpace(t)
	m.exec("CREATE TABLE customers (id varchar(20) PRIMARY KEY, x int, d datetime, ts timestamp NULL, f double, u bigint unsigned, day date)",
		"SET time_zone = '+00:00'", "INSERT INTO customers VALUES ('a', 1, '2026-01-02 03:04:05', '2026-01-02 03:04:05', 1.5, 18446744073709551615, '2026-01-02')")
	for _, c := range []struct {
		expr  string
		typ   vault.Type
		scale uint8
		want  vault.Value
		wrong string
	}{
		{expr: "x", typ: vault.Int, want: vault.IntValue(1)},
		{expr: "x = 1", typ: vault.Bool, want: vault.BoolValue(true)},
		{expr: "CAST(12.5 AS DECIMAL(10,2))", typ: vault.Int, scale: 2, want: vault.IntValue(1250)},
		{expr: "ts", typ: vault.Int, want: vault.IntValue(1767323045000)},
		{expr: "day", typ: vault.Int, want: vault.IntValue(1767312000000)},
		{expr: "d", typ: vault.Int, wrong: "CONVERT_TZ"},
		{expr: "CAST(UNIX_TIMESTAMP(CONVERT_TZ(d, '+08:00', '+00:00')) * 1000 AS SIGNED)", typ: vault.Int, want: vault.IntValue(1767294245000)},
		{expr: "f", typ: vault.Int, wrong: "cannot hold money exactly"},
		{expr: "u", typ: vault.Int, wrong: "beyond 64 bits"},
		{expr: "'东城'", typ: vault.String, want: vault.StringValue("东城")},
		{expr: "x", typ: vault.String, wrong: "is mapped as string"},
		{expr: "NULLIF(x, 1)", typ: vault.Int},
		{expr: "nosuch(x)", typ: vault.Int, wrong: "refuses the SQL"},
	} {
		v := m.open(m.config(oneColumn(c.expr, c.typ, c.scale)))
		row, err := v.Lookup(t.Context(), "a", []string{"x"})
		if c.wrong == "" {
			if err != nil || row[0] != c.want {
				t.Errorf("%s: %v, or another value than expected", c.expr, err)
			}
		} else {
			var s *vault.SchemaError
			if !errors.As(err, &s) || s.Column != "x" || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: %v, want a schema error on x about %q", c.expr, err, c.wrong)
			}
		}
		v.Close()
	}
}

func TestMariaDBDriftAndAccount(t *testing.T) {
	m := mariaSpace(t)
	m.exec("CREATE TABLE customers (id varchar(20) PRIMARY KEY, region varchar(20), balance decimal(12,2))", "INSERT INTO customers VALUES ('a', 'north', 12.50)")
	cfg := m.config(Mapping{Table: "customers", Key: "id", Columns: []ColumnMapping{{Name: "region", Type: vault.String}, {Name: "balance", Type: vault.Int, Scale: 2}}})
	cfg.AccountEvery = time.Nanosecond
	v := m.open(cfg)
	ask := []string{"region", "balance"}
	if row, err := v.Lookup(t.Context(), "a", ask); err != nil || row[1] != vault.IntValue(1250) {
		t.Fatal(err)
	}
	for _, c := range []struct{ ddl, want string }{
		{"ALTER TABLE customers MODIFY balance bigint", "DECIMAL"},
		{"ALTER TABLE customers MODIFY balance double", "DOUBLE"},
		{"ALTER TABLE customers DROP COLUMN balance", "does not exist"},
	} {
		m.exec(c.ddl)
		_, err := v.Lookup(t.Context(), "a", ask)
		for _, err := range []error{err, v.Check(t.Context())} {
			var s *vault.SchemaError
			if !errors.As(err, &s) || s.Column != "balance" || s.InRow || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.ddl, err)
			}
		}
	}
	for _, grant := range []string{"INSERT ON " + m.name + ".*", "UPDATE (region) ON " + m.name + ".customers", "CREATE ON *.*", "ALL PRIVILEGES ON " + m.name + ".*"} {
		m.exec("GRANT " + grant + " TO " + m.name)
		if _, err := v.Lookup(t.Context(), "a", []string{"region"}); !errors.Is(err, vault.ErrAccount) || !strings.Contains(err.Error(), "REVOKE") {
			t.Errorf("%s: %v", grant, err)
		}
		m.exec("REVOKE "+grant+" FROM "+m.name, "GRANT SELECT ON "+m.name+".* TO "+m.name)
	}
	m.exec("CREATE ROLE "+m.name+"_role", "GRANT "+m.name+"_role TO "+m.name)
	if _, err := v.Lookup(t.Context(), "a", []string{"region"}); !errors.Is(err, vault.ErrAccount) || !strings.Contains(err.Error(), "role") {
		t.Errorf("a role: %v", err)
	}
	m.exec("REVOKE " + m.name + "_role FROM " + m.name)
	if row, err := v.Lookup(t.Context(), "a", []string{"region"}); err != nil || row[0] != vault.StringValue("north") {
		t.Errorf("after all: %v", err)
	}
}

func TestMySQLSourceIsChecked(t *testing.T) {
	const secret = "hunter2secret"
	for source, want := range map[string]string{
		"mysql://reader:" + secret + "@db/core":     "password",
		"mysql://reader@db/core?password=" + secret: "password",
		"reader:" + secret + "@tcp(db)/core":        "want a URL",
		"mysql://db/core":                           "account",
		"mysql://reader@db":                         "database",
		"mysql://reader@db/core?tls=skip-verify":    "unknown setting",
		"mysql://reader@db/core?sslrootcert=/none":  "sslrootcert",
	} {
		if _, err := OpenMySQL(ServerConfig{URL: source, Mapping: oneColumn("", vault.Int, 0)}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
	c, err := mysqlConfig(&ServerConfig{URL: "mysql://reader@db.example/core", Timeout: time.Second})
	if err != nil || c.TLS == nil || c.TLS.InsecureSkipVerify || c.TLS.ServerName != "db.example" {
		t.Errorf("a server on another machine: %+v, %v", c, err)
	}
}
