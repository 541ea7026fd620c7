package gateway

import (
	"context"
	"sync/atomic"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// TrialOf says what to try over every customer.
type TrialOf struct {
	Template []byte            // record.TemplateSpec
	Params   map[string]string // nil: every set of the enumeration
	K        uint64            // 0: the default
}

// Trial is what came of it.
type Trial struct {
	Customers, Unusable, K, LeakMillibits, CostMax, CostLimit uint64

	Columns   []TrialColumn
	Questions []TrialQuestion
	Notes     []string
}

// TrialColumn is a column that the template declares.
type TrialColumn struct {
	Name, DataClass           string
	Read                      bool
	BitsPerEpoch, BitsPerYear uint64
}

// TrialQuestion is what one set of parameter values gives.
type TrialQuestion struct {
	Params        map[string]string
	Names         []string // of the parameters, in their order
	Outputs       []TrialOutput
	Nulls, Failed uint64
}

// TrialOutput is to how many customers an output would be given.
type TrialOutput struct {
	Output    string
	Customers uint64
	Few       bool
}

// Bounds of k: below two nobody is hidden.
const minK, maxK = 2, 1_000_000

// TryTemplate runs a trial and tells how far it is until it ends. It counts as a
// stream, and ends with its caller.
func (s providerService) TryTemplate(ctx context.Context, req *connect.Request[assentv1.TryTemplateRequest], stream *connect.ServerStream[assentv1.TryTemplateResponse]) error {
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
	f.size("template_json", len(m.TemplateJson), 2, api.MaxTemplateBytes)
	params := f.params(m.Params)
	if len(params) == 0 {
		params = nil
	}
	if m.K != 0 && (m.K < minK || m.K > maxK) {
		f.refuse("k is %d, want %d to %d: an output given to fewer than k customers singles them out", m.K, minK, maxK)
	}
	if f.err != nil {
		return f.err
	}
	var read atomic.Uint64
	return worked(ctx, s, c, stream,
		func(ctx context.Context) (*assentv1.TryTemplateResponse, error) {
			r, err := s.cfg.Provider.TryTemplate(ctx, TrialOf{[]byte(m.TemplateJson), params, m.K}, read.Store)
			if err != nil {
				return nil, err
			}
			return &assentv1.TryTemplateResponse{Read: r.Customers, Result: trialOf(r)}, nil
		},
		func() *assentv1.TryTemplateResponse { return &assentv1.TryTemplateResponse{Read: read.Load()} })
}

func trialOf(r *Trial) *assentv1.TriedTemplate {
	out := &assentv1.TriedTemplate{
		Customers: r.Customers, Unusable: r.Unusable, K: r.K, LeakMillibits: r.LeakMillibits, CostMax: r.CostMax, CostLimit: r.CostLimit, Notes: r.Notes,
	}
	for _, c := range r.Columns {
		out.Columns = append(out.Columns, &assentv1.TriedColumn{Name: c.Name, DataClass: c.DataClass, Read: c.Read, BitsPerEpoch: c.BitsPerEpoch, BitsPerYear: c.BitsPerYear})
	}
	for _, q := range r.Questions {
		x := &assentv1.TriedQuestion{Nulls: q.Nulls, Failed: q.Failed}
		for _, name := range q.Names {
			x.Params = append(x.Params, &assentv1.ParamValue{Name: name, Value: q.Params[name]})
		}
		for _, o := range q.Outputs {
			x.Outputs = append(x.Outputs, &assentv1.OutputCount{Output: o.Output, Customers: o.Customers, Few: o.Few})
		}
		out.Questions = append(out.Questions, x)
	}
	return out
}
