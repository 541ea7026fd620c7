package network

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"syscall"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	yamuxmux "github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	"github.com/libp2p/go-yamux/v5"
	ma "github.com/multiformats/go-multiaddr"
)

// parts are the pieces of libp2p that a Host is made of, in the order in which
// they are closed.
type parts struct {
	swarm     *swarm.Swarm
	resources lnet.ResourceManager
	store     peerstore.Peerstore
}

func (p *parts) close() error {
	var errs []error
	if p.swarm != nil {
		errs = append(errs, p.swarm.Close())
	}
	if p.resources != nil {
		errs = append(errs, p.resources.Close())
	}
	if p.store != nil {
		errs = append(errs, p.store.Close())
	}
	return errors.Join(errs...)
}

// assemble builds a swarm that speaks TCP, TLS 1.3 and yamux and nothing else.
// TLS and not Noise: with AES in hardware it costs a third less per byte.
// Whatever libp2p would choose by default and that matters is chosen here.
func assemble(hostKey *ecdsa.PrivateKey, l *Limits, gater connmgr.ConnectionGater) (p *parts, self peer.ID, err error) {
	// libp2p's loggers write to stderr past the node's own. What matters of it
	// comes back to us as errors and events and is logged once, by us.
	gologshim.SetDefaultHandler(slog.DiscardHandler)
	p = &parts{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("assemble network: %w", err), p.close())
		}
	}()
	key, err := crypto.UnmarshalSecp256k1PrivateKey(ethcrypto.FromECDSA(hostKey))
	if err != nil {
		return p, "", fmt.Errorf("host key: %w", err)
	}
	if self, err = peer.IDFromPrivateKey(key); err != nil {
		return p, "", fmt.Errorf("host key: %w", err)
	}
	if p.store, err = pstoremem.NewPeerstore(); err != nil {
		return p, "", err
	}
	if err = errors.Join(p.store.AddPrivKey(self, key), p.store.AddPubKey(self, key.GetPublic())); err != nil {
		return p, "", err
	}
	if p.resources, err = resourceManager(l); err != nil {
		return p, "", err
	}
	muxers := []upgrader.StreamMuxer{{ID: yamuxmux.ID, Muxer: (*yamuxmux.Transport)(yamuxConfig(l))}}
	secure, err := libp2ptls.New(libp2ptls.ID, key, muxers)
	if err != nil {
		return p, "", err
	}
	up, err := upgrader.New([]sec.SecureTransport{secure}, muxers, nil, p.resources, gater, upgrader.WithAcceptTimeout(l.HandshakeTimeout))
	if err != nil {
		return p, "", err
	}
	// Without SO_REUSEPORT: with it, two nodes on one port would both start.
	transport, err := tcp.NewTCPTransport(up, p.resources, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(l.DialTimeout))
	if err != nil {
		return p, "", err
	}
	p.swarm, err = swarm.NewSwarm(self, p.store, eventbus.NewBus(),
		swarm.WithConnectionGater(gater),
		swarm.WithResourceManager(p.resources),
		swarm.WithDialTimeout(l.DialTimeout),
		swarm.WithDialTimeoutLocal(l.DialTimeout),
		swarm.WithDialRanker(swarm.NoDelayDialRanker),
		swarm.WithUDPBlackHoleSuccessCounter(nil),  // no UDP here,
		swarm.WithIPv6BlackHoleSuccessCounter(nil), // and an address in the config is always worth a try
	)
	if err != nil {
		return p, "", err
	}
	return p, self, p.swarm.AddTransport(transport)
}

// listen binds every address or none.
func listen(s *swarm.Swarm, addrs []ma.Multiaddr) error {
	for _, addr := range addrs {
		err := s.AddListenAddr(addr)
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			return fmt.Errorf("listen on %s: the port is in use, perhaps by another node on this machine: stop that process or configure another listen address: %w", addr, err)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return fmt.Errorf("listen on %s: this machine has no such address: configure one of its own, or /ip4/0.0.0.0 for all of them: %w", addr, err)
		case errors.Is(err, syscall.EACCES):
			return fmt.Errorf("listen on %s: not permitted: configure a port above 1023: %w", addr, err)
		case err != nil:
			return fmt.Errorf("listen on %s: %w", addr, err)
		}
	}
	return nil
}

const (
	// streamWindow is what a stream may hold unread at first, and what the
	// resource manager charges for it. The window of a stream that is read
	// quickly grows to maxStreamWindow: a 2 MiB proposal then crosses in one
	// round trip.
	streamWindow    = 256 * kib
	maxStreamWindow = 4 * mib
	// connsPerPeer allows for both sides dialling at once while a dead
	// connection is still being noticed.
	connsPerPeer = 4
)

