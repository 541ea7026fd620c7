package memnet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/network"
)

// heard is a pair of hosts of which the second writes down what it hears.
func heard(t *testing.T, f Faults, test func(t *testing.T, net *Net, a, b *Host, got func() []string)) {
	synctest.Test(t, func(t *testing.T) {
		net := New(f)
		ctx, cancel := context.WithCancel(t.Context())
		messages := make(chan string, 1000)
		var hosts [2]*Host
		for i := range hosts {
			h, err := net.Open(Config{ID: network.PeerID(fmt.Sprintf("node%d", i))})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range network.Classes() {
				h.Handle(c, func(_ network.PeerID, msg []byte) { messages <- string(msg) })
			}
			h.Serve(network.ProtocolSync, func(_ context.Context, _ network.PeerID, req []byte) ([]byte, error) { return req, nil })
			hosts[i] = h
		}
		for i, h := range hosts {
			h.SetPeers([]network.Peer{{ID: hosts[1-i].ID(), Dial: true}})
			go h.Run(ctx)
		}
		synctest.Wait()
		test(t, net, hosts[0], hosts[1], func() (out []string) {
			synctest.Wait()
			for len(messages) > 0 {
				out = append(out, <-messages)
			}
			return out
		})
		cancel()
		synctest.Wait()
	})
}

func send(t *testing.T, from, to *Host, c network.Class, msgs ...string) {
	t.Helper()
	for _, m := range msgs {
		if err := from.Send(to.ID(), c, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARepeatedMessageComesOnceMoreAfterLaterOnes(t *testing.T) {
	repeat := func(_, _ network.PeerID, _ network.Class, msg []byte) int {
		if string(msg) == "b" {
			return 2
		}
		return 0
	}
	heard(t, Faults{Repeat: repeat}, func(t *testing.T, _ *Net, a, b *Host, got func() []string) {
		send(t, a, b, network.ClassConsensus, "a", "b", "c", "d", "e")
		if want, have := []string{"a", "b", "c", "d", "b", "e"}, got(); !slices.Equal(have, want) {
			t.Errorf("heard %q, want %q", have, want)
		}
	})
}

func TestClassesOvertakeEachOther(t *testing.T) {
	var n atomic.Int64
	slowest := func(network.PeerID, network.PeerID) time.Duration {
		return time.Duration(max(0, 30-10*n.Add(1))) * time.Millisecond // 20 ms, 10 ms, 0
	}
	heard(t, Faults{Delay: slowest}, func(t *testing.T, _ *Net, a, b *Host, got func() []string) {
		send(t, a, b, network.ClassConsensus, "first")
		synctest.Wait()
		send(t, a, b, network.ClassTx, "second")
		synctest.Wait()
		send(t, a, b, network.ClassConsensus, "third")
		time.Sleep(20 * time.Millisecond)
		if want, have := []string{"second", "first", "third"}, got(); !slices.Equal(have, want) {
			t.Errorf("heard %q, want %q: one class keeps its order, two do not wait for each other", have, want)
		}
	})
}

func TestMuteIsSilentAndOneWay(t *testing.T) {
	heard(t, Faults{}, func(t *testing.T, net *Net, a, b *Host, got func() []string) {
		net.Mute(a.ID(), b.ID())
		send(t, a, b, network.ClassConsensus, "lost")
		send(t, b, a, network.ClassConsensus, "comes")
		if have := got(); !slices.Equal(have, []string{"comes"}) {
			t.Errorf("heard %q", have)
		}
		if !a.Status()[0].Connected || !b.Status()[0].Connected {
			t.Error("somebody was told")
		}
		for name, ask := range map[string][2]*Host{"the request": {a, b}, "the response": {b, a}} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := ask[0].Request(ctx, ask[1].ID(), network.ProtocolSync, nil); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, network.ErrNotSent) {
				t.Errorf("%s is lost: %v", name, err)
			}
			cancel()
		}
		net.Unmute(a.ID(), b.ID())
		send(t, a, b, network.ClassConsensus, "again")
		if have := got(); !slices.Equal(have, []string{"again"}) {
			t.Errorf("heard %q", have)
		}
	})
}

func TestASlowLinkTakesItsTimeAndThenOverflows(t *testing.T) {
	rate := func(from, _ network.PeerID) int {
		if from == "node0" {
			return 1000
		}
		return 0
	}
	heard(t, Faults{Rate: rate}, func(t *testing.T, _ *Net, a, b *Host, got func() []string) {
		body := string(make([]byte, 100))
		send(t, a, b, network.ClassConsensus, body, body, body)
		send(t, b, a, network.ClassConsensus, "quick")
		if have := got(); !slices.Equal(have, []string{"quick"}) {
			t.Errorf("heard %d messages at once", len(have))
		}
		for i := range 3 {
			time.Sleep(100 * time.Millisecond)
			if have := got(); len(have) != 1 {
				t.Errorf("after %d00 ms: %d messages", i+1, len(have))
			}
		}
		most := network.DefaultLimits().Consensus
		for range most.QueueMessages + inFlight + 2 {
			if err := a.Send(b.ID(), network.ClassConsensus, []byte(body)); errors.Is(err, network.ErrOverflow) {
				return
			}
		}
		t.Error("a slow link never overflowed")
	})
}

func TestAKilledHostIsGoneAtOnce(t *testing.T) {
	heard(t, Faults{Delay: func(network.PeerID, network.PeerID) time.Duration { return time.Second }},
		func(t *testing.T, net *Net, a, b *Host, got func() []string) {
			send(t, a, b, network.ClassConsensus, "under way")
			asked := make(chan error, 1)
			go func() {
				_, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, nil)
				asked <- err
			}()
			time.Sleep(time.Millisecond)
			net.Kill(b.ID())
			if err := <-asked; err == nil {
				t.Error("a dead host answered")
			}
			time.Sleep(2 * time.Second)
			if have := got(); len(have) > 0 {
				t.Errorf("a dead host heard %q", have)
			}
			if err := b.Send(a.ID(), network.ClassConsensus, nil); !errors.Is(err, network.ErrStopped) {
				t.Errorf("a dead host sends: %v", err)
			}
			if a.Status()[0].Connected {
				t.Error("connected to a dead host")
			}
			again, err := net.Open(Config{ID: b.ID()})
			if err != nil {
				t.Fatal(err)
			}
			again.Close()
		})
}

