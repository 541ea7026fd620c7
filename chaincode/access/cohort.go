package access

import (
	"bytes"
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/call"
	"github.com/assent-network/assent/chaincode/record"
)

// RequestCohort asks for statistics over the customers of 3 to 12 banks who meet a
// condition. Argument: record.CohortSpec; result and event: record.Cohort. For
// integrations of lenders.
//
// Nobody's customer has consented, for nobody's figure leaves: what is told has
// noise, and every bank's product has an account of how much it has told in the UTC
// year of the block, over all lenders. A PERMIT debits the templates' epsilon from
// all of them, before anybody makes a share, and freezes banks, epochs and data keys.
// The set is permitted or denied as one: each seat names its own reason, what its
// account holds and may hold; nothing is debited by a denial. The templates state one
// plan. The same transaction again returns what it did and debits nothing.
func (*Contract) RequestCohort(ctx *call.Context, cohortJSON string) (string, error) {
	spec, err := call.Argument[record.CohortSpec](cohortJSON)
	if err != nil {
		return "", err
	}
	caller, err := ctx.Caller(record.RoleIntegration)
	if err != nil {
		return "", err
	}
	if err := caller.MustBe(record.DataConsumer); err != nil {
		return "", err
	}
	id := transactionID(ctx)
	known, err := call.Get[record.Cohort](ctx, record.CohortKey(id))
	if err != nil {
		return "", err
	}
	if known != nil {
		return call.Answer(known)
	}
	c := &cohort{caller: caller, spec: spec, year: record.YearOf(caller.Now)}
	if err := c.seat(ctx); err != nil {
		return "", err
	}
	c.decide()
	return c.write(ctx, id)
}

// cohort is a request for statistics while it is decided.
type cohort struct {
	caller *call.Caller
	spec   *record.CohortSpec
	year   uint64
	seats  []cohortSeat // ascending by bank
}

type cohortSeat struct {
	template *record.Template
	product  *record.Product
	epoch    *record.Epoch // nil: none is open
	bank     *record.Member
	key      *record.DataKey
	account  *record.EpsilonAccount
	cap      uint64
	code     record.Code
}

// seat reads what the request is decided from, and refuses what is no set: then
// nothing is recorded.
func (c *cohort) seat(ctx *call.Context) error {
	for i := range c.spec.Items {
		s, err := c.seatOf(ctx, &c.spec.Items[i], i)
		if err != nil {
			return err
		}
		c.seats = append(c.seats, s)
	}
	slices.SortFunc(c.seats, func(a, b cohortSeat) int {
		return strings.Compare(string(a.template.Provider), string(b.template.Provider))
	})
	for i := range c.seats {
		s := &c.seats[i]
		if s.template.Provider == c.caller.OrgID() {
			return record.Refuse(record.CodeBadRequest, "items: who asks is no bank of the set")
		}
		if i > 0 && c.seats[i-1].template.Provider == s.template.Provider {
			return record.Refuse(record.CodeBadRequest, "items: two templates of one bank")
		}
		if !s.template.Cohort.SameAs(c.seats[0].template.Cohort) {
			return record.Refuse(record.CodeBadRequest, "items: the templates state different plans: statistics, bounds, k and epsilon must be the same at every bank")
		}
		for _, other := range c.seats[:i] {
			if bytes.Equal(other.key.PublicKey, s.key.PublicKey) {
				return record.Refuse(record.CodeBadRequest, "items: two banks have the same data key")
			}
		}
	}
	return nil
}

func (c *cohort) seatOf(ctx *call.Context, item *record.CohortItem, i int) (s cohortSeat, err error) {
	if s.template, err = call.Shared[record.Template](ctx, record.TemplateKey(item.TemplateID)); err != nil {
		return s, err
	}
	if s.template == nil || s.template.Kind != record.CohortKind {
		return s, record.Refuse(record.CodeNotFound, "item %d: no COHORT template of this id", i)
	}
	if s.product, err = call.Shared[record.Product](ctx, record.ProductKey(s.template.ProductID)); err != nil {
		return s, err
	}
	if s.epoch, err = call.Shared[record.Epoch](ctx, record.EpochKey(s.template.ProductID)); err != nil {
		return s, err
	}
	if s.bank, err = call.Shared[record.Member](ctx, record.MemberKey(s.template.Provider)); err != nil {
		return s, err
	}
	if s.key, err = dataKeyOf(ctx, s.template.Provider, item.KeyID); err != nil {
		return s, err
	}
	if s.key == nil || !s.key.Usable(c.caller.Now) {
		return s, record.Refuse(record.CodeNotFound, "item %d: keyId: no data key of the bank in force", i)
	}
	s.account, err = call.Get[record.EpsilonAccount](ctx, record.EpsilonKey(s.template.ProductID, c.year))
	if err == nil && s.account == nil {
		s.account = &record.EpsilonAccount{ProductID: s.template.ProductID, Year: c.year}
	}
	return s, err
}

// decide gives every seat its code.
func (c *cohort) decide() {
	denied := false
	for i := range c.seats {
		s := &c.seats[i]
		if s.product != nil {
			s.cap = record.EpsilonCap(&s.product.ProductSpec, &s.template.TemplateSpec)
		}
		s.code = s.decide(c.spec)
		denied = denied || s.code != record.CodePermit
	}
	for i := range c.seats {
		if denied && c.seats[i].code == record.CodePermit {
			c.seats[i].code = record.CodeSetIncomplete
		}
	}
}

