// Package consent is the contract that keeps consents: what a subject agreed
// to, and the state that agreement is in.
//
//	AwaitingAuthorisation → Authorised | Rejected | Expired
//	Authorised            → Revoked | Expired
//
// It promises that there is no other transition and no way back; that a consent
// becomes Authorised only by the subject's signature over every field of its
// terms, by the provider that authenticated the subject, or by written evidence
// that the provider countersigned, as the product accepts; that the subject can
// end it the way it was given, a party and an authority with a reason; and that
// expiry is block time, whether or not anybody has recorded it. A change is a new
// version that supersedes this one, and ends it when it is authorised; what the
// subject declined stays declined until it signs otherwise.
//
// Each ending leaves a termination, which both parties acknowledge, and a day by
// which the lender destroys its answers. A subject may dispute data, with twenty
// days for the provider to settle it, and have an ended consent erased down to a
// tombstone.
//
// It leaves the use of a consent to the access contract, and the sealed part,
// which identifies the person, off the ledger altogether.
package consent

import (
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// Names of the events. EventConsent carries the consent a call wrote; when it is
// Authorised and supersedes another, that other one has ended in the same
// transaction, and whatever ends leaves its termination in that transaction.
const (
	EventConsent     = "consent"
	EventTermination = "termination"
	EventDeletion    = "deletion"
	EventDispute     = "dispute"
	EventErasure     = "erasure"
)

// Contract is the consent contract.
type Contract struct{ contractapi.Contract }

// New makes the contract.
func New() *Contract {
	c := new(Contract)
	c.Name = record.ContractConsent
	c.TransactionContextHandler = new(call.Context)
	return c
}

// GetEvaluateTransactions names the read functions.
func (*Contract) GetEvaluateTransactions() []string {
	return []string{
		"Get", "ListByParty", "ListByPrincipal", "GetTermination", "ListTerminations", "GetDeletion", "ListDeletionsDue",
		"GetDispute", "ListDisputes", "ListDisputesDue", "GetErasure", "ListErasuresDue",
	}
}

// Create records a consent that awaits its subject's authorisation. Argument:
// record.ConsentTerms; result: record.Consent. For integrations of the lender
// named in it.
func (*Contract) Create(ctx *call.Context, termsJSON string) (string, error) {
	terms, err := call.Argument[record.ConsentTerms](termsJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleIntegration)
	if err != nil {
		return "", err
	}
	if err := caller.MustBe(record.DataConsumer); err != nil {
		return "", err
	}
	if terms.Consumer() != caller.OrgID() {
		return "", record.Refuse(record.CodeForbidden, "caller's member is not the DATA_CONSUMER party")
	}
	if terms.ExpirationDateTime <= caller.Now {
		return "", record.Refuse(record.CodeConsentExpired, "expirationDateTime is already past")
	}
	known, err := call.Get[record.Consent](ctx, record.ConsentKey(terms.ConsentID))
	if err != nil {
		return "", err
	}
	if known != nil {
		return "", record.Refuse(record.CodeAlreadyExists, "consent id is taken")
	}
	if _, err := ctx.MemberActive(terms.Provider()); err != nil {
		return "", err
	}
	if err := checkCatalog(ctx, terms); err != nil {
		return "", err
	}
	if err := checkSuperseded(ctx, terms); err != nil {
		return "", err
	}
	next := &record.Consent{
		ConsentTerms: *terms, CreatedAt: caller.Now, CreatedBy: caller.Client.Address,
	}
	enter(next, record.AwaitingAuthorisation, record.StatusReason{
		At: caller.Now, Code: record.ReasonCreated, Initiator: record.ByParty, OrgID: caller.OrgID(),
	})
	if err := index(ctx, next, ""); err != nil {
		return "", err
	}
	if terms.PrincipalKey != (record.Address{}) {
		if err := ctx.Index(record.PrincipalIndex(terms.PrincipalKey, terms.ConsentID)); err != nil {
			return "", err
		}
	}
	return ctx.Publish(record.ConsentKey(terms.ConsentID), EventConsent, next)
}

// Authorise records that the subject agreed. Evidence: record.Evidence. WALLET:
// the principal key's signature over ConsentAuthorisation; any member may bring
// it. PROVIDER_AUTHENTICATED: an evidence hash, from an officer or integration
// of the provider. WRITTEN, which a consent of type WRITTEN wants and no other
// takes: a salted commitment to the signed document, from an officer or
// integration of lender or provider; the consent goes on waiting until the
// provider countersigns. A consent this one supersedes ends with it.
func (*Contract) Authorise(ctx *call.Context, consentID, method, evidenceJSON string) (string, error) {
	evidence, err := call.Argument[record.Evidence](evidenceJSON)
	if err != nil {
		return "", err
	}
	caller, held, err := open(ctx, consentID)
	if err != nil {
		return "", err
	}
	if err := caller.Member.Usable(); err != nil {
		return "", err
	}
	if err := mustBe(held, caller.Now, record.AwaitingAuthorisation); err != nil {
		return "", err
	}
	if held.Authorisation != nil {
		return "", record.Refuse(record.CodeWrongState, "written evidence is there already; the provider countersigns it, or the subject rejects")
	}
	if err := checkAuthorisable(ctx, held, record.Method(method)); err != nil {
		return "", err
	}
	digest := func(chainID record.Hash) (record.Hash, error) { return held.ConsentTerms.Digest(chainID) }
	if err := prove(ctx, caller, held, record.Method(method), evidence, digest); err != nil {
		return "", err
	}
	held.Authorisation = &record.Authorisation{
		At: caller.Now, EvidenceHash: evidence.EvidenceHash, Method: record.Method(method),
		OrgID: caller.OrgID(), Signature: evidence.Signature,
	}
	if !held.WasAuthorised() {
		held.Authorisation.ClientKey = caller.Client.Address
		enter(held, held.Status, record.StatusReason{
			At: caller.Now, Code: record.ReasonEvidence, EvidenceHash: evidence.EvidenceHash, Initiator: record.ByParty, OrgID: caller.OrgID(),
		})
		return ctx.Publish(record.ConsentKey(held.ConsentID), EventConsent, held)
	}
	return authorised(ctx, caller, held)
}

// Countersign makes a consent with written evidence Authorised: an officer of the
// provider has seen the document. evidenceHash is the commitment that was brought
// with it, so that nobody countersigns another one. The key is not the one that
// brought the evidence.
func (*Contract) Countersign(ctx *call.Context, consentID, evidenceHash string) (string, error) {
	hash, err := record.ParseHash(evidenceHash)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	caller, held, err := open(ctx, consentID, record.RoleOfficer)
	if err != nil {
		return "", err
	}
	if err := caller.Member.Usable(); err != nil {
		return "", err
	}
	if caller.OrgID() != held.Provider() {
		return "", record.Refuse(record.CodeForbidden, "caller's member is not the DATA_PROVIDER party")
	}
	if err := mustBe(held, caller.Now, record.AwaitingAuthorisation); err != nil {
		return "", err
	}
	if held.Authorisation == nil {
		return "", record.Refuse(record.CodeWrongState, "there is no written evidence yet")
	}
	if held.Authorisation.EvidenceHash != hash {
		return "", record.Refuse(record.CodeBadRequest, "evidenceHash is not the one that was brought")
	}
	if held.Authorisation.ClientKey == caller.Client.Address {
		return "", record.Refuse(record.CodeForbidden, "this key brought the evidence; another officer countersigns")
	}
	if err := checkAuthorisable(ctx, held, record.WrittenEvidence); err != nil {
		return "", err
	}
	held.Authorisation.Countersignature = &record.Acknowledgement{At: caller.Now, ClientKey: caller.Client.Address, OrgID: caller.OrgID()}
	return authorised(ctx, caller, held)
}

// Reject records that the subject refused. Evidence: record.Evidence with the
// principal key's signature over ConsentRevocation with reason REFUSED, brought
// by any member, or an evidence hash, from an officer or integration of the
// provider.
func (*Contract) Reject(ctx *call.Context, consentID, evidenceJSON string) (string, error) {
	return end(ctx, consentID, evidenceJSON, record.ReasonRefused, record.AwaitingAuthorisation, record.Rejected)
}

// Revoke ends an authorised consent from this block on, for one of the reasons
// that its initiator may give (record.RevocationReasonsOf). SUBJECT: evidence is
// the principal key's signature over ConsentRevocation with this reason, brought
// by any member, or, for a consent not given by wallet, an evidence hash from an
// officer or integration of the provider (of a written one, of the lender too).
// PARTY: a salted commitment to the party's own file, from an officer or
// integration of the lender or the provider. AUTHORITY: the same from an officer
// of a member that is AUDITOR.
func (*Contract) Revoke(ctx *call.Context, consentID, initiator, reason, evidenceJSON string) (string, error) {
	by := record.Initiator(initiator)
	allowed := record.RevocationReasonsOf(by)
	if allowed == nil {
		return "", record.Refuse(record.CodeBadRequest, "initiator: want SUBJECT, PARTY or AUTHORITY")
	}
	if !record.HasItem(allowed, record.Reason(reason)) {
		return "", record.Refuse(record.CodeBadRequest, "reason: want one of %v", allowed)
	}
	if by == record.BySubject {
		return end(ctx, consentID, evidenceJSON, record.Reason(reason), record.Authorised, record.Revoked)
	}
	evidence, err := call.Argument[record.Evidence](evidenceJSON)
	if err != nil {
		return "", err
	}
	if len(evidence.Signature) != 0 {
		return "", record.Refuse(record.CodeBadRequest, "evidence: %s wants an evidenceHash", by)
	}
	caller, held, err := open(ctx, consentID, record.RoleOfficer, record.RoleIntegration)
	if err != nil {
		return "", err
	}
	if err := mayEnd(caller, held, by); err != nil {
		return "", err
	}
	if err := mustBe(held, caller.Now, record.Authorised); err != nil {
		return "", err
	}
	return terminate(ctx, caller, held, record.Revoked, record.StatusReason{
		At: caller.Now, Code: record.Reason(reason), EvidenceHash: evidence.EvidenceHash, Initiator: by, OrgID: caller.OrgID(),
	})
}

// Expire records that a consent has run out. Anybody may, once block time has
// reached its expiration; requests are denied from then on regardless.
func (*Contract) Expire(ctx *call.Context, consentID string) (string, error) {
	caller, held, err := open(ctx, consentID)
	if err != nil {
		return "", err
	}
	if held.Status != record.AwaitingAuthorisation && held.Status != record.Authorised {
		return "", record.Refuse(record.CodeWrongState, "consent is %s", held.Status)
	}
	if caller.Now < held.ExpirationDateTime {
		return "", record.Refuse(record.CodeWrongState, "consent has not run out")
	}
	return terminate(ctx, caller, held, record.Expired, record.StatusReason{
		At: caller.Now, Code: record.ReasonTimeElapsed, Initiator: record.ByTime, OrgID: caller.OrgID(),
	})
}
