package sdk

import (
	"context"
	"fmt"
	"iter"
	"strconv"

	"github.com/assent-network/assent/chaincode/record"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// Products manages data products, their notices and their epochs.
type Products struct{ c *Client }

// Products returns the manager of data products.
func (c *Client) Products() Products { return Products{c} }

// Publish publishes a data product of the caller's own member. Role: officer.
func (m Products) Publish(ctx context.Context, spec ProductSpec) (*Outcome, error) {
	return m.c.write(ctx, record.ContractCatalog, "PublishProduct", &spec)
}

// Retire ends a product: no new consent, no further permit. Role: officer.
func (m Products) Retire(ctx context.Context, id ProductID) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "RetireProduct", string(id))
}

// Get returns a product.
func (m Products) Get(ctx context.Context, id ProductID) (*Product, error) {
	return read[record.Product](ctx, m.c, record.ContractCatalog, "GetProduct", string(id))
}

// List yields the products of a provider, of every provider for "".
func (m Products) List(ctx context.Context, provider OrgID) iter.Seq2[*Product, error] {
	return all(func() ([]Product, error) {
		l, err := read[record.ProductList](ctx, m.c, record.ContractCatalog, "ListProducts", string(provider))
		if err != nil {
			return nil, err
		}
		return l.Products, nil
	})
}

// PublishNotice publishes a privacy notice and returns the hash by which
// consents name it. Role: officer.
func (m Products) PublishNotice(ctx context.Context, spec NoticeSpec) (Hash, *Outcome, error) {
	h, err := spec.Hash()
	if err != nil {
		return Hash{}, nil, &ConfigError{What: "notice", Cause: err, Remedy: "Correct the field that is named."}
	}
	o, err := m.c.write(ctx, record.ContractCatalog, "PublishNotice", &spec)
	return h, o, err
}

// Notice returns a published notice and checks that its text has that hash.
func (m Products) Notice(ctx context.Context, hash Hash) (*Notice, error) {
	n, err := read[record.Notice](ctx, m.c, record.ContractCatalog, "GetNotice", hash.Hex())
	if err != nil {
		return nil, err
	}
	if h, err := n.NoticeSpec.Hash(); err != nil || h != hash {
		return nil, &Untrusted{Node: "the node", What: "a notice", Cause: errNoticeHash}
	}
	return n, nil
}

// OpenEpoch opens a product's next accounting period: the current number plus
// one. Roles: officer, integration.
func (m Products) OpenEpoch(ctx context.Context, id ProductID, number uint64) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "OpenEpoch", string(id), strconv.FormatUint(number, 10))
}

// Epoch returns a product's current accounting period.
func (m Products) Epoch(ctx context.Context, id ProductID) (*Epoch, error) {
	return read[record.Epoch](ctx, m.c, record.ContractCatalog, "GetEpoch", string(id))
}

// Templates manages query templates.
type Templates struct{ c *Client }

// Templates returns the manager of query templates.
func (c *Client) Templates() Templates { return Templates{c} }

// Finding is something that keeps a template from being approved or answered, or
// that its author should know.
type Finding struct {
	Error  bool   // else a warning
	Field  string // of the template, e.g. "source"
	Line   uint32 // in the source, from 1; 0: not about a line
	Column uint32
	What   string
	Remedy string
}

// Check compiles a template on the provider's own node against the product it
// names. No Error among the findings means that it may be approved.
func (m Templates) Check(ctx context.Context, spec TemplateSpec) ([]Finding, error) {
	b, err := record.Encode(&spec)
	if err != nil {
		return nil, &ConfigError{What: "template", Cause: err, Remedy: "Correct the field that is named."}
	}
	resp, err := round(ctx, m.c, "check template", ownNode, func(ctx context.Context, e *endpoint) (*assentv1.CheckTemplateResponse, error) {
		return try(ctx, m.c, e, m.c.set.timeouts.Call, &assentv1.CheckTemplateRequest{TemplateJson: string(b)}, e.provider.CheckTemplate)
	})
	if err != nil {
		return nil, err
	}
	out := make([]Finding, len(resp.Findings))
	for i, f := range resp.Findings {
		out[i] = Finding{f.Severity == assentv1.Severity_SEVERITY_ERROR, f.Field, f.Line, f.Column, f.What, f.Remedy}
	}
	return out, nil
}

// Propose proposes a template for a product of the caller's own member and
// returns the code hash that names its text. Another officer approves it. Role:
// officer.
func (m Templates) Propose(ctx context.Context, spec TemplateSpec) (Hash, *Outcome, error) {
	h, err := spec.CodeHash()
	if err != nil {
		return Hash{}, nil, &ConfigError{What: "template", Cause: err, Remedy: "Correct the field that is named."}
	}
	o, err := m.c.write(ctx, record.ContractCatalog, "ProposeTemplate", &spec)
	return h, o, err
}

// Approve makes a proposed template of the caller's own member one that consents
// can name, for good. codeHash is that of the text which the approver read. Role:
// officer, with another key than proposed it.
func (m Templates) Approve(ctx context.Context, id TemplateID, codeHash Hash) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "ApproveTemplate", string(id), codeHash.Hex())
}

// Withdraw withdraws a proposed template of the caller's own member. Role: officer.
func (m Templates) Withdraw(ctx context.Context, id TemplateID) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "WithdrawTemplate", string(id))
}

// Proposal returns a proposed template and checks that its text has the code hash
// it claims.
func (m Templates) Proposal(ctx context.Context, provider OrgID, id TemplateID) (*TemplateProposal, error) {
	p, err := read[record.TemplateProposal](ctx, m.c, record.ContractCatalog, "GetTemplateProposal", string(provider), string(id))
	if err != nil {
		return nil, err
	}
	if h, err := p.TemplateSpec.CodeHash(); err != nil || h != p.CodeHash {
		return nil, &Untrusted{Node: "the node", What: "a proposed template", Cause: errCodeHash}
	}
	return p, nil
}

