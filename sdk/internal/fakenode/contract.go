package fakenode

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// call is one execution of a contract function.
type call struct {
	n      *Network
	org    record.OrgID
	key    record.Address
	txID   ledger.Hash
	now    record.Millis
	height uint64
	args   []string

	writes    map[string][]byte
	events    []ledger.Event
	permitted []*record.Request
	approved  *ledger.Update // has its approvals with this call
}

func refuse(code record.Code, format string, args ...any) error {
	return &record.Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

func (c *call) run(contract, function string, args [][]byte) ([]byte, error) {
	f, ok := functions[contract+"."+function]
	if !ok {
		return nil, refuse(record.CodeUnknownFunction, "no function %s.%s", contract, function)
	}
	for _, a := range args {
		c.args = append(c.args, string(a))
	}
	if len(c.args) != f.args {
		return nil, refuse(record.CodeUnknownFunction, "%d arguments", len(c.args))
	}
	if f.write != (c.writes != nil) {
		return nil, refuse(record.CodeReadOnlyFunction, "%s", function)
	}
	if f.write {
		client, err := load[record.Client](c, record.ClientKey(c.org, c.key))
		if err != nil {
			return nil, refuse(record.CodeUnknownKey, "client key is not registered")
		}
		if !client.HasRole(f.roles...) && len(f.roles) > 0 {
			return nil, refuse(record.CodeForbidden, "client key has none of the roles %v", f.roles)
		}
	}
	return f.do(c)
}

func load[T any, P interface {
	*T
	record.Record
}](c *call, key string) (*T, error) {
	b, ok := c.n.rows[key]
	if !ok {
		return nil, refuse(record.CodeNotFound, "no record")
	}
	return record.Load[T, P](b)
}

func (c *call) publish(name, key string, r record.Record) ([]byte, error) {
	b, err := record.Encode(r)
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	contract, _, _ := strings.Cut(key, "/")
	c.writes[key] = b
	c.events = append(c.events, ledger.Event{Contract: contract, Name: name, Payload: b})
	return b, nil
}

type function struct {
	args  int
	write bool
	roles []record.ClientRole
	do    func(c *call) ([]byte, error)
}

func show(key func(c *call) string) function {
	return function{args: 1, do: func(c *call) ([]byte, error) {
		b, ok := c.n.rows[key(c)]
		if !ok {
			return nil, refuse(record.CodeNotFound, "no record")
		}
		return b, nil
	}}
}

// scan loads every row under a prefix, by key.
func scan[T any, P interface {
	*T
	record.Record
}](c *call, prefix string) []T {
	var out []T
	for _, k := range slices.Sorted(maps.Keys(c.n.rows)) {
		if !strings.HasPrefix(k, prefix) {
			continue
		}
		v, err := record.Load[T, P](c.n.rows[k])
		if err != nil {
			panic(err)
		}
		out = append(out, *v)
	}
	return out
}

func writes(do func(c *call) ([]byte, error), roles ...record.ClientRole) function {
	return function{args: 1, write: true, roles: roles, do: do}
}

func (f function) with(args int) function { f.args = args; return f }

var functions = joined(table(), lifeTable())

func table() map[string]function {
	admin, officer, integration := record.RoleAdmin, record.RoleOfficer, record.RoleIntegration
	return map[string]function{
		"membership.RegisterClient": writes((*call).registerClient, admin),
		"membership.RevokeClient":   writes((*call).revokeClient, admin).with(3),
		"membership.SetNode":        writes((*call).setNode, admin),
		"membership.SetDataKey":     writes((*call).setDataKey, admin, record.RoleOperator),
		"membership.Propose":        writes((*call).propose, admin),
		"membership.Approve":        writes((*call).approve, admin, record.RoleOperator),
		"membership.Withdraw":       writes((*call).withdraw, admin),
		"membership.GetProposal":    {args: 1, do: (*call).getProposal},
		"membership.ListProposals":  {args: 3, do: (*call).listProposals},
		"membership.GetProposedConfig": show(func(c *call) string {
			h, _ := record.ParseHash(c.args[0])
			return record.ProposedConfigKey(h)
		}),
		"membership.SuspendMember":   writes((*call).suspend, admin, officer).with(2),
		"membership.ReinstateMember": writes((*call).suspend, admin, officer),
		"membership.GetMember":       show(func(c *call) string { return record.MemberKey(record.OrgID(c.args[0])) }),
		"membership.GetClient": show(func(c *call) string {
			a, _ := record.ParseAddress(c.args[1])
			return record.ClientKey(record.OrgID(c.args[0]), a)
		}).with(2),
		"membership.ListMembers": {do: func(c *call) ([]byte, error) {
			return must(&record.MemberList{Members: scan[record.Member](c, record.MemberPrefix())}), nil
		}},
		"membership.ListClients": {args: 1, do: func(c *call) ([]byte, error) {
			return must(&record.ClientList{Clients: scan[record.Client](c, record.ClientPrefix(record.OrgID(c.args[0])))}), nil
		}},
		"membership.ListNodes": {do: func(c *call) ([]byte, error) {
			return must(&record.NodeList{Nodes: scan[record.Node](c, record.NodePrefix())}), nil
		}},
		"membership.ListDataKeys": {args: 1, do: func(c *call) ([]byte, error) {
			return must(&record.DataKeyList{DataKeys: scan[record.DataKey](c, record.DataKeyPrefix(record.OrgID(c.args[0])))}), nil
		}},

		"catalog.PublishNotice":    writes((*call).publishNotice, officer),
		"catalog.PublishProduct":   writes((*call).publishProduct, officer),
		"catalog.ProposeTemplate":  writes((*call).proposeTemplate, officer),
		"catalog.ApproveTemplate":  writes((*call).approveTemplate, officer).with(2),
		"catalog.WithdrawTemplate": writes((*call).withdrawTemplate, officer),
		"catalog.GetTemplateProposal": {args: 2, do: func(c *call) ([]byte, error) {
			p, err := load[record.TemplateProposal](c, record.TemplateProposalKey(record.OrgID(c.args[0]), record.TemplateID(c.args[1])))
			if err != nil {
				return nil, err
			}
			return must(p), nil
		}},
		"catalog.ListTemplateProposals": {args: 1, do: func(c *call) ([]byte, error) {
			return must(&record.TemplateProposalList{Proposals: scan[record.TemplateProposal](c, record.TemplateProposalPrefix(record.OrgID(c.args[0])))}), nil
		}},
		"catalog.OpenEpoch":     writes((*call).openEpoch, officer, integration).with(2),
		"catalog.AnchorAnswers": writes((*call).anchorAnswers, officer, integration),
		"catalog.ListAnchors": {args: 2, do: func(c *call) ([]byte, error) {
			epoch, _ := strconv.ParseUint(c.args[1], 10, 64)
			return must(&record.AnchorList{Anchors: scan[record.Anchor](c, record.AnchorPrefix(record.TemplateID(c.args[0]), epoch))}), nil
		}},
		"catalog.GetNotice": show(func(c *call) string {
			h, _ := record.ParseHash(c.args[0])
			return record.NoticeKey(h)
		}),
		"catalog.GetProduct":  show(func(c *call) string { return record.ProductKey(record.ProductID(c.args[0])) }),
		"catalog.GetTemplate": show(func(c *call) string { return record.TemplateKey(record.TemplateID(c.args[0])) }),
		"catalog.GetEpoch":    show(func(c *call) string { return record.EpochKey(record.ProductID(c.args[0])) }),
		"catalog.ListProducts": {args: 1, do: func(c *call) ([]byte, error) {
			return must(&record.ProductList{Products: scan[record.Product](c, record.ProductPrefix())}), nil
		}},
		"catalog.ListTemplates": {args: 1, do: func(c *call) ([]byte, error) {
			return must(&record.TemplateList{Templates: scan[record.Template](c, "catalog/template/")}), nil
		}},

		"consent.Create":    writes((*call).createConsent, integration),
		"consent.Authorise": writes((*call).authorise).with(3),
		"consent.Reject":    writes((*call).reject).with(2),
		"consent.Revoke":    writes((*call).revoke).with(4),
		"consent.Expire":    writes((*call).expire),
		"consent.Get":       show(func(c *call) string { return record.ConsentKey(record.ConsentID(c.args[0])) }),
		"consent.ListByParty": {args: 4, do: func(c *call) ([]byte, error) {
			return listConsents(c, func(v *record.Consent) bool {
				party := record.OrgID(c.args[0])
				return (v.Consumer() == party || v.Provider() == party) && (c.args[1] == "" || v.Status == record.Status(c.args[1]))
			}, c.args[2], c.args[3])
		}},
		"consent.ListByPrincipal": {args: 1, do: func(c *call) ([]byte, error) {
			return listConsents(c, func(v *record.Consent) bool { return record.FormatAddress(v.PrincipalKey) == c.args[0] }, "100", "")
		}},

		"access.Request":       writes((*call).request, integration),
		"access.Receipt":       writes((*call).receipt, integration),
		"access.GetRequest":    show(func(c *call) string { return record.RequestKey(record.RequestID(c.args[0])) }),
		"access.GetReceipt":    show(func(c *call) string { return record.ReceiptKey(record.RequestID(c.args[0])) }),
		"access.Usage":         show(func(c *call) string { return record.UsageKey(record.ConsentID(c.args[0])) }),
		"access.ListByConsent": {args: 3, do: (*call).listRequests},
	}
}

func parse[T any, P interface {
	*T
	record.Checked
}](c *call) (*T, error) {
	v, err := record.Parse[T, P](c.args[0])
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	return v, nil
}

func (c *call) registerClient() ([]byte, error) {
	spec, err := parse[record.ClientSpec](c)
	if err != nil {
		return nil, err
	}
	return c.publish("client", record.ClientKey(c.org, spec.Address), &record.Client{
		Address: spec.Address, Label: spec.Label, OrgID: c.org, RegisteredAt: c.now, Roles: spec.Roles, ValidFrom: spec.ValidFrom, ValidUntil: spec.ValidUntil,
	})
}

func (c *call) revokeClient() ([]byte, error) {
	key, err := record.ParseAddress(c.args[0])
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	v, err := load[record.Client](c, record.ClientKey(c.org, key))
	if err != nil {
		return nil, err
	}
	v.RevokedAt, v.RevokeReason = c.now, record.KeyReason(c.args[2])
	if at, err := strconv.ParseInt(c.args[1], 10, 64); err == nil && at > c.now {
		v.RevokedAt = at
	}
	return c.publish("client", record.ClientKey(c.org, key), v)
}

func (c *call) setNode() ([]byte, error) {
	spec, err := parse[record.NodeSpec](c)
	if err != nil {
		return nil, err
	}
	return c.publish("node", record.NodeKey(c.org, spec.NodeID), &record.Node{NodeSpec: *spec, OrgID: c.org, UpdatedAt: c.now})
}

func (c *call) setDataKey() ([]byte, error) {
	spec, err := parse[record.DataKeySpec](c)
	if err != nil {
		return nil, err
	}
	return c.publish("datakey", record.DataKeyKey(c.org, spec.KeyID), &record.DataKey{DataKeySpec: *spec, OrgID: c.org, SetAt: c.now})
}

func (c *call) publishNotice() ([]byte, error) {
	spec, err := parse[record.NoticeSpec](c)
	if err != nil {
		return nil, err
	}
	h, err := spec.Hash()
	if err != nil {
		return nil, err
	}
	return c.publish("notice", record.NoticeKey(h), &record.Notice{NoticeSpec: *spec, NoticeHash: h, OrgID: c.org, PublishedAt: c.now})
}

func (c *call) publishProduct() ([]byte, error) {
	spec, err := parse[record.ProductSpec](c)
	if err != nil {
		return nil, err
	}
	return c.publish("product", record.ProductKey(spec.ProductID), &record.Product{ProductSpec: *spec, Provider: c.org, PublishedAt: c.now, PublishedBy: c.key})
}

func (c *call) openEpoch() ([]byte, error) {
	number, err := strconv.ParseUint(c.args[1], 10, 64)
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "epoch")
	}
	id := record.ProductID(c.args[0])
	return c.publish("epoch", record.EpochKey(id), &record.Epoch{Epoch: number, OpenedAt: c.now, OpenedBy: c.key, ProductID: id, Provider: c.org})
}

