package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/sdk"
)

// company submits n transactions, of which the first keeps the others waiting at
// the node's door until release is closed: so they all travel in company.
func (w *world) company(c *sdk.Client, n int, ctx func(i int) context.Context) (outcomes []*sdk.Outcome, errs []error) {
	w.t.Helper()
	txs := make([]*sdk.Transaction, n)
	for i := range txs {
		txs[i] = register(w, c, string(rune('A'+i)))
	}
	outcomes, errs = make([]*sdk.Outcome, n), make([]error, n)
	release, entered := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.node.Fail("Submit", func() error { // the one that goes alone waits here
		once.Do(func() { close(entered) })
		<-release
		return nil
	})
	var wg sync.WaitGroup
	submit := func(i int) {
		wg.Go(func() { outcomes[i], errs[i] = c.Submit(ctx(i), txs[i]) })
	}
	submit(0)
	<-entered
	for i := 1; i < n; i++ {
		submit(i)
	}
	w.until("the others have gone", func() bool { return w.node.Calls("SubmitMany") > 0 })
	close(release)
	wg.Wait()
	w.node.Fail("Submit", nil)
	for i := range errs {
		if errs[i] == nil && outcomes[i].TxID != txs[i].ID() {
			w.t.Errorf("transaction %d has the outcome of another", i)
		}
	}
	return outcomes, errs
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatal("waited in vain until", what)
		}
	}
}

func (w *world) always(int) context.Context { return context.WithoutCancel(w.t.Context()) }

func TestConcurrentTransactionsTravelTogether(t *testing.T) {
	w := newWorld(t)
	c := w.admin()
	_, errs := w.company(c, 24, w.always)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if alone, together := w.node.Calls("Submit"), w.node.Calls("SubmitMany"); alone+together >= 24 || together == 0 {
		t.Errorf("24 transactions took %d calls alone and %d together", alone, together)
	}
	before := w.node.Calls("SubmitMany")
	for i := range 3 { // one after the other: nothing to wait for
		if _, err := c.Submit(t.Context(), register(w, c, string(rune('a'+i)))); err != nil {
			t.Fatal(err)
		}
	}
	if w.node.Calls("SubmitMany") != before {
		t.Error("a transaction that was alone waited for company")
	}
}

// What one of them meets does not touch the others.
func TestRefusalsInCompanyConcernOneTransaction(t *testing.T) {
	w := newWorld(t)
	w.node.Tamper("SubmitMany", func(m proto.Message) {
		if r := m.(*v1.SubmitManyResponse).Results[0]; r.Index == 1 {
			r.Outcome, r.Error = nil, &v1.ErrorDetail{Code: v1.Code_CODE_FORBIDDEN, What: "not this one", Remedy: "Do something else."}
		}
	})
	outcomes, errs := w.company(w.admin(sdk.WithTimeouts(quick)), 12, w.always)
	refused := 0
	for i, err := range errs {
		var e *sdk.Error
		switch {
		case errors.As(err, &e) && e.Code == record.CodeForbidden && e.What == "not this one" && e.Remedy == "Do something else.":
			refused++
		case err != nil || outcomes[i].Code != record.OK:
			t.Errorf("transaction %d: %v", i, err)
		}
	}
	if want := w.node.Calls("SubmitMany"); refused == 0 || refused > want {
		t.Errorf("%d were refused in %d calls", refused, want)
	}
}

func TestANodeWithoutSubmitManyIsServedOneByOne(t *testing.T) {
	w := newWorld(t)
	w.node.Fail("SubmitMany", func() error { return connect.NewError(connect.CodeUnimplemented, errors.New("no such path")) })
	c := w.admin()
	_, errs := w.company(c, 8, w.always)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	before := w.node.Calls("SubmitMany")
	if _, errs = w.company2(c); errors.Join(errs...) != nil || w.node.Calls("SubmitMany") != before {
		t.Errorf("asked again for what it does not know: %v", errors.Join(errs...))
	}
}

