package network

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-yamux/v5"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/time/rate"
)

const (
	// courtesy is how long the peer with the greater id waits before it dials,
	// so that two peers that start together do not end up with two connections.
	// Two would do no harm.
	courtesy = 250 * time.Millisecond
	// healthy is how long a connection must have lived for the next attempt to
	// start again from the shortest pause.
	healthy = time.Second
)

// remote is one admitted peer, from the SetPeers that admits it to the one that
// does not.
type remote struct {
	host   *Host
	id     PeerID
	pid    peer.ID
	ctx    context.Context // ends with admission or with Run
	cancel context.CancelFunc

	out     [numClasses]*egress
	in      [numClasses]*ingress
	calls   map[Protocol]chan struct{} // our requests in flight
	serving map[Protocol]chan struct{} // its requests in flight
	txRate  *rate.Limiter

	up atomic.Bool // some link is confirmed; written under mu

	mu        sync.Mutex // guards what follows; never held while waiting
	addrs     []ma.Multiaddr
	dial      bool
	links     []*link       // oldest first
	changed   chan struct{} // closed and replaced when links, dial or addrs change
	since     time.Time     // of up's present value
	lastError string
}

// link is one connection with the peer.
type link struct {
	conn      lnet.Conn
	opened    time.Time
	confirmed bool // the other side has admitted us too
}

// settled is the age from which a connection is not one of two that crossed: the
// other attempt began before this one was up and has failed by now. When a peer
// that had a settled connection connects again, it has lost the old one,
// whatever we still believe: the old one is closed.
func (h *Host) settled() time.Duration { return 2 * h.limits.DialTimeout }

func newRemote(h *Host, pid peer.ID) *remote {
	r := &remote{
		host:    h,
		id:      PeerID(pid.String()),
		pid:     pid,
		calls:   make(map[Protocol]chan struct{}),
		serving: make(map[Protocol]chan struct{}),
		txRate:  rate.NewLimiter(rate.Limit(h.limits.TxRate), h.limits.TxBurst),
		changed: make(chan struct{}),
		since:   time.Now(),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for _, c := range Classes() {
		r.out[c] = newEgress(r, c)
		r.in[c] = newIngress(r, c)
	}
	for _, p := range Protocols() {
		pl, _ := h.limits.Protocol(p)
		r.calls[p] = make(chan struct{}, pl.PerPeer)
		r.serving[p] = make(chan struct{}, pl.PerPeer)
	}
	return r
}

// target sets where and whether to dial.
func (r *remote) target(addrs []ma.Multiaddr, dial bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs, r.dial = addrs, dial && len(addrs) > 0
	r.changedLocked()
}

func (r *remote) changedLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
	up := false
	for _, l := range r.links {
		up = up || l.confirmed
	}
	if up != r.up.Load() {
		r.up.Store(up)
		r.since = time.Now()
	}
}

// connected is called by libp2p for every new connection, before its streams.
func (h *Host) connected(c lnet.Conn) {
	r := h.gate.remote(c.RemotePeer())
	if r == nil { // left the set since the gate was asked
		c.Close()
		return
	}
	now := time.Now()
	r.mu.Lock()
	var lost []lnet.Conn
	for _, l := range r.links {
		if now.Sub(l.opened) >= h.settled() {
			lost = append(lost, l.conn)
		}
	}
	inbound := c.Stat().Direction == lnet.DirInbound
	r.links = append(r.links, &link{conn: c, opened: now, confirmed: inbound})
	r.changedLocked()
	r.mu.Unlock()
	for _, old := range lost {
		h.spawn(func() { old.Close() })
	}
	if r.ctx.Err() != nil { // removed while we were here
		c.Close()
	}
	if inbound {
		h.log.Info("peer connected", "peer", r.id, "addr", c.RemoteMultiaddr().String(), "dialled", false)
	}
}

func (h *Host) disconnected(c lnet.Conn) {
	r := h.gate.members.Load().byPI[c.RemotePeer()]
	if r == nil {
		return
	}
	r.mu.Lock()
	wasUp := r.up.Load()
	for i, l := range r.links {
		if l.conn == c {
			r.links = append(r.links[:i:i], r.links[i+1:]...)
			break
		}
	}
	r.changedLocked()
	up := r.up.Load()
	r.mu.Unlock()
	if wasUp && !up {
		h.log.Info("peer disconnected", "peer", r.id)
	}
}

// confirm marks a dialled connection as admitted by the other side.
func (r *remote) confirm(c lnet.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.links {
		if l.conn == c {
			l.confirmed = true
			r.lastError = ""
			r.changedLocked()
		}
	}
}

// best returns the newest confirmed connection, or nil, and a channel that is
// closed when that may have changed.
func (r *remote) best() (lnet.Conn, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.links) - 1; i >= 0; i-- {
		if r.links[i].confirmed && !r.links[i].conn.IsClosed() {
			return r.links[i].conn, r.changed
		}
	}
	return nil, r.changed
}

// graceLeft is how long messages are still kept for a peer without connection.
func (r *remote) graceLeft() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Until(r.since.Add(r.host.limits.Grace))
}

