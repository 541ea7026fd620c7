package fakenode

import (
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/ledger"
)

// Requests, their receipts, and the bank that answers: as far as clients see
// them.

func (c *call) request() ([]byte, error) {
	spec, err := parse[record.RequestSpec](c)
	if err != nil {
		return nil, err
	}
	v, err := load[record.Consent](c, record.ConsentKey(spec.ConsentID))
	if err != nil {
		return nil, refuse(record.CodeConsentUnknown, "no such consent")
	}
	if v.Consumer() != c.org {
		return nil, refuse(record.CodeForbidden, "caller's member is not the consent's DATA_CONSUMER party")
	}
	u := c.usage(spec.ConsentID)
	r, err := c.asked(v, u, spec, record.NewRequestID(c.txID))
	if err != nil {
		return nil, err
	}
	b, err := c.publish("request", record.RequestKey(r.RequestID), r)
	if err != nil {
		return nil, err
	}
	u.Requests, u.Head = u.Requests+1, record.NextHead(u.Head, b)
	c.writes[record.UsageKey(u.ConsentID)] = must(u)
	return must(&record.Decision{Code: r.Code, Deadline: r.Deadline, Decision: r.Decision, Epoch: r.Epoch, RequestID: r.RequestID}), nil
}

func (c *call) usage(id record.ConsentID) *record.Usage {
	u, err := load[record.Usage](c, record.UsageKey(id))
	if err != nil {
		u = &record.Usage{ConsentID: id}
	}
	return u
}

// asked decides on one request and counts its use.
func (c *call) asked(v *record.Consent, u *record.Usage, spec *record.RequestSpec, id record.RequestID) (*record.Request, error) {
	r := &record.Request{
		AnswerKey: spec.AnswerKey, ClientKey: c.key, Code: c.decide(v, u, spec), ConsentID: v.ConsentID, ConsentVersion: v.Version,
		Consumer: v.Consumer(), Decision: record.Deny, ProductID: v.ProductID, Provider: v.Provider(), Purpose: spec.Purpose,
		RequestID: id, RequestedAt: c.now, Sequence: u.Requests + 1, TemplateID: spec.TemplateID,
	}
	if r.Code == record.CodePermit {
		t, err := load[record.Template](c, record.TemplateKey(spec.TemplateID))
		if err != nil {
			return nil, err
		}
		r.Decision, r.CodeHash, r.Epoch, r.Deadline, r.Params = record.Permit, t.CodeHash, 1, c.now+t.AnswerTTL, spec.Params
		u.Uses++
		c.permitted = append(c.permitted, r)
	}
	return r, nil
}

func (c *call) decide(v *record.Consent, u *record.Usage, spec *record.RequestSpec) record.Code {
	switch {
	case v.Status == record.Revoked:
		return record.CodeConsentRevoked
	case v.Status != record.Authorised:
		return record.CodeConsentNotAuthorised
	case !record.HasItem(v.Purposes, spec.Purpose):
		return record.CodePurposeNotAllowed
	case !record.HasItem(v.TemplateIDs, spec.TemplateID):
		return record.CodeTemplateNotAllowed
	case u.Uses >= v.AccessLimits.MaxUses:
		return record.CodeUsesExhausted
	}
	return record.CodePermit
}

func (c *call) receipt() ([]byte, error) {
	spec, err := parse[record.ReceiptSpec](c)
	if err != nil {
		return nil, err
	}
	r, err := load[record.Request](c, record.RequestKey(spec.RequestID))
	if err != nil {
		return nil, err
	}
	return c.publish("receipt", record.ReceiptKey(r.RequestID), &record.Receipt{
		ClientKey: c.key, CodeHash: spec.CodeHash, ConsentID: r.ConsentID, Consumer: r.Consumer, Deadline: r.Deadline,
		EvaluatedHeight: spec.EvaluatedHeight, OrgID: c.org, Outcome: spec.Outcome, Provider: r.Provider, RecordedAt: c.now,
		RequestID: r.RequestID, ResultCommitment: spec.ResultCommitment,
	})
}

