package sdk_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/sdk"
)

// A client that is pushed back more often than it has attempts waits as it is
// told and comes through with the same transaction.
func TestAPushedBackTransactionWaitsAsAdvisedAndKeepsItsID(t *testing.T) {
	w := newWorld(t)
	c := w.admin(sdk.WithAttempts(1), sdk.WithTimeouts(sdk.Timeouts{Commit: 20 * time.Second}))
	const advice, times = 60 * time.Millisecond, 5
	var refused atomic.Int64
	w.node.Fail("Submit", func() error {
		if refused.Add(1) > times {
			return nil
		}
		return (&api.Error{Code: v1.Code_CODE_OVERLOADED, RetryAfter: advice}).ToConnect()
	})
	tx := register(w, c, "x")
	began := time.Now()
	o, err := c.Submit(t.Context(), tx)
	w.must(err)
	if o.TxID != tx.ID() || o.Code != record.OK {
		t.Errorf("outcome %+v", o)
	}
	if took := time.Since(began); took < times*advice {
		t.Errorf("it waited %s, was told to wait %s", took, times*advice)
	}
}

// When its time is over, it says so: nothing was taken, nothing is unknown.
func TestAClientThatIsPushedBackForGoodGetsATypedError(t *testing.T) {
	w := newWorld(t)
	for _, code := range []v1.Code{v1.Code_CODE_OVERLOADED, v1.Code_CODE_RATE_LIMITED} {
		c := w.admin(sdk.WithTimeouts(sdk.Timeouts{Commit: 2 * time.Second}))
		w.node.Fail("Submit", func() error { return (&api.Error{Code: code, RetryAfter: 40 * time.Millisecond}).ToConnect() })
		if _, err := c.Status(t.Context()); err != nil { // connected: the time is for asking again
			t.Fatal(err)
		}
		before := w.net.Height()
		_, err := c.Submit(t.Context(), register(w, c, "y"))
		var u *sdk.CommitUnknown
		var e *sdk.Error
		if errors.As(err, &u) || !errors.As(err, &e) || string(e.Code) != api.Name(code) || !e.Retryable() || e.RetryAfter != 40*time.Millisecond || e.Remedy == "" {
			t.Errorf("%s: %#v", api.Name(code), err)
		}
		if w.net.Height() != before {
			t.Error("a block was made")
		}
	}
}
