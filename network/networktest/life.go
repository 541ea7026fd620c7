package networktest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assent-network/assent/network"
)

func requests(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	long := strings.Repeat("é", 2000) + "\x00\x1b[31m"
	a := start(t, o, 0, nil)
	b := start(t, o, 1, func(h Host) {
		h.Serve(network.ProtocolSync, echo)
		h.Serve(network.ProtocolSealed, func(context.Context, network.PeerID, []byte) ([]byte, error) {
			return nil, errors.New(long)
		})
		h.Serve(network.ProtocolAnswer, func(context.Context, network.PeerID, []byte) ([]byte, error) { return nil, nil })
	})
	introduce(t, a, b)
	for i := range 20 {
		req := strings.Repeat("q", i*1000)
		resp, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, []byte(req))
		if want := string(a.ID()) + ":" + req; err != nil || string(resp) != want {
			t.Fatalf("response of %d bytes, %v; want %d bytes", len(resp), err, len(want))
		}
	}
	var remote *network.RemoteError
	if _, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, []byte("refuse")); !errors.As(err, &remote) || remote.Text != "no such record" {
		t.Fatalf("refused request: %v", err)
	}
	if _, err := a.Request(t.Context(), b.ID(), network.ProtocolSealed, nil); !errors.As(err, &remote) || len(remote.Text) > 512 || strings.ContainsAny(remote.Text, "\x00\x1b") {
		t.Fatalf("a long error text came as %d bytes: %v", len(remote.Text), err)
	}
	if resp, err := a.Request(t.Context(), b.ID(), network.ProtocolAnswer, []byte("x")); err != nil || len(resp) != 0 {
		t.Fatalf("empty response: %q, %v", resp, err)
	}
	if _, err := a.Request(t.Context(), "nobody", network.ProtocolSync, nil); !errors.Is(err, network.ErrUnknownPeer) {
		t.Fatalf("request to nobody: %v", err)
	}
}

func unserved(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	a, b := start(t, o, 0, nil), start(t, o, 1, func(Host) {})
	introduce(t, a, b)
	var remote *network.RemoteError
	if _, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, nil); err == nil || errors.As(err, &remote) {
		t.Fatalf("request that nobody serves: %v", err)
	}
	if err := a.Send(b.ID(), network.ClassTx, nil); err != nil { // and the connection lives
		t.Fatal(err)
	}
	b.waitCount(t, a.ID(), network.ClassTx, 1)
}

// blockingServer counts the handlers that run and holds them until released or
// until their context ends.
type blockingServer struct {
	running, most atomic.Int64
	entered       chan struct{}
	release       chan struct{}
	ended         chan error // what ended a handler's context
}

func newBlockingServer() *blockingServer {
	return &blockingServer{entered: make(chan struct{}, 1000), release: make(chan struct{}), ended: make(chan error, 1000)}
}

func (s *blockingServer) serve(ctx context.Context, _ network.PeerID, _ []byte) ([]byte, error) {
	now := s.running.Add(1)
	defer s.running.Add(-1)
	for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
	}
	s.entered <- struct{}{}
	select {
	case <-s.release:
		return []byte("late"), nil
	case <-ctx.Done():
		s.ended <- ctx.Err()
		return nil, ctx.Err()
	}
}

func requestContext(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	s := newBlockingServer()
	defer close(s.release)
	a := start(t, o, 0, nil)
	b := start(t, o, 1, func(h Host) { h.Serve(network.ProtocolSync, s.serve); h.Serve(network.ProtocolAnswer, echo) })
	introduce(t, a, b)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := a.Request(ctx, b.ID(), network.ProtocolSync, []byte("q"))
		failed <- err
	}()
	<-s.entered
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || errors.Is(err, network.ErrNotSent) {
		t.Fatalf("cancelled request: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := a.Request(ctx, b.ID(), network.ProtocolSync, []byte("q")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("request beyond its deadline: %v", err)
	}
	if _, err := a.Request(t.Context(), b.ID(), network.ProtocolAnswer, []byte("q")); err != nil {
		t.Fatalf("another protocol after that: %v", err)
	}
}

func neverSent(t *testing.T, f Factory) {
	o := f(t, network.Limits{Grace: time.Minute, Sync: network.ProtocolLimits{PerPeer: 1}})
	s := newBlockingServer()
	a := start(t, o, 0, nil)
	b := start(t, o, 1, func(h Host) { h.Serve(network.ProtocolSync, s.serve) })
	introduce(t, a, b)
	brief := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := a.Request(ctx, b.ID(), network.ProtocolSync, []byte("q"))
		return err
	}
	answered := make(chan error, 1)
	go func() {
		_, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, []byte("q"))
		answered <- err
	}()
	<-s.entered
	if err := brief(); !errors.Is(err, network.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that got no slot: %v", err)
	}
	close(s.release)
	if err := <-answered; err != nil {
		t.Errorf("the request that had the slot: %v", err)
	}
	b.stop()
	eventually(t, "the connection to be lost", func() bool { return !statusOf(a, b.ID()).Connected })
	if err := brief(); !errors.Is(err, network.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request that got no connection: %v", err)
	}
}

