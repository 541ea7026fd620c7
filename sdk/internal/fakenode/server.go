package fakenode

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	v1 "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/api/assent/v1/assentv1connect"
	"github.com/assent-network/assent/node/api/token"
	"github.com/assent-network/assent/node/ledger"
)

// Node serves a network to the clients of one member.
type Node struct {
	Net    *Network
	Member string
	ID     string

	srv *httptest.Server

	mu     sync.Mutex
	tamper map[string]func(proto.Message) // by method: alters an answer
	fail   map[string]func() error        // by method: refuses a call before it is made
	lose   map[string]int                 // by method: how many answers get lost after the call was made
	calls  map[string]int                 // by method
	stream func(sent int) error           // ends an event stream
	rewind uint64                         // an event stream starts that many blocks early
	seen   map[string]struct{}            // tokens
}

// Serve starts a node over TLS.
func Serve(net *Network, member string) *Node {
	n := &Node{
		Net: net, Member: member, ID: "node-of-" + member, tamper: map[string]func(proto.Message){}, fail: map[string]func() error{},
		lose: map[string]int{}, calls: map[string]int{}, seen: map[string]struct{}{},
	}
	mux := http.NewServeMux()
	opts := []connect.HandlerOption{connect.WithInterceptors(guard{n}), connect.WithReadMaxBytes(api.MaxMessageBytes)}
	mux.Handle(assentv1connect.NewLedgerServiceHandler(handler{n}, opts...))
	mux.Handle(assentv1connect.NewDeliveryServiceHandler(handler{n}, opts...))
	mux.Handle(assentv1connect.NewProviderServiceHandler(handler{n}, opts...))
	mux.Handle(assentv1connect.NewNetworkServiceHandler(handler{n}, opts...))
	n.srv = httptest.NewUnstartedServer(mux)
	n.srv.EnableHTTP2 = true
	n.srv.StartTLS()
	return n
}

// URL is where clients reach the node.
func (n *Node) URL() string { return n.srv.URL }

// Pin is the SHA-256 of the node's TLS public key info.
func (n *Node) Pin() ledger.Hash { return sha256.Sum256(n.srv.Certificate().RawSubjectPublicKeyInfo) }

// Close stops the node.
func (n *Node) Close() {
	n.srv.CloseClientConnections()
	n.srv.Close()
	n.Net.Wait()
}

// Tamper alters every answer of a method ("ProveRecord"); nil stops it.
func (n *Node) Tamper(method string, f func(proto.Message)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tamper[method] = f
}

// Fail makes a method fail before it does anything, as long as f returns an
// error.
func (n *Node) Fail(method string, f func() error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fail[method] = f
}

// Lose makes the node do what a method asks and lose the answer, times times.
func (n *Node) Lose(method string, times int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose[method] = times
}

// Calls counts the calls of a method.
func (n *Node) Calls(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[method]
}

// Tokens counts the different bearer tokens seen.
func (n *Node) Tokens() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.seen)
}

// Rename gives the node another id, as after a restart with new keys: tokens for
// the old one are refused.
func (n *Node) Rename(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ID = id
}

// Streams sets what ends an event stream after so many events, and how many
// blocks too early it starts.
func (n *Node) Streams(end func(sent int) error, rewind uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stream, n.rewind = end, rewind
}

// Unavailable is the error of a node that is down.
func Unavailable() error {
	return (&api.Error{Code: v1.Code_CODE_NOT_READY, What: "the node is stopping"}).ToConnect()
}

// Pending is the error of a node at which an answer has not arrived.
func Pending() error { return wire(v1.Code_CODE_ANSWER_PENDING, "it has not arrived") }

// guard authenticates calls and makes them go wrong as told.
type guard struct{ n *Node }

func (g guard) enter(procedure string, h http.Header) (method string, err error) {
	n := g.n
	method = procedure[strings.LastIndexByte(procedure, '/')+1:]
	n.mu.Lock()
	n.calls[method]++
	f := n.fail[method]
	n.mu.Unlock()
	if f != nil {
		if err := f(); err != nil {
			return method, err
		}
	}
	return method, g.authenticate(method, h)
}

func (g guard) authenticate(method string, h http.Header) error {
	raw, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		if method == "GetStatus" || method == "GetGenesis" || method == "GetHeader" || method == "GetConfigProofs" {
			return nil
		}
		return wire(v1.Code_CODE_TOKEN_MISSING, "no token")
	}
	g.n.mu.Lock()
	id := g.n.ID
	g.n.seen[raw] = struct{}{}
	g.n.mu.Unlock()
	c, err := token.Verify([]byte(raw), token.Audience(g.n.Net.ChainID(), id), g.n.Net.Now())
	switch {
	case errors.Is(err, token.ErrExpired):
		return wire(v1.Code_CODE_TOKEN_EXPIRED, err.Error())
	case errors.Is(err, token.ErrAudience):
		return wire(v1.Code_CODE_TOKEN_AUDIENCE, err.Error())
	case err != nil:
		return wire(v1.Code_CODE_TOKEN_INVALID, err.Error())
	}
	g.n.Net.mu.Lock()
	defer g.n.Net.mu.Unlock()
	if c.Subject {
		if method == "Submit" || method == "SubmitMany" {
			return wire(v1.Code_CODE_FORBIDDEN, "subjects do not submit")
		}
		return nil
	}
	b, ok := g.n.Net.rows[record.ClientKey(record.OrgID(c.Org), c.Address)]
	if !ok {
		return wire(v1.Code_CODE_UNKNOWN_KEY, "no such client key")
	}
	if k, err := record.Load[record.Client](b); err != nil || k.RevokedAt != 0 {
		return wire(v1.Code_CODE_KEY_REVOKED, "the key was revoked")
	}
	if c.Org != g.n.Member && slices.Contains([]string{"Submit", "SubmitMany", "AwaitAnswer", "PutSealedPart", "Bind", "BindConsent"}, method) {
		return wire(v1.Code_CODE_FORBIDDEN, "this node serves "+g.n.Member)
	}
	return nil
}

func wire(c v1.Code, what string) error { return (&api.Error{Code: c, What: what}).ToConnect() }

func (g guard) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		method, err := g.enter(req.Spec().Procedure, req.Header())
		if err != nil {
			return nil, err
		}
		resp, err := next(ctx, req)
		if err != nil {
			return nil, err
		}
		alter, lost := g.n.mishap(method, method)
		if lost {
			return nil, Unavailable()
		}
		if alter != nil {
			alter(resp.Any().(proto.Message))
		}
		return resp, nil
	}
}

// mishap says what goes wrong with an answer: those of one method get lost, those
// of another are altered.
func (n *Node) mishap(losing, altering string) (alter func(proto.Message), lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if lost = n.lose[losing] > 0; lost {
		n.lose[losing]--
	}
	return n.tamper[altering], lost
}

func (g guard) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (g guard) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if _, err := g.enter(conn.Spec().Procedure, conn.RequestHeader()); err != nil {
			return err
		}
		return next(ctx, conn)
	}
}
