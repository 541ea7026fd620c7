package network

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// FuzzAddress reads addresses as node records and configs name them: what is taken
// can be dialled by TCP, and is the same when read again.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{
		"/ip4/127.0.0.1/tcp/7400", "/dns4/node.bank.example/tcp/7400", "/ip6/::1/tcp/1", "/ip4/1.2.3.4/udp/1/quic-v1", "/unix/tmp/x", "/ip4/1.2.3.4/tcp/7400/p2p/12D3", "",
	} {
		f.Add(s)
	}
	f.Add("/ip4/1.2.3.4/tcp/7400/p2p/16Uiu2HAm1nH6sfUkdQ8JeGZ2oZgjrZrbQyMZvqGgF1nsW1Jd4JvN")
	h := &Host{log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := ParsePeer(text); err == nil && p.Addrs[0]+"/p2p/"+string(p.ID) != text {
			t.Fatalf("%q was taken as %+v", text, p)
		}
		for _, a := range h.parseAddrs(Peer{Addrs: []string{text}}, peer.ID("")) {
			if again, err := tcpAddr(a.String()); err != nil || !again.Equal(a) || !strings.Contains(a.String(), "/tcp/") {
				t.Fatalf("%q was taken as %s, which reads as %v, %v", text, a, again, err)
			}
		}
	})
}