func requestBound(t *testing.T, f Factory) {
	o := f(t, network.Limits{Sync: network.ProtocolLimits{PerPeer: 2, Total: 3}})
	s := newBlockingServer()
	server := start(t, o, 0, func(h Host) { h.Serve(network.ProtocolSync, s.serve) })
	clients := []*node{start(t, o, 1, nil), start(t, o, 2, nil)}
	introduce(t, append(clients, server)...)
	var wg sync.WaitGroup
	for _, c := range clients {
		for range 5 {
			wg.Go(func() {
				if resp, err := c.Request(t.Context(), server.ID(), network.ProtocolSync, nil); err != nil || string(resp) != "late" {
					t.Errorf("request: %q, %v", resp, err)
				}
			})
		}
	}
	for range 3 {
		<-s.entered
	}
	close(s.release)
	wg.Wait()
	if most := s.most.Load(); most != 3 {
		t.Fatalf("%d handlers ran at once, want 3 (2 per peer, 3 in all)", most)
	}
}

func requestRemoved(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	s := newBlockingServer()
	defer close(s.release)
	a := start(t, o, 0, nil)
	b := start(t, o, 1, func(h Host) { h.Serve(network.ProtocolSync, s.serve) })
	introduce(t, a, b)
	failed := make(chan error, 1)
	go func() {
		_, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, []byte("q"))
		failed <- err
	}()
	<-s.entered
	a.SetPeers(nil)
	if err := <-failed; !errors.Is(err, network.ErrUnknownPeer) {
		t.Fatalf("request to a peer that was removed meanwhile: %v", err)
	}
	b.SetPeers(nil)
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("the handler's context ended with %v", err)
	}
}

func unreachable(t *testing.T, f Factory) {
	o := f(t, network.Limits{Grace: 100 * time.Millisecond})
	a, b := start(t, o, 0, nil), start(t, o, 1, nil)
	introduce(t, a, b)
	b.stop()
	eventually(t, "ErrUnreachable", func() bool {
		return errors.Is(a.Send(b.ID(), network.ClassConsensus, nil), network.ErrUnreachable)
	})
	if _, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, nil); !errors.Is(err, network.ErrUnreachable) {
		t.Fatalf("request: %v", err)
	}
	eventually(t, "the queue to be dropped", func() bool {
		s := statusOf(a, b.ID())
		return !s.Connected && s.Class(network.ClassConsensus).QueuedMessages == 0 && s.Class(network.ClassConsensus).Dropped > 0
	})
}

func restarted(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	a, b := start(t, o, 0, nil), start(t, o, 1, nil)
	introduce(t, a, b)
	for round := range 3 {
		eventually(t, "a connection", connected(a, b))
		if err := a.Send(b.ID(), network.ClassConsensus, numbered(round, 8)); err != nil {
			t.Fatal(err)
		}
		if got := b.waitCount(t, a.ID(), network.ClassConsensus, 1); number(got[0]) != round {
			t.Fatalf("after restart %d came message %d", round, number(got[0]))
		}
		b.stop()
		eventually(t, "a to notice", func() bool { return !statusOf(a, b.ID()).Connected })
		began := time.Now()
		b = start(t, o, 1, nil)
		if round == 1 { // the restarted side may leave the dialling to the other
			b.SetPeers([]network.Peer{{ID: a.ID()}})
		} else {
			b.SetPeers(peersOf(a))
		}
		eventually(t, "the restarted peer", connected(a, b))
		if took := time.Since(began); took > network.DefaultLimits().BackoffMax {
			t.Errorf("a restarted peer was reached after %v", took)
		}
		if resp, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, []byte("q")); err != nil || len(resp) == 0 {
			t.Fatalf("request after restart: %v", err)
		}
	}
}

