package catalog

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// GetNotice returns record.Notice by its hash.
func (*Contract) GetNotice(ctx *call.Context, noticeHash string) (string, error) {
	hash, err := record.ParseHash(noticeHash)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return ctx.Show(record.NoticeKey(hash), "notice")
}

// GetProduct returns record.Product.
func (*Contract) GetProduct(ctx *call.Context, productID string) (string, error) {
	return ctx.Show(record.ProductKey(record.ProductID(productID)), "product")
}

// ListProducts returns record.ProductList of one provider, or of all when
// provider is "", by product id, retired ones too.
func (*Contract) ListProducts(ctx *call.Context, provider string) (string, error) {
	products, err := listProducts(ctx, record.OrgID(provider))
	if err != nil {
		return "", err
	}
	return call.Answer(&record.ProductList{Products: products})
}

func listProducts(ctx *call.Context, provider record.OrgID) ([]record.Product, error) {
	if provider == "" {
		return call.List[record.Product](ctx, record.ProductPrefix())
	}
	if err := call.Identifier(provider); err != nil {
		return nil, err
	}
	return call.ListIndex[record.Product](ctx, record.ProductIndexPrefix(provider), func(id string) string {
		return record.ProductKey(record.ProductID(id))
	})
}

// GetTemplate returns record.Template.
func (*Contract) GetTemplate(ctx *call.Context, templateID string) (string, error) {
	return ctx.Show(record.TemplateKey(record.TemplateID(templateID)), "template")
}

// ListTemplates returns record.TemplateList of one product, by template id,
// retired ones too.
func (*Contract) ListTemplates(ctx *call.Context, productID string) (string, error) {
	id := record.ProductID(productID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	templates, err := call.ListIndex[record.Template](ctx, record.TemplateIndexPrefix(id), func(id string) string {
		return record.TemplateKey(record.TemplateID(id))
	})
	if err != nil {
		return "", err
	}
	return call.Answer(&record.TemplateList{Templates: templates})
}

// GetEpoch returns the product's current epoch, record.Epoch.
func (*Contract) GetEpoch(ctx *call.Context, productID string) (string, error) {
	return ctx.Show(record.EpochKey(record.ProductID(productID)), "epoch of this product")
}

// GetTemplateProposal returns record.TemplateProposal of a provider, settled or not.
func (*Contract) GetTemplateProposal(ctx *call.Context, provider, templateID string) (string, error) {
	if err := call.Identifier(record.OrgID(provider)); err != nil {
		return "", err
	}
	if err := call.Identifier(record.TemplateID(templateID)); err != nil {
		return "", err
	}
	return ctx.Show(record.TemplateProposalKey(record.OrgID(provider), record.TemplateID(templateID)), "proposal")
}

// ListTemplateProposals returns record.TemplateProposalList of one provider, by
// template id, settled ones too.
func (*Contract) ListTemplateProposals(ctx *call.Context, provider string) (string, error) {
	if err := call.Identifier(record.OrgID(provider)); err != nil {
		return "", err
	}
	list, err := call.List[record.TemplateProposal](ctx, record.TemplateProposalPrefix(record.OrgID(provider)))
	if err != nil {
		return "", err
	}
	return call.Answer(&record.TemplateProposalList{Proposals: list})
}
