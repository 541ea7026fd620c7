package badinput

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/sdk"
)

// testVaults: the bank's database is gone or slow. The lender gets its answer
// later, or a receipt that says OVERDUE, and no error beyond that.
func testVaults(t *testing.T, w *world) {
	moved := w.granted(t, "bank.moved", nil)
	gone := w.granted(t, "bank.moved", nil)
	slow := w.granted(t, "bank.slow", nil)
	file := filepath.Join(w.dir, "moved.db")
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	lend := w.client(t, lender, "integration")
	query := func(c *consent, params map[string]string, within time.Duration) (*sdk.Ticket, *sdk.Decision) {
		ticket, err := lend.Queries().Prepare(sdk.QueryRequest{
			Consent: c.id, Template: c.prepared.Terms.TemplateIDs[0], Purpose: record.CreditChecking, Params: params, Deadline: within,
		})
		if err != nil {
			t.Fatal(err)
		}
		d, err := lend.Queries().Request(t.Context(), ticket)
		if err != nil || !d.Permit {
			t.Fatalf("request: %+v, %v", d, err)
		}
		return ticket, d
	}
	later, laterDecision := query(moved, map[string]string{"at_least": "5000"}, 15*time.Second)
	never, neverDecision := query(gone, map[string]string{"at_least": "5000"}, 2*time.Second)
	slowly, slowlyDecision := query(slow, nil, 3*time.Second)

	// While the vault is away the lender is told to ask again.
	p := w.as("lender/integration")
	x := w.nodes[lender]
	r := x.call(t, "DeliveryService/AwaitAnswer", w.bearer(t, p, x.node), map[string]any{"requestId": laterDecision.RequestID, "timeoutMs": 300})
	refusal{http.StatusServiceUnavailable, "unavailable", "ANSWER_PENDING", []string{"no answer to request"}}.check(t, r)
	if !r.detail.GetRetryable() {
		t.Error("a pending answer is not retryable")
	}

	// Products whose vault is well are answered meanwhile.
	well := w.granted(t, card, nil)
	if got, err := lend.Query(t.Context(), sdk.QueryRequest{Consent: well.id, Template: band, Purpose: record.CreditChecking, Params: map[string]string{"at_least": "5000"}}); err != nil || got.Answer == nil || got.Answer.Value != "YES" {
		t.Errorf("a well vault meanwhile: %+v, %v", got, err)
	}

	var waiting sync.WaitGroup
	for name, k := range map[string]struct {
		ticket   *sdk.Ticket
		decision *sdk.Decision
	}{"gone": {never, neverDecision}, "slow": {slowly, slowlyDecision}} {
		waiting.Go(func() { t.Run(name, func(t *testing.T) { wantOverdue(t, w, lend, k.ticket, k.decision) }) })
	}
	waiting.Wait()
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	t.Run("back", func(t *testing.T) {
		got, err := lend.Queries().Await(t.Context(), later, laterDecision)
		if err != nil {
			t.Fatal(err)
		}
		a, err := lend.Queries().Open(later, got)
		if err != nil || a.Value != "YES" {
			t.Fatalf("answer: %+v, %v", a, err)
		}
		if _, err := lend.Queries().Verify(t.Context(), later, a); err != nil {
			t.Error(err)
		}
	})
	w.commits(t)
}

// wantOverdue waits for the receipt that says that no answer came in time.
func wantOverdue(t *testing.T, w *world, lend *sdk.Client, ticket *sdk.Ticket, d *sdk.Decision) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got, err := lend.Queries().Await(ctx, ticket, d)
	if err != nil {
		t.Errorf("the lender sees an error: %v", err)
		return
	}
	if got.Receipt == nil || got.Receipt.Outcome != record.Overdue {
		t.Errorf("an answer of %d bytes came, receipt %+v; want a receipt of OVERDUE", len(got.Sealed), got.Receipt)
		return
	}
	a, err := lend.Queries().Open(ticket, got)
	if err != nil || a.Outcome != record.Overdue || a.Value != "" {
		t.Errorf("opened: %+v, %v", a, err)
		return
	}
	v, err := lend.Queries().Verify(ctx, ticket, a)
	if err != nil || v.Receipt.Outcome != record.Overdue {
		t.Errorf("verified: %+v, %v", v, err)
	}
}

