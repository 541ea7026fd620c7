package network

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

	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multistream"
)

// Host is one node on the network. Open binds its sockets, Run does everything
// else. All methods may be called from any goroutine.
type Host struct {
	id     PeerID
	self   peer.ID
	limits Limits
	log    *slog.Logger
	parts  *parts
	gate   *gate
	mux    *multistream.MultistreamMuxer[protocol.ID]

	handlers [numClasses]func(from PeerID, msg []byte) // fixed when Run starts
	servers  map[Protocol]*server                      // fixed when Run starts
	stopped  atomic.Bool                               // state is stateStopped; for the hot path

	setPeers sync.Mutex // held for the whole of SetPeers; one at a time

	mu    sync.Mutex // guards what follows; never held while waiting
	state hostState
	ctx   context.Context // ends when Run ends; set when state becomes running
	wg    sync.WaitGroup  // every goroutine that Run joins; Add only while running
}

type hostState uint8

const (
	stateOpen hostState = iota
	stateRunning
	stateStopped
)

// Open checks the configuration and binds the listening sockets, so that a port
// in use shows before anything else starts. Nobody is admitted until Run. The
// caller ends it by Run or, if it never runs, by Close.
func Open(_ context.Context, cfg Config) (*Host, error) {
	addrs, err := cfg.check()
	if err != nil {
		return nil, err
	}
	h := &Host{
		limits:  cfg.Limits,
		log:     cfg.Logger,
		gate:    newGate(),
		mux:     multistream.NewMultistreamMuxer[protocol.ID](),
		servers: make(map[Protocol]*server),
	}
	if h.parts, h.self, err = assemble(cfg.HostKey, &h.limits, h.gate); err != nil {
		return nil, err
	}
	h.id = PeerID(h.self.String())
	h.parts.swarm.SetStreamHandler(h.accept)
	h.parts.swarm.Notify(&lnet.NotifyBundle{
		ConnectedF:    func(_ lnet.Network, c lnet.Conn) { h.connected(c) },
		DisconnectedF: func(_ lnet.Network, c lnet.Conn) { h.disconnected(c) },
	})
	if err := listen(h.parts.swarm, addrs); err != nil {
		return nil, errors.Join(err, h.parts.close())
	}
	return h, nil
}

// ID returns this node's id.
func (h *Host) ID() PeerID { return h.id }

// Addrs returns the bound addresses as multiaddrs, with the real port where the
// configuration said 0.
func (h *Host) Addrs() []string {
	var out []string
	for _, a := range h.parts.swarm.ListenAddresses() {
		out = append(out, a.String())
	}
	return out
}

// Handle says who receives the messages of a class. It is called before Run.
//
// The handler is called by one goroutine per peer, with messages in the order
// in which that peer sent them. The message is its own to keep. While it blocks,
// that peer's class is not read, which the peer feels as flow control; it must
// return soon after Run's context has ended.
func (h *Host) Handle(c Class, handler func(from PeerID, msg []byte)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beforeRunLocked("Handle")
	h.handlers[c] = handler
	h.mux.AddHandler(protocol.ID(classProtocol(c)), nil)
}

// Serve says who answers the requests of a protocol. It is called before Run.
//
// The handler is called concurrently, within the bounds of ProtocolLimits. An
// error is sent to the requester as text: it must not hold personal data or
// secrets. The context ends with the request's deadline, with the peer's
// admission and with Run.
func (h *Host) Serve(p Protocol, handler func(ctx context.Context, from PeerID, req []byte) ([]byte, error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beforeRunLocked("Serve")
	pl, ok := h.limits.Protocol(p)
	if !ok {
		panic(fmt.Sprintf("network: Serve: unknown protocol %q", p))
	}
	h.servers[p] = &server{protocol: p, limits: pl, handler: handler, running: make(chan struct{}, pl.Total)}
	h.mux.AddHandler(protocol.ID(p), nil)
}

func (h *Host) beforeRunLocked(method string) {
	if h.state != stateOpen {
		panic("network: " + method + " after Run")
	}
}

// Run admits the peers, keeps connections up and moves messages until ctx ends.
// It returns nil after that, when every goroutine of the host has returned and
// the sockets are closed. A host runs once.
func (h *Host) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h.mu.Lock()
	if h.state != stateOpen {
		h.mu.Unlock()
		return fmt.Errorf("run network host: %w", ErrStopped)
	}
	h.state, h.ctx = stateRunning, ctx
	h.mu.Unlock()

	h.setPeers.Lock()
	h.gate.open.Store(true)
	for _, r := range h.gate.members.Load().byID {
		h.start(r)
	}
	h.setPeers.Unlock()
	h.log.Info("network is up", "peer", h.id, "listen", strings.Join(h.Addrs(), " "))

	<-ctx.Done()
	return h.stop()
}

// Close frees the sockets of a host that was opened and never run. It does
// nothing during or after Run.
func (h *Host) Close() error {
	h.mu.Lock()
	open := h.state == stateOpen
	if open {
		h.state = stateStopped
		h.stopped.Store(true)
	}
	h.mu.Unlock()
	if !open {
		return nil
	}
	return h.parts.close()
}

// stop closes the gate first, so that nothing new begins, then the connections,
// which ends every read and write, and then waits.
func (h *Host) stop() error {
	h.mu.Lock()
	h.state = stateStopped
	h.mu.Unlock()
	h.stopped.Store(true)
	h.gate.open.Store(false)
	err := h.parts.close()
	h.wg.Wait()
	if err != nil {
		return fmt.Errorf("stop network: %w", err)
	}
	return nil
}

