package consent

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// checkCatalog refuses terms that could never be used as the subject would read
// them: an unknown notice, a suspended provider, a product of another provider, a template, purpose,
// data class or processing method that the catalogue does not bear out.
func checkCatalog(ctx *call.Context, terms *record.ConsentTerms) error {
	if _, err := call.Need[record.Notice](ctx, record.NoticeKey(terms.NoticeHash), record.CodeNotFound, "notice"); err != nil {
		return err
	}
	product, err := call.Need[record.Product](ctx, record.ProductKey(terms.ProductID), record.CodeNotFound, "product")
	if err != nil {
		return err
	}
	if product.Provider != terms.Provider() {
		return record.Refuse(record.CodeForbidden, "the DATA_PROVIDER party does not offer this product")
	}
	// The lender is the caller, who was looked at.
	if _, err := ctx.MemberActive(terms.Provider()); err != nil {
		return err
	}
	if err := inForce(product); err != nil {
		return err
	}
	for _, purpose := range terms.Purposes {
		if !record.HasItem(product.Purposes, purpose) {
			return record.Refuse(record.CodePurposeNotAllowed, "product does not accept one of the purposes")
		}
	}
	for i, id := range terms.TemplateIDs {
		template, err := call.Get[record.Template](ctx, record.TemplateKey(id))
		if err != nil {
			return err
		}
		if err := checkTemplate(terms, product, template); err != nil {
			return record.Refuse(err.Code, "template %d: %s", i, err.Detail)
		}
	}
	return nil
}

// inForce refuses a product under which nothing may be agreed now.
func inForce(product *record.Product) error {
	if product.RetiredAt != 0 {
		return record.Refuse(record.CodeProductRetired, "product is retired")
	}
	if product.Suspension != nil {
		return record.Refuse(record.CodeProductSuspended, "product is suspended by an authority")
	}
	return nil
}

func checkTemplate(terms *record.ConsentTerms, product *record.Product, template *record.Template) *record.Refusal {
	switch {
	case template == nil || template.ProductID != product.ProductID:
		return &record.Refusal{Code: record.CodeTemplateNotAllowed, Detail: "is not of this product"}
	case template.RetiredAt != 0:
		return &record.Refusal{Code: record.CodeTemplateRetired, Detail: "is retired"}
	case template.Suspension != nil:
		return &record.Refusal{Code: record.CodeTemplateSuspended, Detail: "is suspended by an authority"}
	case !record.HasItem(terms.ProcessingMethods, template.Kind):
		return &record.Refusal{Code: record.CodeBadRequest, Detail: "its kind is not among processingMethods"}
	}
	for _, name := range template.Columns {
		column, found := product.Column(name)
		if !found || !record.HasItem(terms.DataClasses, column.DataClass) {
			return &record.Refusal{Code: record.CodeBadRequest, Detail: "reads a data class that is not among dataClasses"}
		}
	}
	return nil
}
