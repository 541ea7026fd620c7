package access

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// GetRequest returns record.Request.
func (*Contract) GetRequest(ctx *call.Context, requestID string) (string, error) {
	id := record.RequestID(requestID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return ctx.Show(record.RequestKey(id), "request")
}

// GetReceipt returns record.Receipt by the request's id.
func (*Contract) GetReceipt(ctx *call.Context, requestID string) (string, error) {
	id := record.RequestID(requestID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return ctx.Show(record.ReceiptKey(id), "receipt")
}

// Usage returns record.Usage; before the first request there is none.
func (*Contract) Usage(ctx *call.Context, consentID string) (string, error) {
	id := record.ConsentID(consentID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return ctx.Show(record.UsageKey(id), "usage: the consent was never asked for")
}

// ListByConsent returns one record.RequestPage of a consent's requests, in the
// order of its usage chain.
func (*Contract) ListByConsent(ctx *call.Context, consentID, pageSize, bookmark string) (string, error) {
	id := record.ConsentID(consentID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return listPage(ctx, record.RequestConsentPrefix(id), pageSize, bookmark)
}

// ListByParty returns one record.RequestPage of the requests a party made or has
// to answer, oldest first.
func (*Contract) ListByParty(ctx *call.Context, party, pageSize, bookmark string) (string, error) {
	id := record.OrgID(party)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return listPage(ctx, record.RequestPartyPrefix(id), pageSize, bookmark)
}

func listPage(ctx *call.Context, prefix, pageSize, bookmark string) (string, error) {
	requests, next, err := call.Page[record.Request](ctx, prefix, pageSize, bookmark, func(id string) string {
		return record.RequestKey(record.RequestID(id))
	})
	if err != nil {
		return "", err
	}
	return call.Answer(&record.RequestPage{Bookmark: next, Requests: requests})
}