func early(t *testing.T, f Factory) {
	o := f(t, network.Limits{Grace: patience})
	a := start(t, o, 0, nil)
	before := o.Open(t, 1)
	id, addrs := before.ID(), before.Addrs()
	if c, ok := before.(interface{ Close() error }); ok {
		c.Close()
	}
	a.SetPeers([]network.Peer{{ID: id, Addrs: addrs, Dial: true}})
	const count = 20
	for i := range count {
		if err := a.Send(id, network.ClassConsensus, numbered(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	asked := make(chan error, 1)
	go func() {
		_, err := a.Request(t.Context(), id, network.ProtocolSync, []byte("q"))
		asked <- err
	}()
	b := start(t, o, 1, nil)
	b.SetPeers(peersOf(a))
	for i, msg := range b.waitCount(t, a.ID(), network.ClassConsensus, count) {
		if number(msg) != i {
			t.Fatalf("message %d is number %d", i, number(msg))
		}
	}
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
}

func stopped(t *testing.T, f Factory) {
	a, b := pairOf(t, f, network.Limits{})
	a.stop()
	if err := a.Run(t.Context()); err == nil {
		t.Error("a host ran twice")
	}
	if err := a.Send(b.ID(), network.ClassTx, nil); !errors.Is(err, network.ErrStopped) {
		t.Errorf("Send after Run: %v", err)
	}
	if _, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, nil); !errors.Is(err, network.ErrStopped) {
		t.Errorf("Request after Run: %v", err)
	}
	a.SetPeers(peersOf(b)) // harmless
}

func handlerContext(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	s := newBlockingServer()
	defer close(s.release)
	a := start(t, o, 0, nil)
	b := start(t, o, 1, func(h Host) { h.Serve(network.ProtocolSync, s.serve) })
	introduce(t, a, b)
	failed := make(chan error, 1)
	go func() {
		_, err := a.Request(t.Context(), b.ID(), network.ProtocolSync, []byte("q"))
		failed <- err
	}()
	<-s.entered
	b.stop() // waits for the handler, whose context must end
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("a request to a host that stopped succeeded")
	}
}

func status(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	a, b := start(t, o, 0, nil), start(t, o, 1, nil)
	absent := network.Peer{ID: o.Open(t, 2).ID()}
	a.SetPeers(append(peersOf(a, b, b), absent)) // itself and repetitions do not count
	b.SetPeers(peersOf(a))
	eventually(t, "a connection", connected(a, b))
	for i := range 7 {
		if err := a.Send(b.ID(), network.ClassTx, numbered(i, 8)); err != nil {
			t.Fatal(err)
		}
	}
	b.waitCount(t, a.ID(), network.ClassTx, 7)
	eventually(t, "the counts", func() bool {
		return statusOf(a, b.ID()).Class(network.ClassTx).Sent == 7 && statusOf(b, a.ID()).Class(network.ClassTx).Received == 7
	})
	all := a.Status()
	if len(all) != 2 || all[0].ID >= all[1].ID {
		t.Fatalf("status of %d peers, want 2 in order", len(all))
	}
	s := statusOf(a, absent.ID)
	if s.Connected || s.Since.IsZero() {
		t.Fatalf("a peer that never came: %+v", s)
	}
}

func allToAll(t *testing.T, f Factory) {
	o := f(t, network.Limits{})
	const hosts, count = 6, 30
	var nodes []*node
	for i := range hosts {
		nodes = append(nodes, start(t, o, i, nil))
	}
	introduce(t, nodes...)
	var ids []network.PeerID
	for _, n := range nodes {
		ids = append(ids, n.ID())
	}
	for i := range count {
		for _, n := range nodes {
			n.Broadcast(ids, network.ClassConsensus, numbered(i, 100))
		}
	}
	for _, n := range nodes {
		for _, from := range nodes {
			if from == n {
				continue
			}
			msgs := n.waitCount(t, from.ID(), network.ClassConsensus, count)
			checkAscending(t, msgs)
		}
	}
}

func churn(t *testing.T, f Factory) {
	a, b := pairOf(t, f, network.Limits{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, side := range [][2]*node{{a, b}, {b, a}} {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err := side[0].Send(side[1].ID(), network.ClassTx, numbered(i, 200))
				if err != nil && !errors.Is(err, network.ErrUnknownPeer) && !errors.Is(err, network.ErrOverflow) {
					t.Error(err)
					return
				}
				side[0].Status()
			}
		})
	}
	for range 20 {
		a.SetPeers(nil)
		a.SetPeers(peersOf(b))
	}
	eventually(t, "messages after the churn", func() bool { return connected(a, b)() })
	before := len(a.messages(b.ID(), network.ClassTx))
	a.waitCount(t, b.ID(), network.ClassTx, before+10)
	close(stop)
	wg.Wait()
}

func lateHandle(t *testing.T, f Factory) {
	a := start(t, f(t, network.Limits{}), 0, nil)
	a.SetPeers(nil)
	eventually(t, "a panic", func() bool {
		return panicked(func() { a.Handle(network.ClassTx, func(network.PeerID, []byte) {}) }) &&
			panicked(func() { a.Serve(network.ProtocolSync, echo) })
	})
}

func panicked(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}
