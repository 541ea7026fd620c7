package consent

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// open returns the caller, whose key is in force, and the consent. A suspended
// member may still bring a subject's no.
func open(ctx *call.Context, consentID string) (*call.Caller, *record.Consent, error) {
	id := record.ConsentID(consentID)
	if err := call.Identifier(id); err != nil {
		return nil, nil, err
	}
	caller, err := ctx.CallerEvenSuspended()
	if err != nil {
		return nil, nil, err
	}
	held, err := call.Need[record.Consent](ctx, record.ConsentKey(id), record.CodeConsentUnknown, "consent")
	return caller, held, err
}

// mustBe refuses a consent that is in another state, run out included.
func mustBe(held *record.Consent, now record.Millis, want record.Status) error {
	switch got := held.EffectiveStatus(now); {
	case got == want:
		return nil
	case got == record.Expired:
		return record.Refuse(record.CodeConsentExpired, "consent has run out")
	default:
		return record.Refuse(record.CodeWrongState, "consent is %s", got)
	}
}

// end is Reject and Revoke: both want the subject's no.
func end(ctx *call.Context, consentID, evidenceJSON string, reason record.Reason, from, to record.Status) (string, error) {
	evidence, err := call.Argument[record.Evidence](evidenceJSON)
	if err != nil {
		return "", err
	}
	caller, held, err := open(ctx, consentID)
	if err != nil {
		return "", err
	}
	if err := mustBe(held, caller.Now, from); err != nil {
		return "", err
	}
	method := record.Wallet
	if len(evidence.Signature) == 0 {
		method = record.ProviderAuthenticated
		if a := held.Authorisation; a != nil && a.Method != method {
			return "", record.Refuse(record.CodeMethodNotAllowed, "a consent given by wallet is withdrawn by wallet")
		}
	}
	digest := func(chainID record.Hash) (record.Hash, error) {
		return record.RevocationOf(&held.ConsentTerms, reason).Digest(chainID)
	}
	if err := prove(ctx, caller, held, method, evidence, digest); err != nil {
		return "", err
	}
	return move(ctx, held, to, record.StatusReason{
		At: caller.Now, Code: reason, EvidenceHash: evidence.EvidenceHash, Initiator: record.BySubject,
		OrgID: caller.OrgID(), Signature: evidence.Signature,
	})
}

// prove checks that the evidence is the subject's, in the way the method says.
func prove(ctx *call.Context, caller *call.Caller, held *record.Consent, method record.Method,
	evidence *record.Evidence, digest func(chainID record.Hash) (record.Hash, error)) error {
	switch method {
	case record.Wallet:
		if len(evidence.Signature) == 0 {
			return record.Refuse(record.CodeBadRequest, "evidence: WALLET wants a signature")
		}
		config, err := call.Need[record.OrderingConfig](ctx, record.ConfigKey, record.CodeNotFound, "ordering config")
		if err != nil {
			return err
		}
		sum, err := digest(config.ChainID)
		if err != nil {
			return record.Refuse(record.CodeBadRequest, "%v", err)
		}
		if err := record.Verify(sum, evidence.Signature, held.PrincipalKey); err != nil {
			return record.Refuse(record.CodeBadSignature, "%v", err)
		}
		return nil
	case record.ProviderAuthenticated:
		if len(evidence.Signature) != 0 {
			return record.Refuse(record.CodeBadRequest, "evidence: PROVIDER_AUTHENTICATED wants an evidenceHash")
		}
		if caller.OrgID() != held.Provider() {
			return record.Refuse(record.CodeForbidden, "caller's member is not the DATA_PROVIDER party")
		}
		if !caller.Client.HasRole(record.RoleOfficer, record.RoleIntegration) {
			return record.Refuse(record.CodeForbidden, "client key is neither officer nor integration")
		}
		return nil
	}
	return record.Refuse(record.CodeMethodNotAllowed, "method is not known")
}

// move writes the consent in its next state.
func move(ctx *call.Context, held *record.Consent, to record.Status, why record.StatusReason) (string, error) {
	from := held.Status
	enter(held, to, why)
	if err := index(ctx, held, from); err != nil {
		return "", err
	}
	return ctx.Publish(record.ConsentKey(held.ConsentID), EventConsent, held)
}

func enter(held *record.Consent, to record.Status, why record.StatusReason) {
	held.Status = to
	held.StatusReason = append(held.StatusReason, why)
	held.StatusUpdateDateTime = why.At
}

// index moves the consent's rows from the status it had, "" for none, to the
// one it has.
func index(ctx *call.Context, held *record.Consent, from record.Status) error {
	for _, party := range held.Parties {
		if from != "" {
			if err := ctx.Unindex(record.ConsentIndex(party.PartyID, from, held.CreatedAt, held.ConsentID)); err != nil {
				return err
			}
		}
		if err := ctx.Index(record.ConsentIndex(party.PartyID, held.Status, held.CreatedAt, held.ConsentID)); err != nil {
			return err
		}
	}
	return nil
}

// checkSuperseded wants the version before this one, between the same parties.
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
	return nil
}

// endSuperseded revokes the version before this one, if it has not ended: the
// subject signed, or told the provider, that this one takes its place.
func endSuperseded(ctx *call.Context, caller *call.Caller, held *record.Consent) error {
	if held.Supersedes == "" {
		return nil
	}
	old, err := call.Need[record.Consent](ctx, record.ConsentKey(held.Supersedes), record.CodeConsentUnknown, "superseded consent")
	if err != nil {
		return err
	}
	to := record.Revoked
	switch old.EffectiveStatus(caller.Now) {
	case record.Authorised:
	case record.AwaitingAuthorisation:
		to = record.Rejected
	default:
		return nil
	}
	from := old.Status
	enter(old, to, record.StatusReason{
		At: caller.Now, Code: record.ReasonSuperseded, Initiator: record.BySubject, OrgID: caller.OrgID(),
	})
	if err := index(ctx, old, from); err != nil {
		return err
	}
	_, err = ctx.Put(record.ConsentKey(old.ConsentID), old)
	return err
}
