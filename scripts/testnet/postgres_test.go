package testnet

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/vault/sqlvault/pgtest"
	"github.com/assent-network/assent/sdk"
)

// onPostgres is a network whose first bank answers from a PostgreSQL server that
// has troubles.
type onPostgres struct {
	t       *testing.T
	net     *Net
	server  *pgtest.Server
	account string
	lend    *sdk.Client
	consent []sdk.ConsentID
	pid     int
}

const databasePassword = "hunter2-secret"

// TestBankOnPostgres: the bank's database restarts, is locked, changes and is
// mended, while the bank's node, a validator, runs on. Requests are answered with
// the truth, later if need be, or not at all.
func TestBankOnPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("processes are not for -short")
	}
	w := &onPostgres{t: t, server: pgtest.Own(t)}
	w.start()
	for i := range 4 {
		w.answered(w.ask(i, time.Minute), i)
	}
	t.Run("restarted", w.restarted)
	t.Run("locked", w.locked)
	t.Run("changed", w.changed)
	t.Run("account", w.accountThatMayWrite)
	for _, secret := range []string{databasePassword, identity(0)[:10]} {
		if b, err := os.ReadFile(w.net.First(bank).LogPath()); err != nil || bytes.Contains(b, []byte(secret)) {
			t.Errorf("the bank's log holds %q: %v", secret, err)
		}
	}
}

// exec runs SQL as the database's administrator.
func (w *onPostgres) exec(t *testing.T, statements ...string) {
	t.Helper()
	if err := w.server.Exec(w.t.Context(), pgtest.Database, append([]string{"SET search_path = " + w.account}, statements...)...); err != nil {
		t.Fatal(err)
	}
}

func (w *onPostgres) start() {
	t := w.t
	w.account = w.server.NewSpace(t)
	rows := make([]string, customers)
	for i := range rows {
		rows[i] = fmt.Sprintf("('%s', %d)", identity(i), map[string]int{"LATE": 2, "ON_TIME": 0}[truth(i)])
	}
	w.exec(t, "CREATE TABLE customers (id text PRIMARY KEY, late integer)", "INSERT INTO customers VALUES "+strings.Join(rows, ","),
		"GRANT SELECT ON customers TO "+w.account,
		"ALTER ROLE "+w.account+" PASSWORD '"+databasePassword+"'")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(databasePassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := DefaultManifest()
	m.Members[0].Vaults = []config.Vault{{
		Product: string(product), Connector: "postgres", Source: w.server.URL(pgtest.Database, w.account, ""), Password: "file:" + secret,
		Table: "customers", Key: "id", Timeout: time.Second, Columns: []config.Column{{Name: "late", Type: "int"}},
	}}
	w.net = up(t, m)
	var err error
	if w.lend, err = w.net.Client(t.Context(), asker, "integration"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.lend.Close() })
	officer, err := w.net.Client(t.Context(), bank, "officer")
	if err != nil {
		t.Fatal(err)
	}
	defer officer.Close()
	notice := publishProduct(t, w.net, officer)
	for i := range customers {
		w.consent = append(w.consent, agree(t, w.lend, officer, notice, i))
	}
	w.pid = w.net.First(bank).PID
}

// asked is a request on its way.
type asked struct {
	ticket   *sdk.Ticket
	decision *sdk.Decision
}

// ask puts a request on the ledger, which works whatever the database does. The
// answer of each customer is frozen once given, so that every customer is asked
// about once.
func (w *onPostgres) ask(customer int, within time.Duration) asked {
	w.t.Helper()
	q := question(w.consent[customer])
	q.Deadline = within
	ticket, err := w.lend.Queries().Prepare(q)
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := w.lend.Queries().Request(w.t.Context(), ticket)
	if err != nil || !d.Permit {
		w.t.Fatalf("request: %+v, %v", d, err)
	}
	return asked{ticket, d}
}

// outcome waits for what the bank says: a value, or an outcome without one.
func (w *onPostgres) outcome(t *testing.T, a asked) (value string, outcome record.ReceiptOutcome) {
	t.Helper()
	got, err := w.lend.Queries().Await(w.t.Context(), a.ticket, a.decision)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := w.lend.Queries().Open(a.ticket, got)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.lend.Queries().Verify(w.t.Context(), a.ticket, opened); err != nil {
		t.Error(err)
	}
	return opened.Value, opened.Outcome
}

func (w *onPostgres) answered(a asked, customer int) {
	w.t.Helper()
	if value, _ := w.outcome(w.t, a); value != truth(customer) {
		w.t.Errorf("customer %d: answer %q, want %s", customer, value, truth(customer))
	}
}

