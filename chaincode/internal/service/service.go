// Package service answers a Fabric peer over the external chaincode protocol:
// the peer dials, the chaincode registers on the stream, and then serves the
// peer's transactions.
//
// It promises that Run returns after everything it started, that a peer which
// disappears in the middle of a transaction leaves nothing behind, that messages
// outside the protocol end that stream and no other, that what a peer can send is
// bounded, and that on shutdown running transactions are finished and new ones
// are refused.
//
// It leaves the conversation itself to Fabric's shim, the contracts to the
// chaincode it is given, and to TLS who may connect.
package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Bounds of what peers can cause.
const (
	MaxMessage     = 32 << 20 // bytes of one message: a hundred of the largest rows fit
	MaxConnections = 64
	MaxRunning     = 1024 // transactions of one stream at a time
	maxStreams     = 4    // of one connection; a peer uses one
)

// flushTime is how long a peer that does not read holds up the end.
const flushTime = 2 * time.Second

// DefaultGrace is how long shutdown waits for running transactions.
const DefaultGrace = 10 * time.Second

// Config tells Run what to serve.
type Config struct {
	CCID      string       // package id, "label:hash": the peer knows the chaincode by it
	Listener  net.Listener // Run closes it
	TLS       *tls.Config  // nil: none
	Chaincode shim.Chaincode
	Grace     time.Duration // 0: DefaultGrace
	Logger    *slog.Logger  // nil: none
}

func (c *Config) check() error {
	var errs []error
	if c.CCID == "" {
		errs = append(errs, errors.New("CCID is missing"))
	}
	if c.Listener == nil {
		errs = append(errs, errors.New("Listener is missing"))
	}
	if c.Chaincode == nil {
		errs = append(errs, errors.New("Chaincode is missing"))
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("chaincode service: %w", err)
	}
	return nil
}

// server is the gRPC service. Its conversations end when drain or kill closes.
type server struct {
	shim  shim.ChaincodeServer
	log   *slog.Logger
	drain chan struct{} // closed: finish what runs, take nothing new
	kill  chan struct{} // closed: finish nothing

	wg sync.WaitGroup // conversations and their readers

	mu       sync.Mutex // orders the last wg.Add before wg.Wait
	stopping bool
}

// begin counts a new conversation, unless the server stops.
func (s *server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.wg.Add(1)
	}
	return !s.stopping
}

// stop lets no new conversation begin and asks the others to end. The channel
// closes when all have.
func (s *server) stop() <-chan struct{} {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	close(s.drain)
	ended := make(chan struct{})
	go func() { s.wg.Wait(); close(ended) }()
	return ended
}

// Run serves until ctx ends, then finishes running transactions for at most
// Grace. It returns nil after an orderly end.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	s := &server{
		shim: shim.ChaincodeServer{CCID: cfg.CCID, Address: cfg.Listener.Addr().String(), CC: cfg.Chaincode},
		log:  cfg.Logger, drain: make(chan struct{}), kill: make(chan struct{}),
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage), grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(5 * time.Second),
		// What Fabric's own server sets: a peer pings at most once a minute.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Minute, PermitWithoutStream: true}),
	}
	if cfg.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(cfg.TLS)))
	}
	g := grpc.NewServer(options...)
	peer.RegisterChaincodeServer(g, s)

	served := make(chan error, 1)
	go func() { served <- g.Serve(netutil.LimitListener(cfg.Listener, MaxConnections)) }()
	var err error
	select {
	case err = <-served:
		served = nil
	case <-ctx.Done():
	}
	ended, stopped := s.stop(), make(chan struct{})
	go func() { g.GracefulStop(); close(stopped) }() // lets the last answers leave
	if !within(stopped, cfg.Grace) {
		s.log.Warn("transactions did not end in time: their peers will report a terminated stream", "grace", cfg.Grace)
	}
	close(s.kill)
	if !within(stopped, flushTime) {
		g.Stop()
		<-stopped
	}
	if served != nil {
		<-served // nil: it was asked to stop
	}
	<-ended
	if err != nil {
		return fmt.Errorf("serve peers: %w", err)
	}
	return nil
}

// within waits for done, but not longer than limit.
func within(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// Connect serves one peer's stream until it ends.
func (s *server) Connect(stream peer.Chaincode_ConnectServer) error {
	if !s.begin() {
		return status.Error(codes.Unavailable, errDrained.Error())
	}
	defer s.wg.Done()
	c := newConversation(stream, s.drain, s.kill)
	s.wg.Go(c.read)
	s.log.Info("peer connected", "peer", c.address)
	err := s.shim.Connect(c)
	c.close()
	s.log.Info("peer left", "peer", c.address, "why", c.why())
	if errors.Is(c.why(), errProtocol) {
		return status.Error(codes.InvalidArgument, c.why().Error())
	}
	if code := status.Code(c.why()); code != codes.Unknown {
		return c.why() // gRPC's own, as for a message that is too long
	}
	return status.Error(codes.Unavailable, err.Error())
}
