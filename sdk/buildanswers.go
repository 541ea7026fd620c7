package sdk

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/assent-network/assent/chaincode/record"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// BuildProgress is how far a node is with a build of answers, in customers.
type BuildProgress struct {
	Read  uint64 `json:"read"`  // from the vault
	Built uint64 `json:"built"` // of them, in finished parts of the tree
}

// BuiltAnswers is what a node worked out for an epoch. Spec is for Anchor.
type BuiltAnswers struct {
	Spec      AnchorSpec
	Customers uint64 // in the vault
	Answered  uint64 // of them, with another answer than NO_RECORD
	Twice     uint64 // with several rows: they are answered NO_RECORD
	Failed    uint64 // on whose row the template failed: the same
	Collided  uint64 // whose place in the tree another one has, too: the same
	Bytes     uint64 // of the node's file
}

// BuildAnswers has the bank's own node work out its answers to one question about
// every customer, for the product's next epoch. progress, which may be nil, hears now
// and then how far it is. Nothing is answered from it before Anchor has anchored it
// and Products.OpenEpoch has opened the epoch. It is not repeated by itself: a build
// that broke off left nothing. Roles: officer, integration of the provider.
func (m Templates) BuildAnswers(ctx context.Context, id TemplateID, params map[string]string, epoch uint64, progress func(BuildProgress)) (*BuiltAnswers, error) {
	const where = "build answers"
	if progress == nil {
		progress = func(BuildProgress) {}
	}
	msg := &assentv1.BuildAnswersRequest{TemplateId: string(id), Epoch: epoch}
	values := record.MakeParamValues(params)
	for _, v := range values {
		msg.Params = append(msg.Params, &assentv1.ParamValue{Name: v.Name, Value: v.Value})
	}
	work := longWork[assentv1.BuildAnswersRequest, assentv1.BuildAnswersResponse, BuiltAnswers]{
		where: where,
		call: func(e *endpoint) func(context.Context, *connect.Request[assentv1.BuildAnswersRequest]) (*connect.ServerStreamForClient[assentv1.BuildAnswersResponse], error) {
			return e.provider.BuildAnswers
		},
		hear: func(x *assentv1.BuildAnswersResponse) (*BuiltAnswers, error) {
			progress(BuildProgress{x.Read, x.Built})
			if x.Result == nil {
				return nil, nil
			}
			return builtOf(x.Result, msg, values)
		},
		endless: notSent(where, "NOT_READY", "the node ended the build without a result", "Look at the node's log and build again; nothing was kept."),
	}
	return work.do(ctx, m.c, msg)
}

func builtOf(r *assentv1.BuiltAnswers, asked *assentv1.BuildAnswersRequest, params record.ParamValues) (*BuiltAnswers, error) {
	spec, err := record.Parse[record.AnchorSpec](r.AnchorJson)
	if err != nil {
		return nil, fmt.Errorf("its anchor: %w", err)
	}
	if string(spec.TemplateID) != asked.TemplateId || spec.Epoch != asked.Epoch || spec.Params.Digest() != params.Digest() {
		return nil, errors.New("it is of another question or epoch than was asked for")
	}
	return &BuiltAnswers{*spec, r.Customers, r.Answered, r.Twice, r.Failed, r.Collided, r.Bytes}, nil
}
