package consent

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// checkAuthorisable refuses a method, or a consent that must not come into force
// now: of a product that is retired or suspended, or of a legal form that the
// method does not give.
func checkAuthorisable(ctx *call.Context, held *record.Consent, method record.Method) error {
	product, err := call.Need[record.Product](ctx, record.ProductKey(held.ProductID), record.CodeNotFound, "product")
	if err != nil {
		return err
	}
	if err := inForce(product); err != nil {
		return err
	}
	if !record.HasItem(product.Methods, method) {
		return record.Refuse(record.CodeMethodNotAllowed, "product does not accept this method")
	}
	if (held.ConsentType == record.Written) != (method == record.WrittenEvidence) {
		return record.Refuse(record.CodeMethodNotAllowed, "consentType WRITTEN goes with the method WRITTEN, and no other")
	}
	return nil
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
		return mustSpeak(caller)
	case record.WrittenEvidence:
		if len(evidence.Signature) != 0 {
			return record.Refuse(record.CodeBadRequest, "evidence: WRITTEN wants an evidenceHash")
		}
		if caller.OrgID() != held.Provider() && caller.OrgID() != held.Consumer() {
			return record.Refuse(record.CodeForbidden, "caller's member is no party of the consent")
		}
		return mustSpeak(caller)
	}
	return record.Refuse(record.CodeMethodNotAllowed, "method is not known")
}

// mustSpeak refuses a key that cannot say for its member what a customer did.
func mustSpeak(caller *call.Caller) error {
	if !caller.Client.HasRole(record.RoleOfficer, record.RoleIntegration) {
		return record.Refuse(record.CodeForbidden, "client key is neither officer nor integration")
	}
	return nil
}
