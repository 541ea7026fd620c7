package fakenode

import (
	"crypto/ecdh"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/query/cohort"
	"github.com/assent-network/assent/node/query/pair"
)

// Statistics over the customers of several banks: the banks with their templates and
// accounts, and their shares.

// What the templates of FurnishStatistics ask for, and what their products allow.
const (
	StatPurpose = record.CreditChecking
	StatK       = 20
	StatEpsilon = 9_000_000 // millionths: little noise, for what is added up to be recognised
	StatBudget  = 40_000_000
	StatHigh    = 1000
)

// StatBank is one bank of statistics: what the ledger has of it, and what only it
// knows.
type StatBank struct {
	Bank     record.OrgID
	Template record.TemplateID
	Product  record.ProductID

	debts   []int64 // of its customers who meet the condition
	private []byte  // data key
	public  []byte
}

// told is what the banks of a permitted set made, once.
type told struct {
	once   sync.Once
	shares map[record.OrgID][]byte
	err    error
}

// FurnishStatistics puts banks on the ledger, "stat-a", "stat-b" and so on, each with
// the debts of its customers, and a template that tells how many they are and how much
// they owe. A permitted RequestCohort gets their shares.
func (n *Network) FurnishStatistics(debts ...[]int64) []*StatBank {
	out := make([]*StatBank, len(debts))
	for i := range debts {
		b := &StatBank{Bank: record.OrgID(fmt.Sprintf("stat-%c", 'a'+i)), debts: debts[i]}
		b.Template, b.Product = record.TemplateID(b.Bank+".debts"), record.ProductID(b.Bank+".people")
		b.private = Key("data " + string(b.Bank)).D.FillBytes(make([]byte, 32))
		key, err := ecdh.X25519().NewPrivateKey(b.private)
		if err != nil {
			panic(err)
		}
		b.public, out[i] = key.PublicKey().Bytes(), b
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = map[ledger.Hash]*told{}
	for _, b := range out {
		n.putBank(b)
		n.banks = append(n.banks, b)
	}
	n.seal()
	n.seal() // certifies the state after the one before, with the rows
	return out
}

// StatTemplate is the template of a bank: how many people owe so much, and how much they
// owe.
func StatTemplate(b *StatBank) record.TemplateSpec {
	return record.TemplateSpec{
		AnswerTTL: 20_000, Columns: []string{"debt"}, CostLimit: 100, Kind: record.CohortKind, ProductID: b.Product,
		Cohort: &record.CohortPlan{EpsilonMicro: StatEpsilon, K: StatK, Statistics: []record.CohortStatistic{
			{Column: "debt", Granule: 1, High: fmt.Sprint(StatHigh), Kind: record.StatisticSum, Low: "0"},
		}},
		Params: []record.Param{{Name: "from", Type: record.TypeInt, Values: []string{"0", "100"}}}, Source: "debt >= params.from", TemplateID: b.Template, Version: 1,
	}
}

// putBank writes a bank's rows.
func (n *Network) putBank(b *StatBank) {
	now, client := n.Now(), Signer("integration "+string(b.Bank)).Address()
	template := StatTemplate(b)
	product := record.ProductSpec{
		Columns: []record.Column{{
			Class: record.Class{EpsilonMicro: StatBudget, K: StatK, Kind: record.ClassStatOnly}, DataClass: record.C2, Name: "debt", Type: record.TypeInt,
		}},
		Methods: record.Methods(), ProductID: b.Product, Purposes: []record.Purpose{StatPurpose}, Title: "People of " + string(b.Bank), Version: 1,
	}
	code, err := template.CodeHash()
	if err != nil {
		panic(err)
	}
	n.rows[record.MemberKey(b.Bank)] = must(&record.Member{Active: true, OrgID: b.Bank, Roles: []record.MemberRole{record.DataProvider}, Title: "The " + string(b.Bank)})
	n.rows[record.ClientKey(b.Bank, client)] = must(&record.Client{Address: client, OrgID: b.Bank, RegisteredAt: now.UnixMilli(), Roles: []record.ClientRole{record.RoleIntegration}})
	n.rows[record.DataKeyKey(b.Bank, DataKey)] = must(&record.DataKey{DataKeySpec: record.DataKeySpec{
		KeyID: DataKey, PublicKey: b.public, Suite: record.SuiteX25519, ValidFrom: now.UnixMilli() - 1000, ValidUntil: now.AddDate(1, 0, 0).UnixMilli(),
	}, OrgID: b.Bank, SetAt: now.UnixMilli() - 1000})
	n.rows[record.ProductKey(b.Product)] = must(&record.Product{ProductSpec: product, Provider: b.Bank, PublishedAt: now.UnixMilli(), PublishedBy: client})
	n.rows[record.EpochKey(b.Product)] = must(&record.Epoch{Epoch: 1, OpenedAt: now.UnixMilli(), OpenedBy: client, ProductID: b.Product, Provider: b.Bank})
	n.rows[record.TemplateKey(b.Template)] = must(&record.Template{
		TemplateSpec: template, Provider: b.Bank, CodeHash: code, ApprovedAt: now.UnixMilli(), ApprovedBy: client, ProposedAt: now.UnixMilli(), ProposedBy: client,
	})
}

// requestCohort decides on a set: of the rules, only that of the account.
func (c *call) requestCohort() ([]byte, error) {
	spec, err := parse[record.CohortSpec](c)
	if err != nil {
		return nil, err
	}
	out := &record.Cohort{
		AnswerKey: spec.AnswerKey, CohortID: c.txID, Consumer: c.org, Decision: record.Permit, Purpose: spec.Purpose, RequestedAt: c.now,
		Year: record.YearOf(c.now), Seats: make([]record.CohortSeat, len(spec.Items)),
	}
	accounts := make([]*record.EpsilonAccount, len(spec.Items))
	for i, item := range spec.Items { // ascending by template, and so by bank
		t, err := load[record.Template](c, record.TemplateKey(item.TemplateID))
		if err != nil {
			return nil, err
		}
		p, err := load[record.Product](c, record.ProductKey(t.ProductID))
		if err != nil {
			return nil, err
		}
		k, err := load[record.DataKey](c, record.DataKeyKey(t.Provider, item.KeyID))
		if err != nil {
			return nil, err
		}
		a, err := load[record.EpsilonAccount](c, record.EpsilonKey(t.ProductID, out.Year))
		if err != nil {
			a = &record.EpsilonAccount{ProductID: t.ProductID, Year: out.Year}
		}
		seat := &out.Seats[i]
		*seat = record.CohortSeat{
			Bank: t.Provider, CapMicro: record.EpsilonCap(&p.ProductSpec, &t.TemplateSpec), Code: record.CodePermit, CodeHash: t.CodeHash, Epoch: 1, Key: k.PublicKey,
			KeyID: k.KeyID, ProductID: t.ProductID, RequestID: record.BatchRequestID(c.txID, i), SpentMicro: a.SpentMicro, TemplateID: t.TemplateID,
		}
		if accounts[i], out.Plan = a, *t.Cohort; seat.SpentMicro+t.Cohort.EpsilonMicro > seat.CapMicro {
			seat.Code, out.Decision = record.CodeEpsilonExhausted, record.Deny
		}
	}
	if out.Decision != record.Permit {
		return c.denyCohort(out), nil
	}
	out.Params, out.Deadline = spec.Params, c.now+20_000
	if spec.DeadlineMs > 0 {
		out.Deadline = c.now + spec.DeadlineMs
	}
	for i := range out.Seats {
		c.grantSeat(out, i, accounts[i])
	}
	return c.publish("cohort", record.CohortKey(c.txID), out)
}

// denyCohort leaves the event of a denial, and nothing else.
func (c *call) denyCohort(out *record.Cohort) []byte {
	for i := range out.Seats {
		s := &out.Seats[i]
		if s.Code == record.CodePermit {
			s.Code = record.CodeSetIncomplete
		}
		s.CodeHash, s.Epoch, s.Key = record.Hash{}, 0, nil
	}
	b := must(out)
	c.events = append(c.events, ledger.Event{Contract: record.ContractAccess, Name: "cohort", Payload: b})
	return b
}

func (c *call) grantSeat(out *record.Cohort, i int, a *record.EpsilonAccount) {
	s := &out.Seats[i]
	a.SpentMicro, a.Answers = a.SpentMicro+out.Plan.EpsilonMicro, a.Answers+1
	s.SpentMicro = a.SpentMicro
	c.writes[record.EpsilonKey(s.ProductID, out.Year)] = must(a)
	r := &record.Request{
		AnswerKey: out.AnswerKey, BatchID: out.CohortID, ClientKey: c.key, Code: record.CodePermit, CodeHash: s.CodeHash, Consumer: out.Consumer,
		Deadline: out.Deadline, Decision: record.Permit, Epoch: s.Epoch, Params: out.Params, ProductID: s.ProductID, Provider: s.Bank, Purpose: out.Purpose,
		RequestID: s.RequestID, RequestedAt: out.RequestedAt, TemplateID: s.TemplateID,
	}
	c.writes[record.RequestKey(r.RequestID)] = must(r)
	c.permitted = append(c.permitted, r)
}

// CohortShare is what one bank of a permitted set honestly sends: the same whenever
// it is asked for.
func (n *Network) CohortShare(set record.Hash, bank record.OrgID) ([]byte, error) {
	n.mu.Lock()
	row, banks := n.rows[record.CohortKey(set)], n.banks
	t := n.told[set]
	if t == nil {
		t = &told{}
		n.told[set] = t
	}
	n.mu.Unlock()
	t.once.Do(func() { t.shares, t.err = tell(n.ChainID(), row, banks) })
	if t.err == nil && t.shares[bank] == nil {
		return nil, errors.New("no seat in that set")
	}
	return t.shares[bank], t.err
}

// tell plays all banks of a set: the round among them, then what each sends.
func tell(chain record.Hash, row []byte, banks []*StatBank) (map[record.OrgID][]byte, error) {
	c, err := record.Load[record.Cohort](row)
	if err != nil {
		return nil, err
	}
	s, err := cohort.SessionOf(chain, c)
	if err != nil {
		return nil, err
	}
	counts, figures := make([]cohort.Delivery, len(s.Seats)), make([]cohort.Share, len(s.Seats))
	for i := range s.Seats {
		at := slices.IndexFunc(banks, func(b *StatBank) bool { return b.Bank == s.Seats[i].Bank })
		secrets, err := banks[at].secrets(s, i)
		if err != nil {
			return nil, err
		}
		tally := cohort.NewTally(&s.Plan)
		for k, debt := range banks[at].debts {
			if err := tally.Add(fmt.Sprint("customer ", k), []cohort.Value{{N: debt}}); err != nil {
				return nil, err
			}
		}
		noise := cohort.NewNoiser()
		count, err := cohort.MakeCount(s, i, tally, noise, secrets)
		if err != nil {
			return nil, err
		}
		if figures[i], err = cohort.MaskFigures(s, i, tally, noise, secrets); err != nil {
			return nil, err
		}
		counts[i] = cohort.Delivery{Bank: s.Seats[i].Bank, Share: count.Bytes()}
	}
	d, err := cohort.Decide(s, counts)
	if err != nil {
		return nil, err
	}
	out := map[record.OrgID][]byte{}
	for i := range s.Seats {
		h, err := cohort.Release(s, figures[i], d)
		if errors.Is(err, cohort.ErrTooFew) {
			out[s.Seats[i].Bank] = []byte{}
			continue
		}
		if err != nil {
			return nil, err
		}
		out[s.Seats[i].Bank] = cohort.Pack(counts[i].Share, h.Bytes())
	}
	return out, nil
}

func (b *StatBank) secrets(s *cohort.Session, seat int) ([]pair.Secret, error) {
	out := make([]pair.Secret, len(s.Seats))
	for i := range s.Seats {
		if i == seat {
			continue
		}
		var err error
		if out[i], err = pair.New(b.private, s.Seats[i].Key); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// isStat says whether a request is a seat of statistics.
func isStat(r *record.Request) bool { return strings.HasPrefix(string(r.Provider), "stat-") }
