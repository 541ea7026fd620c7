package node

import (
	"context"
	"errors"
	"slices"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/query"
)

// TryTemplate implements gateway.Provider.
func (b *backend) TryTemplate(ctx context.Context, q gateway.TrialOf, progress func(read uint64)) (*gateway.Trial, error) {
	if err := b.serves(); err != nil {
		return nil, err
	}
	t, err := record.Parse[record.TemplateSpec](string(q.Template))
	if err != nil {
		return nil, api.Refuse(pb.Code_CODE_BAD_REQUEST, "template: %w", err)
	}
	p, err := loadRecord[record.Product](b.state.View(), record.ProductKey(t.ProductID))
	if errors.Is(err, errNoRecord) {
		return nil, api.Refuse(pb.Code_CODE_NOT_FOUND, "product %s is not in the catalogue", t.ProductID)
	}
	if err != nil {
		return nil, err
	}
	if string(p.Provider) != b.member {
		return nil, api.Refuse(pb.Code_CODE_FORBIDDEN, "product %s belongs to %s, this node to %s", p.ProductID, p.Provider, b.member)
	}
	if t.Kind == record.Total {
		return nil, &api.Error{Code: pb.Code_CODE_BAD_REQUEST, What: "a template of kind TOTAL has no outputs to try", Remedy: "Try templates that answer with one of their outputs; a TOTAL adds up its one column and tells nothing about a bank alone."}
	}
	var params record.ParamValues
	if q.Params != nil {
		params = record.MakeParamValues(q.Params)
	}
	r, err := b.answerer.Try(ctx, p, t, params, q.K, progress)
	if errors.Is(err, query.ErrTooManyQuestions) {
		return nil, &api.Error{Code: pb.Code_CODE_BAD_REQUEST, What: err.Error(), Remedy: "Name one value of each parameter, such as --param months=12, and try the sets one after the other."}
	}
	if err != nil {
		return nil, buildFailure(err)
	}
	b.log.Info("a template was tried over the vault", "template", t.TemplateID, "product", t.ProductID, "questions", len(r.Questions))
	return trialOf(p, t, r), nil
}

func trialOf(p *record.Product, t *record.TemplateSpec, r *query.Trial) *gateway.Trial {
	out := &gateway.Trial{
		Customers: r.Customers, Unusable: r.Unusable, K: r.K,
		LeakMillibits: r.Report.LeakMillibits, CostMax: r.Report.CostMax, CostLimit: t.CostLimit, Notes: r.Report.Notes,
	}
	for _, name := range t.Columns {
		c, _ := p.Column(name) // it is there: the template was checked
		out.Columns = append(out.Columns, gateway.TrialColumn{
			Name: name, DataClass: string(c.DataClass), Read: slices.Contains(r.Report.Columns, name),
			BitsPerEpoch: c.Class.BitsPerEpoch, BitsPerYear: c.Class.BitsPerYear,
		})
	}
	for _, q := range r.Questions {
		x := gateway.TrialQuestion{Params: map[string]string{}, Nulls: q.Nulls, Failed: q.Failed}
		for _, v := range q.Params {
			x.Params[v.Name] = v.Value
			x.Names = append(x.Names, v.Name)
		}
		for _, o := range q.Outputs {
			x.Outputs = append(x.Outputs, gateway.TrialOutput{Output: o.Output, Customers: o.Customers, Few: t.Kind != record.CohortKind && o.Few(r.K)})
		}
		out.Questions = append(out.Questions, x)
	}
	return out
}
