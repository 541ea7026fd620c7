package badinput

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/scripts/testnet"
)

// holdOn starts three callers that keep the bank's ports busy while all the
// other tests run, and returns a function that waits for them.
func holdOn(t *testing.T, w *world) (wait func()) {
	x := w.net.First(bank)
	var running sync.WaitGroup
	for _, c := range []struct {
		name string
		run  func(*testing.T, *testnet.Node)
	}{
		{"a request that never ends", slowHeaders},
		{"a body that never comes", slowBody},
		{"silence on the p2p port", silence},
	} {
		running.Go(func() { t.Run(c.name, func(t *testing.T) { c.run(t, x) }) })
	}
	return running.Wait
}

// testPorts: what arrives below every protocol.
func testPorts(t *testing.T, w *world) {
	x := w.net.First(bank)
	t.Run("garbage on the p2p port", func(t *testing.T) {
		var noise [4096]byte
		rand.Read(noise[:])
		var knocking sync.WaitGroup // each may be listened to for some seconds
		for name, b := range map[string][]byte{
			"noise":   noise[:],
			"http":    []byte("GET / HTTP/1.1\r\nHost: node\r\n\r\n"),
			"tls":     {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
			"huge":    append([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), noise[:]...),
			"greeted": append([]byte("\x13/multistream/1.0.0\n\x07/noise\n"), noise[:]...),
		} {
			knocking.Go(func() { t.Run(name, func(t *testing.T) { knock(t, p2pAddr(t, x), b) }) })
		}
		knocking.Wait()
	})
	t.Run("a libp2p peer that nobody knows", func(t *testing.T) { unknownPeer(t, w, x) })
	t.Run("hundreds of connections", func(t *testing.T) {
		var conns []net.Conn
		for range 300 {
			c, err := net.DialTimeout("tcp", p2pAddr(t, x), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		w.commits(t)
		for _, c := range conns {
			c.Close()
		}
	})
	for range len(w.net.Nodes) {
		w.commits(t)
	}
	c := w.client(t, bank, "auditor")
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Peers != uint64(len(w.net.Nodes)-1) {
		t.Errorf("the node has %d peers afterwards, want %d", s.Peers, len(w.net.Nodes)-1)
	}
}

func p2pAddr(t *testing.T, x *testnet.Node) string {
	t.Helper()
	parts := strings.Split(x.P2P, "/") // "", ip4, address, tcp, port
	if len(parts) != 5 {
		t.Fatalf("address %s", x.P2P)
	}
	return net.JoinHostPort(parts[2], parts[4])
}

// knock sends bytes; the node must close the connection by itself, and soon.
func knock(t *testing.T, addr string, b []byte) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		return // closed already
	}
	wantClosed(t, c)
}

// wantClosed reads until the other side closes.
func wantClosed(t *testing.T, c io.Reader) {
	t.Helper()
	n, err := io.Copy(io.Discard, io.LimitReader(c, 1<<20))
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Errorf("the connection is still open, after %d bytes from the node", n)
	}
	if n == 1<<20 {
		t.Error("the node talks without end")
	}
}

// silence connects and says nothing.
func silence(t *testing.T, x *testnet.Node) {
	c, err := net.DialTimeout("tcp", p2pAddr(t, x), 5*time.Second)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(25 * time.Second)); err != nil {
		t.Error(err)
		return
	}
	wantClosed(t, c)
}

func dialAPI(t *testing.T, x *testnet.Node) *tls.Conn {
	t.Helper()
	cfg := pinned(x)
	cfg.NextProtos = []string{"http/1.1"}
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", x.API, cfg)
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := c.SetDeadline(time.Now().Add(25 * time.Second)); err != nil {
		t.Error(err)
	}
	return c
}

// slowHeaders is a slow loris: a header line now and then.
func slowHeaders(t *testing.T, x *testnet.Node) {
	c := dialAPI(t, x)
	if c == nil {
		return
	}
	defer c.Close()
	began := time.Now()
	fmt.Fprintf(c, "POST %sLedgerService/Submit HTTP/1.1\r\nHost: node\r\n", service)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-tick.C:
				if _, err := fmt.Fprintf(c, "X-%d: slowly\r\n", i); err != nil {
					return
				}
			case <-stop:
				return
			}
		}
	}()
	wantClosed(t, c)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the node listened for %s", took)
	}
}

// slowBody promises a body and does not send it.
func slowBody(t *testing.T, x *testnet.Node) {
	c := dialAPI(t, x)
	if c == nil {
		return
	}
	defer c.Close()
	began := time.Now()
	fmt.Fprintf(c, "POST %sLedgerService/GetStatus HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", service)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode < 400 {
			t.Errorf("half a message was answered with %d", resp.StatusCode)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the node waited for %s", took)
	}
}

// unknownPeer is a correct libp2p host of ours whose key no config and no member
// has named: it must be refused before it can say anything.
func unknownPeer(t *testing.T, w *world, x *testnet.Node) {
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	h, err := network.Open(ctx, network.Config{HostKey: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Limits: network.DefaultLimits(), Logger: slog.New(slog.NewTextHandler(&syncWriter{w: &log}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	target := network.PeerID(x.Card.NodeID)
	h.SetPeers([]network.Peer{{ID: target, Addrs: []string{x.P2P}, Dial: true}})
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	for _, p := range []network.Protocol{network.ProtocolSync, network.ProtocolSealed, network.ProtocolAnswer} {
		rctx, end := context.WithTimeout(ctx, 2*time.Second)
		b, err := h.Request(rctx, target, p, []byte("hello"))
		end()
		var remote *network.RemoteError
		if err == nil || errors.As(err, &remote) {
			t.Errorf("%s: a stranger got an answer: %q, %v", p, b, err)
		}
	}
	if err := h.Send(target, network.ClassTx, []byte("hello")); err != nil && !errors.Is(err, network.ErrOverflow) {
		t.Logf("send: %v", err) // it is queued, or refused: nothing may arrive either way
	}
	w.commits(t)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the stranger's host: %v", err)
	}
}

// syncWriter lets several goroutines log.
type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *syncWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}
