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

// GetTermination returns record.Termination of a consent that has ended.
func (*Contract) GetTermination(ctx *call.Context, consentID string) (string, error) {
	return show(ctx, consentID, record.TerminationKey, "termination")
}

// GetDeletion returns record.Deletion, the lender's deletion receipt.
func (*Contract) GetDeletion(ctx *call.Context, consentID string) (string, error) {
	return show(ctx, consentID, record.DeletionKey, "deletion receipt")
}

// GetErasure returns record.Erasure.
func (*Contract) GetErasure(ctx *call.Context, consentID string) (string, error) {
	return show(ctx, consentID, record.ErasureKey, "erasure")
}

// GetDispute returns record.Dispute.
func (*Contract) GetDispute(ctx *call.Context, consentID, disputeID string) (string, error) {
	id := record.DisputeID(disputeID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return show(ctx, consentID, func(consent record.ConsentID) string { return record.DisputeKey(consent, id) }, "dispute")
}

func show(ctx *call.Context, consentID string, key func(record.ConsentID) string, what string) (string, error) {
	id := record.ConsentID(consentID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return ctx.Show(key(id), what)
}

// ListTerminations returns one record.TerminationPage of the endings that a party
// has not acknowledged, oldest first.
func (*Contract) ListTerminations(ctx *call.Context, party, pageSize, bookmark string) (string, error) {
	if err := call.Identifier(record.OrgID(party)); err != nil {
		return "", err
	}
	return terminations(ctx, record.TerminationIndexPrefix(record.OrgID(party)), "0", pageSize, bookmark)
}

// ListDeletionsDue returns one record.TerminationPage of the endings after which
// a lender has yet to destroy its answers, those due first first. dueBefore "0"
// lists all, a block time those that were due before it.
func (*Contract) ListDeletionsDue(ctx *call.Context, consumer, dueBefore, pageSize, bookmark string) (string, error) {
	if err := call.Identifier(record.OrgID(consumer)); err != nil {
		return "", err
	}
	return terminations(ctx, record.DeletionIndexPrefix(record.OrgID(consumer)), dueBefore, pageSize, bookmark)
}

func terminations(ctx *call.Context, prefix, before, pageSize, bookmark string) (string, error) {
	list, next, err := call.PageDue[record.Termination](ctx, prefix, before, pageSize, bookmark, func(id string) string {
		return record.TerminationKey(record.ConsentID(id))
	})
	if err != nil {
		return "", err
	}
	return call.Answer(&record.TerminationPage{Bookmark: next, Terminations: list})
}

// ListErasuresDue returns one record.ErasurePage of the erasures that a holder
// has not signed, those due first first; dueBefore as in ListDeletionsDue.
func (*Contract) ListErasuresDue(ctx *call.Context, holder, dueBefore, pageSize, bookmark string) (string, error) {
	if err := call.Identifier(record.OrgID(holder)); err != nil {
		return "", err
	}
	list, next, err := call.PageDue[record.Erasure](ctx, record.ErasureIndexPrefix(record.OrgID(holder)), dueBefore, pageSize, bookmark,
		func(id string) string { return record.ErasureKey(record.ConsentID(id)) })
	if err != nil {
		return "", err
	}
	return call.Answer(&record.ErasurePage{Bookmark: next, Erasures: list})
}

// ListDisputes returns one record.DisputePage of a consent's disputes, settled
// ones too, oldest first.
func (*Contract) ListDisputes(ctx *call.Context, consentID, pageSize, bookmark string) (string, error) {
	id := record.ConsentID(consentID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	return disputes(ctx, record.DisputeIndexPrefix(id), "0", pageSize, bookmark)
}

// ListDisputesDue returns one record.DisputePage of the disputes that a provider
// has not settled, those due first first; dueBefore as in ListDeletionsDue.
func (*Contract) ListDisputesDue(ctx *call.Context, provider, dueBefore, pageSize, bookmark string) (string, error) {
	if err := call.Identifier(record.OrgID(provider)); err != nil {
		return "", err
	}
	return disputes(ctx, record.DisputeDueIndexPrefix(record.OrgID(provider)), dueBefore, pageSize, bookmark)
}

func disputes(ctx *call.Context, prefix, before, pageSize, bookmark string) (string, error) {
	list, next, err := call.PageDue[record.Dispute](ctx, prefix, before, pageSize, bookmark, record.DisputeKeyOf)
	if err != nil {
		return "", err
	}
	return call.Answer(&record.DisputePage{Bookmark: next, Disputes: list})
}
