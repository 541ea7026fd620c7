package fakenode

import "github.com/assent-network/assent/chaincode/record"

func (c *call) proposeTemplate() ([]byte, error) {
	spec, err := parse[record.TemplateSpec](c)
	if err != nil {
		return nil, err
	}
	h, err := spec.CodeHash()
	if err != nil {
		return nil, err
	}
	return c.publish("template-proposal", record.TemplateProposalKey(c.org, spec.TemplateID), &record.TemplateProposal{
		TemplateSpec: *spec, CodeHash: h, ProposedAt: c.now, ProposedBy: c.key, Provider: c.org, Status: record.TemplateProposed,
	})
}

// openTemplate is an open proposal of the caller's member.
func (c *call) openTemplate() (*record.TemplateProposal, error) {
	p, err := load[record.TemplateProposal](c, record.TemplateProposalKey(c.org, record.TemplateID(c.args[0])))
	if err != nil {
		return nil, err
	}
	if p.Status != record.TemplateProposed {
		return nil, refuse(record.CodeWrongState, "proposal is %s", p.Status)
	}
	p.SettledAt, p.SettledBy = c.now, c.key
	return p, nil
}

func (c *call) approveTemplate() ([]byte, error) {
	p, err := c.openTemplate()
	if err != nil {
		return nil, err
	}
	if p.ProposedBy == c.key {
		return nil, refuse(record.CodeForbidden, "this key proposed the template; another officer approves it")
	}
	if p.CodeHash.Hex() != c.args[1] {
		return nil, refuse(record.CodeBadRequest, "codeHash is not the one of the open proposal")
	}
	p.Status = record.TemplateApproved
	c.writes[record.TemplateProposalKey(c.org, p.TemplateID)] = must(p)
	return c.publish("template", record.TemplateKey(p.TemplateID), &record.Template{
		TemplateSpec: p.TemplateSpec, Provider: c.org, CodeHash: p.CodeHash, ApprovedAt: c.now, ApprovedBy: c.key,
		ProposedAt: p.ProposedAt, ProposedBy: p.ProposedBy,
	})
}

func (c *call) withdrawTemplate() ([]byte, error) {
	p, err := c.openTemplate()
	if err != nil {
		return nil, err
	}
	p.Status = record.TemplateWithdrawn
	return c.publish("template-proposal", record.TemplateProposalKey(c.org, p.TemplateID), p)
}