// sameLedger checks at the end that all nodes hold the same blocks and state.
func (w *world) sameLedger(t *testing.T) {
	t.Helper()
	type point struct {
		height uint64
		hash   sdk.Hash
		state  sdk.Hash
	}
	until(t, 20*time.Second, "all nodes hold the same block and state", func() (bool, string) {
		var first point
		for i, x := range w.net.Nodes {
			c, err := w.net.DialAs(t.Context(), x, "auditor")
			if err != nil {
				return false, err.Error()
			}
			h, err := c.Proofs().Header(t.Context())
			c.Close()
			if err != nil {
				return false, err.Error()
			}
			p := point{uint64(h.Header.Height), h.Header.Hash(), h.Header.StateRoot}
			if i == 0 {
				first = p
			}
			if p != first {
				if p.height == first.height {
					t.Fatalf("%s has %+v, %s has %+v", x.Name, p, w.net.Nodes[0].Name, first)
				}
				return false, "heights differ"
			}
		}
		return true, ""
	})
}

// testMappings: SQL in the operator's mapping that is not one SELECT. assentd says
// so before it opens the database, and nothing in it has changed.
func testMappings(t *testing.T, w *world) {
	x := w.net.First(bank)
	load := config.Sources{File: filepath.Join(x.Home, node.ConfigFile)}
	check := func(t *testing.T, edit func(*config.Vault)) (said string, exit int) {
		t.Helper()
		cfg, err := config.Load(load)
		if err != nil {
			t.Fatal(err)
		}
		for i := range cfg.Answering.Vaults {
			if v := &cfg.Answering.Vaults[i]; v.Product == card {
				edit(v)
			}
		}
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, node.ConfigFile), config.Template(cfg), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), w.net.Program, "vault", "check", "--home", home, "--product", card)
		out, err := cmd.CombinedOutput()
		var failed *exec.ExitError
		if err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	query := func(sql string) func(*config.Vault) {
		return func(v *config.Vault) { v.Table, v.Query = "", sql }
	}
	column := func(sql string) func(*config.Vault) {
		return func(v *config.Vault) { v.Columns[0].Expr = sql }
	}
	if said, exit := check(t, query("SELECT * FROM customers")); exit != 0 {
		t.Fatalf("a SELECT is refused: %s", said)
	}
	before, err := os.ReadFile(filepath.Join(w.dir, "card.db"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit func(*config.Vault)
		says string
	}{
		"an UPDATE":                {query("UPDATE customers SET income = 0 RETURNING *"), "UPDATE"},
		"a DELETE in a WITH":       {query("WITH x AS (DELETE FROM customers RETURNING *) SELECT * FROM x"), "DELETE"},
		"two statements":           {query("SELECT * FROM customers; DROP TABLE customers"), "';'"},
		"behind a comment":         {query("SELECT * FROM customers --\n; DROP TABLE customers"), "';'"},
		"a PRAGMA":                 {query("PRAGMA writable_schema = 1"), "PRAGMA"},
		"an ATTACH":                {query("ATTACH DATABASE '/tmp/x.db' AS x"), "ATTACH"},
		"rows that are locked":     {query("SELECT * FROM customers FOR UPDATE"), "UPDATE"},
		"a write in a column":      {column("(SELECT 1 FROM (DELETE FROM customers RETURNING 1))"), "DELETE"},
		"a column that closes it":  {column("1 FROM customers; DROP TABLE customers"), "';'"},
		"a program in the engine":  {query("SELECT load_extension('/tmp/x')"), "load_extension"},
		"a column that ends early": {column("1) FROM customers"), "correct it"},
	} {
		t.Run(name, func(t *testing.T) {
			said, exit := check(t, c.edit)
			if exit == 0 || !strings.Contains(said, c.says) {
				t.Errorf("exit code %d, want one above 0 with %q: %s", exit, c.says, said)
			}
		})
	}
	if after, err := os.ReadFile(filepath.Join(w.dir, "card.db")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the database has changed: %v", err)
	}
}
