package network

import (
	"context"
	"crypto/ecdsa"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/libp2p/go-libp2p/core/crypto"
	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ltls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/multiformats/go-multistream"
)

// rawPeer is a libp2p node without any of our rules: what an attacker runs.
type rawPeer struct {
	*parts
	key  *ecdsa.PrivateKey
	self peer.ID
}

func newRawPeer(t testing.TB) *rawPeer {
	t.Helper()
	key, err := ethcrypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return rawPeerOf(t, key)
}

// rawPeerOf makes another process, so to speak, of the node with this key.
func rawPeerOf(t testing.TB, key *ecdsa.PrivateKey) *rawPeer {
	t.Helper()
	l := DefaultLimits()
	l.Sync.PerPeer = 5000 // its own limits do not hold it back
	p, self, err := assemble(key, &l, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.close() })
	return &rawPeer{parts: p, key: key, self: self}
}

// answerWith makes the peer agree to any protocol and write data.
func (p *rawPeer) answerWith(data []byte) {
	p.swarm.SetStreamHandler(func(s lnet.Stream) {
		defer s.Close()
		if !agree(s) {
			return
		}
		io.Copy(io.Discard, s)
		s.Write(data)
	})
}

// readNothing makes the peer agree to any protocol and then leave the stream
// alone.
func (p *rawPeer) readNothing() {
	p.swarm.SetStreamHandler(func(s lnet.Stream) { agree(s) })
}

func agree(s lnet.Stream) bool {
	any := multistream.NewMultistreamMuxer[string]()
	any.AddHandlerWithFunc("any", func(string) bool { return true }, nil)
	_, _, err := any.Negotiate(s)
	return err == nil
}

func (p *rawPeer) id() PeerID { return PeerID(p.self.String()) }

func (p *rawPeer) dial(t testing.TB, h *Host) (lnet.Conn, error) {
	t.Helper()
	for _, a := range h.parts.swarm.ListenAddresses() {
		p.store.AddAddr(h.self, a, peerstore.PermanentAddrTTL)
	}
	return p.swarm.DialPeer(t.Context(), h.self)
}

func (p *rawPeer) mustDial(t testing.TB, h *Host) lnet.Conn {
	t.Helper()
	conn, err := p.dial(t, h)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// stream opens a stream on which proto is agreed.
func stream(t testing.TB, conn lnet.Conn, proto string) lnet.Stream {
	t.Helper()
	s, err := conn.NewStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := multistream.SelectProtoOrFail(protocol.ID(proto), s); err != nil {
		t.Fatalf("select %s: %v", proto, err)
	}
	return s
}

// ends waits until the other side resets or closes s.
func ends(t testing.TB, s lnet.Stream) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(10 * time.Second))
	for buf := make([]byte, 1024); ; {
		if _, err := s.Read(buf); err != nil {
			if isTimeout(err) {
				t.Fatal("the stream was not ended")
			}
			return
		}
	}
}

// message is a whole frame of a class.
func message(body []byte) []byte {
	return append(appendFrameHeader(nil, kindMessage, len(body)), body...)
}

// victim is a running host with short limits that hears everything.
type victim struct {
	*Host
	heard chan string // class or protocol, then the body
	stop  func()
}

func newVictim(t testing.TB, l Limits, admitted ...*rawPeer) *victim {
	t.Helper()
	key, err := ethcrypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	h, err := Open(t.Context(), Config{HostKey: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{Host: h, heard: make(chan string, 10_000)}
	for _, c := range Classes() {
		h.Handle(c, func(_ PeerID, msg []byte) { v.heard <- c.String() + " " + string(msg) })
	}
	for _, p := range Protocols() {
		h.Serve(p, func(_ context.Context, _ PeerID, req []byte) ([]byte, error) {
			v.heard <- string(p) + " " + string(req)
			return []byte("ok"), nil
		})
	}
	var peers []Peer
	for _, p := range admitted {
		peers = append(peers, Peer{ID: p.id()})
	}
	h.SetPeers(peers)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { h.Run(ctx) })
	v.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(v.stop)
	until(t, "the gate to open", h.gate.open.Load)
	return v
}

func (v *victim) hears(t testing.TB, want string) {
	t.Helper()
	select {
	case got := <-v.heard:
		if got != want {
			t.Fatalf("heard %.60q, want %.60q", got, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("did not hear %.60q", want)
	}
}

func (v *victim) heardNothing(t testing.TB) {
	t.Helper()
	select {
	case got := <-v.heard:
		t.Fatalf("heard %.60q", got)
	default:
	}
}

func mustAddr(t testing.TB, text string) ma.Multiaddr {
	t.Helper()
	addr, err := ma.NewMultiaddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// until polls for a state that no event announces.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// strangerBytes makes the security handshake by hand and returns how many bytes
// the host sent after it, until it closed the connection.
func strangerBytes(t testing.TB, h *Host, key crypto.PrivKey) int {
	t.Helper()
	addr, err := manet.ToNetAddr(h.parts.swarm.ListenAddresses()[0])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := multistream.SelectProtoOrFail(protocol.ID(ltls.ID), conn); err != nil {
		t.Fatal(err)
	}
	secure, err := ltls.New(ltls.ID, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	sec, err := secure.SecureOutbound(t.Context(), conn, h.self)
	if err != nil {
		t.Fatal(err)
	}
	sec.SetReadDeadline(time.Now().Add(10 * time.Second))
	total := 0
	for buf := make([]byte, 1024); ; {
		n, err := sec.Read(buf)
		total += n
		if err != nil {
			if isTimeout(err) {
				t.Fatal("the host kept the stranger's connection")
			}
			return total
		}
	}
}