// Proposals yields a provider's proposed templates, settled ones too.
func (m Templates) Proposals(ctx context.Context, provider OrgID) iter.Seq2[*TemplateProposal, error] {
	return all(func() ([]TemplateProposal, error) {
		l, err := read[record.TemplateProposalList](ctx, m.c, record.ContractCatalog, "ListTemplateProposals", string(provider))
		if err != nil {
			return nil, err
		}
		return l.Proposals, nil
	})
}

// Retire ends a template: no further permit. Role: officer.
func (m Templates) Retire(ctx context.Context, id TemplateID) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "RetireTemplate", string(id))
}

// Get returns a template and checks that its text has the code hash it claims.
func (m Templates) Get(ctx context.Context, id TemplateID) (*Template, error) {
	t, err := read[record.Template](ctx, m.c, record.ContractCatalog, "GetTemplate", string(id))
	if err != nil {
		return nil, err
	}
	if h, err := t.TemplateSpec.CodeHash(); err != nil || h != t.CodeHash {
		return nil, &Untrusted{Node: "the node", What: "a template", Cause: errCodeHash}
	}
	return t, nil
}

// maxTemplates bounds how many templates a client remembers.
const maxTemplates = 256

// template returns the text that a code hash names. Such a text never changes, so
// it is fetched once.
func (c *Client) template(ctx context.Context, id TemplateID, codeHash Hash) (*Template, error) {
	c.mu.Lock()
	t := c.templates[codeHash]
	c.mu.Unlock()
	if t != nil {
		return t, nil
	}
	t, err := round(ctx, c, "read template "+string(id), anyNode, func(ctx context.Context, e *endpoint) (*Template, error) {
		b, err := c.evaluateAt(ctx, e, c.seen.Load(), record.ContractCatalog, "GetTemplate", string(id))
		if err != nil {
			return nil, err
		}
		t, err := record.Load[record.Template](b)
		if err == nil && t.TemplateID != id {
			err = fmt.Errorf("it is template %q", t.TemplateID)
		}
		if err == nil {
			var h Hash
			if h, err = t.TemplateSpec.CodeHash(); err == nil && h != codeHash {
				err = errCodeHash
			}
		}
		if err != nil {
			return nil, &Untrusted{Node: e.url, What: "template " + string(id), Cause: err}
		}
		return t, nil
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.templates) >= maxTemplates {
		clear(c.templates)
	}
	c.templates[codeHash] = t
	return t, nil
}

// List yields the templates of a product.
func (m Templates) List(ctx context.Context, product ProductID) iter.Seq2[*Template, error] {
	return all(func() ([]Template, error) {
		l, err := read[record.TemplateList](ctx, m.c, record.ContractCatalog, "ListTemplates", string(product))
		if err != nil {
			return nil, err
		}
		return l.Templates, nil
	})
}

// BindConsent records on the bank's own node for which customer the bank
// authorised a consent itself (method PROVIDER_AUTHENTICATED): without it such a
// consent answers NO_RECORD. A consent is bound once. Roles: officer, operator,
// integration of the provider.
func (c *Client) BindConsent(ctx context.Context, id ConsentID, subject string) error {
	_, err := round(ctx, c, "bind consent", ownNode, func(ctx context.Context, e *endpoint) (*assentv1.BindConsentResponse, error) {
		return try(ctx, c, e, c.set.timeouts.Call, &assentv1.BindConsentRequest{ConsentId: string(id), Subject: subject}, e.provider.BindConsent)
	})
	return err
}

// Bind records on the bank's own node, in a session in which the bank
// authenticated its customer, that a wallet is this customer's. Nothing of it
// goes on the ledger. Roles: officer, operator, integration.
func (c *Client) Bind(ctx context.Context, subject string, wallet Address) error {
	_, err := round(ctx, c, "bind wallet", ownNode, func(ctx context.Context, e *endpoint) (*assentv1.BindResponse, error) {
		return try(ctx, c, e, c.set.timeouts.Call, &assentv1.BindRequest{Subject: subject, Wallet: record.FormatAddress(wallet)}, e.provider.Bind)
	})
	return err
}

// Unbind forgets a customer's wallets on the bank's own node.
func (c *Client) Unbind(ctx context.Context, subject string) error {
	_, err := round(ctx, c, "unbind wallet", ownNode, func(ctx context.Context, e *endpoint) (*assentv1.UnbindResponse, error) {
		return try(ctx, c, e, c.set.timeouts.Call, &assentv1.UnbindRequest{Subject: subject}, e.provider.Unbind)
	})
	return err
}

// Suspend takes a product out of use until it is reinstated: requests that name it
// are denied. Roles: admin, officer of an AUDITOR.
func (m Products) Suspend(ctx context.Context, id ProductID, why SuspensionReason) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "SuspendProduct", string(id), string(why))
}

// Reinstate ends a product's suspension. Roles: as Suspend.
func (m Products) Reinstate(ctx context.Context, id ProductID) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "ReinstateProduct", string(id))
}

// Suspend takes a template out of use until it is reinstated. Roles: admin,
// officer of an AUDITOR.
func (m Templates) Suspend(ctx context.Context, id TemplateID, why SuspensionReason) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "SuspendTemplate", string(id), string(why))
}

// Reinstate ends a template's suspension. Roles: as Suspend.
func (m Templates) Reinstate(ctx context.Context, id TemplateID) (*Outcome, error) {
	return m.c.Invoke(ctx, record.ContractCatalog, "ReinstateTemplate", string(id))
}
