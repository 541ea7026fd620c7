package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// sockets connect clients with the nodes of a simulation: pipes in memory instead
// of TCP, so that no goroutine waits outside the simulated time.
type sockets struct {
	mu      sync.Mutex
	doors   map[string]*door // by address
	clients []*http.Transport
}

func newSockets() *sockets { return &sockets{doors: make(map[string]*door)} }

// door is one node's listener, for one of its lives.
type door struct {
	addr    string
	knocks  chan net.Conn
	closed  chan struct{}
	once    sync.Once
	shut    chan struct{} // closed by sever
	death   sync.Once
	mu      sync.Mutex
	through []net.Conn // both ends of every connection
}

// listen opens the door at addr in place of one that is closed.
func (s *sockets) listen(addr string) (*door, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.doors[addr]; d != nil && !d.isClosed() {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRINUSE)
	}
	d := &door{addr: addr, knocks: make(chan net.Conn), closed: make(chan struct{}), shut: make(chan struct{})}
	s.doors[addr] = d
	return d, nil
}

func (s *sockets) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	s.mu.Lock()
	d := s.doors[addr]
	s.mu.Unlock()
	if d == nil {
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	select {
	case <-d.shut:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	default:
	}
	near, far := net.Pipe()
	d.mu.Lock()
	d.through = append(d.through, near, far)
	d.mu.Unlock()
	select {
	case d.knocks <- conn{far, addr}:
		return conn{near, addr}, nil
	case <-d.closed:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	case <-d.shut:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// transport is the SDK's middleware: the client's own connections are pipes. Whom
// a client speaks to is not what is tested here, so the certificate is not looked
// at.
func (s *sockets) transport(http.RoundTripper) http.RoundTripper {
	t := &http.Transport{
		DialContext: s.dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: 5 * time.Second,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients = append(s.clients, t)
	return t
}

// close ends what clients keep open.
func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.clients {
		t.CloseIdleConnections()
	}
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.knocks:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *door) isClosed() bool {
	select {
	case <-d.closed:
		return true
	default:
		return false
	}
}

func (d *door) Addr() net.Addr { return pipeAddr(d.addr) }

// sever breaks every connection at once and takes no other, as the death of the
// process does. The dead node is not told: it must not begin to stop, and to tidy
// up its files, before its image is taken.
func (d *door) sever() {
	d.death.Do(func() { close(d.shut) })
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.through {
		c.Close()
	}
}

// conn is an end of a pipe with addresses that look like TCP's.
type conn struct {
	net.Conn
	addr string
}

func (c conn) LocalAddr() net.Addr  { return pipeAddr(c.addr) }
func (c conn) RemoteAddr() net.Addr { return pipeAddr("127.0.0.1:1") }

type pipeAddr string

func (pipeAddr) Network() string  { return "tcp" }
func (a pipeAddr) String() string { return string(a) }
