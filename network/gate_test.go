package network

import (
	"net"
	"testing"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/libp2p/go-libp2p/core/crypto"
	manet "github.com/multiformats/go-multiaddr/net"
)

func TestStrangerIsRefusedBeforeAnyProtocolByte(t *testing.T) {
	v := newVictim(t, Limits{})
	key, _, err := crypto.GenerateSecp256k1Key(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := strangerBytes(t, v.Host, key); n != 0 {
		t.Fatalf("the host sent %d bytes to a stranger after the handshake", n)
	}
	p := newRawPeer(t)
	if conn, err := p.dial(t, v.Host); err == nil { // the handshake succeeds on this side
		until(t, "the connection to be closed", conn.IsClosed)
	}
	if got := len(v.parts.swarm.Conns()); got != 0 {
		t.Fatalf("%d connections of strangers", got)
	}
	v.heardNothing(t)
}

func TestAdmittedKeyGetsProtocolBytes(t *testing.T) { // the check above can fail
	p := newRawPeer(t)
	v := newVictim(t, Limits{}, p)
	conn := p.mustDial(t, v.Host)
	s := stream(t, conn, "/assent/tx/1")
	if _, err := s.Write(message([]byte("a"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "tx a")
}

func TestRemovedPeerIsCutAndStaysOut(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, Limits{}, p)
	conn := p.mustDial(t, v.Host)
	s := stream(t, conn, "/assent/tx/1")
	v.SetPeers(nil)
	if got := len(v.parts.swarm.ConnsToPeer(p.self)); got != 0 {
		t.Fatalf("SetPeers returned with %d connections of a removed peer", got)
	}
	ends(t, s)
	p.swarm.Backoff().Clear(v.self)
	if conn, err := p.dial(t, v.Host); err == nil {
		until(t, "the connection to be closed", conn.IsClosed)
	}
	v.heardNothing(t)
}

func TestNobodyIsAdmittedBeforeRun(t *testing.T) {
	p := newRawPeer(t)
	key, err := ethcrypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(t.Context(), Config{HostKey: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		t.Fatal(err)
	}
	h.SetPeers([]Peer{{ID: p.id()}})
	addr, err := manet.ToNetAddr(h.parts.swarm.ListenAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || isTimeout(err) {
		t.Fatalf("read %d bytes, %v; want a closed connection", n, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context()); err == nil {
		t.Fatal("a closed host ran")
	}
}

func TestTwoConnectionsDoNotBreakStreams(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, Limits{}, p)
	first := p.mustDial(t, v.Host)
	s1 := stream(t, first, "/assent/tx/1")
	if _, err := s1.Write(message([]byte("1"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "tx 1")

	q := rawPeerOf(t, p.key) // the same node dials again, as both sides do when they start together
	second := q.mustDial(t, v.Host)
	until(t, "two connections", func() bool { return len(v.parts.swarm.ConnsToPeer(p.self)) == 2 })
	s2 := stream(t, second, "/assent/consensus/1")
	if _, err := s2.Write(message([]byte("2"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "consensus 2")
	if _, err := s1.Write(message([]byte("3"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "tx 3")

	// Losing one of them leaves the peer connected.
	first.Close()
	until(t, "one connection", func() bool { return len(v.parts.swarm.ConnsToPeer(p.self)) == 1 })
	if _, err := s2.Write(message([]byte("4"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "consensus 4")
	if s := v.Status()[0]; !s.Connected {
		t.Fatalf("status: %+v", s)
	}
}

func TestNewConnectionReplacesASettledOne(t *testing.T) {
	p := newRawPeer(t)
	v := newVictim(t, Limits{}, p)
	first := p.mustDial(t, v.Host)
	until(t, "the link", func() bool { return v.Status()[0].Connected })
	r, _ := v.lookup(p.id())
	r.mu.Lock()
	r.links[0].opened = r.links[0].opened.Add(-v.settled()) // as if time had passed
	r.mu.Unlock()
	second := rawPeerOf(t, p.key).mustDial(t, v.Host)
	until(t, "the old connection to be closed", first.IsClosed)
	s := stream(t, second, "/assent/tx/1")
	if _, err := s.Write(message([]byte("a"))); err != nil {
		t.Fatal(err)
	}
	v.hears(t, "tx a")
}
