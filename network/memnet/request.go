package memnet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assent-network/assent/network"
)

// server answers one protocol.
type server struct {
	limits  network.ProtocolLimits
	handler func(ctx context.Context, from network.PeerID, req []byte) ([]byte, error)
	running chan struct{}
}

type reply struct {
	body []byte
	err  error
}

// errBroken is what a request sees when its link breaks.
var errBroken = errors.New("connection reset")

// Request is network.Host.Request.
func (h *Host) Request(ctx context.Context, to network.PeerID, p network.Protocol, req []byte) ([]byte, error) {
	pl, ok := h.limits.Protocol(p)
	if !ok {
		return nil, fmt.Errorf("request to %s: no such protocol %q", to, p)
	}
	resp, err := h.request(ctx, to, p, pl, req)
	if err != nil {
		return nil, fmt.Errorf("request %s to %s: %w", p, to, err)
	}
	return resp, nil
}

func (h *Host) request(ctx context.Context, to network.PeerID, p network.Protocol, pl network.ProtocolLimits, req []byte) ([]byte, error) {
	if len(req) > pl.Request {
		return nil, fmt.Errorf("%d bytes, limit %d: %w", len(req), pl.Request, network.ErrTooLarge)
	}
	r, err := h.lookup(to)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.limits.RequestTimeout)
	defer cancel()
	select {
	case r.calls[p] <- struct{}{}:
		defer func() { <-r.calls[p] }()
	case <-ctx.Done():
		return nil, neverSent(ctx)
	case <-r.ctx.Done():
		return nil, r.gone()
	}
	l, err := r.await(ctx)
	if err != nil {
		return nil, err
	}
	replies := make(chan reply, 1)
	if !r.call(l, p, append([]byte(nil), req...), replies) {
		return nil, errBroken
	}
	select {
	case rep := <-replies:
		if rep.err != nil {
			return nil, rep.err
		}
		return rep.body, nil
	case <-l.done:
		if r.ctx.Err() != nil {
			return nil, r.gone()
		}
		return nil, errBroken
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-r.ctx.Done():
		return nil, r.gone()
	}
}

func neverSent(ctx context.Context) error {
	return fmt.Errorf("%w: %w", network.ErrNotSent, ctx.Err())
}

// call starts the handler on the other host.
func (r *remote) call(l *link, p network.Protocol, req []byte, replies chan<- reply) bool {
	other, back := r.peer(l)
	if back == nil {
		return false
	}
	n := r.host.net
	lost, due := n.losesTrip(r.host.id, r.id, p), n.arrival(r.host.id, r.id, len(req))
	n.mu.Lock()
	defer n.mu.Unlock()
	return other.spawnLocked(func() {
		ctx, cancel := context.WithTimeout(back.ctx, other.limits.RequestTimeout)
		defer cancel()
		if lost || !travel(ctx, due) {
			return
		}
		rep, ok := other.servers[p].answer(ctx, back, p, req)
		if ok && !n.losesTrip(r.id, r.host.id, p) && travel(ctx, n.arrival(r.id, r.host.id, len(rep.body))) {
			replies <- rep
		}
	})
}

// answer runs the handler within its bounds; false when there is no answer.
func (sv *server) answer(ctx context.Context, from *remote, p network.Protocol, req []byte) (reply, bool) {
	if sv == nil {
		return reply{err: fmt.Errorf("agree on %s: the peer does not speak it", p)}, true
	}
	for _, slot := range []chan struct{}{from.serving[p], sv.running} {
		select {
		case slot <- struct{}{}:
			defer func() { <-slot }()
		case <-ctx.Done():
			return reply{}, false
		}
	}
	body, err := sv.handler(ctx, from.id, req)
	switch {
	case err != nil:
		return reply{err: &network.RemoteError{Text: network.CleanErrorText(err.Error())}}, true
	case len(body) > sv.limits.Response:
		return reply{err: &network.RemoteError{Text: "the response exceeds the limit of the protocol"}}, true
	default:
		return reply{body: body}, true
	}
}

func travel(ctx context.Context, due time.Time) bool {
	if due.IsZero() {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
