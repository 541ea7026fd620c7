package consent

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// RequestErasure records that the subject of a consent that has ended wants it
// forgotten: each holder of the sealed part destroys salt, keys and mapping, and
// signs for it. Evidence: the principal key's signature over ErasureRequest,
// brought by any member, or an evidence hash from an officer or integration of
// the provider. Result: record.Erasure.
func (*Contract) RequestErasure(ctx *call.Context, consentID, evidenceJSON string) (string, error) {
	evidence, err := call.Argument[record.Evidence](evidenceJSON)
	if err != nil {
		return "", err
	}
	caller, held, err := open(ctx, consentID)
	if err != nil {
		return "", err
	}
	switch {
	case held.Status == record.AwaitingAuthorisation || held.Status == record.Authorised:
		return "", record.Refuse(record.CodeWrongState, "consent has not ended on the ledger; reject, revoke or expire it first")
	case held.ErasureStatus != "":
		return "", record.Refuse(record.CodeWrongState, "erasure is %s", held.ErasureStatus)
	}
	digest := func(chainID record.Hash) (record.Hash, error) {
		return record.ErasureOf(&held.ConsentTerms).Digest(chainID)
	}
	if err := prove(ctx, caller, held, methodOf(evidence), evidence, digest); err != nil {
		return "", err
	}
	e := &record.Erasure{
		ConsentID: held.ConsentID, Consumer: held.Consumer(), Due: caller.Now + record.ErasurePeriod, EvidenceHash: evidence.EvidenceHash,
		OrgID: caller.OrgID(), Pending: parties(held), Provider: held.Provider(), RequestedAt: caller.Now, Signed: len(evidence.Signature) != 0,
	}
	for _, holder := range e.Pending {
		if err := ctx.Index(record.ErasureIndex(holder, e.Due, e.ConsentID)); err != nil {
			return "", err
		}
	}
	held.ErasureStatus = record.ErasureRequested
	if _, err := ctx.Put(record.ConsentKey(held.ConsentID), held); err != nil {
		return "", err
	}
	return ctx.Publish(record.ErasureKey(e.ConsentID), EventErasure, e)
}

// ConfirmErasure is one holder's erasure receipt: its sealed part, the salt, the
// keys and whatever connects the consent with a person are destroyed. With the
// last holder's, the consent becomes a tombstone. Result: record.Erasure. For
// officers, integrations and nodes of a party, once each; a lender that was given
// answers confirms their deletion first.
func (*Contract) ConfirmErasure(ctx *call.Context, consentID string) (string, error) {
	caller, held, err := open(ctx, consentID, record.RoleOfficer, record.RoleIntegration, record.RoleNode)
	if err != nil {
		return "", err
	}
	e, err := call.Need[record.Erasure](ctx, record.ErasureKey(held.ConsentID), record.CodeNotFound, "erasure: nobody asked for it")
	if err != nil {
		return "", err
	}
	if err := sign(caller, &e.Pending, &e.Receipts); err != nil {
		return "", err
	}
	if err := answersGone(ctx, caller, held); err != nil {
		return "", err
	}
	if err := ctx.Unindex(record.ErasureIndex(caller.OrgID(), e.Due, e.ConsentID)); err != nil {
		return "", err
	}
	if len(e.Pending) == 0 {
		e.ErasedAt = caller.Now
		if held.PrincipalKey != (record.Address{}) {
			if err := ctx.Unindex(record.PrincipalIndex(held.PrincipalKey, held.ConsentID)); err != nil {
				return "", err
			}
		}
		held.Entomb()
		if _, err := ctx.Put(record.ConsentKey(held.ConsentID), held); err != nil {
			return "", err
		}
	}
	return ctx.Publish(record.ErasureKey(e.ConsentID), EventErasure, e)
}

// answersGone refuses a lender that still owes its deletion receipt.
func answersGone(ctx *call.Context, caller *call.Caller, held *record.Consent) error {
	if caller.OrgID() != held.Consumer() {
		return nil
	}
	ended, err := call.Need[record.Termination](ctx, record.TerminationKey(held.ConsentID), record.CodeNotFound, "termination")
	if err != nil || ended.DeletionDue == 0 {
		return err
	}
	deleted, err := call.Get[record.Deletion](ctx, record.DeletionKey(held.ConsentID))
	if err == nil && deleted == nil {
		return record.Refuse(record.CodeWrongState, "answers given under this consent are not destroyed yet; confirm their deletion first")
	}
	return err
}
