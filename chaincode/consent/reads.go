package consent

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// Get returns record.Consent.
func (*Contract) Get(ctx *call.Context, consentID string) (string, error) {
	id := record.ConsentID(consentID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	held, err := ctx.Show(record.ConsentKey(id), "consent")
	if code, _ := record.CodeOf(err); code == record.CodeNotFound {
		return "", record.Refuse(record.CodeConsentUnknown, "no such consent")
	}
	return held, err
}

// ListByParty returns one record.ConsentPage of a party's consents, oldest
// first within a status; status "" lists every status in turn. The status is
// the recorded one: a consent that has run out stays where it was until Expire.
func (*Contract) ListByParty(ctx *call.Context, party, status, pageSize, bookmark string) (string, error) {
	if err := call.Identifier(record.OrgID(party)); err != nil {
		return "", err
	}
	if status != "" && !record.HasItem(record.Statuses(), record.Status(status)) {
		return "", record.Refuse(record.CodeBadRequest, "status: want one of %v", record.Statuses())
	}
	return listPage(ctx, record.ConsentIndexPrefix(record.OrgID(party), record.Status(status)), pageSize, bookmark)
}

// ListByPrincipal returns the first record.ConsentPage of the consents under one
// principal key: with a fresh key for every consent, the whole of them.
func (*Contract) ListByPrincipal(ctx *call.Context, principalKey string) (string, error) {
	key, err := record.ParseAddress(principalKey)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return listPage(ctx, record.PrincipalIndexPrefix(key), "100", "")
}

func listPage(ctx *call.Context, prefix, pageSize, bookmark string) (string, error) {
	consents, next, err := call.Page[record.Consent](ctx, prefix, pageSize, bookmark, func(id string) string {
		return record.ConsentKey(record.ConsentID(id))
	})
	if err != nil {
		return "", err
	}
	return call.Answer(&record.ConsentPage{Bookmark: next, Consents: consents})
}
