package catalog

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// AnchorAnswers anchors what the caller's member will answer to one question in the
// product's next epoch: the root of a tree of salted answers. Argument:
// record.AnchorSpec; result: record.Anchor. For officers and integrations.
//
// Only the epoch that is not open yet can be anchored, and until it is opened the
// root may be replaced. So no request was permitted before its root was fixed, and a
// reader who finds no anchor for an open epoch knows that there will be none.
func (*Contract) AnchorAnswers(ctx *call.Context, anchorJSON string) (string, error) {
	spec, err := call.Argument[record.AnchorSpec](anchorJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleOfficer, record.RoleIntegration)
	if err != nil {
		return "", err
	}
	template, err := call.Need[record.Template](ctx, record.TemplateKey(spec.TemplateID), record.CodeNotFound, "template")
	if err != nil {
		return "", err
	}
	if template.Provider != caller.OrgID() {
		return "", record.Refuse(record.CodeForbidden, "template belongs to another member")
	}
	if template.RetiredAt != 0 {
		return "", record.Refuse(record.CodeTemplateRetired, "template is retired")
	}
	if template.CodeHash != spec.CodeHash {
		return "", record.Refuse(record.CodeBadRequest, "codeHash is not the template's")
	}
	if !template.Accepts(spec.Params) {
		return "", record.Refuse(record.CodeParameterNotAllowed, "params are not of the template's enumeration")
	}
	last, err := call.Get[record.Epoch](ctx, record.EpochKey(template.ProductID))
	if err != nil {
		return "", err
	}
	next := uint64(1)
	if last != nil {
		next = last.Epoch + 1
	}
	if spec.Epoch != next {
		return "", record.Refuse(record.CodeWrongState, "epoch: only the next one, %d, can be anchored", next)
	}
	return ctx.Publish(record.AnchorKey(spec.TemplateID, spec.Epoch, spec.Params), EventAnchor, &record.Anchor{
		AnchorSpec: *spec, AnchoredAt: caller.Now, AnchoredBy: caller.Client.Address,
		ProductID: template.ProductID, Provider: template.Provider,
	})
}

// GetAnchor returns record.Anchor of a template in an epoch; paramsJSON is the
// argument's params field, {} for a template without parameters.
func (*Contract) GetAnchor(ctx *call.Context, templateID, epoch, paramsJSON string) (string, error) {
	id, number, err := anchorOf(templateID, epoch)
	if err != nil {
		return "", err
	}
	params, err := record.ParseParams(paramsJSON)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return ctx.Show(record.AnchorKey(id, number, params), "anchor of this template, epoch and params")
}

// ListAnchors returns record.AnchorList of a template in an epoch.
func (*Contract) ListAnchors(ctx *call.Context, templateID, epoch string) (string, error) {
	id, number, err := anchorOf(templateID, epoch)
	if err != nil {
		return "", err
	}
	list, err := call.List[record.Anchor](ctx, record.AnchorPrefix(id, number))
	if err != nil {
		return "", err
	}
	return call.Answer(&record.AnchorList{Anchors: list})
}

func anchorOf(templateID, epoch string) (record.TemplateID, uint64, error) {
	id := record.TemplateID(templateID)
	if err := call.Identifier(id); err != nil {
		return "", 0, err
	}
	number, err := call.Integer("epoch", epoch)
	return id, number, err
}
