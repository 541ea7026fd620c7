package access

import "github.com/assent-network/assent/chaincode/record"

// Inputs is everything a decision depends on.
type Inputs struct {
	Now      record.Millis // block time
	InSet    bool          // asked as one bank's part of a total
	Request  *record.RequestSpec
	Consent  *record.Consent
	Usage    *record.Usage    // before this request
	Product  *record.Product  // the consent's; nil: not in the catalogue
	Template *record.Template // the one asked for; nil: the consent does not list it, or not in the catalogue
	Epoch    *record.Epoch    // the product's current one; nil: none opened
	Provider *record.Member   // who would answer; the lender was looked at before
}

// Decide permits or denies one use of a consent. The first line that applies,
// from the top, is the answer, so a denial names exactly one reason. Whether the
// caller may ask at all was settled before.
func Decide(in *Inputs) record.Code {
	consent, request := in.Consent, in.Request

	// Does the consent hold, at this block time?
	switch consent.EffectiveStatus(in.Now) {
	case record.Rejected:
		return record.CodeConsentRejected
	case record.Revoked:
		return record.CodeConsentRevoked
	case record.Expired:
		return record.CodeConsentExpired
	case record.AwaitingAuthorisation:
		return record.CodeConsentNotAuthorised
	}
	if in.Now < consent.ValidFrom {
		return record.CodeNotYetValid
	}

	// May its parties act?
	if in.Provider == nil || in.Provider.Suspension != nil {
		return record.CodeMemberSuspended
	}

	// Does it cover this question?
	if record.HasItem(consent.DeclinedPurposes, request.Purpose) {
		return record.CodePurposeDeclined
	}
	if !record.HasItem(consent.Purposes, request.Purpose) {
		return record.CodePurposeNotAllowed
	}
	if in.Product == nil || in.Product.RetiredAt != 0 {
		return record.CodeProductRetired
	}
	if in.Product.Suspension != nil {
		return record.CodeProductSuspended
	}
	if !record.HasItem(in.Product.Purposes, request.Purpose) {
		return record.CodePurposeNotAllowed
	}
	if !record.HasItem(consent.TemplateIDs, request.TemplateID) || in.Template == nil ||
		in.Template.ProductID != consent.ProductID || (in.Template.Kind == record.Total) != in.InSet || in.Template.Kind == record.CohortKind {
		return record.CodeTemplateNotAllowed
	}
	if in.Template.RetiredAt != 0 {
		return record.CodeTemplateRetired
	}
	if in.Template.Suspension != nil {
		return record.CodeTemplateSuspended
	}
	if !in.Template.Accepts(request.Params) {
		return record.CodeParameterNotAllowed
	}

	// Is there any of it left? On a Fabric network time may step back a little: a
	// day that has begun does not give way to the one before.
	if in.Usage.Uses >= consent.AccessLimits.MaxUses {
		return record.CodeUsesExhausted
	}
	if in.Usage.Day >= record.DayOf(in.Now) && in.Usage.DayUses >= consent.AccessLimits.FrequencyPerDay {
		return record.CodeFrequencyExceeded
	}

	// Can it be accounted for?
	if in.Epoch == nil {
		return record.CodeNoEpoch
	}
	return record.CodePermit
}
