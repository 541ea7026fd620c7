package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// progressPause is how often long work says how far it is.
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
	params := f.params(m.Params)
	if m.Epoch == 0 {
		f.refuse("epoch is missing: the first is 1")
	}
	if f.err != nil {
		return f.err
	}
	var read, built atomic.Uint64
	return worked(ctx, s, c, stream,
		func(ctx context.Context) (*assentv1.BuildAnswersResponse, error) {
			r, err := s.cfg.Provider.BuildAnswers(ctx, AnswersOf{m.TemplateId, params, m.Epoch}, func(r, b uint64) {
				read.Store(r)
				built.Store(b)
			})
			if err != nil {
				return nil, err
			}
			return &assentv1.BuildAnswersResponse{Read: r.Customers, Built: r.Customers, Result: builtOf(r)}, nil
		},
		func() *assentv1.BuildAnswersResponse {
			return &assentv1.BuildAnswersResponse{Read: read.Load(), Built: built.Load()}
		})
}

// worked does long work and tells how far it is until it ends with its last message.
// A reader that does not take a message in time is cut; without its reader the work
// ends.
func worked[M any](ctx context.Context, s providerService, c *call, stream *connect.ServerStream[M], work func(context.Context) (*M, error), progress func() *M) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type end struct {
		last *M
		err  error
	}
	done := make(chan end, 1) // heard below, whatever happens first
	go func() {
		last, err := work(ctx)
		done <- end{last, err}
	}()
	tell := func(m *M) error {
		_ = c.http.SetWriteDeadline(time.Now().Add(s.cfg.Limits.StreamStall)) // unsupported only under a test's own ResponseWriter
		return stream.Send(m)
	}
	tick := time.NewTicker(progressPause)
	defer tick.Stop()
	for {
		select {
		case e := <-done:
			if e.err != nil {
				return e.err
			}
			return tell(e.last)
		case <-tick.C:
			if err := tell(progress()); err != nil {
				cancel()
				<-done
				return err
			}
		}
	}
}

// params reads parameter values, each name once.
func (f *form) params(list []*assentv1.ParamValue) map[string]string {
	f.count("params", len(list), api.MaxFilters)
	params := make(map[string]string, len(list))
	for _, p := range list {
		f.size("a parameter", len(p.Name)+len(p.Value), 1, 2*api.MaxNameBytes)
		if _, twice := params[p.Name]; twice {
			f.refuse("params names one twice")
		}
		params[p.Name] = p.Value
	}
	return params
}

func builtOf(r *BuiltAnswers) *assentv1.BuiltAnswers {
	return &assentv1.BuiltAnswers{
		AnchorJson: string(r.Anchor), Customers: r.Customers, Answered: r.Answered, Twice: r.Twice, Failed: r.Failed, Collided: r.Collided, Bytes: r.Bytes,
	}
}