// await returns a connection, waiting for one during the grace time.
func (r *remote) await(ctx context.Context) (lnet.Conn, error) {
	var expired <-chan time.Time
	for {
		conn, changed := r.best()
		if conn != nil {
			return conn, nil
		}
		if expired == nil {
			left := r.graceLeft()
			if left <= 0 {
				return nil, ErrUnreachable
			}
			timer := time.NewTimer(left)
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case <-changed:
		case <-expired:
			return nil, ErrUnreachable
		case <-ctx.Done():
			return nil, neverSent(ctx)
		case <-r.ctx.Done():
			return nil, r.gone()
		}
	}
}

// gone says why r.ctx ended.
func (r *remote) gone() error {
	if !r.host.gate.open.Load() || r.host.gate.remote(r.pid) == r {
		return ErrStopped
	}
	return ErrUnknownPeer
}

// maintain keeps a connection up for as long as the peer is admitted and is to
// be dialled.
func (r *remote) maintain() {
	defer r.cancel()
	l := &r.host.limits
	backoff := l.BackoffMin
	failures := newOccasional()
	for {
		if !r.waitUntil(func() bool { return r.dial && len(r.links) == 0 }, nil) {
			return
		}
		if r.host.id > r.id && !r.pauseUnlessLinked(courtesy) {
			continue
		}
		began := time.Now()
		err := r.connect()
		if r.ctx.Err() != nil {
			return
		}
		if err == nil {
			if !r.waitUntil(func() bool { return len(r.links) == 0 }, nil) {
				return
			}
			if time.Since(began) >= healthy {
				backoff = l.BackoffMin
				failures = newOccasional()
				continue
			}
			err = errors.New("the connection broke at once")
		}
		r.failed(err)
		if failures.now() {
			r.host.log.Warn("cannot connect to peer, still trying", "peer", r.id, "err", err, "next", backoff)
		}
		r.pauseUnlessLinked(jitter(backoff))
		backoff = min(2*backoff, l.BackoffMax)
	}
}

// connect dials the peer and returns nil when the other side has admitted us.
func (r *remote) connect() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.host.limits.DialTimeout)
	defer cancel()
	r.mu.Lock()
	addrs := r.addrs
	r.mu.Unlock()
	store := r.host.parts.store
	store.ClearAddrs(r.pid)
	store.AddAddrs(r.pid, addrs, peerstore.PermanentAddrTTL)
	r.host.parts.swarm.Backoff().Clear(r.pid) // the pause between attempts is ours
	conn, err := r.host.parts.swarm.DialPeer(ctx, r.pid)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	var session *yamux.Session
	if !conn.As(&session) {
		conn.Close()
		return errors.New("dial: connection without yamux session")
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_, err = session.Ping()
	if !stop() || err != nil {
		conn.Close()
		return errors.New("the peer closed the connection after the handshake: ask its operator whether this node is admitted there")
	}
	r.confirm(conn)
	r.host.log.Info("peer connected", "peer", r.id, "addr", conn.RemoteMultiaddr().String(), "dialled", true)
	return nil
}

func (r *remote) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastError = CleanErrorText(err.Error())
}

// waitUntil waits until cond holds, which is called with mu held. It reports
// false when the peer's time is over or after (if any) fired.
func (r *remote) waitUntil(cond func() bool, after <-chan time.Time) bool {
	for {
		r.mu.Lock()
		ok, changed := cond(), r.changed
		r.mu.Unlock()
		if ok {
			return r.ctx.Err() == nil
		}
		select {
		case <-changed:
		case <-after:
			return false
		case <-r.ctx.Done():
			return false
		}
	}
}

// pauseUnlessLinked waits for d and reports whether there is still no
// connection then.
func (r *remote) pauseUnlessLinked(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	return !r.waitUntil(func() bool { return len(r.links) > 0 }, timer.C)
}

// jitter returns between half of d and d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

func (r *remote) status() PeerStatus {
	s := PeerStatus{ID: r.id}
	conn, _ := r.best()
	r.mu.Lock()
	s.Connected, s.Since, s.LastError = r.up.Load(), r.since, r.lastError
	r.mu.Unlock()
	var session *yamux.Session
	if conn != nil && conn.As(&session) {
		s.RTT = session.RTT()
	}
	for _, c := range Classes() {
		q := r.out[c].queue.Stats()
		s.Classes[c] = ClassStatus{
			QueuedMessages: q.Messages, QueuedBytes: q.Bytes, Sent: q.Sent,
			Dropped:   q.Dropped + r.out[c].refused.Load(),
			Resets:    r.out[c].resets.Load() + r.in[c].resets.Load(),
			Received:  r.in[c].received.Load(),
			Throttled: r.in[c].throttled.Load(),
		}
	}
	return s
}

// occasional lets a log line through the first time and then less and less
// often, up to once in ten minutes.
type occasional struct {
	next time.Time
	wait time.Duration
}

func newOccasional() *occasional { return &occasional{wait: 5 * time.Second} }

func (o *occasional) now() bool {
	now := time.Now()
	if now.Before(o.next) {
		return false
	}
	o.next = now.Add(o.wait)
	o.wait = min(2*o.wait, 10*time.Minute)
	return true
}