// spawn runs f on a goroutine that Run joins; false when the host is not running.
func (h *Host) spawn(f func()) bool {
	if !h.enter() {
		return false
	}
	go func() {
		defer h.wg.Done()
		f()
	}()
	return true
}

// enter makes Run wait for the calling goroutine until wg.Done.
func (h *Host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != stateRunning {
		return false
	}
	h.wg.Add(1)
	return true
}

// SetPeers replaces the set of admitted peers. Peers that left it lose their
// connection, queue and counters before it returns; peers that stayed keep
// theirs, with the new addresses in use from the next attempt to connect. An
// entry with a bad id is left out and logged, and so is a bad address. This
// node's own id is ignored.
func (h *Host) SetPeers(peers []Peer) {
	h.setPeers.Lock()
	defer h.setPeers.Unlock()
	old := h.gate.members.Load()
	next := &members{byID: make(map[PeerID]*remote, len(peers)), byPI: make(map[peer.ID]*remote, len(peers))}
	var added []*remote
	for _, p := range peers {
		pid, err := peer.Decode(string(p.ID))
		if err != nil {
			h.log.Error("peer left out: its id is no peer id", "peer", string(p.ID), "err", err)
			continue
		}
		if pid == h.self || next.byPI[pid] != nil {
			continue
		}
		r := old.byPI[pid]
		if r == nil {
			r = newRemote(h, pid)
			added = append(added, r)
		}
		r.target(h.parseAddrs(p, pid), p.Dial)
		next.byID[r.id], next.byPI[pid] = r, r
	}
	if len(next.byID) > h.limits.MaxPeers {
		h.log.Error("more peers than the limits allow for, some connections will be refused: raise MaxPeers", "peers", len(next.byID), "limit", h.limits.MaxPeers)
	}
	h.gate.members.Store(next) // from here on the gate refuses who left
	for pid, r := range old.byPI {
		if next.byPI[pid] == nil {
			h.remove(r)
		}
	}
	if h.gate.open.Load() {
		for _, r := range added {
			h.start(r)
		}
	}
}

func (h *Host) parseAddrs(p Peer, pid peer.ID) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, text := range p.Addrs {
		addr, err := tcpAddr(strings.TrimSuffix(text, "/p2p/"+pid.String()))
		if err != nil {
			h.log.Error("peer address left out", "peer", p.ID, "err", err)
			continue
		}
		out = append(out, addr)
	}
	return out
}

func (h *Host) remove(r *remote) {
	r.cancel()
	if err := h.parts.swarm.ClosePeer(r.pid); err != nil {
		h.log.Debug("closing the connection of a removed peer", "peer", r.id, "err", err)
	}
	h.parts.store.ClearAddrs(r.pid)
	h.parts.store.RemovePeer(r.pid)
	for _, e := range r.out {
		e.queue.Clear()
	}
	h.log.Info("peer removed", "peer", r.id)
}

// start begins the work for one admitted peer.
func (h *Host) start(r *remote) {
	h.mu.Lock()
	ctx := h.ctx
	h.mu.Unlock()
	stop := context.AfterFunc(ctx, r.cancel)
	if !h.spawn(func() { defer stop(); r.maintain() }) {
		r.cancel()
		return
	}
	for _, e := range r.out {
		h.spawn(e.run)
	}
}

// lookup finds an admitted peer by its id.
func (h *Host) lookup(id PeerID) (*remote, error) {
	if h.stopped.Load() {
		return nil, ErrStopped
	}
	if r := h.gate.members.Load().byID[id]; r != nil {
		return r, nil
	}
	return nil, ErrUnknownPeer
}

// Send queues msg for one peer and never blocks. The host keeps msg: it must
// not be changed afterwards. nil means queued, not received. Errors:
// ErrOverflow, ErrUnknownPeer, ErrUnreachable, ErrTooLarge, ErrStopped.
func (h *Host) Send(to PeerID, c Class, msg []byte) error {
	cl, ok := h.limits.Class(c)
	if !ok {
		return fmt.Errorf("send to %s: no such class %d", to, c)
	}
	if len(msg) > cl.Message {
		return fmt.Errorf("send %d bytes of class %s (limit %d) to %s: %w", len(msg), c, cl.Message, to, ErrTooLarge)
	}
	r, err := h.lookup(to)
	if err != nil {
		return err
	}
	return r.out[c].send(msg)
}

// Broadcast is Send to each of the peers with one msg that all queues share.
// Failures show in Status.
func (h *Host) Broadcast(to []PeerID, c Class, msg []byte) {
	for _, id := range to {
		if err := h.Send(id, c, msg); errors.Is(err, ErrTooLarge) {
			h.log.Error("broadcast refused", "class", c.String(), "err", err)
			return
		}
	}
}

// Shun resets the stream on which a peer sends messages of a class, and reads no
// new one until d has passed: for a peer that sends what no honest one would.
// What it sends meanwhile waits at its own side or is lost there. A peer that is not
// admitted is no error. It may be called from the class's handler.
func (h *Host) Shun(id PeerID, c Class, d time.Duration) {
	if r, err := h.lookup(id); err == nil && int(c) < numClasses {
		r.in[c].shun(d)
	}
}

// Status describes every admitted peer, ordered by id.
func (h *Host) Status() []PeerStatus {
	peers := h.gate.members.Load().byID
	out := make([]PeerStatus, 0, len(peers))
	for _, r := range peers {
		out = append(out, r.status())
	}
	slices.SortFunc(out, func(a, b PeerStatus) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out
}

func classProtocol(c Class) string { return "/assent/" + c.String() + "/1" }

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
