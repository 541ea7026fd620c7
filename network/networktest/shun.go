package networktest

import (
	"testing"
	"time"

	"github.com/assent-network/assent/network"
)

// shunned: what a shunned peer sends arrives late or never, in order, and nobody
// else and no other class is concerned.
func shunned(t *testing.T, f Factory) {
	o := f(t, network.Limits{TxPace: -1})
	a, b, c := start(t, o, 0, nil), start(t, o, 1, nil), start(t, o, 2, nil)
	introduce(t, a, b, c)
	send := func(from *node, class network.Class, i int) {
		t.Helper()
		if err := from.Send(c.ID(), class, numbered(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	send(a, network.ClassTx, 0)
	c.waitCount(t, a.ID(), network.ClassTx, 1)
	c.Shun("nobody", network.ClassTx, time.Hour)
	c.Shun(a.ID(), network.Class(9), time.Hour)
	const pause = 400 * time.Millisecond
	began := time.Now()
	c.Shun(a.ID(), network.ClassTx, pause)
	for i := range 20 {
		send(a, network.ClassTx, 1+i)
		send(a, network.ClassConsensus, i)
		send(b, network.ClassTx, i)
	}
	c.waitCount(t, b.ID(), network.ClassTx, 20)
	c.waitCount(t, a.ID(), network.ClassConsensus, 20)
	early := len(c.messages(a.ID(), network.ClassTx))
	if time.Since(began) < pause && early != 1 {
		t.Errorf("%d messages of the shunned peer arrived at once", early-1)
	}
	// After the pause it is heard again.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 100; len(c.messages(a.ID(), network.ClassTx)) == early; i++ {
		send(a, network.ClassTx, i)
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the peer is never heard again")
		}
	}
	if took := time.Since(began); took < pause {
		t.Errorf("the peer was heard again after %s", took)
	}
	checkAscending(t, c.messages(a.ID(), network.ClassTx))
}
