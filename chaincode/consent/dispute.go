package consent

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// RaiseDispute records that the subject disputes data, or one answer, under a
// consent that is or was in force, and marks the consent: every later decision
// says so. Arguments: record.DisputeSpec and record.Evidence, which is the
// principal key's signature over DataDispute, brought by any member, or an
// evidence hash from an officer or integration of the provider. Result:
// record.Dispute with the day by which the provider settles it. One at a time.
func (*Contract) RaiseDispute(ctx *call.Context, disputeJSON, evidenceJSON string) (string, error) {
	spec, err := call.Argument[record.DisputeSpec](disputeJSON)
	if err != nil {
		return "", err
	}
	evidence, err := call.Argument[record.Evidence](evidenceJSON)
	if err != nil {
		return "", err
	}
	caller, held, err := open(ctx, string(spec.ConsentID))
	if err != nil {
		return "", err
	}
	if err := mayDispute(ctx, held, spec); err != nil {
		return "", err
	}
	digest := func(chainID record.Hash) (record.Hash, error) {
		return record.DisputeOf(&held.ConsentTerms, spec).Digest(chainID)
	}
	if err := prove(ctx, caller, held, methodOf(evidence), evidence, digest); err != nil {
		return "", err
	}
	d := &record.Dispute{
		ClaimCommitment: spec.ClaimCommitment, ConsentID: held.ConsentID, Consumer: held.Consumer(), DisputeID: spec.DisputeID,
		Due: caller.Now + record.ResolutionPeriod, EvidenceHash: evidence.EvidenceHash, Kind: spec.Kind, OrgID: caller.OrgID(),
		Provider: held.Provider(), RaisedAt: caller.Now, RequestID: spec.RequestID, Signed: len(evidence.Signature) != 0,
	}
	if err := ctx.Index(record.DisputeIndex(d.ConsentID, d.RaisedAt, d.DisputeID)); err != nil {
		return "", err
	}
	if err := ctx.Index(record.DisputeDueIndex(d.Provider, d.Due, d.ConsentID, d.DisputeID)); err != nil {
		return "", err
	}
	held.Disputed = true
	if _, err := ctx.Put(record.ConsentKey(held.ConsentID), held); err != nil {
		return "", err
	}
	return ctx.Publish(record.DisputeKey(d.ConsentID, d.DisputeID), EventDispute, d)
}

// methodOf is the way in which evidence about a consent that once stood shows
// what the subject wants.
func methodOf(evidence *record.Evidence) record.Method {
	if len(evidence.Signature) != 0 {
		return record.Wallet
	}
	return record.ProviderAuthenticated
}

func mayDispute(ctx *call.Context, held *record.Consent, spec *record.DisputeSpec) error {
	switch {
	case !held.WasAuthorised():
		return record.Refuse(record.CodeWrongState, "consent was never in force: there is nothing to dispute")
	case held.ErasureStatus == record.Erased:
		return record.Refuse(record.CodeWrongState, "consent is erased")
	case held.Disputed:
		return record.Refuse(record.CodeWrongState, "a dispute is open; the provider settles it first")
	}
	known, err := call.Get[record.Dispute](ctx, record.DisputeKey(held.ConsentID, spec.DisputeID))
	if err != nil {
		return err
	}
	if known != nil {
		return record.Refuse(record.CodeAlreadyExists, "dispute id is taken")
	}
	if spec.RequestID == "" {
		return nil
	}
	request, err := call.Need[record.Request](ctx, record.RequestKey(spec.RequestID), record.CodeNotFound, "request")
	if err != nil {
		return err
	}
	if request.ConsentID != held.ConsentID {
		return record.Refuse(record.CodeNotFound, "no such request under this consent")
	}
	return nil
}

// ResolveDispute records how the provider settled a dispute, late or not, and
// takes the mark off the consent. Argument: record.ResolutionSpec; result:
// record.Dispute. For officers of the provider.
func (*Contract) ResolveDispute(ctx *call.Context, resolutionJSON string) (string, error) {
	spec, err := call.Argument[record.ResolutionSpec](resolutionJSON)
	if err != nil {
		return "", err
	}
	caller, held, err := open(ctx, string(spec.ConsentID), record.RoleOfficer)
	if err != nil {
		return "", err
	}
	if caller.OrgID() != held.Provider() {
		return "", record.Refuse(record.CodeForbidden, "caller's member is not the DATA_PROVIDER party")
	}
	key := record.DisputeKey(held.ConsentID, spec.DisputeID)
	d, err := call.Need[record.Dispute](ctx, key, record.CodeNotFound, "dispute under this consent")
	if err != nil {
		return "", err
	}
	if d.Resolution != nil {
		return "", record.Refuse(record.CodeWrongState, "dispute is settled")
	}
	d.Resolution = &record.Resolution{
		At: caller.Now, ClientKey: caller.Client.Address, Outcome: spec.Outcome, Reason: spec.Reason, StatementHash: spec.StatementHash,
	}
	if err := ctx.Unindex(record.DisputeDueIndex(d.Provider, d.Due, d.ConsentID, d.DisputeID)); err != nil {
		return "", err
	}
	held.Disputed = false
	if _, err := ctx.Put(record.ConsentKey(held.ConsentID), held); err != nil {
		return "", err
	}
	return ctx.Publish(key, EventDispute, d)
}
