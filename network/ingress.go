package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	lnet "github.com/libp2p/go-libp2p/core/network"
)

// ingress receives one class from one peer. Of all the streams a peer may open
// for a class exactly one, the newest, is read, by one goroutine.
type ingress struct {
	remote *remote
	class  Class

	received, throttled, resets atomic.Uint64
	shunned                     atomic.Int64 // Unix ns until which nothing is read

	turn chan struct{} // capacity 1: held by the goroutine that reads

	mu      sync.Mutex // guards current
	current *inbound   // the newest stream
}

// inbound is a stream that the peer opened; gone is closed when a newer one
// took its place.
type inbound struct {
	stream lnet.Stream
	gone   chan struct{}
}

func newIngress(r *remote, c Class) *ingress {
	return &ingress{remote: r, class: c, turn: make(chan struct{}, 1)}
}

// accept is called by libp2p, on a goroutine of its own, for every stream a
// peer opens.
func (h *Host) accept(s lnet.Stream) {
	if !h.enter() {
		s.Reset()
		return
	}
	defer h.wg.Done()
	r := h.gate.remote(s.Conn().RemotePeer())
	if r == nil {
		s.Reset()
		return
	}
	if err := s.SetDeadline(time.Now().Add(h.limits.HandshakeTimeout)); err != nil {
		s.Reset()
		return
	}
	proto, _, err := h.mux.Negotiate(s)
	if err == nil {
		err = errors.Join(s.SetProtocol(proto), s.SetDeadline(time.Time{}))
	}
	if err != nil {
		h.log.Debug("stream refused", "peer", r.id, "err", err)
		s.Reset()
		return
	}
	for _, c := range Classes() {
		if string(proto) == classProtocol(c) {
			r.in[c].serve(s)
			return
		}
	}
	h.servers[Protocol(proto)].serve(r, s)
}

// serve reads the stream until it ends or is replaced.
func (in *ingress) serve(s lnet.Stream) {
	self := &inbound{stream: s, gone: make(chan struct{})}
	in.mu.Lock()
	old := in.current
	in.current = self
	in.mu.Unlock()
	if old != nil {
		close(old.gone)
		old.stream.Reset()
	}
	defer s.Reset()
	defer in.retire(self)

	select { // the reader of the old stream may still be in the handler
	case in.turn <- struct{}{}:
		defer func() { <-in.turn }()
	case <-self.gone:
		return
	case <-in.remote.ctx.Done():
		return
	}
	if !in.waitForPardon(self) {
		return
	}
	err := in.read(self)
	if errors.Is(err, errFrameLength) || errors.Is(err, errFrameSize) || errors.Is(err, errFrameKind) || isTimeout(err) {
		in.resets.Add(1)
		in.remote.host.log.Warn("peer broke the framing, stream reset", "peer", in.remote.id, "class", in.class.String(), "err", err)
	}
}

// waitForPardon leaves the stream of a shunned peer unread until its time is
// over: opening one stream after the other gains it nothing.
func (in *ingress) waitForPardon(self *inbound) bool {
	wait := time.Until(time.Unix(0, in.shunned.Load()))
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-self.gone:
	case <-in.remote.ctx.Done():
	}
	return false
}

// shun resets the stream that is read; the next one is not read until d has
// passed.
func (in *ingress) shun(d time.Duration) {
	in.shunned.Store(time.Now().Add(d).UnixNano())
	in.mu.Lock()
	s := in.current
	in.mu.Unlock()
	if s != nil {
		in.resets.Add(1)
		s.stream.Reset()
	}
}

func (in *ingress) retire(self *inbound) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current == self {
		in.current = nil
	}
}

func (in *ingress) read(self *inbound) error {
	h := in.remote.host
	cl, _ := h.limits.Class(in.class)
	frames := newFrameReader(self.stream, cl.Message, h.limits.FrameTimeout)
	handler := h.handlers[in.class]
	for {
		kind, msg, err := frames.next()
		if err != nil {
			return err
		}
		if kind != kindMessage {
			return fmt.Errorf("kind %d: %w", kind, errFrameKind)
		}
		if in.class == ClassTx && !in.admit(len(msg)) {
			in.throttled.Add(1)
			continue
		}
		select {
		default:
			if time.Now().UnixNano() < in.shunned.Load() {
				return io.ErrClosedPipe
			}
		case <-self.gone: // what is still buffered belongs to a broken stream
			return io.ErrClosedPipe
		case <-in.remote.ctx.Done():
			return in.remote.ctx.Err()
		}
		in.received.Add(1)
		handler(in.remote.id, msg)
	}
}

// admit waits until the peer's rate allows a message of n bytes. While it waits
// nothing is read, so the peer's own queue fills. A message that would have to
// wait longer than TxWait is refused, after that time.
func (in *ingress) admit(n int) bool {
	limiter, limits := in.remote.txRate, &in.remote.host.limits
	cost := min(TxCost(n), limiter.Burst())
	if limiter.AllowN(time.Now(), cost) {
		return true
	}
	ctx, cancel := context.WithTimeout(in.remote.ctx, limits.TxWait)
	defer cancel()
	if limiter.WaitN(ctx, cost) == nil {
		return true
	}
	<-ctx.Done()
	return false
}
