package bft

import (
	"reflect"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/consensus/consensustest"
)

func TestHandoverIsWhereItWas(t *testing.T) {
	e := alone(t)
	until(func() bool { return e.handing.Load() != nil })
	h := e.handing.Load()
	for _, c := range []struct {
		name string
		got  reflect.Value
		size int
	}{{"delivered", h.delivered, 0}, {"aborts", h.aborts, 1}, {"views", h.views, 1}, {"stopped", h.stopped, 0}} {
		if c.got.Kind() != reflect.Chan || c.got.Cap() != c.size {
			t.Errorf("%s is %v of %d, the library has changed: read its controller again", c.name, c.got.Type(), c.got.Cap())
		}
	}
	if h.closed() {
		t.Error("a running controller counts as stopped")
	}
	if n := e.Counters().Reliefs; n != 0 {
		t.Errorf("%d waits ended where nobody waited in vain", n)
	}
}

func TestWaitsThatNobodyElseWillEnd(t *testing.T) {
	type viewAndHeight struct{ a, b uint64 } // as the library's
	began := time.Now()
	delivered, aborts, views, stopped := make(chan struct{}), make(chan uint64, 1), make(chan viewAndHeight, 1), make(chan struct{})
	h := handover{
		delivered: reflect.ValueOf(delivered), aborts: reflect.ValueOf(aborts), views: reflect.ValueOf(views),
		stopped: reflect.ValueOf(stopped), since: began,
	}
	if h.relieve(began.Add(time.Hour), time.Second) {
		t.Error("nobody waits, and somebody was helped")
	}
	done := make(chan struct{})
	go func() {
		delivered <- struct{}{}
		close(done)
	}()
	for range 1000 {
		if h.relieve(began.Add(time.Second-1), time.Second) {
			t.Fatal("a delivery was taken away before the view had its time")
		}
	}
	until(func() bool {
		h.relieve(began.Add(time.Second), time.Second)
		select {
		case <-done:
			return true
		default:
			return false
		}
	})

	aborts <- 1
	views <- viewAndHeight{1, 2}
	if h.relieve(began.Add(time.Hour), time.Second) || len(aborts) != 1 || len(views) != 1 {
		t.Error("a running controller's messages were taken away")
	}
	close(stopped)
	if !h.relieve(began, time.Second) || len(aborts) != 0 || len(views) != 0 {
		t.Error("a view changer would wait for a controller that has ended")
	}
}

// alone is the running engine of the only replica, which has got a request.
func alone(t *testing.T) *Engine {
	cfg := base(t)
	cfg.Membership = consensus.Membership{ConfigSeq: 1, Replicas: []consensus.ReplicaID{1}}
	cfg.App = consensustest.NewApp(1, cfg.Membership)
	e := running(t, cfg)
	if err := e.Submit(t.Context(), consensustest.Req("a", 10)); err != nil {
		t.Fatal(err)
	}
	return e
}

// until waits for a condition that comes true by itself, or the test's time ends.
func until(condition func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		<-tick.C
	}
}
