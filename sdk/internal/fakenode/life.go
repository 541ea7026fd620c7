package fakenode

import (
	"fmt"
	"maps"
	"slices"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
)

// What can become of a consent besides being given and used. It keeps the order
// of the steps and who may take them, as far as clients see it; the rules
// themselves stand in the contracts.

func joined(tables ...map[string]function) map[string]function {
	out := map[string]function{}
	for _, t := range tables {
		maps.Copy(out, t)
	}
	return out
}

func lifeTable() map[string]function {
	officer, integration, admin := record.RoleOfficer, record.RoleIntegration, record.RoleAdmin
	return map[string]function{
		"consent.Countersign":            writes((*call).countersign, officer).with(2),
		"consent.AcknowledgeTermination": writes((*call).acknowledge, officer, integration),
		"consent.ConfirmDeletion":        writes((*call).confirmDeletion, officer, integration),
		"consent.RaiseDispute":           writes((*call).raiseDispute).with(2),
		"consent.ResolveDispute":         writes((*call).resolveDispute, officer),
		"consent.RequestErasure":         writes((*call).requestErasure).with(2),
		"consent.ConfirmErasure":         writes((*call).confirmErasure, officer, integration),
		"consent.GetTermination":         show(func(c *call) string { return record.TerminationKey(record.ConsentID(c.args[0])) }),
		"consent.GetErasure":             show(func(c *call) string { return record.ErasureKey(record.ConsentID(c.args[0])) }),
		"consent.ListTerminations": {args: 3, do: func(c *call) ([]byte, error) {
			return c.terminations(func(t *record.Termination) bool { return record.HasItem(t.Pending, record.OrgID(c.args[0])) }, 1)
		}},
		"consent.ListDeletionsDue": {args: 4, do: func(c *call) ([]byte, error) {
			return c.terminations(func(t *record.Termination) bool {
				_, deleted := c.n.rows[record.DeletionKey(t.ConsentID)]
				return t.DeletionDue > 0 && !deleted && t.Consumer == record.OrgID(c.args[0]) && c.before(t.DeletionDue)
			}, 2)
		}},
		"consent.ListErasuresDue": {args: 4, do: func(c *call) ([]byte, error) {
			found := slices.DeleteFunc(scan[record.Erasure](c, "consent/erasure/"), func(e record.Erasure) bool {
				return !record.HasItem(e.Pending, record.OrgID(c.args[0])) || !c.before(e.Due)
			})
			out, next := page(found, c.args[2], c.args[3])
			return must(&record.ErasurePage{Bookmark: next, Erasures: out}), nil
		}},
		"consent.ListDisputes": {args: 3, do: func(c *call) ([]byte, error) {
			return c.disputes(func(d *record.Dispute) bool { return d.ConsentID == record.ConsentID(c.args[0]) }, 1)
		}},
		"consent.ListDisputesDue": {args: 4, do: func(c *call) ([]byte, error) {
			return c.disputes(func(d *record.Dispute) bool {
				return d.Resolution == nil && d.Provider == record.OrgID(c.args[0]) && c.before(d.Due)
			}, 2)
		}},

		"catalog.SuspendProduct":    writes((*call).suspendProduct, admin, officer).with(2),
		"catalog.ReinstateProduct":  writes((*call).suspendProduct, admin, officer),
		"catalog.SuspendTemplate":   writes((*call).suspendTemplate, admin, officer).with(2),
		"catalog.ReinstateTemplate": writes((*call).suspendTemplate, admin, officer),

		"access.RequestBatch":     writes((*call).requestBatch, integration),
		"access.RequestExposure":  writes((*call).requestExposure, integration),
		"access.RequestCohort":    writes((*call).requestCohort, integration),
		"access.DisputeAnswer":    writes((*call).disputeAnswer, officer, integration),
		"access.JudgeAnswer":      writes((*call).judgeAnswer, officer),
		"access.GetAnswerDispute": show(func(c *call) string { return record.AnswerDisputeKey(record.RequestID(c.args[0])) }),
		"access.ListAnswerDisputes": {args: 3, do: func(c *call) ([]byte, error) {
			found := slices.DeleteFunc(scan[record.AnswerDispute](c, "access/dispute/"), func(d record.AnswerDispute) bool {
				return d.Verdict != nil || d.Authority != record.OrgID(c.args[0])
			})
			out, next := page(found, c.args[1], c.args[2])
			return must(&record.AnswerDisputePage{Bookmark: next, Disputes: out}), nil
		}},
	}
}