func TestHealAllEndsEveryCutAndMute(t *testing.T) {
	heard(t, Faults{}, func(t *testing.T, net *Net, a, b *Host, got func() []string) {
		net.Cut(a.ID(), b.ID())
		net.Mute(a.ID(), b.ID())
		net.HealAll()
		send(t, a, b, network.ClassConsensus, "hello")
		if have := got(); !slices.Equal(have, []string{"hello"}) {
			t.Errorf("heard %q", have)
		}
	})
}

// storm draws many decisions of every kind about several links, in an order that
// depends on turn only.
func storm(seed uint64, turn []int) map[string][]string {
	w := NewWeather(seed)
	w.Set(Conditions{Delay: Delay{time.Millisecond, 5 * time.Millisecond, 50 * time.Millisecond}, Loss: 0.3, Repeat: 0.3})
	w.SetLink("a", "b", Conditions{Loss: 1})
	f := w.Faults()
	out := make(map[string][]string)
	for _, i := range turn {
		from, to := network.PeerID("abc"[i:i+1]), network.PeerID("bca"[i:i+1])
		link := fmt.Sprint(from, to)
		out[link] = append(out[link], fmt.Sprint(f.Delay(from, to), f.Lose(from, to, network.ClassTx, nil), f.Lose(from, to, network.ClassConsensus, nil),
			f.LoseTrip(from, to, network.ProtocolSync), f.Repeat(from, to, network.ClassTx, nil)))
	}
	return out
}

func TestWeatherDependsOnTheSeedAndNotOnOtherLinks(t *testing.T) {
	var inTurn, oneByOne []int
	for range 100 {
		inTurn = append(inTurn, 0, 1, 2)
	}
	for i := range 3 {
		for range 100 {
			oneByOne = append(oneByOne, i)
		}
	}
	first, again, other := storm(7, inTurn), storm(7, oneByOne), storm(8, inTurn)
	for link, want := range first {
		if !slices.Equal(again[link], want) {
			t.Errorf("link %s decides otherwise when others decide at other times", link)
		}
		if link != "ab" && slices.Equal(other[link], want) {
			t.Errorf("link %s decides the same with another seed", link)
		}
	}
}

func TestWeatherKeepsToItsConditions(t *testing.T) {
	w := NewWeather(1)
	d := Delay{2 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond}
	w.Set(Conditions{Delay: d, Loss: 0.2, Repeat: 0.1, Rate: 1000})
	w.SetLink("a", "b", Conditions{Delay: Delay{Least: time.Second}})
	f := w.Faults()
	const n = 10_000
	var sum time.Duration
	lost, repeated := 0, 0
	for range n {
		got := f.Delay("b", "a")
		if got < d.Least || got > d.Most {
			t.Fatalf("delay %s is outside %v", got, d)
		}
		sum += got
		if f.Lose("b", "a", network.ClassTx, nil) {
			lost++
		}
		if k := f.Repeat("b", "a", network.ClassTx, nil); k > 0 {
			if repeated++; k > maxRepeatAfter {
				t.Fatalf("repeated after %d", k)
			}
		}
	}
	if mean := sum / n; mean < 4500*time.Microsecond || mean > 5500*time.Microsecond {
		t.Errorf("delays are %s on average, want about %s", mean, d.Typical)
	}
	if lost < n/6 || lost > n/4 || repeated < n/12 || repeated > n/8 {
		t.Errorf("of %d messages %d were lost and %d repeated, want about a fifth and a tenth", n, lost, repeated)
	}
	if f.Rate("b", "a") != 1000 || f.Rate("a", "b") != 0 || f.Delay("a", "b") != time.Second || f.Lose("a", "b", network.ClassTx, nil) {
		t.Error("one link's conditions are not its own")
	}
	w.Clear()
	if f.Delay("a", "b") != 0 || f.Lose("b", "a", network.ClassTx, nil) || f.Rate("b", "a") != 0 {
		t.Error("the weather did not clear")
	}
}
