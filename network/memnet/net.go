// Package memnet is the network in memory: hosts with the methods and the
// behaviour of network.Host, all in one process, without sockets, keys or
// encryption. It serves tests and simulations of many nodes.
//
// It owns the links between its hosts. It can cut them, in both directions or
// silently in one, delay and slow down what crosses them, lose and repeat
// messages, and take a host away in the middle of what it does. Weather makes
// these decisions from a seed.
//
// Without faults it promises what package network promises: the gate, order per
// (from, to, class), bounded queues, the same errors and the same counters;
// package networktest holds it to that. It uses only channels, mutexes and
// timers, so it runs under testing/synctest. It leaves to network what only a
// wire has: framing, handshakes, resource limits of connections.
//
// What faults may do is what a network and a restless peer may do. Messages of
// different classes, protocols and peers overtake each other as their delays
// have it; within one (from, to, class) the order stays, because a stream keeps
// it. A repeated message is the sender saying it again later: a handler must
// bear that from a peer, though no network.Host does it by itself. Nothing is
// ever corrupted: on an authenticated link a changed byte breaks the connection,
// which is what Cut does. What a peer itself makes up is for hostile tests of
// the packages that read it.
package memnet

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/assent-network/assent/network"
)

// Faults are what a Net does to messages. The zero value does nothing. The
// functions are called concurrently and must not block.
type Faults struct {
	// Delay is how long a message, request or response travels.
	Delay func(from, to network.PeerID) time.Duration
	// Lose reports whether a one-way message is lost on the way.
	Lose func(from, to network.PeerID, c network.Class, msg []byte) bool
	// LoseTrip reports whether a request, or a response, is lost on the way: the
	// asker then waits until its time is over.
	LoseTrip func(from, to network.PeerID, p network.Protocol) bool
	// Repeat is after how many later messages of its class a message arrives
	// once more; 0: it does not.
	Repeat func(from, to network.PeerID, c network.Class, msg []byte) int
	// Rate is how many bytes a second go from one host to the other; 0: any
	// number. What exceeds it waits its turn, then fills the sender's queue.
	Rate func(from, to network.PeerID) int
}

// Net connects its hosts.
type Net struct {
	faults Faults

	mu    sync.Mutex // guards what follows and every host's and remote's links; never held while waiting
	hosts map[network.PeerID]*Host
	cut   map[pair]bool
	mute  map[direction]bool
	busy  map[direction]time.Time // until when a direction with a Rate is taken
}

type pair struct{ a, b network.PeerID }

// between names a pair of hosts in one order.
func between(a, b network.PeerID) pair {
	if a > b {
		a, b = b, a
	}
	return pair{a, b}
}

// New returns a net without hosts.
func New(f Faults) *Net {
	return &Net{
		faults: f, hosts: make(map[network.PeerID]*Host),
		cut: make(map[pair]bool), mute: make(map[direction]bool), busy: make(map[direction]time.Time),
	}
}

// Config is what a host is opened with.
type Config struct {
	ID     network.PeerID // any text, unique in the net
	Limits network.Limits
	Logger *slog.Logger // nil: discard
}

// Open adds a host. The id is free again after the host's Run or Close.
func (n *Net) Open(cfg Config) (*Host, error) {
	limits := cfg.Limits.WithDefaults()
	if err := limits.Check(); err != nil {
		return nil, err
	}
	if cfg.ID == "" {
		return nil, errors.New("memnet: host without id")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Host{net: n, id: cfg.ID, limits: limits, log: cfg.Logger, servers: make(map[network.Protocol]*server)}
	h.peers.Store(&map[network.PeerID]*remote{})
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts[cfg.ID] != nil {
		return nil, fmt.Errorf("listen on %s: another host of this net has that id: stop it first", cfg.ID)
	}
	n.hosts[cfg.ID] = h
	return h, nil
}

// Cut breaks the link between two hosts and keeps it broken until Heal.
func (n *Net) Cut(a, b network.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[between(a, b)] = true
	if h := n.hosts[a]; h != nil {
		n.reviewLocked(h)
	}
}

// Mute lets nothing pass from one host to the other until Unmute, and neither of
// them is told: the connection stays up, as one does over which packets get lost
// in one direction only. What is on its way still arrives.
func (n *Net) Mute(from, to network.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mute[direction{from, to}] = true
}

// Unmute ends a Mute. What was sent meanwhile is lost.
func (n *Net) Unmute(from, to network.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.mute, direction{from, to})
}