// before says whether something is due before the second argument, "0" for any.
func (c *call) before(due record.Millis) bool {
	return c.args[1] == "0" || fmt.Sprintf("%020d", due) < fmt.Sprintf("%020s", c.args[1])
}

func (c *call) terminations(match func(*record.Termination) bool, size int) ([]byte, error) {
	found := slices.DeleteFunc(scan[record.Termination](c, "consent/termination/"), func(t record.Termination) bool { return !match(&t) })
	out, next := page(found, c.args[size], c.args[size+1])
	return must(&record.TerminationPage{Bookmark: next, Terminations: out}), nil
}

func (c *call) disputes(match func(*record.Dispute) bool, size int) ([]byte, error) {
	found := slices.DeleteFunc(scan[record.Dispute](c, "consent/dispute/"), func(d record.Dispute) bool { return !match(&d) })
	out, next := page(found, c.args[size], c.args[size+1])
	return must(&record.DisputePage{Bookmark: next, Disputes: out}), nil
}

func (c *call) consent(id record.ConsentID) (*record.Consent, error) {
	v, err := load[record.Consent](c, record.ConsentKey(id))
	if err != nil {
		return nil, refuse(record.CodeConsentUnknown, "no such consent")
	}
	return v, nil
}

func (c *call) is(role record.MemberRole) bool {
	m, err := load[record.Member](c, record.MemberKey(c.org))
	return err == nil && record.HasItem(m.Roles, role)
}

func (c *call) signed() record.Acknowledgement {
	return record.Acknowledgement{At: c.now, ClientKey: c.key, OrgID: c.org}
}

// documented takes the evidence of a written consent, which is not enough.
func (c *call) documented(v *record.Consent) ([]byte, error) {
	e, err := record.Parse[record.Evidence](c.args[2])
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	if v.ConsentType != record.Written {
		return nil, refuse(record.CodeMethodNotAllowed, "consent is not WRITTEN")
	}
	v.Authorisation = &record.Authorisation{At: c.now, ClientKey: c.key, EvidenceHash: e.EvidenceHash, Method: record.WrittenEvidence, OrgID: c.org}
	return c.enter(v, v.Status, record.ReasonEvidence, record.ByParty)
}

func (c *call) countersign() ([]byte, error) {
	v, err := c.consent(record.ConsentID(c.args[0]))
	if err != nil {
		return nil, err
	}
	switch a := v.Authorisation; {
	case c.org != v.Provider():
		return nil, refuse(record.CodeForbidden, "not the provider")
	case a == nil || a.Countersignature != nil:
		return nil, refuse(record.CodeWrongState, "no evidence waits for a countersignature")
	case a.ClientKey == c.key:
		return nil, refuse(record.CodeForbidden, "this key brought the evidence")
	case a.EvidenceHash.Hex() != c.args[1]:
		return nil, refuse(record.CodeBadRequest, "evidenceHash is another document's")
	}
	by := c.signed()
	v.Authorisation.Countersignature = &by
	return c.enter(v, record.Authorised, record.ReasonAuthorised, record.BySubject)
}

// decided loads a consent that a party or an authority ends.
func (c *call) decided(by record.Initiator) (*record.Consent, error) {
	v, err := c.consent(record.ConsentID(c.args[0]))
	if err != nil {
		return nil, err
	}
	party := c.org == v.Consumer() || c.org == v.Provider()
	if by == record.ByParty && !party || by == record.ByAuthority && !c.is(record.Auditor) {
		return nil, refuse(record.CodeForbidden, "not a %s", by)
	}
	if v.Status != record.Authorised {
		return nil, refuse(record.CodeWrongState, "consent is %s", v.Status)
	}
	return v, nil
}

