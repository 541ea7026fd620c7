package consent

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// checkSuperseded wants the newest version before this one, between the same
// parties. Another product is fine: a product's next version has an id of its own.
// What the subject declined must be declined again or asked for openly, so that
// it cannot get lost between two versions.
func checkSuperseded(ctx *call.Context, terms *record.ConsentTerms) error {
	if terms.Supersedes == "" {
		return nil
	}
	old, err := call.Need[record.Consent](ctx, record.ConsentKey(terms.Supersedes), record.CodeConsentUnknown, "superseded consent")
	if err != nil {
		return err
	}
	if old.Consumer() != terms.Consumer() || old.Provider() != terms.Provider() {
		return record.Refuse(record.CodeForbidden, "superseded consent is between other parties")
	}
	if terms.Version != old.Version+1 {
		return record.Refuse(record.CodeBadRequest, "version: want one more than the superseded consent's")
	}
	if err := stillNewest(old); err != nil {
		return err
	}
	for _, p := range old.DeclinedPurposes {
		if !record.HasItem(terms.DeclinedPurposes, p) && !record.HasItem(terms.Purposes, p) {
			return record.Refuse(record.CodePurposeDeclined, "declinedPurposes: what the subject declined is missing; list it there, or ask for it again under purposes")
		}
	}
	return nil
}

// stillNewest refuses to take the place of a version whose place is taken, or that
// never was in force: the versions of a consent are one line, and at most one of
// them stands.
func stillNewest(old *record.Consent) error {
	if !old.WasAuthorised() {
		return record.Refuse(record.CodeWrongState, "superseded consent never was in force; supersede the version before it, or begin anew")
	}
	if old.SupersededBy != "" {
		return record.Refuse(record.CodeWrongState, "superseded consent has given way to another version; supersede that one")
	}
	if old.ErasureStatus != "" {
		return record.Refuse(record.CodeWrongState, "superseded consent is erased, or its erasure is asked for; begin anew")
	}
	return nil
}

// endSuperseded ends the version before this one, if it has not ended: the
// subject signed, or told the provider, that this one takes its place. A purpose
// that the old version declined wants the subject's own signature here; the
// provider's word is not enough.
func endSuperseded(ctx *call.Context, caller *call.Caller, held *record.Consent) error {
	if held.Supersedes == "" {
		return nil
	}
	old, err := call.Need[record.Consent](ctx, record.ConsentKey(held.Supersedes), record.CodeConsentUnknown, "superseded consent")
	if err != nil {
		return err
	}
	if err := stillNewest(old); err != nil {
		return err
	}
	if held.Authorisation.Method == record.ProviderAuthenticated {
		for _, p := range old.DeclinedPurposes {
			if record.HasItem(held.Purposes, p) {
				return record.Refuse(record.CodePurposeDeclined, "a purpose that the subject declined wants its own signature: by wallet or in writing")
			}
		}
	}
	old.SupersededBy = held.ConsentID
	if old.EffectiveStatus(caller.Now) != record.Authorised { // it has ended by itself
		_, err = ctx.Put(record.ConsentKey(old.ConsentID), old)
		return err
	}
	_, err = finish(ctx, caller, old, record.Revoked, record.StatusReason{
		At: caller.Now, Code: record.ReasonSuperseded, Initiator: record.BySubject, OrgID: caller.OrgID(),
	})
	return err
}
