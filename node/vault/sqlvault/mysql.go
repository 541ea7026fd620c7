package sqlvault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/assent-network/assent/node/vault"
)

// OpenMySQL makes a connector for MySQL 8 or MariaDB 10.5, or newer, as
// OpenPostgres does. The URL is mysql://reader@db.bank.example:3306/core; a server
// on another machine is spoken to over TLS with its certificate checked against
// the system's authorities, or against those in the PEM file that ?sslrootcert=
// names; then a server on this machine too. ?socket=/run/mysqld/mysqld.sock names
// a socket.
func OpenMySQL(cfg ServerConfig) (*Vault, error) {
	cfg.setDefaults()
	mc, err := mysqlConfig(&cfg)
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	connector, err := mysql.NewConnector(mc)
	if err != nil {
		return nil, errors.New("open vault: source: the driver does not understand the URL") // its text may hold the password
	}
	var v *Vault // there before the first connection
	db := sql.OpenDB(mysqlSessions{connector, cfg.Timeout, func() { v.connected() }})
	limitPool(db, cfg.Connections)
	v, err = New(db, Config{Dialect: mysqlDialect(mc.User), Mapping: cfg.Mapping, Timeout: cfg.Timeout, AccountEvery: cfg.AccountEvery})
	if err != nil {
		db.Close()
		return nil, err
	}
	return v, nil
}

func mysqlConfig(cfg *ServerConfig) (*mysql.Config, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "mysql" {
		return nil, errors.New("source: want a URL such as mysql://reader@db.bank.example:3306/core")
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return nil, errors.New("source: holds a password: take it out, and say where it is with password: file:<path> or env:<variable>")
	}
	mc := mysql.NewConfig()
	mc.User, mc.DBName = u.User.Username(), strings.TrimPrefix(u.Path, "/")
	if mc.User == "" || mc.DBName == "" {
		return nil, errors.New("source: names no account or no database, want mysql://reader@db.bank.example/core")
	}
	for name := range u.Query() {
		if name != "socket" && name != "sslrootcert" {
			return nil, fmt.Errorf("source: unknown setting %q in the URL: only socket and sslrootcert are known", name)
		}
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "3306"
	}
	mc.Net, mc.Addr = "tcp", net.JoinHostPort(host, port)
	if path := u.Query().Get("socket"); path != "" {
		mc.Net, mc.Addr = "unix", path
	} else if !local(host) {
		mc.TLS = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	}
	if path := u.Query().Get("sslrootcert"); path != "" {
		roots, err := authorities(path)
		if err != nil {
			return nil, err
		}
		mc.TLS = &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	if cfg.Password != nil {
		if mc.Passwd, err = cfg.Password(); err != nil {
			return nil, fmt.Errorf("password of the account: %w", err)
		}
	}
	mc.ParseTime, mc.Loc = true, time.UTC
	mc.InterpolateParams = false
	mc.Timeout = max(cfg.Timeout, time.Second)
	mc.Logger = &mysql.NopLogger{}
	mc.Params = map[string]string{
		"time_zone": "'+00:00'",
		// Names in double quotes, as everywhere else here.
		"sql_mode": "'ANSI_QUOTES,STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,ERROR_FOR_DIVISION_BY_ZERO'",
	}
	if err := mc.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return mc, nil
}

// maxAuthorities bounds what is read of a file of certificates.
const maxAuthorities = 1 << 20

// authorities reads the bank's own certificate authorities.
func authorities(path string) (*x509.CertPool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("source: sslrootcert: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAuthorities))
	if err != nil {
		return nil, fmt.Errorf("source: sslrootcert: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("source: sslrootcert: %s holds no certificate: name a PEM file with the authority that signed the server's", path)
	}
	return roots, nil
}

// mysqlSessions makes every session read-only, and lets the server end what takes
// longer than the limit. MariaDB and MySQL name that limit differently.
type mysqlSessions struct {
	driver.Connector
	timeout   time.Duration
	connected func()
}

// Connect implements driver.Connector.
func (s mysqlSessions) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := s.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	run := conn.(driver.ExecerContext).ExecContext
	_, err = run(ctx, "SET SESSION TRANSACTION READ ONLY", nil)
	if err == nil {
		_, err = run(ctx, fmt.Sprintf("SET SESSION max_statement_time = %.3f", s.timeout.Seconds()), nil)
	}
	if mysqlNumber(err) == 1193 { // no such variable: it is MySQL
		_, err = run(ctx, fmt.Sprintf("SET SESSION max_execution_time = %d", s.timeout.Milliseconds()), nil)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	s.connected()
	return conn, nil
}

var mysqlFit = fitting{
	whole: []string{"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "UNSIGNED TINYINT", "UNSIGNED SMALLINT", "UNSIGNED MEDIUMINT",
		"UNSIGNED INT", "UNSIGNED BIGINT", "YEAR"},
	decimal: []string{"DECIMAL"}, instant: []string{"TIMESTAMP", "DATE"},
	text: []string{"CHAR", "VARCHAR", "TEXT", "TINYTEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM"}, truth: []string{"TINYINT", "INT", "BIGINT"},
	cast: map[vault.Type]string{
		vault.Int:    "for example CAST(amount AS DECIMAL(18,2)) with scale 2, or CAST(n AS SIGNED)",
		vault.String: "for example CAST(name AS CHAR)", vault.Bool: "for example flag <> 0"},
	naive:       []string{"DATETIME"},
	naiveRemedy: "map an expression that says which zone: CAST(UNIX_TIMESTAMP(CONVERT_TZ(\"at\", '+08:00', '+00:00')) * 1000 AS SIGNED)",
}

func mysqlKey(t StoredType) (wrong, remedy string) {
	switch t.Name {
	case "CHAR", "VARCHAR", "TEXT", "TINYTEXT":
		return "", ""
	}
	return fmt.Sprintf("is the key but is %s in the database, want VARCHAR or CHAR", t), "map a query that yields it as text, on an indexed column"
}

func mysqlDialect(user string) Dialect {
	return Dialect{
		Name: "mysql", ReadOnly: true,
		// The first condition uses the index, the second compares bytes: the usual
		// collations take "A" for "a" and count no blanks at the end.
		Bind: 2,
		Match: func(key string) string {
			return key + " = ? AND CAST(CONVERT(" + key + " USING utf8mb4) AS BINARY) = CAST(CONVERT(? USING utf8mb4) AS BINARY)"
		},
		Classify: classifyMySQL, Reason: mysqlReason, Lost: mysqlLost,
		Stale: func(err error) bool { n := mysqlNumber(err); return n == 1615 || n == 1243 }, // prepare it again; unknown statement
		Fits:  mysqlFit.judge, FitsKey: mysqlKey,
		Account: func(ctx context.Context, db *sql.DB) error { return mysqlAccount(ctx, db, user) },
		Patient: func(ctx context.Context, conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, "SET SESSION max_statement_time = 0")
			if mysqlNumber(err) == 1193 { // no such variable: it is MySQL
				_, err = conn.ExecContext(ctx, "SET SESSION max_execution_time = 0")
			}
			return err
		},
	}
}

// mysqlNumber is the number by which the server says what is wrong, 0 if the
// error is not the server's.
func mysqlNumber(err error) uint16 {
	var me *mysql.MySQLError
	if errors.As(err, &me) {
		return me.Number
	}
	return 0
}

func classifyMySQL(err error) *vault.SchemaError {
	byHand := "run the mapped query by hand in the database's shell and correct it"
	switch n := mysqlNumber(err); n {
	case 1054:
		return &vault.SchemaError{Detail: "does not exist in the database", Remedy: "correct its expression in the vault mapping or add it to the table"}
	case 1146, 1049, 1356:
		return &vault.SchemaError{Detail: "the mapped table does not exist", Remedy: "correct the mapping's table, or the database in the source"}
	case 1142, 1143, 1044:
		return &vault.SchemaError{Detail: "the account may not read it", Remedy: "GRANT SELECT ON the mapped table to the account"}
	case 1792, 1290:
		return &vault.SchemaError{Detail: "the mapped SQL writes", Remedy: "map a SELECT that neither writes nor locks"}
	case 1064, 1305, 1370, 1052, 1060, 1241, 1242, 1247, 1248:
		return &vault.SchemaError{Detail: fmt.Sprintf("the database refuses the SQL (%d)", n), Remedy: byHand}
	case 1365, 1690, 1292, 1366, 1264:
		return &vault.SchemaError{InRow: true, Detail: fmt.Sprintf("an expression of the mapping fails on the row (%d)", n), Remedy: "make it hold for every row, for example with CASE or NULLIF"}
	}
	return nil
}

func mysqlReason(err error) string {
	switch n := mysqlNumber(err); n {
	case 0:
	case 1045:
		return "the server refuses the account or its password: see answering.vaults.password"
	case 1040, 1203:
		return "the server has no free connection: raise its max_connections or lower the vault's connections"
	case 1053, 1077, 1079:
		return "the server is shutting down"
	case 1205, 3572:
		return "somebody holds a lock on the table"
	case 1969, 3024, 1317:
		return "the query was cut at the vault's timeout: look at the database's load and at the index on the key, or raise the timeout"
	default:
		return "the server answered with number " + strconv.Itoa(int(n))
	}
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &cert):
		return "the server's certificate is not valid for its name and authority: see sslrootcert"
	case errors.Is(err, mysql.ErrNoTLS):
		return "the server does not offer TLS"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection: see whether the server runs and is reachable from here"
	}
	return ""
}