func yamuxConfig(l *Limits) *yamux.Config {
	return &yamux.Config{
		AcceptBacklog:           64,
		PingBacklog:             8,
		EnableKeepAlive:         true,
		KeepAliveInterval:       l.KeepAlive,
		MeasureRTTInterval:      max(l.KeepAlive, 30*time.Second),
		ConnectionWriteTimeout:  l.WriteTimeout,
		MaxIncomingStreams:      uint32(streamsPerPeer(l)),
		InitialStreamWindowSize: streamWindow,
		MaxStreamWindowSize:     maxStreamWindow,
		LogOutput:               io.Discard,
		ReadBufSize:             0, // TLS buffers
		MaxMessageSize:          64 * kib,
	}
}

// streamsPerPeer is how many streams one peer may have open towards us: every
// request in flight, the classes, and as many again that are being replaced or
// still agree on a protocol.
func streamsPerPeer(l *Limits) int {
	n := numClasses
	for _, p := range Protocols() {
		pl, _ := l.Protocol(p)
		n += pl.PerPeer
	}
	return 2*n + 16
}

// resourceManager states every limit that libp2p would otherwise scale to the
// machine. Memory is what yamux charges for unread bytes.
func resourceManager(l *Limits) (lnet.ResourceManager, error) {
	streams := streamsPerPeer(l)
	peerMemory := int64(streams*2*streamWindow + numClasses*2*maxStreamWindow)
	conns := l.MaxPeers*connsPerPeer + maxHandshakes
	perPeer := rcmgr.ResourceLimits{
		Conns: connsPerPeer, ConnsInbound: connsPerPeer, ConnsOutbound: connsPerPeer, FD: connsPerPeer,
		Streams: rcmgr.LimitVal(2 * streams), StreamsInbound: rcmgr.LimitVal(streams), StreamsOutbound: rcmgr.LimitVal(streams),
		Memory: rcmgr.LimitVal64(peerMemory),
	}
	system := rcmgr.ResourceLimits{
		Conns: rcmgr.LimitVal(conns), ConnsInbound: rcmgr.LimitVal(conns), ConnsOutbound: rcmgr.LimitVal(conns), FD: rcmgr.LimitVal(conns),
		Streams: rcmgr.LimitVal(l.MaxPeers * streams), StreamsInbound: rcmgr.LimitVal(l.MaxPeers * streams), StreamsOutbound: rcmgr.LimitVal(l.MaxPeers * streams),
		Memory: rcmgr.LimitVal64(min(int64(l.MaxPeers)*peerMemory, systemMemory)),
	}
	// Connections that did not yet show who they are, and streams that did not
	// yet agree on a protocol.
	transient := rcmgr.ResourceLimits{
		Conns: 2 * maxHandshakes, ConnsInbound: maxHandshakes, ConnsOutbound: maxHandshakes, FD: 2 * maxHandshakes,
		Streams: 1024, StreamsInbound: 512, StreamsOutbound: 512,
		Memory: rcmgr.LimitVal64(512 * streamWindow),
	}
	conn := rcmgr.ResourceLimits{Conns: 1, ConnsInbound: 1, ConnsOutbound: 1, FD: 1, Memory: rcmgr.LimitVal64(peerMemory)}
	stream := rcmgr.ResourceLimits{Streams: 1, StreamsInbound: 1, StreamsOutbound: 1, Memory: 2 * maxStreamWindow}
	limits := rcmgr.PartialLimitConfig{
		System: system, Transient: transient, PeerDefault: perPeer, Conn: conn, Stream: stream,
	}.Build(rcmgr.InfiniteLimits)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: connsPerAddress}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: connsPerAddress}}),
		rcmgr.WithConnRateLimiters(handshakeRate()),
	)
}

const (
	systemMemory    = 512 * mib // a bound for the worst case, not a use
	maxHandshakes   = 64        // connections that have not shown their key yet
	connsPerAddress = 64        // several nodes may share an address behind NAT
)

// handshakeRate bounds what strangers can make this node compute: a handshake
// costs about half a millisecond.
func handshakeRate() *rate.Limiter {
	perAddress := rate.Limit{RPS: 5, Burst: connsPerAddress}
	return &rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{ // a test network on one machine
			{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
			{Prefix: netip.MustParsePrefix("::1/128")},
		},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: perAddress}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: perAddress}},
			GracePeriod:      time.Minute,
		},
	}
}