// terminate writes the record of an ending.
func (c *call) terminate(v *record.Consent, why record.Reason, by record.Initiator) {
	t := &record.Termination{
		ConsentID: v.ConsentID, ConsentVersion: v.Version, Consumer: v.Consumer(), EndedAt: c.now, Initiator: by,
		Pending: slices.Sorted(slices.Values([]record.OrgID{v.Consumer(), v.Provider()})), Provider: v.Provider(),
		Reason: why, RecordedAt: c.now, Status: record.Revoked,
	}
	if c.usage(v.ConsentID).Uses > 0 {
		t.DeletionDue = c.now + record.DeletionPeriod
	}
	c.writes[record.TerminationKey(v.ConsentID)] = must(t)
}

// settled takes the caller off a list of those who have to sign.
func (c *call) settled(pending []record.OrgID) ([]record.OrgID, error) {
	if !record.HasItem(pending, c.org) {
		return nil, refuse(record.CodeAlreadyExists, "signed before, or no party")
	}
	return slices.DeleteFunc(pending, func(o record.OrgID) bool { return o == c.org }), nil
}

func (c *call) acknowledge() ([]byte, error) {
	t, err := load[record.Termination](c, record.TerminationKey(record.ConsentID(c.args[0])))
	if err != nil {
		return nil, err
	}
	if t.Pending, err = c.settled(t.Pending); err != nil {
		return nil, err
	}
	t.Acknowledged = append(t.Acknowledged, c.signed())
	return c.publish("termination", record.TerminationKey(t.ConsentID), t)
}

func (c *call) confirmDeletion() ([]byte, error) {
	spec, err := parse[record.DeletionSpec](c)
	if err != nil {
		return nil, err
	}
	t, err := load[record.Termination](c, record.TerminationKey(spec.ConsentID))
	if err != nil {
		return nil, err
	}
	u := c.usage(spec.ConsentID)
	if spec.Head != u.Head || spec.Requests != u.Requests {
		return nil, refuse(record.CodeBadRequest, "head is not the end of the usage chain")
	}
	return c.publish("deletion", record.DeletionKey(spec.ConsentID), &record.Deletion{
		ClientKey: c.key, ConsentID: spec.ConsentID, Consumer: t.Consumer, Due: t.DeletionDue, Head: u.Head, RecordedAt: c.now, Requests: u.Requests, Uses: u.Uses,
	})
}

// wished holds evidence of a subject's wish against its consent.
func (c *call) wished(v *record.Consent, evidence string, digest func() (ledger.Hash, error)) (*record.Evidence, error) {
	e, err := record.Parse[record.Evidence](evidence)
	if err != nil {
		return nil, refuse(record.CodeBadRequest, "%v", err)
	}
	if len(e.Signature) == 0 {
		if c.org != v.Provider() {
			return nil, refuse(record.CodeForbidden, "not the provider")
		}
		return e, nil
	}
	d, err := digest()
	if err == nil {
		err = record.Verify(d, e.Signature, v.PrincipalKey)
	}
	if err != nil {
		return nil, refuse(record.CodeBadSignature, "%v", err)
	}
	return e, nil
}

