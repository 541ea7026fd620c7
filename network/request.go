package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"
)

// Request sends req to a peer and returns its response. It blocks until then,
// at most Limits.RequestTimeout or until ctx ends, and waits first for one of
// the peer's request slots. A peer that is just being connected is waited for
// (Limits.Grace). Errors: *RemoteError when the peer's handler refused,
// ErrUnknownPeer, ErrUnreachable, ErrTooLarge, ErrStopped, the context's own,
// or what broke the connection. After an error the peer may or may not have
// acted on the request, unless it is ErrUnknownPeer, ErrUnreachable,
// ErrTooLarge or ErrNotSent (which comes together with the context's own).
func (h *Host) Request(ctx context.Context, to PeerID, p Protocol, req []byte) ([]byte, error) {
	pl, ok := h.limits.Protocol(p)
	if !ok {
		return nil, fmt.Errorf("request to %s: no such protocol %q", to, p)
	}
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("request %s to %s: %w", p, to, err)
	}
	if len(req) > pl.Request {
		return fail(fmt.Errorf("%d bytes, limit %d: %w", len(req), pl.Request, ErrTooLarge))
	}
	r, err := h.lookup(to)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, h.limits.RequestTimeout)
	defer cancel()
	select {
	case r.calls[p] <- struct{}{}:
		defer func() { <-r.calls[p] }()
	case <-ctx.Done():
		return fail(neverSent(ctx))
	case <-r.ctx.Done():
		return fail(r.gone())
	}
	conn, err := r.await(ctx)
	if err != nil {
		return fail(err)
	}
	resp, err := exchange(ctx, conn, p, req, pl, h.limits.FrameTimeout)
	switch {
	case err == nil:
		return resp, nil
	case ctx.Err() != nil:
		return fail(ctx.Err())
	case r.ctx.Err() != nil:
		return fail(r.gone())
	default:
		return fail(err)
	}
}

// neverSent is the error of a request whose context ended while it waited.
func neverSent(ctx context.Context) error { return fmt.Errorf("%w: %w", ErrNotSent, ctx.Err()) }

// exchange opens a stream, proposes the protocol and sends the request in one
// write, and reads agreement and response.
func exchange(ctx context.Context, conn lnet.Conn, p Protocol, req []byte, pl ProtocolLimits, frameTimeout time.Duration) (resp []byte, err error) {
	s, err := conn.NewStream(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer func() {
		if !stop() || err != nil {
			s.Reset()
		} else {
			s.Close()
		}
	}()
	if err := s.SetProtocol(protocol.ID(p)); err != nil {
		return nil, err
	}
	buf := appendFrameHeader(appendProposal(nil, string(p)), kindRequest, len(req))
	if _, err := s.Write(append(buf, req...)); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	frames := newFrameReader(s, max(pl.Response, maxErrorText), frameTimeout)
	if err := readAgreement(frames.br, string(p)); err != nil {
		return nil, err
	}
	kind, body, err := frames.next()
	switch {
	case err != nil:
		return nil, noEOF(err)
	case kind == kindResponse:
		return body, nil
	case kind == kindError && len(body) <= maxErrorText:
		return nil, &RemoteError{Text: CleanErrorText(string(body))}
	default:
		return nil, fmt.Errorf("kind %d of %d bytes: %w", kind, len(body), errFrameKind)
	}
}

// server answers one protocol.
type server struct {
	protocol Protocol
	limits   ProtocolLimits
	handler  func(ctx context.Context, from PeerID, req []byte) ([]byte, error)
	running  chan struct{} // one entry per handler that runs
}

// serve answers the request on s. The peer's slot is held until its response is
// written, the shared one only while the handler runs: a peer that reads slowly
// holds up itself alone.
func (sv *server) serve(r *remote, s lnet.Stream) {
	h := r.host
	ctx, cancel := context.WithTimeout(r.ctx, h.limits.RequestTimeout)
	defer cancel()
	defer s.Close() // after a Reset it does nothing
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	defer stop()

	select {
	case r.serving[sv.protocol] <- struct{}{}:
		defer func() { <-r.serving[sv.protocol] }()
	case <-ctx.Done():
		return
	}
	frames := newFrameReader(s, sv.limits.Request, h.limits.FrameTimeout)
	frames.begin() // a peer that opens a stream and says nothing waits no longer than that
	kind, req, err := frames.next()
	if err != nil || kind != kindRequest {
		h.log.Debug("bad request frame, stream reset", "peer", r.id, "protocol", string(sv.protocol), "kind", kind, "err", err)
		s.Reset()
		return
	}
	kind, body := sv.answer(ctx, r, req)
	buf := appendFrameHeader(nil, kind, len(body))
	if len(body) < directBytes {
		buf, body = append(buf, body...), nil
	}
	if _, err = s.Write(buf); err == nil && len(body) > 0 {
		_, err = s.Write(body)
	}
	if err != nil {
		s.Reset()
	}
}

// answer calls the handler and returns kind and body of the frame to send.
func (sv *server) answer(ctx context.Context, r *remote, req []byte) (byte, []byte) {
	select {
	case sv.running <- struct{}{}:
		defer func() { <-sv.running }()
	case <-ctx.Done():
		return kindError, []byte("the node is busy")
	}
	resp, err := sv.handler(ctx, r.id, req)
	switch {
	case err != nil:
		return kindError, []byte(CleanErrorText(err.Error()))
	case len(resp) > sv.limits.Response:
		r.host.log.Error("response is too large and was not sent", "protocol", string(sv.protocol), "bytes", len(resp), "limit", sv.limits.Response)
		return kindError, []byte("the response exceeds the limit of the protocol")
	default:
		return kindResponse, resp
	}
}

// The dialogue of multistream-select with one candidate: each line is a
// uvarint length, a text and a newline. The library has the other side.

func appendProposal(dst []byte, proto string) []byte {
	for _, line := range [...]string{multistream.ProtocolID, proto} {
		dst = append(dst, byte(len(line)+1)) // lines are shorter than 128 bytes
		dst = append(dst, line...)
		dst = append(dst, '\n')
	}
	return dst
}

func readAgreement(br *bufio.Reader, proto string) error {
	for _, want := range [...]string{multistream.ProtocolID, proto} {
		got, err := multistream.ReadNextToken[string](br)
		if err != nil {
			return fmt.Errorf("agree on %s: %w", proto, noEOF(err))
		}
		if got != want {
			return fmt.Errorf("agree on %s: the peer does not speak it", proto)
		}
	}
	return nil
}

// isTimeout reports whether a deadline of ours passed.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
