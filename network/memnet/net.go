// Package memnet is the network in memory: hosts with the methods and the
// behaviour of network.Host, all in one process, without sockets, keys or
// encryption. It serves tests and simulations of many nodes.
//
// It owns the links between its hosts and can cut them, delay what crosses them
// and lose messages. It promises what package network promises: the gate, order
// per (from, to, class), bounded queues, the same errors and the same counters;
// package networktest holds it to that. It uses only channels, mutexes and
// timers, so it runs under testing/synctest. It leaves to network what only a
// wire has: framing, handshakes, resource limits of connections.
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
	// Delay is how long a message or request travels.
	Delay func(from, to network.PeerID) time.Duration
	// Lose reports whether a one-way message is lost on the way.
	Lose func(from, to network.PeerID, c network.Class, msg []byte) bool
}

// Net connects its hosts.
type Net struct {
	faults Faults

	mu    sync.Mutex // guards what follows and every host's and remote's links; never held while waiting
	hosts map[network.PeerID]*Host
	cut   map[pair]bool
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
	return &Net{faults: f, hosts: make(map[network.PeerID]*Host), cut: make(map[pair]bool)}
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

// delay is how long something travels from one host to the other.
func (n *Net) delay(from, to network.PeerID) time.Duration {
	if n.faults.Delay == nil {
		return 0
	}
	return n.faults.Delay(from, to)
}

func (n *Net) loses(from, to network.PeerID, c network.Class, msg []byte) bool {
	return n.faults.Lose != nil && n.faults.Lose(from, to, c, msg)
}