// company2 submits eight transactions at once.
func (w *world) company2(c *sdk.Client) (outcomes [8]*sdk.Outcome, errs []error) {
	errs = make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		tx := register(w, c, string(rune('a'+i)))
		wg.Go(func() { outcomes[i], errs[i] = c.Submit(w.always(i), tx) })
	}
	wg.Wait()
	return outcomes, errs
}

// A caller that gives up leaves the others their outcome, and its transaction is
// not known rather than failed.
func TestACallerThatGoesLeavesTheOthersAlone(t *testing.T) {
	w := newWorld(t)
	c := w.admin()
	gone, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	w.node.Fail("SubmitMany", func() error {
		if calls.Add(1) == 1 {
			cancel()
		}
		return nil
	})
	_, errs := w.company(c, 12, func(i int) context.Context {
		if i == 5 {
			return gone
		}
		return w.always(i)
	})
	for i, err := range errs {
		var u *sdk.CommitUnknown
		switch {
		case i == 5 && err != nil && !errors.As(err, &u):
			t.Errorf("the caller that went: %v", err)
		case i != 5 && err != nil:
			t.Errorf("transaction %d: %v", i, err)
		}
	}
}

// A new token is made when the node does not take the old one any more.
func TestCompanyTravelsWithANewToken(t *testing.T) {
	w := newWorld(t)
	c := w.admin()
	if _, err := c.Submit(t.Context(), register(w, c, "z")); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	w.node.Fail("SubmitMany", func() error {
		once.Do(func() { w.node.Rename("another id") })
		return nil
	})
	if _, errs := w.company(c, 6, w.always); errors.Join(errs...) != nil {
		t.Error(errors.Join(errs...))
	}
}

// A lie about company is found out, and the truth is asked for: the same bytes
// again, which the node has.
func TestMadeUpResultsAreALie(t *testing.T) {
	each := func(lie func(*v1.SubmitResult)) func(*v1.SubmitManyResponse) {
		return func(m *v1.SubmitManyResponse) {
			for _, r := range m.Results {
				if r.Outcome != nil {
					lie(r)
				}
			}
		}
	}
	for name, lie := range map[string]func(*v1.SubmitManyResponse){
		"a number too high":              each(func(r *v1.SubmitResult) { r.Index += 1000 }),
		"one number for all":             each(func(r *v1.SubmitResult) { r.Index = 0 }),
		"another transaction's outcome":  each(func(r *v1.SubmitResult) { r.Outcome.TxId = hashOf("another").Hex() }),
		"an outcome without transaction": each(func(r *v1.SubmitResult) { r.Outcome.TxId = "" }),
		"a result twice":                 func(m *v1.SubmitManyResponse) { m.Results = append(m.Results, m.Results[0]) },
	} {
		w := newWorld(t)
		w.node.Tamper("SubmitMany", func(m proto.Message) { lie(m.(*v1.SubmitManyResponse)) })
		var log bytes.Buffer
		c := w.admin(sdk.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if _, errs := w.company(c, 6, w.always); errors.Join(errs...) != nil {
			t.Errorf("%s: %v", name, errors.Join(errs...))
		}
		if !strings.Contains(log.String(), "does not verify") {
			t.Errorf("%s was believed", name)
		}
		if n := c.Away(); n != 0 {
			t.Errorf("%s: %d transactions are believed to be on their way for ever", name, n)
		}
	}
}

// Under any mix of concurrency, lost streams and callers that go, everything
// submitted takes effect at most once and everything reported is true.
func TestCompanyOverALossyNode(t *testing.T) {
	w := newWorld(t)
	c := w.admin(sdk.WithTimeouts(sdk.Timeouts{Commit: 20 * time.Second}))
	for round := range 4 {
		w.node.Lose("Submit", 5*round)
		before := w.net.Height()
		var wg sync.WaitGroup
		for i := range 40 {
			tx := register(w, c, string(rune('a'+i))+string(rune('0'+round)))
			wg.Go(func() {
				if o, err := c.Submit(w.always(i), tx); err != nil || o.TxID != tx.ID() {
					t.Errorf("submission %d: %+v, %v", i, o, err)
				}
			})
		}
		wg.Wait()
		if got := w.net.Height() - before; got != 2*40 {
			t.Errorf("%d blocks, want %d", got, 2*40)
		}
	}
}
