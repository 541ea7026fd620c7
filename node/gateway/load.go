package gateway

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// What calls hold at one time is bounded for a client, for its member and for
// the node: their number, their event streams, and the bytes of requests being
// read and answers not taken yet. Nobody gets more than half of the node's.

const (
	// badSignatureCosts is how many calls a transaction with a wrong signature
	// counts for: checking it costs that much more than refusing a call.
	badSignatureCosts = 50
	// smallAnswer is not worth counting.
	smallAnswer = 16 << 10
	// newConnections per second and network address, and at once.
	newConnections, newConnectionsBurst = 100, 500
)

// room is what may be held at one time and what is.
type room struct {
	calls, streams, bytes atomic.Int64

	events atomic.Pointer[rate.Limiter] // bytes of events; nil: none were sent yet
}

// rooms keeps one per member. Members are few: the ledger's config bounds them.
type rooms struct {
	mu  sync.RWMutex
	all map[string]*room
}

func (r *rooms) of(org string) *room {
	r.mu.RLock()
	x := r.all[org]
	r.mu.RUnlock()
	if x != nil {
		return x
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if x = r.all[org]; x == nil {
		if r.all == nil {
			r.all = make(map[string]*room)
		}
		x = &room{}
		r.all[org] = x
	}
	return x
}

// Refusals are totals of what was turned away because of a limit.
type Refusals struct {
	ClientRate, MemberRate, AddressRate    uint64 // calls per second
	ClientCalls, MemberCalls, NodeCalls    uint64 // open calls
	EventStreams, MemberBytes, NodeBytes   uint64
	Connections, TooLarge, BadTransactions uint64 // of an address; of a message; signatures that were wrong
	SlowReaders                            uint64 // event streams that were cut
}

// refusals counts them.
type refusals struct {
	clientRate, memberRate, addressRate, clientCalls, memberCalls, nodeCalls,
	eventStreams, memberBytes, nodeBytes, connections, tooLarge, badTransactions, slowReaders atomic.Uint64
}

// Refusals returns what was turned away since the start.
func (s *Server) Refusals() Refusals {
	r := &s.refused
	return Refusals{
		ClientRate: r.clientRate.Load(), MemberRate: r.memberRate.Load(), AddressRate: r.addressRate.Load(),
		ClientCalls: r.clientCalls.Load(), MemberCalls: r.memberCalls.Load(), NodeCalls: r.nodeCalls.Load(),
		EventStreams: r.eventStreams.Load(), MemberBytes: r.memberBytes.Load(), NodeBytes: r.nodeBytes.Load(),
		Connections: r.connections.Load(), TooLarge: r.tooLarge.Load(), BadTransactions: r.badTransactions.Load(),
		SlowReaders: r.slowReaders.Load(),
	}
}

// fits refuses a message whose announced length is too large before any of it is
// read.
func (s *Server) fits(c *call) error {
	if c.length <= api.MaxMessageBytes {
		return nil
	}
	s.refused.tooLarge.Add(1)
	return api.Refuse(assentv1.Code_CODE_TOO_LARGE, "the message has %d bytes, at most %d are allowed", c.length, api.MaxMessageBytes)
}

// occupy counts a call for its client, its member and the node until it ends.
func (s *Server) occupy(c *call, m *meter, now time.Time) error {
	l := &s.cfg.Limits
	if err := m.take(now); err != nil {
		s.refused.clientRate.Add(1)
		return err
	}
	if err := s.members.of(c.caller.Org, now).take(now); err != nil {
		s.refused.memberRate.Add(1)
		return full(err, "the clients of member "+c.caller.Org+" together call more often than this node allows", "limits.memberRate")
	}
	if err := c.enter(m, l.ClientStreams); err != nil {
		s.refused.clientCalls.Add(1)
		return err
	}
	c.member = s.rooms.of(c.caller.Org)
	inMember, inNode := c.member.calls.Add(1), s.node.calls.Add(1)
	if inMember > int64(l.MemberCalls) {
		s.refused.memberCalls.Add(1)
		return full(nil, "member "+c.caller.Org+" has too many open calls at this node", "limits.memberCalls")
	}
	if inNode > 2*int64(l.MemberCalls) {
		s.refused.nodeCalls.Add(1)
		return &api.Error{Code: assentv1.Code_CODE_OVERLOADED, What: "the node has too many open calls", RetryAfter: time.Second}
	}
	need := c.length
	if need < 0 {
		need = api.MaxMessageBytes // not announced: until it is read it may be that long
	}
	return c.hold(need)
}

// full is the refusal of a limit that its member shares.
func full(cause error, what, setting string) error {
	after := time.Second
	if e, ok := cause.(*api.Error); ok {
		after = e.RetryAfter
	}
	return &api.Error{
		Code: assentv1.Code_CODE_RATE_LIMITED, What: what, RetryAfter: after,
		Remedy: "Wait for retry_after_ms, then do less at once; the operator may raise " + setting + " in the node's configuration.",
	}
}

// hold counts bytes that a call keeps in memory until it ends.
func (c *call) hold(n int64) error {
	if n <= 0 || c.member == nil {
		return nil
	}
	s := c.server
	c.held += n
	inMember, inNode := c.member.bytes.Add(n), s.node.bytes.Add(n)
	if inMember > int64(s.cfg.Limits.MemberBytes) {
		s.refused.memberBytes.Add(1)
		return full(nil, "the messages of member "+c.caller.Org+" that are on their way take too much memory of this node", "limits.memberBytes")
	}
	if inNode > 2*int64(s.cfg.Limits.MemberBytes) {
		s.refused.nodeBytes.Add(1)
		return &api.Error{Code: assentv1.Code_CODE_OVERLOADED, What: "the messages on their way take too much memory of this node", RetryAfter: time.Second}
	}
	return nil
}

// read corrects what was held for a message of unknown length.
func (c *call) read(msg any) {
	if c.member == nil || c.length >= 0 {
		return
	}
	if m, ok := msg.(proto.Message); ok {
		c.shrink(int64(proto.Size(m)))
	}
}

// shrink leaves n bytes held.
func (c *call) shrink(n int64) {
	if extra := c.held - n; extra > 0 {
		c.held -= extra
		c.member.bytes.Add(-extra)
		c.server.node.bytes.Add(-extra)
	}
}

// answers counts a large answer until the client has taken it.
func (c *call) answers(msg any) error {
	m, ok := msg.(proto.Message)
	if !ok {
		return nil
	}
	if n := proto.Size(m); n > smallAnswer {
		return c.hold(int64(n))
	}
	return nil
}

// stream counts an event stream until its call ends.
func (c *call) stream() error {
	if c.member == nil {
		return nil // a subject's: its network address is counted
	}
	c.shrink(smallAnswer)
	c.streaming = true
	l := int64(c.server.cfg.Limits.EventStreams)
	if own, all := c.meter.streams.Add(1), c.member.streams.Add(1); own > l || all > 2*l {
		c.server.refused.eventStreams.Add(1)
		return full(nil, "this client or its member has too many event streams at this node", "limits.eventStreams")
	}
	return nil
}

const (
	// eventBurst is how much a member may be sent at once.
	eventBurst = 1 << 20
	// mostPaid bounds what one Read is charged, and with it for how long a stream
	// waits for its turn behind the member's others.
	mostPaid = 256 << 10
)

// pays waits until the member, or all subjects together, may be sent n more bytes
// of events: many streams, or readers of the past, take no more of the node than
// one would.
func (c *call) pays(ctx context.Context, n int) error {
	r := c.member
	if r == nil {
		r = &c.server.subjects
	}
	l := r.events.Load()
	if l == nil {
		most := c.server.cfg.Limits.EventBytes
		r.events.CompareAndSwap(nil, rate.NewLimiter(rate.Limit(most), max(most, eventBurst)))
		l = r.events.Load()
	}
	return l.WaitN(ctx, min(n, mostPaid))
}

// vacate gives back what the call holds: also what was one too many, which was
// counted before it was refused.
func (c *call) vacate() {
	if c.meter != nil {
		c.meter.leave()
	}
	if c.member == nil {
		return
	}
	c.member.calls.Add(-1)
	c.server.node.calls.Add(-1)
	c.member.bytes.Add(-c.held)
	c.server.node.bytes.Add(-c.held)
	if c.streaming {
		c.meter.streams.Add(-1)
		c.member.streams.Add(-1)
	}
}

// addresses bounds connections by where they come from, before TLS.
type addresses struct {
	net.Listener
	server *Server
	most   int
	fresh  *meters[netip.Prefix]

	mu   sync.Mutex
	open map[netip.Prefix]int
}

// Accept drops what an address has too many of.
func (a *addresses) Accept() (net.Conn, error) {
	for {
		c, err := a.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := network(c.RemoteAddr().String())
		if a.enter(from) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { a.leave(from) })}, nil
		}
		a.server.refused.connections.Add(1)
		_ = c.Close() // nothing was promised to it
	}
}

func (a *addresses) enter(from netip.Prefix) bool {
	now := a.server.now()
	if a.fresh.of(from, now).take(now) != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[from] >= a.most {
		return false
	}
	a.open[from]++
	return true
}

func (a *addresses) leave(from netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[from]--; a.open[from] == 0 {
		delete(a.open, from)
	}
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}
