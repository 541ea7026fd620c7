package sqlvault

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/assent-network/assent/node/vault"
)

// ServerConfig opens a vault on a database server.
type ServerConfig struct {
	// URL names server, database and account, never the password:
	// postgres://reader@db.bank.example:5432/core, or a socket with ?host=/run/postgresql.
	// Its sslmode, sslrootcert, sslcert and sslkey say how TLS is done.
	URL string
	// Password of the account; nil means none.
	Password func() (string, error)
	Mapping  Mapping
	// Timeout of one lookup, also enforced by the server; default 2 s.
	Timeout time.Duration
	// Connections bounds the pool; default 4.
	Connections int
	// AccountEvery is how often the account's rights are looked at again; default
	// one minute.
	AccountEvery time.Duration
}

func (c *ServerConfig) setDefaults() {
	if c.Timeout == 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Connections == 0 {
		c.Connections = 4
	}
}

const (
	maxConnectionAge  = 10 * time.Minute
	maxConnectionIdle = 2 * time.Minute
	// maxAnswerBytes bounds one message of the server: what does not fit is no row
	// of columns of MaxStringBytes.
	maxAnswerBytes = 1 << 20
)

// OpenPostgres makes a connector for PostgreSQL 12 or newer. It does not connect:
// a server that is down when the node starts is one that is down later.
//
// Every session is read-only (default_transaction_read_only), every query runs in
// a READ ONLY transaction, and the server itself ends what takes longer than
// Timeout. An account that may write is refused: see vault.ErrAccount.
func OpenPostgres(cfg ServerConfig) (*Vault, error) {
	cfg.setDefaults()
	pc, err := postgresConfig(&cfg)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	var v *Vault // there before the first connection
	db := stdlib.OpenDB(*pc, stdlib.OptionAfterConnect(func(context.Context, *pgx.Conn) error {
		v.connected()
		return nil
	}))
	limitPool(db, cfg.Connections)
	v, err = New(db, Config{Dialect: postgresDialect(pc.User), Mapping: cfg.Mapping, Timeout: cfg.Timeout, AccountEvery: cfg.AccountEvery})
	if err != nil {
		db.Close()
		return nil, err
	}
	return v, nil
}

func limitPool(db *sql.DB, connections int) {
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxLifetime(maxConnectionAge)
	db.SetConnMaxIdleTime(maxConnectionIdle)
}

func postgresURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("want a URL such as postgres://reader@db.bank.example:5432/core?sslmode=verify-full")
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return nil, errors.New("holds a password: take it out, and say where it is with password: file:<path> or env:<variable>")
	}
	if u.User.Username() == "" && !u.Query().Has("user") {
		return nil, errors.New("names no account: put it before the host, as in postgres://reader@db.bank.example/core")
	}
	return u, nil
}

// postgresConfig turns the settings into the driver's. No error of it repeats the
// URL: the driver's own would.
func postgresConfig(cfg *ServerConfig) (*pgx.ConnConfig, error) {
	u, err := postgresURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	q := u.Query()
	if !q.Has("sslmode") && !localHosts(u) {
		q.Set("sslmode", "verify-full")
		u.RawQuery = q.Encode()
	}
	pc, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, errors.New("source: the driver does not understand the URL: see its host, port, and whether the files of sslrootcert, sslcert and sslkey are there")
	}
	if err := checkTLS(pc); err != nil {
		return nil, err
	}
	if cfg.Password != nil {
		if pc.Password, err = cfg.Password(); err != nil {
			return nil, fmt.Errorf("password of the account: %w", err)
		}
	}
	ms := strconv.FormatInt(cfg.Timeout.Milliseconds(), 10)
	for name, value := range map[string]string{
		"application_name":                    "assent",
		"client_encoding":                     "UTF8",
		"default_transaction_read_only":       "on",
		"statement_timeout":                   ms,
		"lock_timeout":                        ms,
		"idle_in_transaction_session_timeout": "60000",
	} {
		pc.RuntimeParams[name] = value
	}
	pc.ConnectTimeout = max(cfg.Timeout, time.Second)
	// What is not prepared by name is described anew each time: the driver's own
	// cache of statements would outlive a change of the table.
	pc.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	pc.MaxProtocolMessageBodyLen = maxAnswerBytes
	// A lookup that is given up is cancelled at the server, too, which keeps the
	// connection; if that does not help, the connection is closed.
	pc.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: 200 * time.Millisecond}
	}
	return pc, nil
}

// localHosts reports whether every host of the URL is this machine.
func localHosts(u *url.URL) bool {
	hosts := strings.Split(u.Query().Get("host"), ",")
	if u.Host != "" {
		hosts = strings.Split(u.Host, ",")
	}
	for i, h := range hosts {
		if name, _, err := net.SplitHostPort(h); err == nil {
			h = name
		}
		if hosts[i] = h; h == "" && os.Getenv("PGHOST") != "" {
			hosts[i] = os.Getenv("PGHOST")
		}
		if !local(hosts[i]) {
			return false
		}
	}
	return true
}

