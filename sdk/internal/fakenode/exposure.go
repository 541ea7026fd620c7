package fakenode

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/node/query/pair"
)

// Totals over several banks: a set of banks with their pledges, and their shares.

// LoanPurpose is the purpose of the consents of a set.
const LoanPurpose = record.CreditChecking

// LoanPrincipal is the principal key of the consents of a set.
func LoanPrincipal() record.Address { return Signer("loan principal").Address() }

// LoanSeat is one bank of a set: what the ledger has of it, and what only it knows.
type LoanSeat struct {
	Bank     record.OrgID
	Consent  record.ConsentID
	Template record.TemplateID

	spec    *record.TemplateSpec
	private []byte // data key
	public  []byte
	opening exposure.Opening
	pledge  exposure.Pledge
}

// FurnishSet puts a set of banks on the ledger, "loan-a", "loan-b" and so on: their
// figures about one subject pledged with the proving key in keys, a folder, and the
// subject's consents with each. A permitted RequestExposure gets their shares. Of a
// figure that is out of range the pledge has a proof that does not hold.
func (n *Network) FurnishSet(keys string, figures ...uint64) ([]*LoanSeat, error) {
	b, err := os.ReadFile(filepath.Join(keys, string(exposure.InRange)+".prove"))
	if err != nil {
		return nil, err
	}
	proving, err := exposure.ReadProvingKey(exposure.InRange, b)
	if err != nil {
		return nil, err
	}
	out := make([]*LoanSeat, len(figures))
	for i, figure := range figures {
		if out[i], err = n.newSeat(proving, i, figure); err != nil {
			return nil, err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, s := range out {
		n.put(s, i)
		n.seats = append(n.seats, s)
	}
	n.seal() // certifies nothing yet, but the next block does
	return out, nil
}

func (n *Network) newSeat(k *exposure.ProvingKey, i int, figure uint64) (*LoanSeat, error) {
	s := &LoanSeat{Bank: record.OrgID(fmt.Sprintf("loan-%c", 'a'+i))}
	s.Template = record.TemplateID(s.Bank + ".owed")
	id := ledger.Sum([]byte("loan consent " + s.Bank))
	s.Consent = record.NewConsentID([16]byte(id[:16]))
	s.spec = &record.TemplateSpec{
		AnswerTTL: 20_000, Columns: []string{"owed"}, CostLimit: 1, Kind: record.Total, ProductID: record.ProductID(s.Bank + ".loans"), Source: "owed", TemplateID: s.Template, Version: 1,
	}
	s.private = Key("data " + string(s.Bank)).D.FillBytes(make([]byte, 32))
	key, err := ecdh.X25519().NewPrivateKey(s.private)
	if err != nil {
		return nil, err
	}
	s.public = key.PublicKey().Bytes()
	context, err := n.pledgeContext(s)
	if err != nil {
		return nil, err
	}
	if figure>>exposure.ValueBits != 0 { // no proof for it can be made: it takes one for another epoch
		context.Epoch, figure = 2, 0
	}
	s.opening, s.pledge, err = exposure.MakePledge(k, context, figure)
	return s, err
}

func (n *Network) pledgeContext(s *LoanSeat) (*exposure.PledgeContext, error) {
	code, err := s.spec.CodeHash()
	return &exposure.PledgeContext{ChainID: n.ChainID(), Bank: s.Bank, ConsentID: s.Consent, Epoch: 1, CodeHash: code}, err
}

// put writes a seat's rows: the bank, its key, template and pledge, and the consent.
func (n *Network) put(s *LoanSeat, i int) {
	context, err := n.pledgeContext(s)
	if err != nil {
		panic(err)
	}
	now, client := n.Now(), Signer("integration "+string(s.Bank)).Address()
	n.rows[record.MemberKey(s.Bank)] = must(&record.Member{Active: true, OrgID: s.Bank, Roles: []record.MemberRole{record.DataProvider}, Title: "The " + string(s.Bank)})
	n.rows[record.ClientKey(s.Bank, client)] = must(&record.Client{Address: client, OrgID: s.Bank, RegisteredAt: now.UnixMilli(), Roles: []record.ClientRole{record.RoleIntegration}})
	n.rows[record.TemplateKey(s.Template)] = must(&record.Template{TemplateSpec: *s.spec, Provider: s.Bank, CodeHash: context.CodeHash})
	n.rows[record.PledgeKey(s.Consent, s.Template, 1)] = must(&record.Pledge{
		PledgeSpec: record.PledgeSpec{ConsentID: s.Consent, Epoch: 1, KeyID: DataKey, Pledge: s.pledge.Hash(context), TemplateID: s.Template},
		CodeHash:   context.CodeHash, Provider: s.Bank, RegisteredAt: now.UnixMilli(), RegisteredBy: client,
	})
	terms := record.ConsentTerms{
		AccessLimits: record.AccessLimits{FrequencyPerDay: 1000, MaxUses: 1000}, ConsentID: s.Consent, ConsentType: record.Separate, ExpirationDateTime: now.AddDate(0, 1, 0).UnixMilli(),
		Parties:      []record.Party{{PartyID: Lender, Role: record.DataConsumer}, {PartyID: s.Bank, Role: record.DataProvider}},
		PrincipalKey: LoanPrincipal(), ProcessingMethods: []record.TemplateKind{record.Total}, ProductID: s.spec.ProductID, Purposes: []record.Purpose{LoanPurpose},
		SchemaVersion: 1, TemplateIDs: []record.TemplateID{s.Template}, ValidFrom: now.UnixMilli(), Version: 1,
	}
	n.rows[record.ConsentKey(s.Consent)] = must(&record.Consent{ConsentTerms: terms, CreatedAt: now.UnixMilli(), Status: record.Authorised, StatusUpdateDateTime: now.UnixMilli()})
}

// requestExposure decides on a set: each seat as a request of its own, and of the rule
// about sets only that two of them are two banks apart.
func (c *call) requestExposure() ([]byte, error) {
	spec, err := parse[record.ExposureSpec](c)
	if err != nil {
		return nil, err
	}
	seats := make([]*LoanSeat, len(spec.Items))
	for i, it := range spec.Items {
		if seats[i] = c.n.seatOf(it.ConsentID); seats[i] == nil {
			return nil, refuse(record.CodeConsentUnknown, "item %d: no such consent", i)
		}
	}
	slices.SortFunc(seats, func(a, b *LoanSeat) int { return strings.Compare(string(a.Bank), string(b.Bank)) })
	code, history := c.judgeSet(seats)
	e := &record.Exposure{
		AnswerKey: spec.AnswerKey, Consumer: c.org, Decision: record.Permit, ExposureID: c.txID, Purpose: spec.Purpose, Recipient: c.org, RequestedAt: c.now,
	}
	for i, s := range seats {
		seat, err := c.askSeat(spec, s, i, code)
		if err != nil {
			return nil, err
		}
		if seat.Code != record.CodePermit {
			e.Decision = record.Deny
		}
		e.Seats = append(e.Seats, *seat)
	}
	if e.Decision != record.Permit {
		c.permitted = nil
		for i := range e.Seats {
			s := &e.Seats[i]
			if s.Code == record.CodePermit {
				s.Code = record.CodeSetIncomplete
			}
			s.CodeHash, s.Epoch, s.Key, s.KeyID, s.Pledge = record.Hash{}, 0, nil, "", record.Hash{}
		}
		b := must(e)
		c.events = append(c.events, ledger.Event{Contract: record.ContractAccess, Name: "exposure", Payload: b})
		return b, nil
	}
	e.Deadline = c.permitted[0].Deadline
	c.writes[record.ExposureHistoryKey(LoanPrincipal())] = must(history)
	return c.publish("exposure", record.ExposureKey(c.txID), e)
}

// judgeSet is PERMIT, or SET_TOO_CLOSE, and the history with the set.
func (c *call) judgeSet(seats []*LoanSeat) (record.Code, *record.ExposureHistory) {
	h, err := load[record.ExposureHistory](c, record.ExposureHistoryKey(LoanPrincipal()))
	if err != nil {
		h = &record.ExposureHistory{PrincipalKey: LoanPrincipal()}
	}
	var next record.FigureSet
	for _, s := range seats {
		next.Figures = append(next.Figures, record.Figure{Bank: s.Bank, Epoch: 1, TemplateID: s.Template})
	}
	for _, old := range h.Sets {
		both := 0
		for _, f := range old.Figures {
			if slices.Contains(next.Figures, f) {
				both++
			}
		}
		switch len(old.Figures) + len(next.Figures) - 2*both {
		case 0:
			return record.CodePermit, h
		case 1:
			return record.CodeSetTooClose, h
		}
	}
	h.Sets = append(h.Sets, next)
	return record.CodePermit, h
}

func (c *call) askSeat(spec *record.ExposureSpec, s *LoanSeat, i int, code record.Code) (*record.ExposureSeat, error) {
	v, err := c.consent(s.Consent)
	if err != nil {
		return nil, err
	}
	u := c.usage(s.Consent)
	item := &record.RequestSpec{AnswerKey: spec.AnswerKey, ConsentID: s.Consent, DeadlineMs: spec.DeadlineMs, Purpose: spec.Purpose, TemplateID: s.Template}
	r, err := c.asked(v, u, item, record.BatchRequestID(c.txID, i))
	if err != nil {
		return nil, err
	}
	r.BatchID = c.txID
	if r.Code == record.CodePermit && code != record.CodePermit {
		r.Code, r.Decision, r.CodeHash, r.Epoch, r.Deadline = code, record.Deny, record.Hash{}, 0, 0
		u.Uses--
	}
	if spec.DeadlineMs > 0 && r.Deadline > 0 {
		r.Deadline = c.now + spec.DeadlineMs
	}
	b := must(r)
	c.writes[record.RequestKey(r.RequestID)] = b
	u.Requests, u.Head = u.Requests+1, record.NextHead(u.Head, b)
	c.writes[record.UsageKey(u.ConsentID)] = must(u)
	context, err := c.n.pledgeContext(s)
	if err != nil {
		return nil, err
	}
	return &record.ExposureSeat{
		Bank: s.Bank, Code: r.Code, CodeHash: context.CodeHash, ConsentID: s.Consent, Epoch: 1, Key: s.public, KeyID: DataKey,
		Pledge: s.pledge.Hash(context), RequestID: r.RequestID, TemplateID: s.Template,
	}, nil
}

func (n *Network) seatOf(id record.ConsentID) *LoanSeat {
	for _, s := range n.seats {
		if s.Consent == id {
			return s
		}
	}
	return nil
}

// Share is a seat's honest share of a permitted set.
func (n *Network) Share(s *LoanSeat, set record.Hash) ([]byte, error) {
	n.mu.Lock()
	e, err := record.Load[record.Exposure](n.rows[record.ExposureKey(set)])
	n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	session, err := exposure.SessionOf(n.ChainID(), e)
	if err != nil {
		return nil, err
	}
	at, ok := session.Seat(s.Bank)
	if !ok {
		return nil, errors.New("no seat in that set")
	}
	secrets := make([]pair.Secret, len(session.Seats))
	for i := range session.Seats {
		if i == at {
			continue
		}
		if secrets[i], err = pair.New(s.private, session.Seats[i].Key); err != nil {
			return nil, err
		}
	}
	h, err := exposure.MakeShare(session, at, s.opening, s.pledge, secrets)
	if err != nil {
		return nil, err
	}
	return h.Bytes(), nil
}

// WithShare is an answer with a share in the place of what it said.
func WithShare(a answer.Answer, share []byte) answer.Answer {
	a.Body.Value, a.Proof, a.Body.ProofHash = answer.ShareValue, share, answer.ProofHash(share)
	return a
}
