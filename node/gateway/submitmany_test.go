package gateway

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/ledger"
)

// submitMany returns the results by index; nil where none came.
func (r *rig) submitMany(ctx context.Context, tok string, req *assentv1.SubmitManyRequest, opts ...connect.ClientOption) ([]*assentv1.SubmitResult, error) {
	r.t.Helper()
	got := make([]*assentv1.SubmitResult, len(req.Transactions))
	s, err := r.ledger(opts...).SubmitMany(ctx, with(tok, req))
	if err != nil {
		return got, err
	}
	defer s.Close()
	for s.Receive() {
		for _, x := range s.Msg().Results {
			if int(x.Index) >= len(got) || got[x.Index] != nil {
				r.t.Errorf("a result of transaction %d, twice or of none", x.Index)
				continue
			}
			got[x.Index] = x
		}
	}
	return got, s.Err()
}

func codeOf(r *assentv1.SubmitResult) api.Code {
	if r == nil {
		return -1
	}
	return r.GetError().GetCode() // 0: none
}

func someTransactions(n int) (txs [][]byte) {
	for i := range n {
		txs = append(txs, fmt.Appendf(nil, "transaction %d", i))
	}
	return txs
}

func TestTransactionsSubmittedTogetherHaveResultsOfTheirOwn(t *testing.T) {
	for name, opt := range map[string]connect.ClientOption{"Connect": connect.WithClientOptions(), "gRPC": connect.WithGRPC(), "gRPC-Web": connect.WithGRPCWeb()} {
		r, tok := clerk(t)
		txs := someTransactions(4)
		txs[1] = nil
		txs[2] = make([]byte, api.MaxTransactionBytes+1)
		got, err := r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: txs}, opt)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i, want := range []api.Code{0, assentv1.Code_CODE_BAD_REQUEST, assentv1.Code_CODE_BAD_REQUEST, 0} {
			if codeOf(got[i]) != want {
				t.Errorf("%s: transaction %d: %v, want %s", name, i, got[i], want)
			}
		}
		if id := ledger.Sum(txs[3]); got[3].TxId != id.Hex() || got[3].Outcome.GetTxId() != id.Hex() || len(got[3].Outcome.Events) != 1 {
			t.Errorf("%s: %v", name, got[3])
		}
		if e := got[1].Error; e.GetRemedy() == "" || !strings.Contains(e.GetWhat(), "missing") {
			t.Errorf("%s: %v", name, e)
		}
		settled(t, r.srv)
	}
}

func TestWhoMaySubmitManyAndHowMany(t *testing.T) {
	r, tok := clerk(t)
	r.w.register("bank-a", "reader", record.RoleAuditor)
	r.w.register("bank-b", "other", record.RoleIntegration)
	for name, tt := range map[string]struct {
		tok  string
		n    int
		ms   uint32
		code api.Code
	}{
		"a client of the member":      {tok, 2, 0, 0},
		"as many as may be":           {tok, api.MaxSubmitMany, 1000, 0},
		"one too many":                {tok, api.MaxSubmitMany + 1, 0, assentv1.Code_CODE_BAD_REQUEST},
		"none":                        {tok, 0, 0, assentv1.Code_CODE_BAD_REQUEST},
		"too long a wait":             {tok, 1, uint32(api.MaxWait/time.Millisecond) + 1, assentv1.Code_CODE_BAD_REQUEST},
		"no token":                    {"", 1, 0, assentv1.Code_CODE_TOKEN_MISSING},
		"a role that reads":           {r.token("reader", "bank-a"), 1, 0, assentv1.Code_CODE_FORBIDDEN},
		"another member's client":     {r.token("other", "bank-b"), 1, 0, assentv1.Code_CODE_FORBIDDEN},
		"a subject":                   {r.token("somebody", ""), 1, 0, assentv1.Code_CODE_FORBIDDEN},
		"a key that nobody has named": {r.token("nobody", "bank-a"), 1, 0, assentv1.Code_CODE_UNKNOWN_KEY},
	} {
		r.w.mu.Lock()
		r.w.submitted = nil
		r.w.mu.Unlock()
		got, err := r.submitMany(t.Context(), tt.tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(tt.n), TimeoutMs: tt.ms})
		want(t, name, err, tt.code)
		r.w.mu.Lock()
		n := len(r.w.submitted)
		r.w.mu.Unlock()
		if tt.code != 0 && n != 0 || tt.code == 0 && (n != tt.n || codeOf(got[tt.n-1]) != 0) {
			t.Errorf("%s: %d transactions reached the node", name, n)
		}
	}
	settled(t, r.srv)
}

