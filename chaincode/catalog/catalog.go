// Package catalog is the contract that keeps what providers offer: data
// products, the query templates approved for them, their epochs, and the notice
// texts that subjects are shown.
//
// It promises that a product, a template and a notice never change once they
// are published: they can only be retired, or suspended by an authority, so a
// consent keeps meaning what the subject read. A template is proposed by one
// officer of its provider and approved by another; its code hash is computed
// here. Epochs count up by one, and what a provider will answer in one is anchored
// before it is opened and never changes after.
//
// It leaves to the node whether a template's source evaluates, and to the
// access contract what a retired product or template does to a request.
package catalog

import (
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// Names of the events.
const (
	EventNotice   = "notice"
	EventProduct  = "product"
	EventTemplate = "template"
	EventProposal = "template-proposal"
	EventEpoch    = "epoch"
	EventAnchor   = "anchor"
)

// Contract is the catalog contract.
type Contract struct{ contractapi.Contract }

// New makes the contract.
func New() *Contract {
	c := new(Contract)
	c.Name = record.ContractCatalog
	c.TransactionContextHandler = new(call.Context)
	return c
}

// GetEvaluateTransactions names the read functions.
func (*Contract) GetEvaluateTransactions() []string {
	return []string{"GetNotice", "GetProduct", "ListProducts", "GetTemplate", "ListTemplates", "GetEpoch", "GetTemplateProposal", "ListTemplateProposals", "GetAnchor", "ListAnchors"}
}

// PublishNotice publishes a notice text. Argument: record.NoticeSpec; result:
// record.Notice with its hash. For officers of providers and lenders.
func (*Contract) PublishNotice(ctx *call.Context, noticeJSON string) (string, error) {
	spec, err := call.Argument[record.NoticeSpec](noticeJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleOfficer)
	if err != nil {
		return "", err
	}
	if err := caller.MustBe(record.DataProvider, record.DataConsumer); err != nil {
		return "", err
	}
	hash, err := spec.Hash()
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	key := record.NoticeKey(hash)
	known, err := call.Get[record.Notice](ctx, key)
	if err != nil {
		return "", err
	}
	if known != nil {
		return "", record.Refuse(record.CodeAlreadyExists, "this notice is published")
	}
	return ctx.Publish(key, EventNotice, &record.Notice{
		NoticeSpec: *spec, NoticeHash: hash, OrgID: caller.OrgID(), PublishedAt: caller.Now,
	})
}

// PublishProduct publishes a data product of the caller's member. Argument:
// record.ProductSpec; result: record.Product. For officers of providers. A
// product id is used once; a new version is a new id.
func (*Contract) PublishProduct(ctx *call.Context, productJSON string) (string, error) {
	spec, err := call.Argument[record.ProductSpec](productJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleOfficer)
	if err != nil {
		return "", err
	}
	if err := caller.MustBe(record.DataProvider); err != nil {
		return "", err
	}
	key := record.ProductKey(spec.ProductID)
	known, err := call.Get[record.Product](ctx, key)
	if err != nil {
		return "", err
	}
	if known != nil {
		return "", record.Refuse(record.CodeAlreadyExists, "product id is taken; a new version takes a new id")
	}
	if err := ctx.Index(record.ProductIndex(caller.OrgID(), spec.ProductID)); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventProduct, &record.Product{
		ProductSpec: *spec, Provider: caller.OrgID(), PublishedAt: caller.Now, PublishedBy: caller.Client.Address,
	})
}

// RetireProduct ends a product of the caller's member: every later request on
// it is denied. For officers.
func (*Contract) RetireProduct(ctx *call.Context, productID string) (string, error) {
	caller, product, err := ownProduct(ctx, productID, record.RoleOfficer)
	if err != nil {
		return "", err
	}
	if product.RetiredAt != 0 {
		return "", record.Refuse(record.CodeWrongState, "product is already retired")
	}
	product.RetiredAt = caller.Now
	return ctx.Publish(record.ProductKey(product.ProductID), EventProduct, product)
}

// OpenEpoch opens the next accounting period of a product of the caller's
// member; epoch must be the number after the last one, so that a repeated call
// opens nothing. Result: record.Epoch. For officers and integrations.
func (*Contract) OpenEpoch(ctx *call.Context, productID, epoch string) (string, error) {
	number, err := call.Integer("epoch", epoch)
	if err != nil {
		return "", err
	}
	caller, product, err := ownProduct(ctx, productID, record.RoleOfficer, record.RoleIntegration)
	if err != nil {
		return "", err
	}
	if product.RetiredAt != 0 {
		return "", record.Refuse(record.CodeProductRetired, "product is retired")
	}
	key := record.EpochKey(product.ProductID)
	last, err := call.Get[record.Epoch](ctx, key)
	if err != nil {
		return "", err
	}
	want := uint64(1)
	if last != nil {
		want = last.Epoch + 1
	}
	if number != want {
		return "", record.Refuse(record.CodeWrongState, "epoch: the next one is %d", want)
	}
	return ctx.Publish(key, EventEpoch, &record.Epoch{
		Epoch: number, OpenedAt: caller.Now, OpenedBy: caller.Client.Address,
		ProductID: product.ProductID, Provider: product.Provider,
	})
}

// ownProduct returns the caller and a product that is its member's.
func ownProduct(ctx *call.Context, id string, roles ...record.ClientRole) (*call.Caller, *record.Product, error) {
	productID := record.ProductID(id)
	if err := call.Identifier(productID); err != nil {
		return nil, nil, err
	}
	caller, err := ctx.Caller(roles...)
	if err != nil {
		return nil, nil, err
	}
	product, err := call.Need[record.Product](ctx, record.ProductKey(productID), record.CodeNotFound, "product")
	if err != nil {
		return nil, nil, err
	}
	if product.Provider != caller.OrgID() {
		return nil, nil, record.Refuse(record.CodeForbidden, "product belongs to another member")
	}
	return caller, product, nil
}
