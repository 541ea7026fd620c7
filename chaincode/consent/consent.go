// Package consent is the contract that keeps consents: what a subject agreed
// to, and the state that agreement is in.
//
//	AwaitingAuthorisation → Authorised | Rejected | Expired
//	Authorised            → Revoked | Expired
//
// It promises that there is no other transition and no way back; that a consent
// becomes Authorised only by the subject's signature over every field of its
// terms or by the provider that authenticated the subject, as the product
// accepts; that the subject can end it the way it was given; and that expiry is
// block time, whether or not anybody has recorded it. A change is a new version
// that supersedes this one, and ends it when it is authorised.
//
// It leaves the use of a consent to the access contract, and the sealed part,
// which identifies the person, off the ledger altogether.
package consent

import (
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// EventConsent carries the consent a call wrote. When it is Authorised and
// supersedes another, that other one has ended in the same transaction.
const EventConsent = "consent"

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
	return []string{"Get", "ListByParty", "ListByPrincipal"}
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
// of the provider. A consent this one supersedes ends with it.
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
	product, err := call.Need[record.Product](ctx, record.ProductKey(held.ProductID), record.CodeNotFound, "product")
	if err != nil {
		return "", err
	}
	if product.RetiredAt != 0 {
		return "", record.Refuse(record.CodeProductRetired, "product is retired")
	}
	if !record.HasItem(product.Methods, record.Method(method)) {
		return "", record.Refuse(record.CodeMethodNotAllowed, "product does not accept this method")
	}
	digest := func(chainID record.Hash) (record.Hash, error) { return held.ConsentTerms.Digest(chainID) }
	if err := prove(ctx, caller, held, record.Method(method), evidence, digest); err != nil {
		return "", err
	}
	if err := endSuperseded(ctx, caller, held); err != nil {
		return "", err
	}
	held.Authorisation = &record.Authorisation{
		At: caller.Now, EvidenceHash: evidence.EvidenceHash, Method: record.Method(method),
		OrgID: caller.OrgID(), Signature: evidence.Signature,
	}
	return move(ctx, held, record.Authorised, record.StatusReason{
		At: caller.Now, Code: record.ReasonAuthorised, Initiator: record.BySubject, OrgID: caller.OrgID(),
	})
}

// Reject records that the subject refused. Evidence: record.Evidence with the
// principal key's signature over ConsentRevocation with reason REFUSED, brought
// by any member, or an evidence hash, from an officer or integration of the
// provider.
func (*Contract) Reject(ctx *call.Context, consentID, evidenceJSON string) (string, error) {
	return end(ctx, consentID, evidenceJSON, record.ReasonRefused, record.AwaitingAuthorisation, record.Rejected)
}

// Revoke ends an authorised consent from this block on. Initiator SUBJECT:
// evidence is the principal key's signature over ConsentRevocation with this
// reason, brought by any member, or, for a consent the provider authenticated,
// an evidence hash from an officer or integration of that provider. Other
// initiators are refused.
func (*Contract) Revoke(ctx *call.Context, consentID, initiator, reason, evidenceJSON string) (string, error) {
	if record.Initiator(initiator) != record.BySubject {
		return "", record.Refuse(record.CodeForbidden, "initiator: only SUBJECT")
	}
	if !record.HasItem(record.RevocationReasons(), record.Reason(reason)) {
		return "", record.Refuse(record.CodeBadRequest, "reason: want one of %v", record.RevocationReasons())
	}
	return end(ctx, consentID, evidenceJSON, record.Reason(reason), record.Authorised, record.Revoked)
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
	return move(ctx, held, record.Expired, record.StatusReason{
		At: caller.Now, Code: record.ReasonTimeElapsed, Initiator: record.ByTime, OrgID: caller.OrgID(),
	})
}
