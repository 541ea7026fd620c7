package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// call is one call on its way through the server. One goroutine at a time uses
// it: the HTTP server's, which also runs the handler.
type call struct {
	server *Server
	method string // procedure; empty until the gate
	caller Caller
	known  bool // the token was good
	code   api.Code
	body   bool // the message was read and the handler ran
	http   *http.ResponseController
	http1  bool
	length int64 // of the message as announced; -1: not
	// What the call holds until it ends; see load.go.
	meter     *meter // nil: nothing
	member    *room  // nil: nothing
	held      int64  // bytes
	streaming bool
}

type callKey struct{}

// callOf returns the call of a context. Every request passes through observe,
// so there is one.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

func (c *call) enter(m *meter, most int) error {
	if err := m.enter(int64(most)); err != nil {
		return err
	}
	c.meter = m
	return nil
}

// observe is the outermost layer: it gives every request its call, and when it
// is over counts and logs it.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		c := &call{server: s, http: http.NewResponseController(w), http1: r.ProtoMajor < 2, length: r.ContentLength}
		defer func() {
			if v := recover(); v != nil { // outside the handlers, which recover by themselves
				c.code = assentv1.Code_CODE_INTERNAL
				s.logPanic(c, v)
				s.finish(c, time.Since(start))
				panic(http.ErrAbortHandler) // the answer is half written
			}
			s.finish(c, time.Since(start))
		}()
		w.Header()["Cache-Control"] = noStore
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

var noStore = []string{"no-store"}

// finish counts and logs a call. Logs hold method, member, code and duration:
// never an argument, a payload, a token or a subject's key.
func (s *Server) finish(c *call, took time.Duration) {
	c.vacate()
	if c.method == "" {
		return // health checks and unknown paths
	}
	code := c.code
	if code == 0 {
		code = assentv1.Code_CODE_OK
		if !c.body { // the protocol layer refused the message and told the client
			code = assentv1.Code_CODE_BAD_REQUEST
		}
	}
	if s.cfg.Observe != nil {
		s.cfg.Observe(c.method, code, took)
	}
	level := slog.LevelDebug
	switch {
	case code == assentv1.Code_CODE_INTERNAL:
		level = slog.LevelError
	case c.known && code != assentv1.Code_CODE_OK && !api.Lookup(code).Retryable:
		level = slog.LevelInfo
	}
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	org := c.caller.Org
	if c.caller.Subject {
		org = "(subject)"
	}
	s.log.LogAttrs(context.Background(), level, "call", slog.String("method", c.method), slog.String("org", org),
		slog.String("code", api.Name(code)), slog.Duration("duration", took))
}

// fail gives err the form of the wire and remembers its code.
func (c *call) fail(err error) error { return c.failed(err).ToConnect() }

func (c *call) failed(err error) *api.Error {
	e := c.server.translate(c, err)
	c.code = e.Code
	if e.Code == assentv1.Code_CODE_BAD_SIGNATURE && c.meter != nil {
		c.server.refused.badTransactions.Add(1)
		c.meter.charge(c.server.now(), badSignatureCosts)
	}
	return e
}

// translate finds the code of an error of a backend.
func (s *Server) translate(c *call, err error) *api.Error {
	var own *api.Error
	var refusal *record.Refusal
	switch {
	case errors.As(err, &own):
		if own.Code != assentv1.Code_CODE_INTERNAL {
			return own
		}
	case errors.As(err, &refusal):
		return api.RefuseContract(string(refusal.Code), refusal.Detail)
	case s.draining() && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return api.Refuse(assentv1.Code_CODE_NOT_READY, "the node is stopping")
	case errors.Is(err, context.DeadlineExceeded):
		return &api.Error{Code: assentv1.Code_CODE_TIMEOUT}
	case errors.Is(err, context.Canceled):
		return &api.Error{Code: assentv1.Code_CODE_CANCELLED}
	}
	var wire *connect.Error
	if errors.As(err, &wire) { // of the protocol layer: a stream the client has left, a message too large
		e := api.FromConnect(err)
		e.What = "" // its text may repeat the message
		return e
	}
	if !errors.Is(err, errPanic) { // a panic is logged where it was
		s.log.Error("call failed", "method", c.method, "error", err)
	}
	return &api.Error{Code: assentv1.Code_CODE_INTERNAL}
}

// logPanic logs where a panic came from, not what it says: the text may hold
// what the caller sent.
func (s *Server) logPanic(c *call, v any) {
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error() // an index, a nil pointer, a type
	}
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	var at []string
	for {
		f, more := frames.Next()
		at = append(at, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			break
		}
	}
	s.log.Error("panic", "method", c.method, "panic", what, "at", at)
}

// layer is the interceptor around every handler: it recovers panics, bounds the
// time and gives errors their form.
type layer struct{ server *Server }

func (l layer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (resp connect.AnyResponse, err error) {
		c := callOf(ctx)
		c.body = true
		c.stopReading()
		c.read(req.Any())
		ctx, cancel := context.WithTimeout(ctx, l.server.cfg.Limits.RequestTimeout+waitOf(req.Any()))
		defer cancel()
		defer func() {
			if v := recover(); v != nil {
				l.server.logPanic(c, v)
				resp, err = nil, c.fail(&api.Error{Code: assentv1.Code_CODE_INTERNAL, Cause: errPanic})
			}
		}()
		if resp, err = next(ctx, req); err == nil {
			err = c.answers(resp.Any())
		}
		if err != nil {
			return nil, c.fail(err)
		}
		return resp, nil
	}
}

func (l layer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) (err error) {
		c := callOf(ctx)
		c.body = true
		defer func() {
			if v := recover(); v != nil {
				l.server.logPanic(c, v)
				err = c.fail(&api.Error{Code: assentv1.Code_CODE_INTERNAL, Cause: errPanic})
			}
		}()
		if err = next(ctx, conn); err != nil {
			return c.fail(err)
		}
		return nil
	}
}

// WrapStreamingClient is for clients; there are none here.
func (layer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

var errPanic = errors.New("panic")

// stopReading lifts the deadline under which the request had to arrive. Under
// HTTP/1 it would end the call that is now being answered.
func (c *call) stopReading() {
	if c.http1 {
		_ = c.http.SetReadDeadline(time.Time{}) // unsupported only under a test's own ResponseWriter
	}
}
