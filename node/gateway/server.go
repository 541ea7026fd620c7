package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/net/netutil"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/api/openapi"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/ledger"
)

// Config is what a Server needs. Backends that are nil answer NOT_SERVED, except
// Clients, Blocks, Reads and Node, which every node has.
type Config struct {
	Listen      string // host:port
	Certificate tls.Certificate

	NodeID   string // libp2p peer id, in the audience of tokens
	Member   string // whose clients this node serves
	Guests   []string
	Software string

	Clients      Clients
	Transactions Transactions
	Reads        Reads
	Proofs       Proofs
	Blocks       Blocks
	Events       Events
	Delivery     Delivery
	Provider     Provider
	Node         Node
	Network      Network
	Console      http.Handler // pages for people; nil: none
	ConsolePath  string       // below which they are: "/…/"

	Limits  Limits
	Bind    func(ctx context.Context, addr string) (net.Listener, error) // nil: a TCP socket
	Logger  *slog.Logger                                                 // nil: none
	Observe func(method string, code api.Code, took time.Duration)       // nil: nothing is counted; called once a call
	Clock   func() time.Time                                             // nil: time.Now
}

// Limits bound what clients cost. Zero means the default.
type Limits struct {
	ClientRate     float64       // calls per second and key; 5,000
	ClientBurst    int           // 10,000
	AnonymousRate  float64       // calls per second and network without a token, with a new one, or of subjects; 50, burst ten times
	ClientStreams  int           // open calls and streams per key; 4,096
	MemberRate     float64       // calls per second of all clients of a member; 10,000, burst twice that
	MemberCalls    int           // open calls of all clients of a member; 4,096; the node's bound is twice that
	MemberBytes    int           // bytes of requests and answers on their way, per member; 128 MiB; the node's bound is twice that
	EventStreams   int           // per key; 64; twice that for all clients of a member
	EventBytes     int           // bytes of events per second for all streams of a member together; 8 MiB
	Connections    int           // 1,024
	PerAddress     int           // connections from one network address; 256
	Streams        int           // open calls per connection; 1,000
	RequestTimeout time.Duration // of a call beside what it asks to wait, and of a request's arrival; 10 s
	StreamStall    time.Duration // longest time what one Read of events gave may take to leave; 30 s
	Heartbeat      time.Duration // longest silence of a stream; api.Heartbeat, at most
	Tokens         int           // verified tokens remembered; 8,192
}

func (l *Limits) defaults() {
	def(&l.ClientRate, 5_000)
	def(&l.ClientBurst, 10_000)
	def(&l.AnonymousRate, 50)
	def(&l.ClientStreams, 4_096)
	def(&l.MemberRate, 10_000)
	def(&l.MemberCalls, 4_096)
	def(&l.MemberBytes, 128<<20)
	def(&l.EventStreams, 64)
	def(&l.EventBytes, 8<<20)
	def(&l.Connections, 1_024)
	def(&l.PerAddress, min(256, l.Connections))
	def(&l.Streams, 1_000)
	def(&l.RequestTimeout, 10*time.Second)
	def(&l.StreamStall, 30*time.Second)
	def(&l.Heartbeat, api.Heartbeat)
	def(&l.Tokens, 8_192)
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) check() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("gateway: %s", what))
		}
	}
	need(c.Clients != nil && c.Blocks != nil && c.Reads != nil && c.Node != nil, "Clients, Blocks, Reads and Node are required")
	need(len(c.Certificate.Certificate) > 0, "a certificate is required: make one with SelfSigned")
	need(c.NodeID != "" && c.Member != "", "NodeID and Member are required")
	need(c.Limits.ClientRate > 0 && c.Limits.AnonymousRate > 0 && c.Limits.MemberRate > 0, "rates must be above zero")
	need(c.Limits.ClientBurst > 0 && c.Limits.ClientStreams > 0 && c.Limits.Connections > 0 && c.Limits.Streams > 0 && c.Limits.Tokens > 0,
		"limits must be above zero")
	need(c.Limits.MemberCalls > 0 && c.Limits.EventStreams > 0 && c.Limits.EventBytes > 0 && c.Limits.PerAddress > 0, "limits must be above zero")
	need(c.Limits.MemberBytes >= api.MaxResponseBytes, "MemberBytes must hold the largest answer")
	need(c.Limits.RequestTimeout > 0, "RequestTimeout must be above zero")
	need(c.Limits.Heartbeat > 0 && c.Limits.Heartbeat <= api.Heartbeat && 2*c.Limits.Heartbeat <= c.Limits.StreamStall,
		"a heartbeat must come at least every "+api.Heartbeat.String()+" and twice within StreamStall")
	return errors.Join(errs...)
}

