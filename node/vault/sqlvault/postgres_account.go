package sqlvault

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/assent-network/assent/node/vault"
)

// powersSQL lists what the account may do beyond reading, by itself or through any
// role it is in (SET ROLE reaches those without INHERIT, too): attributes, roles
// that come with the server, the database, schemas, tables and sequences outside
// the system's own schemas. A handful is enough to refuse.
const powersSQL = `
WITH me AS (
  SELECT oid, rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication
  FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
), ns AS (
  SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
)
SELECT 'attribute', rolname::text, concat_ws(' ', CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
  CASE WHEN rolreplication THEN 'REPLICATION' END), false FROM me WHERE rolcreaterole OR rolcreatedb OR rolreplication
UNION ALL
SELECT 'role', rolname::text, '', false FROM me
  WHERE rolname IN ('pg_write_all_data', 'pg_write_server_files', 'pg_execute_server_program', 'pg_signal_backend', 'pg_maintain')
UNION ALL
SELECT 'database', me.rolname::text, pg_catalog.current_database()::text, d.datdba = me.oid
  FROM me, pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database() AND pg_catalog.has_database_privilege(me.oid, d.oid, 'CREATE')
UNION ALL
SELECT 'schema', me.rolname::text, pg_catalog.quote_ident(ns.nspname), false FROM me, ns WHERE pg_catalog.has_schema_privilege(me.oid, ns.oid, 'CREATE')
UNION ALL
SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, me.rolname::text,
  pg_catalog.quote_ident(ns.nspname) || '.' || pg_catalog.quote_ident(c.relname), c.relowner = me.oid
FROM me, pg_catalog.pg_class c JOIN ns ON ns.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND (c.relowner = me.oid OR CASE c.relkind
  WHEN 'S' THEN pg_catalog.has_sequence_privilege(me.oid, c.oid, 'USAGE, UPDATE')
  ELSE pg_catalog.has_table_privilege(me.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
    OR pg_catalog.has_any_column_privilege(me.oid, c.oid, 'INSERT, UPDATE') END)
LIMIT 5`

// power is something the account may do beyond reading.
type power struct {
	kind, role, object string
	owner              bool
}

// postgresAccount refuses an account that may do more than read, and a session
// that is not read-only.
func postgresAccount(ctx context.Context, db *sql.DB, user string) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var super bool
	var readOnly string
	err = tx.QueryRowContext(ctx, `SELECT rolsuper, pg_catalog.current_setting('default_transaction_read_only')
		FROM pg_catalog.pg_roles WHERE rolname = session_user`).Scan(&super, &readOnly)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return &vault.AccountError{Account: user, Finding: "it is not in the server's list of roles", Remedy: "name an account of its own in the source"}
	case err != nil:
		return err
	case super:
		return &vault.AccountError{Account: user, Finding: "it is a superuser", Remedy: "make an account that only reads and name it in the source:\n  " +
			"CREATE ROLE assent_reader LOGIN PASSWORD '…';\n  GRANT USAGE ON SCHEMA … TO assent_reader;\n  GRANT SELECT ON … TO assent_reader;"}
	case readOnly != "on":
		return &vault.AccountError{Account: user, Finding: "its session is not read-only, although this node asked for that",
			Remedy: "connect to the server itself or through a pooler that passes default_transaction_read_only on"}
	}
	rows, err := tx.QueryContext(ctx, powersSQL)
	if err != nil {
		return err
	}
	defer rows.Close()
	var findings, remedies []string
	for rows.Next() {
		var p power
		if err := rows.Scan(&p.kind, &p.role, &p.object, &p.owner); err != nil {
			return err
		}
		finding, remedy := p.words(user)
		findings, remedies = append(findings, finding), append(remedies, "  "+remedy+";")
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if findings == nil {
		return nil
	}
	return &vault.AccountError{Account: user, Finding: strings.Join(findings, ", "), Remedy: "as an administrator:\n" + strings.Join(remedies, "\n")}
}

// words says what the power is and which SQL takes it away.
func (p power) words(user string) (finding, remedy string) {
	role := `"` + p.role + `"`
	through := ""
	if p.role != user {
		through = fmt.Sprintf(" through role %q", p.role)
	}
	switch p.kind {
	case "attribute":
		return "it has " + p.object + through, "ALTER ROLE " + role + " NO" + strings.ReplaceAll(p.object, " ", " NO")
	case "role":
		return "it is in role " + p.role, fmt.Sprintf(`REVOKE %s FROM "%s"`, p.role, user)
	case "database":
		if p.owner {
			return "it owns the database" + through, fmt.Sprintf(`ALTER DATABASE "%s" OWNER TO postgres`, p.object)
		}
		return "it may create schemas" + through, fmt.Sprintf(`REVOKE CREATE ON DATABASE "%s" FROM %s, PUBLIC`, p.object, role)
	case "schema":
		return "it may create tables in schema " + p.object + through, fmt.Sprintf("REVOKE CREATE ON SCHEMA %s FROM %s, PUBLIC", p.object, role)
	}
	what := strings.ToUpper(p.kind)
	if p.owner {
		return fmt.Sprintf("it owns %s %s%s", p.kind, p.object, through), fmt.Sprintf("ALTER %s %s OWNER TO postgres", what, p.object)
	}
	if p.kind == "sequence" {
		return "it may move sequence " + p.object + through, fmt.Sprintf("REVOKE USAGE, UPDATE ON SEQUENCE %s FROM %s, PUBLIC", p.object, role)
	}
	return "it may change table " + p.object + through, fmt.Sprintf("REVOKE INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER ON TABLE %s FROM %s, PUBLIC", p.object, role)
}
