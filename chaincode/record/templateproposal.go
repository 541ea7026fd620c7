package record

// TemplateProposalStatus is how far a proposed template has come.
type TemplateProposalStatus string

const (
	TemplateProposed  TemplateProposalStatus = "PROPOSED"
	TemplateApproved  TemplateProposalStatus = "APPROVED"
	TemplateWithdrawn TemplateProposalStatus = "WITHDRAWN"
)

var templateProposalStatuses = []TemplateProposalStatus{TemplateProposed, TemplateApproved, TemplateWithdrawn}

// TemplateProposal is a query template that one officer of a provider proposes
// and another approves. A withdrawn one may be followed by another text under the
// same id: only what was approved is a template, and never changes.
type TemplateProposal struct {
	TemplateSpec
	CodeHash   Hash
	ProposedAt Millis
	ProposedBy Address
	Provider   OrgID
	SettledAt  Millis  // approved or withdrawn
	SettledBy  Address // who did it
	Status     TemplateProposalStatus
}

func (v *TemplateProposal) fields(c *codec) {
	number(c, "answerTtlMs", &v.AnswerTTL)
	hash(c, "codeHash", &v.CodeHash)
	optObject(c, "cohort", &v.Cohort)
	texts(c, "columns", &v.Columns, maxColumns, maxID)
	number(c, "costLimit", &v.CostLimit)
	enum(c, "kind", &v.Kind, templateKinds)
	texts(c, "outputs", &v.Outputs, maxOutputs, maxValue)
	objects(c, "params", &v.Params, maxParams)
	text(c, "productId", &v.ProductID, maxID)
	number(c, "proposedAt", &v.ProposedAt)
	address(c, "proposedBy", &v.ProposedBy)
	text(c, "provider", &v.Provider, maxID)
	optNumber(c, "settledAt", &v.SettledAt)
	optAddress(c, "settledBy", &v.SettledBy)
	text(c, "source", &v.Source, maxSource)
	enum(c, "status", &v.Status, templateProposalStatuses)
	text(c, "templateId", &v.TemplateID, maxID)
	number(c, "version", &v.Version)
}

// TemplateProposalList is every proposal of a provider, by template id.
type TemplateProposalList struct{ Proposals []TemplateProposal }

func (v *TemplateProposalList) fields(c *codec) { objects(c, "proposals", &v.Proposals, MaxList) }

func (*TemplateProposalList) maxSize() int { return maxListSize }