func (c *call) createConsent() ([]byte, error) {
	terms, err := parse[record.ConsentTerms](c)
	if err != nil {
		return nil, err
	}
	if terms.Consumer() != c.org {
		return nil, refuse(record.CodeForbidden, "caller's member is not the DATA_CONSUMER party")
	}
	key := record.ConsentKey(terms.ConsentID)
	if _, taken := c.n.rows[key]; taken {
		return nil, refuse(record.CodeAlreadyExists, "consent id is taken")
	}
	v := &record.Consent{ConsentTerms: *terms, CreatedAt: c.now, CreatedBy: c.key}
	return c.enter(v, record.AwaitingAuthorisation, record.ReasonCreated, record.ByParty)
}

func (c *call) enter(v *record.Consent, to record.Status, why record.Reason, by record.Initiator) ([]byte, error) {
	v.Status, v.StatusUpdateDateTime = to, c.now
	v.StatusReason = append(v.StatusReason, record.StatusReason{At: c.now, Code: why, Initiator: by, OrgID: c.org})
	return c.publish("consent", record.ConsentKey(v.ConsentID), v)
}

// proven loads a consent in a state and checks the subject's signature, unless
// the bank brings evidence of its own.
func (c *call) proven(evidence string, in record.Status, digest func(*record.Consent) (ledger.Hash, error)) (*record.Consent, error) {
	e, err := record.Parse[record.Evidence](evidence)
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	v, err := load[record.Consent](c, record.ConsentKey(record.ConsentID(c.args[0])))
	if err != nil {
		return nil, refuse(record.CodeConsentUnknown, "no such consent")
	}
	if v.Status != in {
		return nil, refuse(record.CodeWrongState, "consent is %s", v.Status)
	}
	if len(e.Signature) == 0 {
		if c.org != v.Provider() {
			return nil, refuse(record.CodeForbidden, "not the provider")
		}
		return v, nil
	}
	d, err := digest(v)
	if err == nil {
		err = record.Verify(d, e.Signature, v.PrincipalKey)
	}
	if err != nil {
		return nil, refuse(record.CodeBadSignature, "%v", err)
	}
	return v, nil
}