func (c *call) raiseDispute() ([]byte, error) {
	spec, err := parse[record.DisputeSpec](c)
	if err != nil {
		return nil, err
	}
	v, err := c.consent(spec.ConsentID)
	if err != nil {
		return nil, err
	}
	e, err := c.wished(v, c.args[1], func() (ledger.Hash, error) {
		return record.DisputeOf(&v.ConsentTerms, spec).Digest(c.n.ChainID())
	})
	if err != nil {
		return nil, err
	}
	key := record.DisputeKey(spec.ConsentID, spec.DisputeID)
	if _, taken := c.n.rows[key]; taken {
		return nil, refuse(record.CodeAlreadyExists, "dispute id is taken")
	}
	v.Disputed = true
	c.writes[record.ConsentKey(v.ConsentID)] = must(v)
	return c.publish("dispute", key, &record.Dispute{
		ClaimCommitment: spec.ClaimCommitment, ConsentID: spec.ConsentID, Consumer: v.Consumer(), DisputeID: spec.DisputeID,
		Due: c.now + record.ResolutionPeriod, EvidenceHash: e.EvidenceHash, Kind: spec.Kind, OrgID: c.org, Provider: v.Provider(),
		RaisedAt: c.now, RequestID: spec.RequestID, Signed: len(e.Signature) > 0,
	})
}

func (c *call) resolveDispute() ([]byte, error) {
	spec, err := parse[record.ResolutionSpec](c)
	if err != nil {
		return nil, err
	}
	d, err := load[record.Dispute](c, record.DisputeKey(spec.ConsentID, spec.DisputeID))
	if err != nil {
		return nil, err
	}
	if d.Resolution != nil {
		return nil, refuse(record.CodeWrongState, "dispute is settled")
	}
	d.Resolution = &record.Resolution{At: c.now, ClientKey: c.key, Outcome: spec.Outcome, Reason: spec.Reason, StatementHash: spec.StatementHash}
	return c.publish("dispute", record.DisputeKey(spec.ConsentID, spec.DisputeID), d)
}

func (c *call) requestErasure() ([]byte, error) {
	v, err := c.consent(record.ConsentID(c.args[0]))
	if err != nil {
		return nil, err
	}
	e, err := c.wished(v, c.args[1], func() (ledger.Hash, error) {
		return record.ErasureOf(&v.ConsentTerms).Digest(c.n.ChainID())
	})
	if err != nil {
		return nil, err
	}
	if v.Status == record.Authorised || v.Status == record.AwaitingAuthorisation {
		return nil, refuse(record.CodeWrongState, "consent has not ended")
	}
	return c.publish("erasure", record.ErasureKey(v.ConsentID), &record.Erasure{
		ConsentID: v.ConsentID, Consumer: v.Consumer(), Due: c.now + record.ErasurePeriod, EvidenceHash: e.EvidenceHash, OrgID: c.org,
		Pending: slices.Sorted(slices.Values([]record.OrgID{v.Consumer(), v.Provider()})), Provider: v.Provider(),
		RequestedAt: c.now, Signed: len(e.Signature) > 0,
	})
}

func (c *call) confirmErasure() ([]byte, error) {
	e, err := load[record.Erasure](c, record.ErasureKey(record.ConsentID(c.args[0])))
	if err != nil {
		return nil, err
	}
	if e.Pending, err = c.settled(e.Pending); err != nil {
		return nil, err
	}
	e.Receipts = append(e.Receipts, c.signed())
	if len(e.Pending) == 0 {
		e.ErasedAt = c.now
		v, err := c.consent(e.ConsentID)
		if err != nil {
			return nil, err
		}
		v.Entomb()
		c.writes[record.ConsentKey(v.ConsentID)] = must(v)
	}
	return c.publish("erasure", record.ErasureKey(e.ConsentID), e)
}

// suspended is what stands in a record by suspend or reinstate.
func (c *call) suspended() (*record.Suspension, error) {
	if !c.is(record.Auditor) {
		return nil, refuse(record.CodeForbidden, "member has none of the roles [AUDITOR]")
	}
	if len(c.args) == 1 {
		return nil, nil
	}
	why := record.SuspensionReason(c.args[1])
	if !record.HasItem(record.SuspensionReasons(), why) {
		return nil, refuse(record.CodeBadRequest, "reason: want one of %v", record.SuspensionReasons())
	}
	return &record.Suspension{At: c.now, ClientKey: c.key, OrgID: c.org, Reason: why}, nil
}

