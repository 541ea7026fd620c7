package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// progressPause is how often a build of answers says how far it is.
const progressPause = 500 * time.Millisecond

// BuildAnswers runs a build and tells how far it is until it ends. It counts as a
// stream, and ends with its caller.
func (s providerService) BuildAnswers(ctx context.Context, req *connect.Request[assentv1.BuildAnswersRequest], stream *connect.ServerStream[assentv1.BuildAnswersResponse]) error {
	if s.cfg.Provider == nil {
		return notServed()
	}
	c := callOf(ctx)
	c.stopReading()
	if err := c.stream(); err != nil {
		return err
	}
	m := req.Msg
	var f form
	f.name("template_id", m.TemplateId)
	f.count("params", len(m.Params), api.MaxFilters)
	params := make(map[string]string, len(m.Params))
	for _, p := range m.Params {
		f.size("a parameter", len(p.Name)+len(p.Value), 1, 2*api.MaxNameBytes)
		if _, twice := params[p.Name]; twice {
			f.refuse("params names one twice")
		}
		params[p.Name] = p.Value
	}
	if m.Epoch == 0 {
		f.refuse("epoch is missing: the first is 1")
	}
	if f.err != nil {
		return f.err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var read, built atomic.Uint64
	type end struct {
		result *BuiltAnswers
		err    error
	}
	done := make(chan end, 1) // heard below, whatever happens first
	go func() {
		r, err := s.cfg.Provider.BuildAnswers(ctx, AnswersOf{m.TemplateId, params, m.Epoch}, func(r, b uint64) {
			read.Store(r)
			built.Store(b)
		})
		done <- end{r, err}
	}()
	tick := time.NewTicker(progressPause)
	defer tick.Stop()
	for {
		select {
		case e := <-done:
			if e.err != nil {
				return e.err
			}
			return s.tell(c, stream, &assentv1.BuildAnswersResponse{Read: e.result.Customers, Built: e.result.Customers, Result: builtOf(e.result)})
		case <-tick.C:
			if err := s.tell(c, stream, &assentv1.BuildAnswersResponse{Read: read.Load(), Built: built.Load()}); err != nil {
				cancel()
				<-done
				return err
			}
		}
	}
}

// tell sends one message; a reader that does not take it in time is cut.
func (s providerService) tell(c *call, stream *connect.ServerStream[assentv1.BuildAnswersResponse], m *assentv1.BuildAnswersResponse) error {
	_ = c.http.SetWriteDeadline(time.Now().Add(s.cfg.Limits.StreamStall)) // unsupported only under a test's own ResponseWriter
	return stream.Send(m)
}

func builtOf(r *BuiltAnswers) *assentv1.BuiltAnswers {
	return &assentv1.BuiltAnswers{
		AnchorJson: string(r.Anchor), Customers: r.Customers, Answered: r.Answered, Twice: r.Twice, Failed: r.Failed, Collided: r.Collided, Bytes: r.Bytes,
	}
}