// HealAll ends every Cut and every Mute.
func (n *Net) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.mute)
	clear(n.cut)
	for _, h := range n.hosts {
		n.reviewLocked(h)
	}
}

// Kill takes a host away at once, as the death of its process does: its links
// break, nothing more leaves it or reaches its handlers, and its id is free for
// another. Its Run still ends with its context.
func (n *Net) Kill(id network.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[id]; h != nil {
		h.leaveLocked()
	}
}

// Heal ends a Cut.
func (n *Net) Heal(a, b network.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, between(a, b))
	if h := n.hosts[a]; h != nil {
		n.reviewLocked(h)
	}
}

// link is a connection between two hosts; done is closed when it breaks.
type link struct {
	done chan struct{}
}

// reviewLocked makes the links of h what they should be. Both sides must run
// and admit each other, and one of them must want to dial.
func (n *Net) reviewLocked(h *Host) {
	for _, r := range *h.peers.Load() {
		other := n.hosts[r.id]
		var back *remote
		if other != nil {
			back = (*other.peers.Load())[h.id]
		}
		want := back != nil && h.state == stateRunning && other.state == stateRunning &&
			(r.dial || back.dial) && !n.cut[between(h.id, r.id)]
		switch {
		case want && r.link == nil:
			l := &link{done: make(chan struct{})}
			r.setLinkLocked(l)
			back.setLinkLocked(l)
		case !want && r.link != nil:
			n.breakLocked(h, r)
		}
	}
}

// breakLocked breaks the link of h with r, on both sides.
func (n *Net) breakLocked(h *Host, r *remote) {
	l := r.link
	if l == nil {
		return
	}
	close(l.done)
	r.setLinkLocked(nil)
	if other := n.hosts[r.id]; other != nil {
		if back := (*other.peers.Load())[h.id]; back != nil && back.link == l {
			back.setLinkLocked(nil)
		}
	}
}

// arrival is when something of size bytes that leaves now arrives; the zero time
// for at once.
func (n *Net) arrival(from, to network.PeerID, size int) time.Time {
	var d time.Duration
	if n.faults.Delay != nil {
		d = n.faults.Delay(from, to)
	}
	now := time.Now()
	leaves := now
	if n.faults.Rate != nil {
		if rate := n.faults.Rate(from, to); rate > 0 {
			leaves = n.queue(direction{from, to}, now, time.Duration(float64(size)/float64(rate)*float64(time.Second)))
		}
	}
	if d <= 0 && leaves.Equal(now) {
		return time.Time{}
	}
	return leaves.Add(d)
}

// queue gives something its turn on a direction and returns when it has left.
func (n *Net) queue(d direction, now time.Time, takes time.Duration) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	start := now
	if busy := n.busy[d]; busy.After(start) {
		start = busy
	}
	n.busy[d] = start.Add(takes)
	return n.busy[d]
}

func (n *Net) muted(from, to network.PeerID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mute[direction{from, to}]
}

func (n *Net) loses(from, to network.PeerID, c network.Class, msg []byte) bool {
	return n.muted(from, to) || n.faults.Lose != nil && n.faults.Lose(from, to, c, msg)
}

func (n *Net) losesTrip(from, to network.PeerID, p network.Protocol) bool {
	return n.muted(from, to) || n.faults.LoseTrip != nil && n.faults.LoseTrip(from, to, p)
}

func (n *Net) repeats(from, to network.PeerID, c network.Class, msg []byte) int {
	if n.faults.Repeat == nil {
		return 0
	}
	return n.faults.Repeat(from, to, c, msg)
}
