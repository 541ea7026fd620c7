package sdk

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// TrialOptions says how to try a template.
type TrialOptions struct {
	Params   map[string]string // one set of parameter values; nil: every set, at most 64
	K        uint64            // outputs given to fewer customers single them out; 0: 20
	Progress func(read uint64) // hears now and then how many customers were read; may be nil
}

// Trial is what a template would say about the customers of a bank. Its counts are
// of people: it is for the bank's own officers.
type Trial struct {
	Customers uint64 `json:"customers"` // read; one with two rows counts twice
	Unusable  uint64 `json:"unusable"`  // of them, with a row that cannot be used: NO_RECORD
	K         uint64 `json:"k"`

	LeakMillibits uint64          `json:"leakMillibits"` // debited from every column per new answer, thousandths of a bit
	CostMax       uint64          `json:"costMax"`       // of an evaluation, worst case
	CostLimit     uint64          `json:"costLimit"`
	Columns       []TrialColumn   `json:"columns"`
	Questions     []TrialQuestion `json:"questions"`       // one per set of parameter values
	Notes         []string        `json:"notes,omitempty"` // what is allowed but probably not meant
	// Statistics: of a COHORT template, whose questions count who is InCohort.
	Statistics *ExplainedStatistics `json:"statistics,omitempty"`
}

// TrialColumn is a column that the template declares.
type TrialColumn struct {
	Name         string `json:"name"`
	DataClass    string `json:"dataClass"`
	Read         bool   `json:"read"` // by the source
	BitsPerEpoch uint64 `json:"bitsPerEpoch"`
	BitsPerYear  uint64 `json:"bitsPerYear"`
}

// TrialQuestion is what one set of parameter values gives.
type TrialQuestion struct {
	Params  map[string]string `json:"params"`
	Outputs []TrialOutput     `json:"outputs"` // in the template's order
	Nulls   uint64            `json:"nulls"`   // NO_RECORD because of a null that the template does not handle
	Failed  uint64            `json:"failed"`  // NO_RECORD because the template failed on the row
}

// TrialOutput is to how many customers an output would be given.
type TrialOutput struct {
	Output    string `json:"output"`
	Customers uint64 `json:"customers"`
	Few       bool   `json:"few"` // fewer than k, but not none: the output singles them out
}

// Few counts the outputs that would single somebody out, over all questions.
func (t *Trial) Few() int {
	n := 0
	for _, q := range t.Questions {
		for _, o := range q.Outputs {
			if o.Few {
				n++
			}
		}
	}
	return n
}

// Try has the bank's own node evaluate a template over every customer in the
// product's vault and count what it would say: a dry run before the template is
// proposed. Nothing is kept, answered or debited. Role: officer of the provider.
func (m Templates) Try(ctx context.Context, spec TemplateSpec, o TrialOptions) (*Trial, error) {
	const where = "try template"
	b, err := record.Encode(&spec)
	if err != nil {
		return nil, &ConfigError{What: "template", Cause: err, Remedy: "Correct the field that is named."}
	}
	msg := &assentv1.TryTemplateRequest{TemplateJson: string(b), K: o.K}
	for _, v := range record.MakeParamValues(o.Params) {
		msg.Params = append(msg.Params, &assentv1.ParamValue{Name: v.Name, Value: v.Value})
	}
	work := longWork[assentv1.TryTemplateRequest, assentv1.TryTemplateResponse, Trial]{
		where: where,
		call: func(e *endpoint) func(context.Context, *connect.Request[assentv1.TryTemplateRequest]) (*connect.ServerStreamForClient[assentv1.TryTemplateResponse], error) {
			return e.provider.TryTemplate
		},
		hear: func(x *assentv1.TryTemplateResponse) (*Trial, error) {
			if o.Progress != nil {
				o.Progress(x.Read)
			}
			if x.Result == nil {
				return nil, nil
			}
			return triedOf(x.Result, &spec)
		},
		endless: notSent(where, "NOT_READY", "the node ended the trial without a result", "Look at the node's log and try again; nothing was kept."),
	}
	t, err := work.do(ctx, m.c, msg)
	if err == nil {
		t.Statistics, err = m.c.statistics(ctx, &spec)
	}
	return t, err
}

func triedOf(r *assentv1.TriedTemplate, spec *TemplateSpec) (*Trial, error) {
	out := &Trial{
		Customers: r.Customers, Unusable: r.Unusable, K: r.K, LeakMillibits: r.LeakMillibits, CostMax: r.CostMax, CostLimit: r.CostLimit,
		Columns: []TrialColumn{}, Questions: []TrialQuestion{}, Notes: r.Notes,
	}
	for _, c := range r.Columns {
		out.Columns = append(out.Columns, TrialColumn{c.Name, c.DataClass, c.Read, c.BitsPerEpoch, c.BitsPerYear})
	}
	outputs := spec.Outputs
	if spec.Kind == record.CohortKind {
		outputs = []string{InCohort, OutsideCohort}
	}
	for _, q := range r.Questions {
		x := TrialQuestion{Params: map[string]string{}, Nulls: q.Nulls, Failed: q.Failed}
		for _, p := range q.Params {
			x.Params[p.Name] = p.Value
		}
		if !spec.Accepts(record.MakeParamValues(x.Params)) || len(q.Outputs) != len(outputs) {
			return nil, errors.New("it is of another question than was asked for")
		}
		for i, o := range q.Outputs {
			if o.Output != outputs[i] {
				return nil, errors.New("it counts an output that the template does not list")
			}
			x.Outputs = append(x.Outputs, TrialOutput{o.Output, o.Customers, o.Few})
		}
		out.Questions = append(out.Questions, x)
	}
	return out, nil
}
