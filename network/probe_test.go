package network

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
)

func TestProbeAuthenticatesWhoListens(t *testing.T) {
	friend, stranger := newRawPeer(t), newRawPeer(t)
	v := newVictim(t, Limits{}, friend)
	addr := v.parts.swarm.ListenAddresses()[0].String()

	found, err := Probe(t.Context(), friend.key, v.ID(), addr, ProtocolSync, []byte("who"))
	if err != nil || !bytes.Equal(found.Answer, []byte("ok")) {
		t.Errorf("by an admitted peer: %+v, %v", found, err)
	}
	// The key is proven to a stranger too, and nothing else is said.
	found, err = Probe(t.Context(), stranger.key, v.ID(), addr, ProtocolSync, []byte("who"))
	if err != nil || found.Silent == nil || found.Answer != nil {
		t.Errorf("by a stranger: %+v, %v", found, err)
	}
	if _, err := Probe(t.Context(), friend.key, stranger.id(), addr, ProtocolSync, nil); !errors.Is(err, ErrOtherKey) {
		t.Errorf("under another name: %v", err)
	}
	if got := len(v.parts.swarm.Conns()); got > 1 {
		t.Errorf("%d connections are left", got)
	}
}

func TestProbeOfNobody(t *testing.T) {
	key, err := ethcrypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	other := newRawPeer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().String()[strings.LastIndex(l.Addr().String(), ":")+1:]
	l.Close()
	if _, err := Probe(t.Context(), key, other.id(), "/ip4/127.0.0.1/tcp/"+port, ProtocolSync, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody listens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Probe(ctx, key, other.id(), "/ip4/127.0.0.1/tcp/"+port, ProtocolSync, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("after the end of its context: %v", err)
	}
	for _, addr := range []string{"", "10.0.0.1:7400", "/ip4/10.0.0.1", "/unix/tmp/x"} {
		if CheckAddr(addr) == nil {
			t.Errorf("%q passes for an address", addr)
		}
	}
	if _, err := Probe(t.Context(), other.key, other.id(), "/ip4/127.0.0.1/tcp/1", ProtocolSync, nil); err == nil {
		t.Error("a node probes itself")
	}
	if _, err := Probe(t.Context(), key, "nobody", "/ip4/127.0.0.1/tcp/1", ProtocolSync, nil); err == nil {
		t.Error("a malformed id is probed")
	}
}
