package node

import (
	"context"
	"errors"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/gateway"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/epoch"
	"github.com/assent-network/assent/node/vault"
)

// BuildAnswers implements gateway.Provider.
func (b *backend) BuildAnswers(ctx context.Context, q gateway.AnswersOf, progress func(read, built uint64)) (*gateway.BuiltAnswers, error) {
	if err := b.serves(); err != nil {
		return nil, err
	}
	t, p, err := b.toAnchor(q)
	if err != nil {
		return nil, err
	}
	if err := b.pruneEpochs(); err != nil { // room for the next ones
		return nil, err
	}
	params := record.MakeParamValues(q.Params)
	r, err := b.answerer.BuildAnswers(ctx, p, t, params, q.Epoch, func(at epoch.Progress) { progress(at.Read, at.Built) })
	if err != nil {
		return nil, buildFailure(err)
	}
	spec := record.AnchorSpec{CodeHash: t.CodeHash, Epoch: q.Epoch, Nonce: r.Nonce, Params: params, Root: r.Root, TemplateID: t.TemplateID}
	anchor, err := record.Encode(&spec)
	if err != nil {
		return nil, err
	}
	b.log.Info("answers were built and wait to be anchored", "template", t.TemplateID, "epoch", q.Epoch, "subjects", r.Subjects, "bytes", r.Bytes)
	return &gateway.BuiltAnswers{
		Anchor: anchor, Customers: r.Subjects, Answered: r.Answered, Twice: r.Twice, Failed: r.Failed, Collided: r.Collided, Bytes: uint64(r.Bytes),
	}, nil
}

// toAnchor loads what the answers are of, and refuses what the catalogue would
// refuse after the work.
func (b *backend) toAnchor(q gateway.AnswersOf) (*record.Template, *record.Product, error) {
	view := b.state.View()
	t, err := loadRecord[record.Template](view, record.TemplateKey(record.TemplateID(q.TemplateID)))
	if errors.Is(err, errNoRecord) {
		return nil, nil, api.Refuse(pb.Code_CODE_NOT_FOUND, "template %.80q is not in the catalogue", q.TemplateID)
	}
	if err != nil {
		return nil, nil, err
	}
	if string(t.Provider) != b.member {
		return nil, nil, api.Refuse(pb.Code_CODE_FORBIDDEN, "template %s belongs to %s, this node to %s", t.TemplateID, t.Provider, b.member)
	}
	if t.RetiredAt != 0 {
		return nil, nil, api.Refuse(pb.Code_CODE_TEMPLATE_RETIRED, "template %s is retired", t.TemplateID)
	}
	next := uint64(1)
	switch e, err := loadRecord[record.Epoch](view, record.EpochKey(t.ProductID)); {
	case err == nil:
		next = e.Epoch + 1
	case !errors.Is(err, errNoRecord):
		return nil, nil, err
	}
	if q.Epoch != next {
		return nil, nil, api.Refuse(pb.Code_CODE_WRONG_STATE, "epoch %d: only the next one of product %s, %d, can be anchored", q.Epoch, t.ProductID, next)
	}
	p, err := loadRecord[record.Product](view, record.ProductKey(t.ProductID))
	return t, p, err
}

// buildFailure says to the bank's own client what it can do.
func buildFailure(err error) error {
	var template *query.TemplateError
	var schema *vault.SchemaError
	switch {
	case errors.Is(err, query.ErrBuilding):
		return &api.Error{Code: pb.Code_CODE_OVERLOADED, What: "answers are being built on this node already", Remedy: "Wait until that build has ended; one runs at a time."}
	case errors.Is(err, query.ErrParameter):
		return api.Refuse(pb.Code_CODE_PARAMETER_NOT_ALLOWED, "the parameters are not of the template's enumeration")
	case errors.Is(err, query.ErrNoVault):
		return &api.Error{Code: pb.Code_CODE_NOT_SERVED, What: err.Error(), Remedy: "Map the product under answering.vaults of this node, on a connector that can be scanned, and see assentd vault check."}
	case errors.As(err, &template), errors.As(err, &schema):
		return &api.Error{Code: pb.Code_CODE_BAD_REQUEST, What: err.Error(), Remedy: "Correct template or vault mapping: assent template check and assentd vault check show what does not fit."}
	case errors.Is(err, vault.ErrUnavailable):
		return &api.Error{Code: pb.Code_CODE_NOT_READY, What: "the vault cannot be read", Remedy: "Bring the bank's database up and build again; nothing was kept.", Cause: err}
	}
	return err
}
