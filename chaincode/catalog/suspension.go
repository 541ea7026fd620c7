package catalog

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// SuspendProduct takes a product out of use until it is reinstated: requests on
// it are denied, and no consent to it is created or authorised. Arguments: the
// product and a record.SuspensionReason; result: record.Product. For admins and
// officers of an authority, a member with the role AUDITOR.
func (*Contract) SuspendProduct(ctx *call.Context, productID, reason string) (string, error) {
	return holdProduct(ctx, productID, reason, true)
}

// ReinstateProduct ends a product's suspension. For admins and officers of any
// authority.
func (*Contract) ReinstateProduct(ctx *call.Context, productID string) (string, error) {
	return holdProduct(ctx, productID, "", false)
}

// SuspendTemplate takes a query template out of use until it is reinstated.
// Arguments: the template and a record.SuspensionReason; result: record.Template.
// For admins and officers of an authority.
func (*Contract) SuspendTemplate(ctx *call.Context, templateID, reason string) (string, error) {
	return holdTemplate(ctx, templateID, reason, true)
}

// ReinstateTemplate ends a template's suspension. For admins and officers of any
// authority.
func (*Contract) ReinstateTemplate(ctx *call.Context, templateID string) (string, error) {
	return holdTemplate(ctx, templateID, "", false)
}

func holdProduct(ctx *call.Context, productID, reason string, hold bool) (string, error) {
	id := record.ProductID(productID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	caller, err := authority(ctx, reason, hold)
	if err != nil {
		return "", err
	}
	product, err := call.Need[record.Product](ctx, record.ProductKey(id), record.CodeNotFound, "product")
	if err != nil {
		return "", err
	}
	if err := setHold(caller, &product.Suspension, reason, hold); err != nil {
		return "", err
	}
	return ctx.Publish(record.ProductKey(id), EventProduct, product)
}

func holdTemplate(ctx *call.Context, templateID, reason string, hold bool) (string, error) {
	id := record.TemplateID(templateID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	caller, err := authority(ctx, reason, hold)
	if err != nil {
		return "", err
	}
	template, err := call.Need[record.Template](ctx, record.TemplateKey(id), record.CodeNotFound, "template")
	if err != nil {
		return "", err
	}
	if err := setHold(caller, &template.Suspension, reason, hold); err != nil {
		return "", err
	}
	return ctx.Publish(record.TemplateKey(id), EventTemplate, template)
}

// authority returns the caller, who speaks for an authority.
func authority(ctx *call.Context, reason string, hold bool) (*call.Caller, error) {
	if hold && !record.HasItem(record.SuspensionReasons(), record.SuspensionReason(reason)) {
		return nil, record.Refuse(record.CodeBadRequest, "reason: want one of %v", record.SuspensionReasons())
	}
	caller, err := ctx.Caller(record.RoleAdmin, record.RoleOfficer)
	if err != nil {
		return nil, err
	}
	return caller, caller.MustBe(record.Auditor)
}

func setHold(caller *call.Caller, held **record.Suspension, reason string, hold bool) error {
	switch {
	case hold && *held != nil:
		return record.Refuse(record.CodeWrongState, "it is already suspended")
	case !hold && *held == nil:
		return record.Refuse(record.CodeWrongState, "it is not suspended")
	}
	*held = nil
	if hold {
		*held = &record.Suspension{
			At: caller.Now, ClientKey: caller.Client.Address, OrgID: caller.OrgID(), Reason: record.SuspensionReason(reason),
		}
	}
	return nil
}
