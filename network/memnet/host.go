package memnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/network"
)

// Host is one node of a Net. Its methods are those of network.Host and say the
// same.
type Host struct {
	net    *Net
	id     network.PeerID
	limits network.Limits
	log    *slog.Logger

	handlers [2]func(from network.PeerID, msg []byte)
	servers  map[network.Protocol]*server

	setPeers sync.Mutex                                 // one SetPeers at a time
	peers    atomic.Pointer[map[network.PeerID]*remote] // immutable; replaced under net.mu
	stopped  atomic.Bool

	state hostState       // guarded by net.mu
	ctx   context.Context // guarded by net.mu; set when state becomes running
	wg    sync.WaitGroup  // Add only while running
}

type hostState uint8

const (
	stateOpen hostState = iota
	stateRunning
	stateStopped
)

// ID returns this host's id.
func (h *Host) ID() network.PeerID { return h.id }

// Addrs returns one made-up address.
func (h *Host) Addrs() []string { return []string{"/memory/" + string(h.id)} }

// Handle is network.Host.Handle.
func (h *Host) Handle(c network.Class, handler func(from network.PeerID, msg []byte)) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.beforeRunLocked("Handle")
	h.handlers[c] = handler
}

// Serve is network.Host.Serve.
func (h *Host) Serve(p network.Protocol, handler func(ctx context.Context, from network.PeerID, req []byte) ([]byte, error)) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.beforeRunLocked("Serve")
	pl, ok := h.limits.Protocol(p)
	if !ok {
		panic(fmt.Sprintf("memnet: Serve: unknown protocol %q", p))
	}
	h.servers[p] = &server{limits: pl, handler: handler, running: make(chan struct{}, pl.Total)}
}

func (h *Host) beforeRunLocked(method string) {
	if h.state != stateOpen {
		panic("memnet: " + method + " after Run")
	}
}

// Run is network.Host.Run.
func (h *Host) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.net.mu.Lock()
	if h.state != stateOpen {
		h.net.mu.Unlock()
		return fmt.Errorf("run network host: %w", network.ErrStopped)
	}
	h.state, h.ctx = stateRunning, ctx
	for _, r := range *h.peers.Load() {
		h.startLocked(r)
	}
	h.net.reviewLocked(h)
	h.net.mu.Unlock()

	<-ctx.Done()

	h.net.mu.Lock()
	h.leaveLocked()
	h.net.mu.Unlock()
	h.wg.Wait()
	return nil
}

// Close is network.Host.Close.
func (h *Host) Close() error {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.state == stateOpen {
		h.leaveLocked()
	}
	return nil
}

func (h *Host) leaveLocked() {
	h.state = stateStopped
	h.stopped.Store(true)
	for _, r := range *h.peers.Load() {
		h.net.breakLocked(h, r)
		r.cancel()
	}
	if h.net.hosts[h.id] == h {
		delete(h.net.hosts, h.id)
	}
}

// spawnLocked runs f on a goroutine that Run joins.
func (h *Host) spawnLocked(f func()) bool {
	if h.state != stateRunning {
		return false
	}
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		f()
	}()
	return true
}

func (h *Host) startLocked(r *remote) {
	context.AfterFunc(h.ctx, r.cancel)
	for _, c := range network.Classes() {
		h.spawnLocked(r.out[c].run)
		if h.handlers[c] != nil {
			h.spawnLocked(r.in[c].run)
		}
	}
}

// SetPeers is network.Host.SetPeers.
func (h *Host) SetPeers(peers []network.Peer) {
	h.setPeers.Lock()
	defer h.setPeers.Unlock()
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	old := *h.peers.Load()
	next := make(map[network.PeerID]*remote, len(peers))
	var added []*remote
	for _, p := range peers {
		if p.ID == h.id || p.ID == "" || next[p.ID] != nil {
			continue
		}
		r := old[p.ID]
		if r == nil {
			r = newRemote(h, p.ID)
			added = append(added, r)
		}
		r.dial = p.Dial
		next[p.ID] = r
	}
	for id, r := range old {
		if next[id] == nil {
			h.net.breakLocked(h, r)
			r.cancel()
			for _, e := range r.out {
				e.queue.Clear()
			}
		}
	}
	h.peers.Store(&next)
	if h.state == stateRunning {
		for _, r := range added {
			h.startLocked(r)
		}
	}
	h.net.reviewLocked(h)
}

func (h *Host) lookup(id network.PeerID) (*remote, error) {
	if h.stopped.Load() {
		return nil, network.ErrStopped
	}
	if r := (*h.peers.Load())[id]; r != nil {
		return r, nil
	}
	return nil, network.ErrUnknownPeer
}

// Send is network.Host.Send.
func (h *Host) Send(to network.PeerID, c network.Class, msg []byte) error {
	cl, ok := h.limits.Class(c)
	if !ok {
		return fmt.Errorf("send to %s: no such class %d", to, c)
	}
	if len(msg) > cl.Message {
		return fmt.Errorf("send %d bytes of class %s (limit %d) to %s: %w", len(msg), c, cl.Message, to, network.ErrTooLarge)
	}
	r, err := h.lookup(to)
	if err != nil {
		return err
	}
	return r.out[c].send(msg)
}

// Broadcast is network.Host.Broadcast.
func (h *Host) Broadcast(to []network.PeerID, c network.Class, msg []byte) {
	for _, id := range to {
		if err := h.Send(id, c, msg); errors.Is(err, network.ErrTooLarge) {
			h.log.Error("broadcast refused", "class", c.String(), "err", err)
			return
		}
	}
}

// Shun is network.Host.Shun.
func (h *Host) Shun(id network.PeerID, c network.Class, d time.Duration) {
	if r, err := h.lookup(id); err == nil && int(c) < len(r.in) {
		r.in[c].shunned.Store(time.Now().Add(d).UnixNano())
	}
}

// Status is network.Host.Status.
func (h *Host) Status() []network.PeerStatus {
	var out []network.PeerStatus
	for _, r := range *h.peers.Load() {
		out = append(out, r.status())
	}
	slices.SortFunc(out, func(a, b network.PeerStatus) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}