func local(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "" || strings.HasPrefix(host, "/") || host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkTLS refuses connections over a network that are not encrypted to a server
// whose certificate is checked: customers' rows travel over them.
func checkTLS(pc *pgx.ConnConfig) error {
	type way struct {
		host string
		tls  *tls.Config
	}
	ways := []way{{pc.Host, pc.TLSConfig}}
	for _, f := range pc.Fallbacks {
		ways = append(ways, way{f.Host, f.TLSConfig})
	}
	for _, w := range ways {
		if local(w.host) {
			continue
		}
		if w.tls == nil || w.tls.InsecureSkipVerify && w.tls.VerifyPeerCertificate == nil && w.tls.VerifyConnection == nil {
			return errors.New("source: the database is on another machine, and sslmode allows a connection without TLS or to any server: use sslmode=verify-full, with sslrootcert=<file> if the bank has its own authority")
		}
	}
	return nil
}

var postgresFit = fitting{
	whole: []string{"INT2", "INT4", "INT8"}, decimal: []string{"NUMERIC"}, instant: []string{"TIMESTAMPTZ", "DATE"},
	text: []string{"TEXT", "VARCHAR", "BPCHAR", "UUID"}, truth: []string{"BOOL"},
	cast: map[vault.Type]string{
		vault.Int:    "for example amount::numeric(18,2) with scale 2, or n::bigint",
		vault.String: "for example name::text", vault.Bool: "for example flag <> 0"},
	naive:       []string{"TIMESTAMP"},
	naiveRemedy: "map an expression that says which zone: \"at\" AT TIME ZONE 'Asia/Shanghai'",
}

func postgresKey(t StoredType) (wrong, remedy string) {
	switch t.Name {
	case "TEXT", "VARCHAR", "BPCHAR":
		return "", ""
	}
	return fmt.Sprintf("is the key but is %s in the database, want TEXT, VARCHAR or CHAR", t),
		"map a query that yields it as text, such as SELECT id::text AS id, …, and make an index on that expression"
}

func postgresDialect(user string) Dialect {
	return Dialect{
		Name: "postgres", ReadOnly: true,
		// The first condition uses the index, the second sees differences that a
		// collation does not.
		Match: func(key string) string {
			return key + " = $1 AND " + key + `::text = $1::text COLLATE "C"`
		},
		Classify: classifyPostgres, Reason: postgresReason, Lost: postgresLost,
		Stale: func(err error) bool {
			code := sqlState(err)
			return code == "0A000" || code == "26000" // "cached plan must not change result type"; statement gone
		},
		Fits: postgresFit.judge, FitsKey: postgresKey,
		Account: func(ctx context.Context, db *sql.DB) error { return postgresAccount(ctx, db, user) },
		Patient: func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, "SET statement_timeout = 0")
			return err
		},
	}
}

// sqlState is the five characters by which the server says what is wrong, "" if
// the error is not the server's.
func sqlState(err error) string {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code
	}
	return ""
}

// classifyPostgres sorts by code alone: the server's text may be in any language
// and quote values.
func classifyPostgres(err error) *vault.SchemaError {
	code := sqlState(err)
	byHand := "run the mapped query by hand in psql and correct it"
	switch {
	case code == "":
		return nil
	case code == "42703":
		return &vault.SchemaError{Detail: "does not exist in the database", Remedy: "correct its expression in the vault mapping or add it to the table"}
	case code == "42P01" || code == "3F000":
		return &vault.SchemaError{Detail: "the mapped table does not exist", Remedy: "load it with vault import or correct the mapping's table, with its schema"}
	case code == "42501":
		return &vault.SchemaError{Detail: "the account may not read it", Remedy: "GRANT USAGE ON SCHEMA and GRANT SELECT ON the mapped table to the account"}
	case code == "25006":
		return &vault.SchemaError{Detail: "the mapped SQL writes", Remedy: "map a SELECT that neither writes nor locks"}
	case code == "42883" || code == "42804" || code == "42846":
		return &vault.SchemaError{Detail: "the database finds no such function or operator for the types at hand (" + code + ")", Remedy: byHand}
	case strings.HasPrefix(code, "42") || code == "0A000":
		return &vault.SchemaError{Detail: "the database refuses the SQL (" + code + ")", Remedy: byHand}
	case strings.HasPrefix(code, "22"):
		return &vault.SchemaError{InRow: true, Detail: "an expression of the mapping fails on the row (" + code + ")", Remedy: "make it hold for every row, for example with CASE or NULLIF"}
	}
	return nil
}

var postgresReasons = map[string]string{
	"28000": "the server refuses the account: see user, pg_hba.conf and sslmode",
	"28P01": "the server refuses the password: see answering.vaults.password",
	"3D000": "there is no such database on the server: correct the source",
	"53300": "the server has no free connection: raise its max_connections or lower the vault's connections",
	"55P03": "somebody holds a lock on the table longer than the vault's timeout",
	"57014": "the query was cut at the vault's timeout: look at the database's load and at the index on the key, or raise the timeout",
	"57P01": "the server is shutting down",
	"57P02": "the server has crashed and restarts",
	"57P03": "the server is starting or stopping",
	"25P03": "the server ended a session that was idle in a transaction",
}

func postgresReason(err error) string {
	if code := sqlState(err); code != "" {
		if why, ok := postgresReasons[code]; ok {
			return why
		}
		return "the server answered with code " + code
	}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &cert):
		return "the server's certificate is not valid for its name and authority: see sslrootcert"
	case errors.As(err, &dns):
		return "the server's name does not resolve"
	}
	var refused *pgconn.ConnectError
	if errors.As(err, &refused) {
		return "no connection: see whether the server runs and is reachable from here"
	}
	return ""
}

// postgresLost reports that the connection broke, or that the server is about to
// break it. A connection that could not be made is not worth another try at once.
func postgresLost(err error) bool {
	switch code := sqlState(err); {
	case strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "08") || code == "25P03":
		return true
	case code != "" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return false
	}
	var refused *pgconn.ConnectError
	var op *net.OpError
	return !errors.As(err, &refused) &&
		(errors.As(err, &op) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, net.ErrClosed))
}