func (c *call) authorise() ([]byte, error) {
	v, err := c.proven(c.args[2], record.AwaitingAuthorisation, func(v *record.Consent) (ledger.Hash, error) { return v.ConsentTerms.Digest(c.n.ChainID()) })
	if err != nil {
		return nil, err
	}
	if c.args[1] == string(record.WrittenEvidence) {
		return c.documented(v)
	}
	return c.enter(v, record.Authorised, record.ReasonAuthorised, record.BySubject)
}

func (c *call) reject() ([]byte, error) {
	v, err := c.proven(c.args[1], record.AwaitingAuthorisation, func(v *record.Consent) (ledger.Hash, error) {
		return record.RevocationOf(&v.ConsentTerms, record.ReasonRefused).Digest(c.n.ChainID())
	})
	if err != nil {
		return nil, err
	}
	return c.enter(v, record.Rejected, record.ReasonRefused, record.BySubject)
}

func (c *call) revoke() ([]byte, error) {
	by, why := record.Initiator(c.args[1]), record.Reason(c.args[2])
	if !record.HasItem(record.RevocationReasonsOf(by), why) {
		return nil, refuse(record.CodeBadRequest, "reason: want one of %v", record.RevocationReasonsOf(by))
	}
	var v *record.Consent
	var err error
	if by == record.BySubject {
		v, err = c.proven(c.args[3], record.Authorised, func(v *record.Consent) (ledger.Hash, error) {
			return record.RevocationOf(&v.ConsentTerms, why).Digest(c.n.ChainID())
		})
	} else {
		v, err = c.decided(by)
	}
	if err != nil {
		return nil, err
	}
	c.terminate(v, why, by)
	return c.enter(v, record.Revoked, why, by)
}

func (c *call) expire() ([]byte, error) {
	v, err := load[record.Consent](c, record.ConsentKey(record.ConsentID(c.args[0])))
	if err != nil {
		return nil, refuse(record.CodeConsentUnknown, "no such consent")
	}
	if c.now < v.ExpirationDateTime {
		return nil, refuse(record.CodeWrongState, "consent has not run out")
	}
	return c.enter(v, record.Expired, record.ReasonTimeElapsed, record.ByTime)
}

// page cuts items by a bookmark that is an index.
func page[T any](items []T, size, bookmark string) ([]T, string) {
	n, _ := strconv.Atoi(size)
	from, _ := strconv.Atoi(bookmark)
	items = items[min(from, len(items)):]
	if len(items) <= n {
		return items, ""
	}
	return items[:n], strconv.Itoa(from + n)
}

func listConsents(c *call, match func(*record.Consent) bool, size, bookmark string) ([]byte, error) {
	var found []record.Consent
	for _, v := range scan[record.Consent](c, "consent/rec/") {
		if match(&v) {
			found = append(found, v)
		}
	}
	out, next := page(found, size, bookmark)
	return must(&record.ConsentPage{Bookmark: next, Consents: out}), nil
}