func (c *call) listRequests() ([]byte, error) {
	var found []record.Request
	for _, r := range scan[record.Request](c, "access/log/request/") {
		if r.ConsentID == record.ConsentID(c.args[0]) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b record.Request) int { return int(a.Sequence) - int(b.Sequence) })
	out, next := page(found, c.args[1], c.args[2])
	return must(&record.RequestPage{Bookmark: next, Requests: out}), nil
}

// provide is the bank: it answers a permitted request and records its receipt.
func (n *Network) provide(r *record.Request, height uint64) {
	n.mu.Lock()
	t, err := record.Load[record.Template](n.rows[record.TemplateKey(r.TemplateID)])
	seat := n.seatOf(r.ConsentID)
	n.mu.Unlock()
	if err != nil {
		panic(err)
	}
	honest := answer.Answer{Outcome: record.Answered, Body: record.AnswerBody{
		ChainID: n.ChainID(), CodeHash: r.CodeHash, ConsentID: r.ConsentID, Epoch: r.Epoch, EvaluatedHeight: height,
		RequestID: r.RequestID, Salt: answer.NewSalt(), TemplateID: r.TemplateID,
	}}
	bank := record.OrgID(Bank)
	switch {
	case seat != nil:
		share, err := n.Share(seat, r.BatchID)
		if err != nil {
			panic(err)
		}
		bank, honest = seat.Bank, WithShare(honest, share)
	case isStat(r):
		share, err := n.CohortShare(r.BatchID, r.Provider)
		if err != nil {
			panic(err)
		}
		if bank, honest.Body.Value = r.Provider, answer.TooFewValue; len(share) > 0 {
			honest = WithShare(honest, share)
		}
	default:
		honest.Body.Value = t.Outputs[0]
	}
	sealed, committed, send := honest, honest, true
	if n.Provider != nil {
		sealed, committed, send = n.Provider(r, honest)
	}
	spec := &record.ReceiptSpec{Outcome: committed.Outcome, RequestID: r.RequestID}
	if committed.Outcome != record.Overdue {
		spec.EvaluatedHeight = committed.Body.EvaluatedHeight
	}
	if committed.Outcome == record.Answered {
		spec.CodeHash = committed.Body.CodeHash
		if spec.ResultCommitment, err = committed.Body.Commitment(); err != nil {
			panic(err)
		}
	}
	if _, err := n.Act("integration "+string(bank), bank, "access", "Receipt", string(must(spec))); err != nil {
		panic(err)
	}
	if send {
		n.send(r, sealed)
	}
}

func (n *Network) send(r *record.Request, a answer.Answer) {
	pub, err := answer.ParsePublicKey(r.AnswerKey)
	if err != nil {
		panic(err)
	}
	ctx := answer.Context{ChainID: n.ChainID(), RequestID: r.RequestID, Recipient: r.Consumer, KeyID: answer.KeyID(r.AnswerKey)}
	if n.SealFor != nil {
		ctx = n.SealFor(ctx)
	}
	s, err := answer.Seal(pub, ctx, a)
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[string(r.RequestID)] = s.Encode()
	close(n.news)
	n.news = make(chan struct{})
}

// Act submits a transaction of a named key, past any node.
func (n *Network) Act(key string, org record.OrgID, contract, function string, args ...string) (ledger.Hash, error) {
	signer := Signer(key)
	now := n.Now()
	p := ledger.Payload{
		ChainID: n.ChainID(), Org: string(org), Key: signer.Address(), Contract: contract, Function: function,
		NotBefore: uint64(now.UnixMilli()) - 30_000, ValidUntil: uint64(now.UnixMilli()) + 300_000,
	}
	for _, a := range args {
		p.Args = append(p.Args, []byte(a))
	}
	rand.Read(p.Nonce[:])
	txn := ledger.NewTransaction(p)
	if err := txn.Sign(signer); err != nil {
		return ledger.Hash{}, err
	}
	t, _, err := n.submit(txn.Encode())
	if err != nil {
		return ledger.Hash{}, err
	}
	if t.receipt.Code != "OK" {
		return txn.ID(), fmt.Errorf("%s", t.message)
	}
	return txn.ID(), nil
}
