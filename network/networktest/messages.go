package networktest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/assent-network/assent/network"
)

func checkAscending(t *testing.T, msgs [][]byte) {
	t.Helper()
	for i := 1; i < len(msgs); i++ {
		if number(msgs[i]) <= number(msgs[i-1]) {
			t.Fatalf("message %d after %d", number(msgs[i]), number(msgs[i-1]))
		}
	}
}

func ordered(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	a, b, c := start(t, o, 0, nil), start(t, o, 1, nil), start(t, o, 2, nil)
	introduce(t, a, b, c)
	const count = 500
	for i := range count {
		for _, from := range []*node{a, b} {
			for _, class := range network.Classes() {
				if err := from.Send(c.ID(), class, numbered(i, 8+i)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, from := range []*node{a, b} {
		for _, class := range network.Classes() {
			msgs := c.waitCount(t, from.ID(), class, count)
			for i, msg := range msgs {
				if number(msg) != i || len(msg) != 8+i {
					t.Fatalf("message %d of %s is number %d with %d bytes", i, class, number(msg), len(msg))
				}
			}
		}
	}
	if len(c.messages(c.ID(), network.ClassTx)) != 0 {
		t.Fatal("a node heard itself")
	}
}

func sizes(t *testing.T, f Factory) {
	a, b := pairOf(t, f, network.Limits{})
	rng := rand.New(rand.NewPCG(1, 2))
	var want [][]byte
	for _, size := range []int{0, 1, 126, 127, 128, 1000, 16<<10 - 1, 16 << 10, 64<<10 + 3, 100, 1 << 20, 5, 6<<20 + 1} {
		msg := make([]byte, size)
		for i := range msg {
			msg[i] = byte(rng.Uint32())
		}
		want = append(want, msg)
		if err := a.Send(b.ID(), network.ClassConsensus, msg); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	got := b.waitCount(t, a.ID(), network.ClassConsensus, len(want))
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("message %d of %d bytes came as %d other bytes", i, len(want[i]), len(got[i]))
		}
	}
}

func broadcast(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	nodes := []*node{start(t, o, 0, nil), start(t, o, 1, nil), start(t, o, 2, nil), start(t, o, 3, nil)}
	introduce(t, nodes...)
	ids := []network.PeerID{nodes[1].ID(), nodes[2].ID(), nodes[3].ID(), "nobody"}
	nodes[0].Broadcast(ids, network.ClassTx, []byte("tx"))
	for _, n := range nodes[1:] {
		if got := n.waitCount(t, nodes[0].ID(), network.ClassTx, 1); string(got[0]) != "tx" {
			t.Fatalf("got %q", got[0])
		}
	}
}

func admittedOnly(t *testing.T, f Factory) {
	o := f(t, network.Limits{Grace: 300 * time.Millisecond})
	a, b, c := start(t, o, 0, nil), start(t, o, 1, nil), start(t, o, 2, nil)
	a.SetPeers(peersOf(b, c)) // c has not admitted a
	b.SetPeers(peersOf(a, c))
	c.SetPeers(peersOf(b))
	if err := c.Send(a.ID(), network.ClassTx, []byte("x")); !errors.Is(err, network.ErrUnknownPeer) {
		t.Fatalf("Send to a peer that is not admitted: %v", err)
	}
	if _, err := c.Request(t.Context(), a.ID(), network.ProtocolSync, nil); !errors.Is(err, network.ErrUnknownPeer) {
		t.Fatalf("Request to a peer that is not admitted: %v", err)
	}
	// a believes in c and keeps trying; c must hear nothing.
	eventually(t, "a to find c unreachable", func() bool {
		return errors.Is(a.Send(c.ID(), network.ClassTx, []byte("x")), network.ErrUnreachable)
	})
	if _, err := a.Request(t.Context(), c.ID(), network.ProtocolSync, nil); !errors.Is(err, network.ErrUnreachable) {
		t.Fatalf("Request to a peer that refuses us: %v", err)
	}
	if statusOf(a, c.ID()).Connected {
		t.Fatal("a counts a connection that c refuses")
	}
	eventually(t, "b and c to be connected", connected(b, c))
	// What b says after all that arrives, and nothing from a came before it.
	if err := b.Send(c.ID(), network.ClassTx, []byte("y")); err != nil {
		t.Fatal(err)
	}
	c.waitCount(t, b.ID(), network.ClassTx, 1)
	if got := c.messages(a.ID(), network.ClassTx); len(got) != 0 {
		t.Fatalf("c heard %d messages of a peer it has not admitted", len(got))
	}
}

func removed(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	a, b, c := start(t, o, 0, nil), start(t, o, 1, nil), start(t, o, 2, nil)
	introduce(t, a, b, c)
	if err := b.Send(a.ID(), network.ClassConsensus, numbered(1, 8)); err != nil {
		t.Fatal(err)
	}
	a.waitCount(t, b.ID(), network.ClassConsensus, 1)

	a.SetPeers(peersOf(c))
	if err := a.Send(b.ID(), network.ClassConsensus, nil); !errors.Is(err, network.ErrUnknownPeer) {
		t.Fatalf("Send to a removed peer: %v", err)
	}
	if s := statusOf(a, b.ID()); s.ID != "" {
		t.Fatalf("a removed peer has a status: %+v", s)
	}
	eventually(t, "b to lose its connection", func() bool { return !statusOf(b, a.ID()).Connected })
	_ = b.Send(a.ID(), network.ClassConsensus, numbered(2, 8))
	if err := c.Send(a.ID(), network.ClassConsensus, numbered(1, 8)); err != nil {
		t.Fatal(err)
	}
	a.waitCount(t, c.ID(), network.ClassConsensus, 1) // the others are not touched
	if got := len(a.messages(b.ID(), network.ClassConsensus)); got != 1 {
		t.Fatalf("a heard %d messages of b, want the one before the removal", got)
	}

	a.SetPeers(peersOf(b, c)) // and back again
	eventually(t, "b to be connected again", connected(a, b))
	if err := b.Send(a.ID(), network.ClassConsensus, numbered(3, 8)); err != nil {
		t.Fatal(err)
	}
	a.wait(t, "message 3", func() bool {
		msgs := a.messages(b.ID(), network.ClassConsensus)
		return number(msgs[len(msgs)-1]) == 3
	})
}

func tooLarge(t *testing.T, f Factory) {
	small := network.ClassLimits{Message: 100, QueueMessages: 10, QueueBytes: 1000}
	l := network.Limits{Consensus: small, Tx: small, Answer: network.ProtocolLimits{Request: 50, Response: 60}}
	a, b := pairOf(t, f, l)
	for _, c := range network.Classes() {
		if err := a.Send(b.ID(), c, make([]byte, 101)); !errors.Is(err, network.ErrTooLarge) {
			t.Errorf("101 bytes of %s: %v", c, err)
		}
		a.Broadcast([]network.PeerID{b.ID()}, c, make([]byte, 101))
		if err := a.Send(b.ID(), c, make([]byte, 100)); err != nil {
			t.Errorf("100 bytes of %s: %v", c, err)
		}
		if got := b.waitCount(t, a.ID(), c, 1); len(got[0]) != 100 {
			t.Errorf("a message of %d bytes came through", len(got[0]))
		}
	}
	if _, err := a.Request(t.Context(), b.ID(), network.ProtocolAnswer, make([]byte, 51)); !errors.Is(err, network.ErrTooLarge) {
		t.Errorf("request of 51 bytes: %v", err)
	}
	var remote *network.RemoteError // the echo adds the sender's id
	if _, err := a.Request(t.Context(), b.ID(), network.ProtocolAnswer, make([]byte, 50)); len(a.ID())+1+50 > 60 && !errors.As(err, &remote) {
		t.Errorf("response of %d bytes: %v", len(a.ID())+1+50, err)
	}
}

// fill sends numbered messages until the peer's queue refuses one.
func fill(t *testing.T, from Host, to network.PeerID, c network.Class, size int) (accepted []int) {
	t.Helper()
	for i := range 1_000_000 {
		switch err := from.Send(to, c, numbered(i, size)); {
		case errors.Is(err, network.ErrOverflow):
			return accepted
		case err != nil:
			t.Fatal(err)
		}
		accepted = append(accepted, i)
	}
	t.Fatal("the queue never refused a message")
	return nil
}

func consensusOverflow(t *testing.T, f Factory) {
	a, b := pairOf(t, f, network.Limits{Consensus: network.ClassLimits{Message: 64 << 10, QueueMessages: 50, QueueBytes: 1 << 20}})
	if err := a.Send(b.ID(), network.ClassConsensus, numbered(-1, 8)); err != nil {
		t.Fatal(err)
	}
	b.waitCount(t, a.ID(), network.ClassConsensus, 1) // there is a stream to reset
	release := b.block(t, a.ID())
	accepted := fill(t, a, b.ID(), network.ClassConsensus, 60<<10)
	s := statusOf(a, b.ID()).Class(network.ClassConsensus)
	if s.QueuedMessages != 0 || s.QueuedBytes != 0 {
		t.Fatalf("after an overflow the queue holds %d messages of %d bytes", s.QueuedMessages, s.QueuedBytes)
	}
	if s.Dropped < 2 || s.Dropped > uint64(len(accepted))+1 {
		t.Fatalf("dropped %d of %d", s.Dropped, len(accepted)+1)
	}
	release()
	next := len(accepted) + 1000
	eventually(t, "a message to pass after the overflow", func() bool {
		if err := a.Send(b.ID(), network.ClassConsensus, numbered(next, 8)); err != nil {
			t.Fatal(err)
		}
		next++
		msgs := b.messages(a.ID(), network.ClassConsensus)
		return len(msgs) > 0 && number(msgs[len(msgs)-1]) > len(accepted)
	})
	checkAscending(t, b.messages(a.ID(), network.ClassConsensus))
	if s := statusOf(a, b.ID()).Class(network.ClassConsensus); s.Resets == 0 {
		t.Fatal("the overflow did not reset the stream")
	}
}

func txOverflow(t *testing.T, f Factory) {
	a, b := pairOf(t, f, network.Limits{Tx: network.ClassLimits{Message: 64 << 10, QueueMessages: 50, QueueBytes: 1 << 20}})
	release := b.block(t, a.ID())
	accepted := fill(t, a, b.ID(), network.ClassTx, 60<<10)
	if s := statusOf(a, b.ID()).Class(network.ClassTx); s.Dropped != 1 || s.QueuedMessages == 0 {
		t.Fatalf("dropped %d, queued %d", s.Dropped, s.QueuedMessages)
	}
	release()
	got := b.waitCount(t, a.ID(), network.ClassTx, len(accepted))
	for i, msg := range got {
		if number(msg) != accepted[i] {
			t.Fatalf("message %d is number %d, want %d: an accepted message was lost", i, number(msg), accepted[i])
		}
	}
}

func slowReader(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	a, slow, quick := start(t, o, 0, nil), start(t, o, 1, nil), start(t, o, 2, nil)
	introduce(t, a, slow, quick)
	slow.block(t, a.ID())
	both := []network.PeerID{slow.ID(), quick.ID()}
	msg := make([]byte, 64<<10)
	for range 50 {
		a.Broadcast(both, network.ClassConsensus, msg)
		a.Broadcast(both, network.ClassTx, msg[:8])
	}
	quick.waitCount(t, a.ID(), network.ClassConsensus, 50)
	quick.waitCount(t, a.ID(), network.ClassTx, 50)
	// Nor does it delay what the slow one says, or is asked.
	if err := slow.Send(a.ID(), network.ClassConsensus, msg); err != nil {
		t.Fatal(err)
	}
	a.waitCount(t, slow.ID(), network.ClassConsensus, 1)
	if _, err := a.Request(t.Context(), slow.ID(), network.ProtocolSync, []byte("hi")); err != nil {
		t.Fatal(err)
	}
}

func throttled(t *testing.T, f Factory) {
	a, b := pairOf(t, f, network.Limits{TxRate: 20, TxBurst: 10, TxWait: 200 * time.Millisecond, TxPace: -1})
	began := time.Now()
	const small = 14 // 10 pass at once, 4 wait for 1/20 s each
	for i := range small {
		if err := a.Send(b.ID(), network.ClassTx, numbered(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	b.waitCount(t, a.ID(), network.ClassTx, small)
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("%d messages passed a rate of 20/s, burst 10, in %v", small, took)
	}
	// A message that would have to wait longer than TxWait is dropped …
	if err := a.Send(b.ID(), network.ClassTx, numbered(small, 60<<10)); err != nil {
		t.Fatal(err)
	}
	// … and the next one is not.
	if err := a.Send(b.ID(), network.ClassTx, numbered(small+1, 8)); err != nil {
		t.Fatal(err)
	}
	msgs := b.waitCount(t, a.ID(), network.ClassTx, small+1)
	if got := number(msgs[small]); got != small+1 {
		t.Errorf("message %d passed, want it dropped", got)
	}
	if s := statusOf(b, a.ID()).Class(network.ClassTx); s.Throttled != 1 || s.Received != small+1 {
		t.Errorf("throttled %d, received %d", s.Throttled, s.Received)
	}
	// Consensus has no rate.
	for i := range 100 {
		if err := a.Send(b.ID(), network.ClassConsensus, numbered(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	b.waitCount(t, a.ID(), network.ClassConsensus, 100)
}

func unknownKinds(t *testing.T, f Factory) {
	a, b := pairOf(t, f, network.Limits{})
	if err := a.Send(b.ID(), network.Class(9), nil); err == nil {
		t.Error("a class that does not exist was sent")
	}
	if _, err := a.Request(t.Context(), b.ID(), "/other/1", nil); err == nil {
		t.Error("a protocol that does not exist was asked")
	}
}