// Coming together gives no more than coming one by one: the call counts, and
// every transaction.
func TestTransactionsSubmittedTogetherCountOneByOne(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Limits.ClientRate, c.Limits.ClientBurst = 0.001, 6 })
	got, err := r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(8)})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range got {
		code := api.Code(0)
		if i >= 5 {
			code = assentv1.Code_CODE_RATE_LIMITED
		}
		if codeOf(x) != code || code != 0 && (x.Error.RetryAfterMs == 0 || !x.Error.Retryable) {
			t.Errorf("transaction %d: %v, want %s", i, x, code)
		}
	}
	_, err = r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(1)})
	want(t, "after that", err, assentv1.Code_CODE_RATE_LIMITED)
	if n := r.srv.Refusals().ClientRate; n != 4 {
		t.Errorf("%d refusals are counted, want 4", n)
	}
	settled(t, r.srv)
}

func TestOpenTransactionsOfAMemberAreBoundedTogetherToo(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Limits.MemberCalls = 5 })
	got, err := r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(7)})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range got {
		if wantRefused := i >= 4; (codeOf(x) == assentv1.Code_CODE_RATE_LIMITED) != wantRefused || !wantRefused && codeOf(x) != 0 {
			t.Errorf("transaction %d: %v", i, x)
		}
	}
	settled(t, r.srv)
}

func TestWrongSignaturesCostAsMuchTogether(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Limits.ClientRate, c.Limits.ClientBurst = 0.001, 200 })
	r.w.mu.Lock()
	r.w.fail = api.Refuse(assentv1.Code_CODE_BAD_SIGNATURE, "not \xffgood")
	r.w.mu.Unlock()
	got, err := r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(4)})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range got {
		if codeOf(x) != assentv1.Code_CODE_BAD_SIGNATURE || x.Error.What != "not \uFFFDgood" || x.Error.Remedy == "" {
			t.Errorf("transaction %d: %v", i, x)
		}
	}
	_, err = r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(1)})
	want(t, "after four wrong signatures", err, assentv1.Code_CODE_RATE_LIMITED)
	if n := r.srv.Refusals().BadTransactions; n != 4 {
		t.Errorf("%d wrong signatures are counted", n)
	}
}

// Each transaction is counted and logged as a call of Submit.
func TestTransactionsSubmittedTogetherAreObservedOneByOne(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	r, tok := clerk(t, func(c *Config) {
		c.Observe = func(method string, code api.Code, took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen[method+" "+api.Name(code)]++
		}
	})
	txs := someTransactions(5)
	txs[0] = nil
	if _, err := r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: txs}); err != nil {
		t.Fatal(err)
	}
	settled(t, r.srv)
	mu.Lock()
	defer mu.Unlock()
	if seen[assentv1connect.LedgerServiceSubmitProcedure+" OK"] != 4 || seen[assentv1connect.LedgerServiceSubmitProcedure+" BAD_REQUEST"] != 1 {
		t.Errorf("observed %v", seen)
	}
}

// A client that goes, a node that stops and a panic leave nothing counted.
func TestEndingSubmitManyLeavesNothingBehind(t *testing.T) {
	r, tok := clerk(t)
	r.w.mu.Lock()
	r.w.block = make(chan struct{})
	r.w.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.submitMany(ctx, tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(3)})
		done <- err
	}()
	for r.srv.node.calls.Load() < 4 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	want(t, "a client that goes", <-done, assentv1.Code_CODE_CANCELLED)
	settled(t, r.srv)

	r.w.mu.Lock()
	r.w.panics = true
	r.w.mu.Unlock()
	_, err := r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(3)})
	want(t, "a panic", err, assentv1.Code_CODE_INTERNAL)
	settled(t, r.srv)

	r.w.mu.Lock()
	r.w.panics = false
	r.w.mu.Unlock()
	go func() {
		_, err := r.submitMany(context.Background(), tok, &assentv1.SubmitManyRequest{Transactions: someTransactions(3)})
		done <- err
	}()
	for r.srv.node.calls.Load() < 4 {
		time.Sleep(time.Millisecond)
	}
	r.stop()
	want(t, "a node that stops", <-done, assentv1.Code_CODE_NOT_READY)
	settled(t, r.srv)
}

// large answers each transaction with a payload of 20 KiB.
type large struct{ *world }

func (l large) SubmitMany(_ context.Context, txs [][]byte, _ time.Duration, report func([]Submitted) error) error {
	var all []Submitted
	for i, tx := range txs {
		o := outcome(ledger.Sum(tx))
		o.Payload, o.Message = make([]byte, 20<<10), "not \xff text"
		all = append(all, Submitted{Index: i, TxID: o.TxID, Outcome: o})
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return report(all)
}

// What became known at once leaves in messages that a client can read.
func TestLargeOutcomesLeaveInParts(t *testing.T) {
	r, tok := clerk(t, func(c *Config) { c.Transactions = large{c.Transactions.(*world)} })
	txs := someTransactions(api.MaxSubmitMany)
	got, err := r.submitMany(t.Context(), tok, &assentv1.SubmitManyRequest{Transactions: txs}, connect.WithReadMaxBytes(2*partOfAnswer))
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range got {
		if codeOf(x) != 0 || x.Outcome.TxId != ledger.Sum(txs[i]).Hex() || x.Outcome.Message != "not \uFFFD text" {
			t.Fatalf("transaction %d: %v", i, x)
		}
	}
	settled(t, r.srv)
}
