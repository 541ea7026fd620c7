package network

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	manet "github.com/multiformats/go-multiaddr/net"
)

// wire forwards TCP connections to a host until they are frozen: then both ends
// stay open and nothing passes any more, as when a machine loses its power.
type wire struct {
	net.Listener
	target string
	wg     sync.WaitGroup

	mu     sync.Mutex
	frozen chan struct{} // of the connections made so far
	conns  []net.Conn
}

func newWire(t *testing.T, h *Host) *wire {
	t.Helper()
	target, err := manet.ToNetAddr(h.parts.swarm.ListenAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l, target: target.String(), frozen: make(chan struct{})}
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			c.Close()
		}
		w.mu.Unlock()
		w.wg.Wait()
	})
	return w
}

func (w *wire) accept() {
	for {
		in, err := w.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.target)
		if err != nil {
			in.Close()
			continue
		}
		w.mu.Lock()
		frozen := w.frozen
		w.conns = append(w.conns, in, out)
		w.mu.Unlock()
		w.wg.Go(func() { forward(out, in, frozen) })
		w.wg.Go(func() { forward(in, out, frozen) })
	}
}

func forward(dst io.Writer, src net.Conn, frozen <-chan struct{}) {
	for buf := make([]byte, 32<<10); ; {
		n, err := src.Read(buf)
		select {
		case <-frozen:
			return // what was read is lost, and so is all that follows
		default:
		}
		if err != nil {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.frozen)
	w.frozen = make(chan struct{})
}

func TestPeerThatVanishesIsNoticedAndReachedAgain(t *testing.T) {
	key, err := ethcrypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	limits := Limits{KeepAlive: 100 * time.Millisecond, WriteTimeout: 500 * time.Millisecond}
	a, err := Open(t.Context(), Config{HostKey: key, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 10)
	a.Handle(ClassConsensus, func(_ PeerID, msg []byte) { heard <- string(msg) })
	b := newVictim(t, Limits{}) // believes in the dead connection for much longer
	b.SetPeers([]Peer{{ID: a.ID()}})
	w := newWire(t, b.Host)
	a.SetPeers([]Peer{{ID: b.ID(), Addrs: []string{mustNetAddr(t, w.Addr())}, Dial: true}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { a.Run(ctx) })
	defer wg.Wait()
	defer cancel()

	until(t, "a connection", func() bool { return a.Status()[0].Connected && b.Status()[0].Connected })
	first := a.Status()[0].Since
	if err := b.Send(a.ID(), ClassConsensus, []byte("before")); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "before" {
		t.Fatalf("heard %q", got)
	}
	w.freeze()
	until(t, "another connection", func() bool { s := a.Status()[0]; return s.Connected && s.Since.After(first) })
	if err := a.Send(b.ID(), ClassTx, []byte("again")); err != nil {
		t.Fatal(err)
	}
	b.hears(t, "tx again")
}

func TestSilentConnectionIsClosedBeforeTheHandshake(t *testing.T) {
	v := newVictim(t, Limits{HandshakeTimeout: 100 * time.Millisecond})
	addr, err := manet.ToNetAddr(v.parts.swarm.ListenAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
		t.Fatal("a connection that says nothing was kept")
	}
}

func mustNetAddr(t *testing.T, addr net.Addr) string {
	t.Helper()
	out, err := manet.FromNetAddr(addr)
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