func (c *call) suspendProduct() ([]byte, error) {
	v, err := load[record.Product](c, record.ProductKey(record.ProductID(c.args[0])))
	if err != nil {
		return nil, err
	}
	if v.Suspension, err = c.suspended(); err != nil {
		return nil, err
	}
	return c.publish("product", record.ProductKey(v.ProductID), v)
}

func (c *call) suspendTemplate() ([]byte, error) {
	v, err := load[record.Template](c, record.TemplateKey(record.TemplateID(c.args[0])))
	if err != nil {
		return nil, err
	}
	if v.Suspension, err = c.suspended(); err != nil {
		return nil, err
	}
	return c.publish("template", record.TemplateKey(v.TemplateID), v)
}

func (c *call) requestBatch() ([]byte, error) {
	spec, err := parse[record.BatchSpec](c)
	if err != nil {
		return nil, err
	}
	usages := map[record.ConsentID]*record.Usage{}
	out := &record.Batch{BatchID: c.txID, Consumer: c.org}
	for i := range spec.Items {
		item := spec.Request(i)
		v, err := c.consent(item.ConsentID)
		if err != nil {
			out.Results = append(out.Results, record.ItemResult{Code: record.CodeConsentUnknown})
			continue
		}
		if v.Consumer() != c.org {
			out.Results = append(out.Results, record.ItemResult{Code: record.CodeForbidden})
			continue
		}
		u := usages[v.ConsentID]
		if u == nil {
			u = c.usage(v.ConsentID)
			usages[v.ConsentID] = u
		}
		r, err := c.asked(v, u, item, record.BatchRequestID(c.txID, i))
		if err != nil {
			return nil, err
		}
		r.BatchID = c.txID
		b := must(r)
		c.writes[record.RequestKey(r.RequestID)] = b
		u.Requests, u.Head = u.Requests+1, record.NextHead(u.Head, b)
		c.writes[record.UsageKey(u.ConsentID)] = must(u)
		out.Results = append(out.Results, record.ItemResult{
			Code: r.Code, Deadline: r.Deadline, Decision: r.Decision, Epoch: r.Epoch, RequestID: r.RequestID,
		})
	}
	return must(out), nil
}

func (c *call) disputeAnswer() ([]byte, error) {
	spec, err := parse[record.AnswerDisputeSpec](c)
	if err != nil {
		return nil, err
	}
	r, err := load[record.Receipt](c, record.ReceiptKey(spec.RequestID))
	if err != nil {
		return nil, err
	}
	key := record.AnswerDisputeKey(spec.RequestID)
	if _, taken := c.n.rows[key]; taken {
		return nil, refuse(record.CodeAlreadyExists, "answer is disputed already")
	}
	root, err := c.anchorRoot(spec)
	if err != nil {
		return nil, err
	}
	return c.publish("answer-dispute", key, &record.AnswerDispute{
		AnchorRoot: root, Authority: spec.Authority, Claim: spec.Claim, ClientKey: c.key, ConsentID: r.ConsentID, Consumer: r.Consumer, OpeningHash: spec.OpeningHash,
		Provider: r.Provider, RaisedAt: c.now, RequestID: spec.RequestID, ResultCommitment: r.ResultCommitment,
	})
}

func (c *call) judgeAnswer() ([]byte, error) {
	spec, err := parse[record.VerdictSpec](c)
	if err != nil {
		return nil, err
	}
	d, err := load[record.AnswerDispute](c, record.AnswerDisputeKey(spec.RequestID))
	if err != nil {
		return nil, err
	}
	if d.Authority != c.org {
		return nil, refuse(record.CodeForbidden, "not the authority that the dispute names")
	}
	d.Verdict = &record.Verdict{At: c.now, ClientKey: c.key, Finding: spec.Finding, StatementHash: spec.StatementHash}
	return c.publish("answer-dispute", record.AnswerDisputeKey(spec.RequestID), d)
}
