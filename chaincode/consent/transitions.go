package consent

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// open returns the caller, whose key is in force and has one of the roles, if any
// are given, and the consent. A suspended member may still bring a subject's no.
func open(ctx *call.Context, consentID string, roles ...record.ClientRole) (*call.Caller, *record.Consent, error) {
	id := record.ConsentID(consentID)
	if err := call.Identifier(id); err != nil {
		return nil, nil, err
	}
	caller, err := ctx.CallerEvenSuspended(roles...)
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
	method, err := methodOfEnding(held, evidence)
	if err != nil {
		return "", err
	}
	digest := func(chainID record.Hash) (record.Hash, error) {
		return record.RevocationOf(&held.ConsentTerms, reason).Digest(chainID)
	}
	if err := prove(ctx, caller, held, method, evidence, digest); err != nil {
		return "", err
	}
	return terminate(ctx, caller, held, to, record.StatusReason{
		At: caller.Now, Code: reason, EvidenceHash: evidence.EvidenceHash, Initiator: record.BySubject,
		OrgID: caller.OrgID(), Signature: evidence.Signature,
	})
}

// methodOfEnding is the way in which the evidence shows the subject's no: by the
// wallet, or as the consent was given.
func methodOfEnding(held *record.Consent, evidence *record.Evidence) (record.Method, error) {
	if len(evidence.Signature) != 0 {
		return record.Wallet, nil
	}
	if held.ConsentType == record.Written {
		return record.WrittenEvidence, nil
	}
	if a := held.Authorisation; a != nil && a.Method == record.Wallet {
		return "", record.Refuse(record.CodeMethodNotAllowed, "a consent given by wallet is withdrawn by wallet")
	}
	return record.ProviderAuthenticated, nil
}

// mayEnd refuses a caller that is not who the initiator says.
func mayEnd(caller *call.Caller, held *record.Consent, by record.Initiator) error {
	if by == record.ByAuthority {
		if !caller.Client.HasRole(record.RoleOfficer) {
			return record.Refuse(record.CodeForbidden, "client key is no officer")
		}
		if err := caller.Member.Usable(); err != nil {
			return err
		}
		return caller.MustBe(record.Auditor)
	}
	if caller.OrgID() != held.Consumer() && caller.OrgID() != held.Provider() {
		return record.Refuse(record.CodeForbidden, "caller's member is no party of the consent")
	}
	return nil
}

// authorised makes a consent Authorised and ends the one it supersedes.
func authorised(ctx *call.Context, caller *call.Caller, held *record.Consent) (string, error) {
	if err := endSuperseded(ctx, caller, held); err != nil {
		return "", err
	}
	from := held.Status
	enter(held, record.Authorised, record.StatusReason{
		At: caller.Now, Code: record.ReasonAuthorised, Initiator: record.BySubject, OrgID: caller.OrgID(),
	})
	if err := index(ctx, held, from); err != nil {
		return "", err
	}
	return ctx.Publish(record.ConsentKey(held.ConsentID), EventConsent, held)
}

// terminate writes a consent in the state it ends in, with its termination.
func terminate(ctx *call.Context, caller *call.Caller, held *record.Consent, to record.Status, why record.StatusReason) (string, error) {
	written, err := finish(ctx, caller, held, to, why)
	if err != nil {
		return "", err
	}
	return string(written), ctx.Emit(EventConsent, written)
}

// finish is terminate without the event, for the version that another one ended.
func finish(ctx *call.Context, caller *call.Caller, held *record.Consent, to record.Status, why record.StatusReason) ([]byte, error) {
	from := held.Status
	enter(held, to, why)
	if err := index(ctx, held, from); err != nil {
		return nil, err
	}
	if err := recordTermination(ctx, caller, held, why); err != nil {
		return nil, err
	}
	return ctx.Put(record.ConsentKey(held.ConsentID), held)
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