// Server serves the API.
type Server struct {
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	chain     ledger.Hash
	genesis   []byte
	network   string
	listener  net.Listener
	http      *http.Server
	tokens    *tokens
	clients   *meters[ledger.Address]
	members   *meters[string]
	strangers *meters[netip.Prefix]
	guests    *guestProbes
	rooms     rooms // by member
	subjects  room  // what subjects get, all together
	node      room
	refused   refusals
	stopping  atomic.Bool
}

// Open takes the port. Nothing is served before Run; Close gives the port back
// if Run is never called.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	cfg.Limits.defaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Logger, now: cfg.Clock}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	genesis := cfg.Blocks.Genesis()
	s.chain, s.genesis, s.network = genesis.Hash(), genesis.Encode(), genesis.Network
	s.tokens = newTokens(token.Audience(s.chain, cfg.NodeID), cfg.Limits.Tokens)
	s.clients = newMeters[ledger.Address](cfg.Limits.ClientRate, cfg.Limits.ClientBurst, 1<<14)
	s.members = newMeters[string](cfg.Limits.MemberRate, int(2*cfg.Limits.MemberRate)+1, 1<<10)
	s.strangers = newMeters[netip.Prefix](cfg.Limits.AnonymousRate, int(10*cfg.Limits.AnonymousRate)+1, 1<<14)
	s.guests = newGuestProbes()
	s.http = s.newHTTP()

	bind := cfg.Bind
	if bind == nil {
		bind = func(ctx context.Context, addr string) (net.Listener, error) {
			return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		}
	}
	l, err := bind(ctx, cfg.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen for the API on %s: the port is in use: stop the program that has it (another node?), or set api.listen to a free one", cfg.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for the API on %s: %w: correct api.listen", cfg.Listen, err)
	}
	s.listener = &addresses{
		Listener: netutil.LimitListener(l, cfg.Limits.Connections), // further ones wait in the system's queue
		server:   s, most: cfg.Limits.PerAddress, open: make(map[netip.Prefix]int),
		fresh: newMeters[netip.Prefix](newConnections, newConnectionsBurst, 1<<14),
	}
	return s, nil
}

// Addr returns the address that clients dial.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives back the port of a server that was opened and not run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until ctx ends, then lets running calls end: those that wait are
// answered NOT_READY at once. It returns when no call runs any more, or after
// five seconds.
func (s *Server) Run(ctx context.Context) error {
	calls, endCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer endCalls()
	s.http.BaseContext = func(net.Listener) context.Context { return calls }
	stopped := make(chan error, 1)
	unhook := context.AfterFunc(ctx, func() {
		s.stopping.Store(true)
		endCalls()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := s.http.Shutdown(grace)
		if err != nil {
			_ = s.http.Close() // what still runs loses its connection
		}
		stopped <- err
	})
	err := s.http.ServeTLS(s.listener, "", "")
	if unhook() { // it was not ctx that ended serving
		_ = s.http.Close()
		return fmt.Errorf("serve the API on %s: %w", s.cfg.Listen, err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stop the API on %s: calls still ran after five seconds: %w", s.cfg.Listen, err)
	}
	return nil
}

func (s *Server) draining() bool { return s.stopping.Load() }

func (s *Server) newHTTP() *http.Server {
	l := s.cfg.Limits
	return &http.Server{
		Handler:           s.observe(s.routes()),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{s.cfg.Certificate}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}},
		ReadHeaderTimeout: min(5*time.Second, l.RequestTimeout),
		ReadTimeout:       l.RequestTimeout, // a request must arrive within; the handler lifts it where it would end the answer
		WriteTimeout:      api.MaxWait + 2*l.RequestTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.Streams,
			SendPingTimeout:      30 * time.Second,
			PingTimeout:          15 * time.Second,
			WriteByteTimeout:     l.StreamStall,
		},
		ErrorLog: log.New(quiet{s.log}, "", 0),
	}
}

