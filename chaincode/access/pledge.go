package access

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// RegisterPledge registers the hash by which the caller's member, the bank of a
// consent, commits itself to its figure about the subject, for a TOTAL template in
// the product's current epoch. Argument: record.PledgeSpec; result: record.Pledge.
// For integrations and nodes of the bank.
//
// A hash never changes: what was registered is what every total of the epoch will
// hold. Only the data key may be replaced, once it is no longer in force.
func (*Contract) RegisterPledge(ctx *call.Context, pledgeJSON string) (string, error) {
	spec, err := call.Argument[record.PledgeSpec](pledgeJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleIntegration, record.RoleNode)
	if err != nil {
		return "", err
	}
	template, err := pledgeable(ctx, caller, spec)
	if err != nil {
		return "", err
	}
	key, err := dataKeyOf(ctx, caller.OrgID(), spec.KeyID)
	if err != nil {
		return "", err
	}
	if key == nil || !key.Usable(caller.Now) {
		return "", record.Refuse(record.CodeNotFound, "keyId: no data key of this member in force")
	}
	at := record.PledgeKey(spec.ConsentID, spec.TemplateID, spec.Epoch)
	known, err := call.Get[record.Pledge](ctx, at)
	if err != nil {
		return "", err
	}
	if known != nil {
		if err := mayRenew(ctx, caller, known, spec); err != nil {
			return "", err
		}
	}
	return ctx.Publish(at, EventPledge, &record.Pledge{
		PledgeSpec: *spec, CodeHash: template.CodeHash, Provider: caller.OrgID(),
		RegisteredAt: caller.Now, RegisteredBy: caller.Client.Address,
	})
}

// pledgeable returns the TOTAL template of a pledge that could be asked for now.
func pledgeable(ctx *call.Context, caller *call.Caller, spec *record.PledgeSpec) (*record.Template, error) {
	consent, err := call.Need[record.Consent](ctx, record.ConsentKey(spec.ConsentID), record.CodeConsentUnknown, "consent")
	if err != nil {
		return nil, err
	}
	if consent.Provider() != caller.OrgID() {
		return nil, record.Refuse(record.CodeForbidden, "caller's member is not the consent's DATA_PROVIDER party")
	}
	if status := consent.EffectiveStatus(caller.Now); status != record.Authorised {
		return nil, record.Refuse(record.CodeWrongState, "consent is %s", status)
	}
	template, err := call.Get[record.Template](ctx, record.TemplateKey(spec.TemplateID))
	if err != nil {
		return nil, err
	}
	if template == nil || template.Kind != record.Total || !record.HasItem(consent.TemplateIDs, spec.TemplateID) || template.ProductID != consent.ProductID {
		return nil, record.Refuse(record.CodeTemplateNotAllowed, "templateId: no TOTAL template that the consent lists")
	}
	if template.RetiredAt != 0 {
		return nil, record.Refuse(record.CodeTemplateRetired, "template is retired")
	}
	epoch, err := call.Get[record.Epoch](ctx, record.EpochKey(template.ProductID))
	if err != nil {
		return nil, err
	}
	if epoch == nil || epoch.Epoch != spec.Epoch {
		return nil, record.Refuse(record.CodeWrongState, "epoch: not the product's current one")
	}
	return template, nil
}

// mayRenew refuses a second pledge, but for the same hash under another data key
// when the one it named is no longer in force.
func mayRenew(ctx *call.Context, caller *call.Caller, known *record.Pledge, spec *record.PledgeSpec) error {
	if known.Pledge != spec.Pledge {
		return record.Refuse(record.CodeAlreadyExists, "another pledge is registered; a figure is fixed for its epoch")
	}
	key, err := dataKeyOf(ctx, known.Provider, known.KeyID)
	if err != nil {
		return err
	}
	if known.KeyID == spec.KeyID || key != nil && key.Usable(caller.Now) {
		return record.Refuse(record.CodeAlreadyExists, "pledge is registered, and its data key in force")
	}
	return nil
}

func dataKeyOf(ctx *call.Context, org record.OrgID, id record.DataKeyID) (*record.DataKey, error) {
	return call.Shared[record.DataKey](ctx, record.DataKeyKey(org, id))
}

// GetPledge returns record.Pledge of a consent, a template and an epoch.
func (*Contract) GetPledge(ctx *call.Context, consentID, templateID, epoch string) (string, error) {
	consent, template := record.ConsentID(consentID), record.TemplateID(templateID)
	if err := call.Identifier(consent); err != nil {
		return "", err
	}
	if err := call.Identifier(template); err != nil {
		return "", err
	}
	number, err := call.Integer("epoch", epoch)
	if err != nil {
		return "", err
	}
	return ctx.Show(record.PledgeKey(consent, template, number), "pledge")
}
