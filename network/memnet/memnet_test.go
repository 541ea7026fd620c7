package memnet

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/network/networktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type opener struct {
	net    *Net
	limits network.Limits
}

func (o *opener) Open(t testing.TB, i int) networktest.Host {
	t.Helper()
	h, err := o.net.Open(Config{ID: network.PeerID(fmt.Sprintf("node%d", i)), Limits: o.limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func TestConformance(t *testing.T) {
	networktest.Run(t, func(t testing.TB, l network.Limits) networktest.Opener {
		return &opener{net: New(Faults{}), limits: l}
	})
}

// received makes a host count what it receives in each class.
func received(h *Host) *[2]atomic.Int64 {
	counts := new([2]atomic.Int64)
	for _, c := range network.Classes() {
		h.Handle(c, func(network.PeerID, []byte) { counts[c].Add(1) })
	}
	return counts
}

func bubble(t *testing.T, f Faults, test func(t *testing.T, net *Net, a, b *Host, got *[2]atomic.Int64)) {
	synctest.Test(t, func(t *testing.T) {
		net := New(f)
		ctx, cancel := context.WithCancel(t.Context())
		var hosts [2]*Host
		for i := range hosts {
			h, err := net.Open(Config{ID: network.PeerID(fmt.Sprintf("node%d", i))})
			if err != nil {
				t.Fatal(err)
			}
			h.Serve(network.ProtocolSync, func(_ context.Context, _ network.PeerID, req []byte) ([]byte, error) { return req, nil })
			hosts[i] = h
		}
		got := received(hosts[1])
		for i, h := range hosts {
			h.SetPeers([]network.Peer{{ID: hosts[1-i].ID(), Dial: true}})
			go h.Run(ctx)
		}
		synctest.Wait()
		test(t, net, hosts[0], hosts[1], got)
		cancel()
		synctest.Wait()
	})
}

func TestDelayKeepsOrderAndThroughput(t *testing.T) {
	const delay = 100 * time.Millisecond
	bubble(t, Faults{Delay: func(from, to network.PeerID) time.Duration { return delay }}, func(t *testing.T, _ *Net, a, b *Host, got *[2]atomic.Int64) {
		began := time.Now()
		for range 10 {
			if err := a.Send(b.ID(), network.ClassConsensus, []byte("m")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(delay - 1)
		synctest.Wait()
		if n := got[network.ClassConsensus].Load(); n != 0 {
			t.Errorf("%d messages arrived before their time", n)
		}
		time.Sleep(1)
		synctest.Wait()
		if n := got[network.ClassConsensus].Load(); n != 10 {
			t.Errorf("%d messages arrived after %v, want 10", n, time.Since(began))
		}
		began = time.Now()
		if _, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took != 2*delay {
			t.Errorf("a request took %v", took)
		}
	})
}

func TestLostMessagesAreLostAlone(t *testing.T) {
	var n atomic.Int64
	every3rd := func(network.PeerID, network.PeerID, network.Class, []byte) bool { return n.Add(1)%3 == 0 }
	bubble(t, Faults{Lose: every3rd}, func(t *testing.T, _ *Net, a, b *Host, got *[2]atomic.Int64) {
		for range 30 {
			if err := a.Send(b.ID(), network.ClassTx, []byte("m")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := got[network.ClassTx].Load(); n != 20 {
			t.Errorf("%d of 30 messages arrived, want 20", n)
		}
	})
}

func TestCutStopsTrafficUntilHeal(t *testing.T) {
	bubble(t, Faults{}, func(t *testing.T, net *Net, a, b *Host, got *[2]atomic.Int64) {
		net.Cut(b.ID(), a.ID())
		time.Sleep(network.DefaultLimits().Grace)
		synctest.Wait()
		if err := a.Send(b.ID(), network.ClassTx, nil); err != network.ErrUnreachable {
			t.Errorf("Send over a cut: %v", err)
		}
		if a.Status()[0].Connected || b.Status()[0].Connected {
			t.Error("connected over a cut")
		}
		net.Heal(a.ID(), b.ID())
		if err := a.Send(b.ID(), network.ClassTx, nil); err != nil {
			t.Errorf("Send after Heal: %v", err)
		}
		synctest.Wait()
		if n := got[network.ClassTx].Load(); n != 1 {
			t.Errorf("%d messages arrived", n)
		}
	})
}

func TestTwoHostsWithOneID(t *testing.T) {
	net := New(Faults{})
	h, err := net.Open(Config{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.Open(Config{ID: "a"}); err == nil {
		t.Fatal("a second host with the same id opened")
	}
	h.Close()
	again, err := net.Open(Config{ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	for name, cfg := range map[string]Config{"no id": {}, "bad limits": {ID: "b", Limits: network.Limits{TxRate: -1}}} {
		if _, err := net.Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