func (w *onPostgres) overdue(t *testing.T, a asked) {
	t.Helper()
	if value, outcome := w.outcome(t, a); value != "" || outcome != record.Overdue {
		t.Errorf("answer %q, outcome %s, want OVERDUE", value, outcome)
	}
}

// healthy checks that the bank's node is the process it was.
func (w *onPostgres) healthy(t *testing.T) {
	t.Helper()
	x := w.net.First(bank)
	if x.PID != w.pid || !x.Running() {
		t.Error("the bank's node is not the process it was")
	}
	if err := x.WaitReady(w.t.Context()); err != nil {
		t.Error(err)
	}
}

// logged waits for nothing: it says whether the bank's log holds all the words in
// one line.
func (w *onPostgres) logged(t *testing.T, words ...string) {
	t.Helper()
	b, err := os.ReadFile(w.net.First(bank).LogPath())
	if err != nil {
		t.Fatal(err)
	}
lines:
	for line := range bytes.Lines(b) {
		for _, word := range words {
			if !bytes.Contains(line, []byte(word)) {
				continue lines
			}
		}
		return
	}
	t.Errorf("no line of the bank's log says %q", words)
}

func (w *onPostgres) restarted(t *testing.T) {
	if err := w.server.Down(); err != nil {
		t.Fatal(err)
	}
	never := w.ask(4, 2*time.Second)
	later := []asked{w.ask(5, 110*time.Second), w.ask(6, 110*time.Second), w.ask(7, 110*time.Second)}
	w.overdue(t, never)
	w.healthy(t)
	w.logged(t, "unavailable", "no connection")
	if err := w.server.Up(w.t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, a := range later {
		w.answered(a, 5+i)
	}
}

func (w *onPostgres) locked(t *testing.T) {
	db, err := sql.Open("pgx", w.server.AdminURL(pgtest.Database))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.BeginTx(w.t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("LOCK TABLE " + w.account + ".customers IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	never, later := w.ask(8, 3*time.Second), w.ask(9, 110*time.Second)
	w.overdue(t, never)
	w.healthy(t)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	w.answered(later, 9)
}

func (w *onPostgres) changed(t *testing.T) {
	for i, c := range []struct {
		change, back string
		words        []string
	}{
		{"ALTER TABLE customers RENAME COLUMN late TO delay", "ALTER TABLE customers RENAME COLUMN delay TO late", []string{"late", "does not exist"}},
		{"ALTER TABLE customers ALTER COLUMN late TYPE text", "ALTER TABLE customers ALTER COLUMN late TYPE integer USING late::integer", []string{"late", "mapped as int", "TEXT"}},
		// Every figure could be read, and would be wrong.
		{"ALTER TABLE customers ALTER COLUMN late TYPE bigint USING late * 100", "ALTER TABLE customers ALTER COLUMN late TYPE integer USING late / 100", []string{"late", "INT4", "INT8"}},
	} {
		w.exec(t, c.change)
		never, later := w.ask(10+2*i, 2*time.Second), w.ask(11+2*i, 110*time.Second)
		w.overdue(t, never)
		w.logged(t, c.words...)
		w.exec(t, c.back)
		w.answered(later, 11+2*i)
	}
	w.healthy(t)
}

// accountThatMayWrite: the right is granted while the node runs, seen after the
// next lost connection, and keeps the node from starting.
func (w *onPostgres) accountThatMayWrite(t *testing.T) {
	w.exec(t, "GRANT UPDATE ON customers TO "+w.account)
	if err := w.server.Crash(); err != nil {
		t.Fatal(err)
	}
	if err := w.server.Up(w.t.Context()); err != nil {
		t.Fatal(err)
	}
	never := w.ask(16, 3*time.Second)
	w.overdue(t, never)
	w.logged(t, "may change table", "REVOKE INSERT")

	x := w.net.First(bank)
	if err := x.StopNode(); err != nil {
		t.Fatal(err)
	}
	if err := w.net.StartNode(x); err != nil {
		t.Fatal(err)
	}
	if err := x.WaitReady(w.t.Context()); err == nil || !strings.Contains(err.Error(), "REVOKE INSERT") {
		t.Errorf("with an account that may write the node starts: %v", err)
	}
	w.exec(t, "REVOKE UPDATE ON customers FROM "+w.account)
	if err := w.net.StartNode(x); err != nil {
		t.Fatal(err)
	}
	if err := x.WaitReady(w.t.Context()); err != nil {
		t.Fatal(err)
	}
	w.answered(w.ask(17, 110*time.Second), 17)
}