func mysqlLost(err error) bool {
	switch mysqlNumber(err) {
	case 1053, 1927: // shutting down; killed
		return true
	case 0:
	default:
		return false
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var op *net.OpError
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && op.Op != "dial"
}

var (
	grantLine   = regexp.MustCompile(`(?s)^GRANT (.+?) ON (.+) TO `)
	columnsOf   = regexp.MustCompile(`\([^)]*\)`)
	readingOnly = map[string]bool{"USAGE": true, "SELECT": true, "SHOW VIEW": true}
)

// mysqlAccount refuses an account whose grants hold more than SELECT, or a role,
// whose rights would have to be looked through in turn.
func mysqlAccount(ctx context.Context, db *sql.DB, user string) error {
	rows, err := db.QueryContext(ctx, "SHOW GRANTS")
	if err != nil {
		return err
	}
	defer rows.Close()
	var findings, remedies []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return err
		}
		m := grantLine.FindStringSubmatch(line)
		if m == nil {
			findings = append(findings, "it is in a role")
			remedies = append(remedies, "  grant SELECT to the account itself and revoke the role")
			continue
		}
		var more []string
		for _, p := range strings.Split(columnsOf.ReplaceAllString(m[1], ""), ",") {
			if p = strings.ToUpper(strings.TrimSpace(p)); !readingOnly[p] {
				more = append(more, p)
			}
		}
		if more != nil {
			findings = append(findings, fmt.Sprintf("%s on %s", strings.Join(more, ", "), m[2]))
			remedies = append(remedies, fmt.Sprintf("  REVOKE %s ON %s FROM '%s'@'…';", strings.Join(more, ", "), m[2], user))
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if findings == nil {
		return nil
	}
	return &vault.AccountError{Account: user, Finding: strings.Join(findings, "; "), Remedy: "as an administrator:\n" + strings.Join(remedies, "\n")}
}