// routes maps every path. What is not here is answered in the caller's protocol.
func (s *Server) routes() http.Handler {
	opts := []connect.HandlerOption{
		connect.WithReadMaxBytes(api.MaxMessageBytes),
		connect.WithRequestGate(s.gate),
		connect.WithInterceptors(layer{s}),
		connect.WithCompression("gzip", nil, nil), // hashes and sealed bytes do not shrink, and a bomb has nothing to unfold
	}
	mux := http.NewServeMux()
	mux.Handle(assentv1connect.NewLedgerServiceHandler(ledgerService{s}, opts...))
	mux.Handle(assentv1connect.NewDeliveryServiceHandler(deliveryService{s}, opts...))
	mux.Handle(assentv1connect.NewProviderServiceHandler(providerService{s}, opts...))
	mux.Handle(assentv1connect.NewNetworkServiceHandler(networkService{s}, opts...))
	writer := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == api.HealthPath || r.URL.Path == api.ReadyPath:
			s.health(w, r)
		case r.URL.Path == openapi.YAMLPath || r.URL.Path == openapi.JSONPath:
			s.describe(w, r)
		case s.cfg.Console != nil && (strings.HasPrefix(r.URL.Path, s.cfg.ConsolePath) || r.URL.Path == "/" || r.URL.Path+"/" == s.cfg.ConsolePath):
			s.pages(w, r)
		case served(r.URL.Path) && callable(r) != 0:
			s.misput(w, r, callable(r))
		case r.URL.Path == assentv1connect.LedgerServiceEventsProcedure, r.URL.Path == assentv1connect.LedgerServiceSubmitManyProcedure,
			r.URL.Path == assentv1connect.ProviderServiceBuildAnswersProcedure, r.URL.Path == assentv1connect.ProviderServiceTryTemplateProcedure:
			mux.ServeHTTP(w, r)
		case served(r.URL.Path):
			mux.ServeHTTP(unflushed{w}, r)
		default:
			s.unknown(writer, w, r)
		}
	})
}

// pages hands a browser to the console, at the rate of those who show no token: a
// session is the console's.
func (s *Server) pages(w http.ResponseWriter, r *http.Request) {
	if err := s.strangers.of(network(r.RemoteAddr), s.now()).take(s.now()); err != nil {
		s.refused.addressRate.Add(1)
		http.Error(w, "Too many requests came from your network: wait a second, then load the page again.", http.StatusTooManyRequests)
		return
	}
	if !strings.HasPrefix(r.URL.Path, s.cfg.ConsolePath) {
		http.Redirect(w, r, s.cfg.ConsolePath, http.StatusSeeOther)
		return
	}
	s.cfg.Console.ServeHTTP(w, r)
}

func served(path string) bool {
	_, ok := rules[path]
	return ok
}

// unflushed hides that w can flush. The protocol layer would flush every answer
// before it ends, which under HTTP/2 costs two writes more than the one that an
// answer in one piece needs.
type unflushed struct{ http.ResponseWriter }

// callable returns 0 for a request in one of the protocols served, else the
// status that says why it is none.
func callable(r *http.Request) int {
	base, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	base = strings.ToLower(strings.TrimSpace(base))
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Has("encoding"): // Connect's form of a call without side effects
		return 0
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed
	case strings.HasPrefix(base, "application/grpc"), strings.HasPrefix(base, "application/connect+"), base == "application/json", base == "application/proto":
		return 0
	}
	return http.StatusUnsupportedMediaType
}

// misput tells somebody with a browser or curl how a call looks; the protocol
// library would answer with an empty page.
func (s *Server) misput(w http.ResponseWriter, r *http.Request, status int) {
	if err := s.strangers.of(network(r.RemoteAddr), s.now()).take(s.now()); err != nil {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	w.Header().Set("Allow", http.MethodPost)
	w.Header().Set("Accept-Post", "application/json, application/proto, application/connect+json, application/connect+proto, application/grpc, application/grpc-web")
	e := &api.Error{
		Code:   assentv1.Code_CODE_BAD_REQUEST,
		What:   "the path is right, the request is no call",
		Remedy: "Send POST with a JSON object as the body and the header \"Content-Type: application/json\".",
	}
	http.Error(w, e.Error(), status)
}

func (s *Server) unknown(writer *connect.ErrorWriter, w http.ResponseWriter, r *http.Request) {
	if err := s.strangers.of(network(r.RemoteAddr), s.now()).take(s.now()); err != nil {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	e := api.Refuse(assentv1.Code_CODE_UNKNOWN_METHOD, "there is no such path")
	if !writer.IsSupported(r) {
		http.Error(w, e.Error(), http.StatusNotFound)
		return
	}
	_ = writer.Write(w, r, e.ToConnect()) // the client has gone
}

// quiet turns what the HTTP library prints about clients, such as failed
// handshakes, into debug lines without their text.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(b []byte) (int, error) {
	q.log.Debug("connection ended by the protocol layer")
	return len(b), nil
}