// decide looks at one bank alone. The account comes last: a request that would be
// denied anyway says nothing of it that GetEpsilon does not.
func (s *cohortSeat) decide(spec *record.CohortSpec) record.Code {
	switch {
	case s.bank == nil || s.bank.Usable() != nil:
		return record.CodeMemberSuspended
	case s.product == nil || s.product.RetiredAt != 0:
		return record.CodeProductRetired
	case s.product.Suspension != nil:
		return record.CodeProductSuspended
	case s.template.RetiredAt != 0:
		return record.CodeTemplateRetired
	case s.template.Suspension != nil:
		return record.CodeTemplateSuspended
	case !record.HasItem(s.product.Purposes, spec.Purpose):
		return record.CodePurposeNotAllowed
	case !s.template.Accepts(spec.Params):
		return record.CodeParameterNotAllowed
	case s.epoch == nil:
		return record.CodeNoEpoch
	case s.account.SpentMicro > s.cap || s.template.Cohort.EpsilonMicro > s.cap-s.account.SpentMicro:
		return record.CodeEpsilonExhausted
	}
	return record.CodePermit
}

// write records a permitted set: the debits, every seat's request and the set itself.
// A denial leaves its event.
func (c *cohort) write(ctx *call.Context, id record.Hash) (string, error) {
	plan := c.seats[0].template.Cohort
	out := &record.Cohort{
		AnswerKey: c.spec.AnswerKey, CohortID: id, Consumer: c.caller.OrgID(), Decision: record.Permit, Plan: *plan,
		Purpose: c.spec.Purpose, RequestedAt: c.caller.Now, Seats: make([]record.CohortSeat, len(c.seats)), Year: c.year,
	}
	for i := range c.seats {
		if c.seats[i].code != record.CodePermit {
			out.Decision = record.Deny
		}
	}
	if out.Decision == record.Permit {
		out.Params, out.Deadline = c.spec.Params, c.deadline()
	}
	for i := range c.seats {
		s, request := &c.seats[i], record.BatchRequestID(id, i)
		if out.Decision == record.Permit {
			if err := c.grant(ctx, s, out, request); err != nil {
				return "", err
			}
		}
		out.Seats[i] = s.describe(request)
	}
	if out.Decision == record.Permit {
		return ctx.Publish(record.CohortKey(id), EventCohort, out)
	}
	data, err := record.Encode(out)
	if err != nil {
		return "", record.Refuse(record.CodeLimitExceeded, "the results are too large; name fewer banks")
	}
	return string(data), ctx.Emit(EventCohort, data)
}

// deadline is one for the whole set.
func (c *cohort) deadline() record.Millis {
	due := c.spec.DeadlineMs
	for i := range c.seats {
		if ttl := c.seats[i].template.AnswerTTL; due == 0 || ttl < due {
			due = ttl
		}
	}
	return c.caller.Now + due
}

// grant debits a bank's account and writes its request, to which it gives a receipt.
func (c *cohort) grant(ctx *call.Context, s *cohortSeat, out *record.Cohort, id record.RequestID) error {
	s.account.SpentMicro += s.template.Cohort.EpsilonMicro
	s.account.Answers++
	if _, err := ctx.Put(record.EpsilonKey(s.account.ProductID, s.account.Year), s.account); err != nil {
		return err
	}
	r := &record.Request{
		AnswerKey: out.AnswerKey, BatchID: out.CohortID, ClientKey: c.caller.Client.Address, Code: record.CodePermit, CodeHash: s.template.CodeHash,
		Consumer: out.Consumer, Deadline: out.Deadline, Decision: record.Permit, Epoch: s.epoch.Epoch, Params: out.Params,
		ProductID: s.template.ProductID, Provider: s.template.Provider, Purpose: out.Purpose, RequestID: id, RequestedAt: out.RequestedAt,
		TemplateID: s.template.TemplateID,
	}
	for _, party := range []record.OrgID{r.Consumer, r.Provider} {
		if err := ctx.Index(record.RequestPartyIndex(party, r.RequestedAt, id)); err != nil {
			return err
		}
	}
	_, err := ctx.Put(record.RequestKey(id), r)
	return err
}

func (s *cohortSeat) describe(id record.RequestID) record.CohortSeat {
	out := record.CohortSeat{
		Bank: s.template.Provider, CapMicro: s.cap, Code: s.code, KeyID: s.key.KeyID, ProductID: s.template.ProductID,
		RequestID: id, SpentMicro: s.account.SpentMicro, TemplateID: s.template.TemplateID,
	}
	if s.code == record.CodePermit {
		out.CodeHash, out.Epoch, out.Key = s.template.CodeHash, s.epoch.Epoch, s.key.PublicKey
	}
	return out
}

// GetCohort returns record.Cohort of a permitted request, by the transaction's id.
func (*Contract) GetCohort(ctx *call.Context, cohortID string) (string, error) {
	id, err := record.ParseHash(cohortID)
	if err != nil {
		return "", record.Refuse(record.CodeBadRequest, "%v", err)
	}
	return ctx.Show(record.CohortKey(id), "permitted cohort")
}

// GetEpsilon returns record.EpsilonAccount of a product and a year; all zero before
// the first request.
func (*Contract) GetEpsilon(ctx *call.Context, productID, year string) (string, error) {
	id := record.ProductID(productID)
	if err := call.Identifier(id); err != nil {
		return "", err
	}
	number, err := call.Integer("year", year)
	if err != nil {
		return "", err
	}
	account, err := call.Get[record.EpsilonAccount](ctx, record.EpsilonKey(id, number))
	if err != nil {
		return "", err
	}
	if account == nil {
		account = &record.EpsilonAccount{ProductID: id, Year: number}
	}
	return call.Answer(account)
}
