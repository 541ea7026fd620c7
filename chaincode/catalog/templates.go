package catalog

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// ApproveTemplate approves a query template for a product of the caller's
// member. Argument: record.TemplateSpec; result: record.Template with its code
// hash. For officers. A template id is used once; new text is a new id.
func (*Contract) ApproveTemplate(ctx *call.Context, templateJSON string) (string, error) {
	spec, err := call.Argument[record.TemplateSpec](templateJSON)
	if err != nil {
		return "", err
	}
	caller, product, err := ownProduct(ctx, string(spec.ProductID), record.RoleOfficer)
	if err != nil {
		return "", err
	}
	if product.RetiredAt != 0 {
		return "", record.Refuse(record.CodeProductRetired, "product is retired")
	}
	if err := checkColumns(spec, product); err != nil {
		return "", err
	}
	key := record.TemplateKey(spec.TemplateID)
	known, err := call.Get[record.Template](ctx, key)
	if err != nil {
		return "", err
	}
	if known != nil {
		return "", record.Refuse(record.CodeAlreadyExists, "template id is taken; new text takes a new id")
	}
	hash, err := spec.CodeHash()
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	if err := ctx.Index(record.TemplateIndex(spec.ProductID, spec.TemplateID)); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventTemplate, &record.Template{
		TemplateSpec: *spec, ApprovedAt: caller.Now, ApprovedBy: caller.Client.Address,
		CodeHash: hash, Provider: caller.OrgID(),
	})
}

// checkColumns keeps a template to columns whose class lets a single subject's
// answer out.
func checkColumns(spec *record.TemplateSpec, product *record.Product) error {
	for i, name := range spec.Columns {
		column, found := product.Column(name)
		if !found {
			return record.Refuse(record.CodeBadRequest, "column %d of the template is not in the product", i)
		}
		if column.Class.Kind != record.ClassAnswerOnly {
			return record.Refuse(record.CodeBadRequest, "column %d of the template is not ANSWER_ONLY", i)
		}
	}
	return nil
}

// RetireTemplate ends a template of the caller's member: every later request
// with it is denied. For officers.
func (*Contract) RetireTemplate(ctx *call.Context, templateID string) (string, error) {
	id := record.TemplateID(templateID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleOfficer)
	if err != nil {
		return "", err
	}
	template, err := call.Need[record.Template](ctx, record.TemplateKey(id), record.CodeNotFound, "template")
	if err != nil {
		return "", err
	}
	if template.Provider != caller.OrgID() {
		return "", record.Refuse(record.CodeForbidden, "template belongs to another member")
	}
	if template.RetiredAt != 0 {
		return "", record.Refuse(record.CodeWrongState, "template is already retired")
	}
	template.RetiredAt = caller.Now
	return ctx.Publish(record.TemplateKey(id), EventTemplate, template)
}
