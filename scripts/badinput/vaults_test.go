package badinput

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
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
