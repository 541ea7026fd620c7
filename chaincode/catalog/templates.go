package catalog

import (
	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// ProposeTemplate proposes a query template for a product of the caller's member.
// Argument: record.TemplateSpec; result: record.TemplateProposal with the code
// hash. For officers. It is no template yet: another officer approves it. A
// template id is approved once; a proposal that was withdrawn may be followed by
// another.
func (*Contract) ProposeTemplate(ctx *call.Context, templateJSON string) (string, error) {
	spec, err := call.Argument[record.TemplateSpec](templateJSON)
	if err != nil {
		return "", err
	}
	caller, product, err := ownProduct(ctx, string(spec.ProductID), record.RoleOfficer)
	if err != nil {
		return "", err
	}
	if err := checkTemplate(ctx, spec, product); err != nil {
		return "", err
	}
	key := record.TemplateProposalKey(caller.OrgID(), spec.TemplateID)
	last, err := call.Get[record.TemplateProposal](ctx, key)
	if err != nil {
		return "", err
	}
	if last != nil && last.Status == record.TemplateProposed {
		return "", record.Refuse(record.CodeAlreadyExists, "a proposal under this id is open; approve or withdraw it")
	}
	hash, err := spec.CodeHash()
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return ctx.Publish(key, EventProposal, &record.TemplateProposal{
		TemplateSpec: *spec, CodeHash: hash, ProposedAt: caller.Now, ProposedBy: caller.Client.Address,
		Provider: caller.OrgID(), Status: record.TemplateProposed,
	})
}

// ApproveTemplate makes a proposal of the caller's member a template, for good.
// codeHash names the text that was read, so that nobody approves another one.
// Result: record.Template. For officers, with another key than proposed it.
func (*Contract) ApproveTemplate(ctx *call.Context, templateID, codeHash string) (string, error) {
	hash, err := record.ParseHash(codeHash)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	caller, proposal, err := openProposal(ctx, templateID)
	if err != nil {
		return "", err
	}
	if proposal.ProposedBy == caller.Client.Address {
		return "", record.Refuse(record.CodeForbidden, "this key proposed the template; another officer approves it")
	}
	if proposal.CodeHash != hash {
		return "", record.Refuse(record.CodeBadRequest, "codeHash is not the one of the open proposal")
	}
	product, err := call.Need[record.Product](ctx, record.ProductKey(proposal.ProductID), record.CodeNotFound, "product")
	if err != nil {
		return "", err
	}
	if err := checkTemplate(ctx, &proposal.TemplateSpec, product); err != nil {
		return "", err
	}
	settle(caller, proposal, record.TemplateApproved)
	if _, err := ctx.Put(record.TemplateProposalKey(proposal.Provider, proposal.TemplateID), proposal); err != nil {
		return "", err
	}
	if err := ctx.Index(record.TemplateIndex(proposal.ProductID, proposal.TemplateID)); err != nil {
		return "", err
	}
	return ctx.Publish(record.TemplateKey(proposal.TemplateID), EventTemplate, &record.Template{
		TemplateSpec: proposal.TemplateSpec, ApprovedAt: caller.Now, ApprovedBy: caller.Client.Address, CodeHash: hash,
		ProposedAt: proposal.ProposedAt, ProposedBy: proposal.ProposedBy, Provider: proposal.Provider,
	})
}

// WithdrawTemplate withdraws an open proposal of the caller's member. Result:
// record.TemplateProposal. For officers, the one who proposed it too.
func (*Contract) WithdrawTemplate(ctx *call.Context, templateID string) (string, error) {
	caller, proposal, err := openProposal(ctx, templateID)
	if err != nil {
		return "", err
	}
	settle(caller, proposal, record.TemplateWithdrawn)
	return ctx.Publish(record.TemplateProposalKey(proposal.Provider, proposal.TemplateID), EventProposal, proposal)
}

// openProposal returns the caller, an officer, and an open proposal of its member.
func openProposal(ctx *call.Context, templateID string) (*call.Caller, *record.TemplateProposal, error) {
	id := record.TemplateID(templateID)
	if err := call.Identifier(id); err != nil {
		return nil, nil, err
	}
	caller, err := ctx.Caller(record.RoleOfficer)
	if err != nil {
		return nil, nil, err
	}
	key := record.TemplateProposalKey(caller.OrgID(), id)
	proposal, err := call.Need[record.TemplateProposal](ctx, key, record.CodeNotFound, "proposal of this member")
	if err != nil {
		return nil, nil, err
	}
	if proposal.Status != record.TemplateProposed {
		return nil, nil, record.Refuse(record.CodeWrongState, "proposal is %s", proposal.Status)
	}
	return caller, proposal, nil
}

func settle(caller *call.Caller, proposal *record.TemplateProposal, status record.TemplateProposalStatus) {
	proposal.Status, proposal.SettledAt, proposal.SettledBy = status, caller.Now, caller.Client.Address
}

// checkTemplate refuses what could not become a template now.
func checkTemplate(ctx *call.Context, spec *record.TemplateSpec, product *record.Product) error {
	if product.RetiredAt != 0 {
		return record.Refuse(record.CodeProductRetired, "product is retired")
	}
	if err := checkColumns(spec, product); err != nil {
		return err
	}
	known, err := call.Get[record.Template](ctx, record.TemplateKey(spec.TemplateID))
	if err == nil && known != nil {
		return record.Refuse(record.CodeAlreadyExists, "template id is taken; new text takes a new id")
	}
	return err
}

// checkColumns keeps a template to columns whose class lets a single subject's
// answer out, a TOTAL template to one that may be added up, and a COHORT template to
// those for statistics.
func checkColumns(spec *record.TemplateSpec, product *record.Product) error {
	for i, name := range spec.Columns {
		column, found := product.Column(name)
		if !found {
			return record.Refuse(record.CodeBadRequest, "column %d of the template is not in the product", i)
		}
		if spec.Kind == record.CohortKind {
			if err := checkCohortColumn(spec, column, i); err != nil {
				return err
			}
			continue
		}
		if spec.Kind == record.Total {
			if column.Class.Kind != record.ClassSumOnly || column.Type != record.TypeInt {
				return record.Refuse(record.CodeBadRequest, "column %d of the template is not SUM_ONLY and INT", i)
			}
			continue
		}
		if column.Class.Kind != record.ClassAnswerOnly {
			return record.Refuse(record.CodeBadRequest, "column %d of the template is not ANSWER_ONLY", i)
		}
	}
	return nil
}

// checkCohortColumn keeps a COHORT template to columns for statistics, within what
// the class of each allows: its k, and its epsilon of a year.
func checkCohortColumn(spec *record.TemplateSpec, column *record.Column, i int) error {
	if column.Class.Kind != record.ClassStatOnly {
		return record.Refuse(record.CodeBadRequest, "column %d of the template is not STAT_ONLY", i)
	}
	if spec.Cohort.K < column.Class.K {
		return record.Refuse(record.CodeBadRequest, "cohort: k is below %d, which column %d of the template wants", column.Class.K, i)
	}
	if spec.Cohort.EpsilonMicro > column.Class.EpsilonMicro {
		return record.Refuse(record.CodeBadRequest, "cohort: one answer takes more than the %d millionths of epsilon that column %d of the template has for a year", column.Class.EpsilonMicro, i)
	}
	for s := range spec.Cohort.Statistics {
		if spec.Cohort.Statistics[s].Column == column.Name && column.Type != record.TypeInt {
			return record.Refuse(record.CodeBadRequest, "cohort: column %d of the template is not INT", i)
		}
	}
	return nil
}

// RetireTemplate ends a template of the caller's member: every later request
// with it is denied. For officers.
func (*Contract) RetireTemplate(ctx *call.Context, templateID string) (string, error) {
	id := record.TemplateID(templateID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleOfficer)
	if err != nil {
		return "", err
	}
	template, err := call.Need[record.Template](ctx, record.TemplateKey(id), record.CodeNotFound, "template")
	if err != nil {
		return "", err
	}
	if template.Provider != caller.OrgID() {
		return "", record.Refuse(record.CodeForbidden, "template belongs to another member")
	}
	if template.RetiredAt != 0 {
		return "", record.Refuse(record.CodeWrongState, "template is already retired")
	}
	template.RetiredAt = caller.Now
	return ctx.Publish(record.TemplateKey(id), EventTemplate, template)
}
