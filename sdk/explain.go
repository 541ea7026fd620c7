package sdk

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
)

// Learns is what one party learns, in a sentence for people.
type Learns struct {
	Who  string `json:"who"` // LENDER, LENDER_NODE, PROVIDER, MEMBERS or SUBJECT
	What string `json:"what"`
}

// The parties of an answer.
const (
	LearnsLender     = "LENDER"
	LearnsLenderNode = "LENDER_NODE"
	LearnsProvider   = "PROVIDER"
	LearnsMembers    = "MEMBERS"
	LearnsSubject    = "SUBJECT"
)

// ColumnCost is what a new answer costs one column of one subject's leak account.
type ColumnCost struct {
	Name         string `json:"name"`
	DataClass    string `json:"dataClass"`
	Class        string `json:"class"`
	Millibits    uint64 `json:"millibits"`    // debited per new answer, thousandths of a bit
	BitsPerEpoch uint64 `json:"bitsPerEpoch"` // the account, over all lenders
	BitsPerYear  uint64 `json:"bitsPerYear"`
	PerEpoch     uint64 `json:"answersPerEpoch"` // new answers of this template that a fresh account allows
	PerYear      uint64 `json:"answersPerYear"`
}

// Parameter is a parameter of a template with every value it may take.
type Parameter struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// Explanation says before anybody asks what an answer of a template will reveal and
// cost.
type Explanation struct {
	Template  TemplateID   `json:"templateId"`
	Product   ProductID    `json:"productId"`
	Provider  OrgID        `json:"provider"`
	Kind      TemplateKind `json:"kind"`
	Outputs   []string     `json:"outputs"`
	Params    []Parameter  `json:"params"`
	Questions uint64       `json:"questions"`   // sets of parameter values; each is a question of its own
	Anchored  uint64       `json:"anchored"`    // of them, how many the provider has anchored for this epoch
	Epoch     uint64       `json:"epoch"`       // the product's; 0: none is open, and every request is denied
	Usable    bool         `json:"usable"`      // template and product are neither retired nor suspended, and an epoch is open
	AnswerTTL uint64       `json:"answerTtlMs"` // within which an answer is due
	Millibits uint64       `json:"millibits"`   // that one answer may tell, thousandths of a bit
	Columns   []ColumnCost `json:"columns"`     // that the template declares
	Learns    []Learns     `json:"learns"`      // who learns what from one answer
	Remaining *Remaining   `json:"remaining"`   // of one consent; nil: none was named
	// Statistics: of a COHORT template, what is told, its noise, and what it takes.
	Statistics *ExplainedStatistics `json:"statistics,omitempty"`
	Notes      []string             `json:"notes,omitempty"` // what else to know before asking
}

// Explain says what an answer of a template will reveal and cost, before anybody
// asks. With a consent it says too what remains of that; "" names none. Nothing is
// asked, recorded or debited. What a node says of the catalogue is not proven here:
// the answer's own proof is made of it (Verify).
func (m Queries) Explain(ctx context.Context, id TemplateID, consent ConsentID) (*Explanation, error) {
	t, err := m.c.Templates().Get(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := m.c.Products().Get(ctx, t.ProductID)
	if err != nil {
		return nil, err
	}
	e := explain(t, p)
	epoch, err := m.c.Products().Epoch(ctx, t.ProductID)
	if err != nil && CodeOf(err) != "NOT_FOUND" {
		return nil, err
	}
	if err == nil {
		e.Epoch = epoch.Epoch
		for _, err := range m.c.Templates().Anchors(ctx, id, epoch.Epoch) {
			if err != nil {
				return nil, err
			}
			e.Anchored++
		}
	}
	if e.Statistics, err = m.c.statistics(ctx, &t.TemplateSpec); err != nil {
		return nil, err
	}
	e.Usable = e.Epoch > 0 && t.RetiredAt == 0 && p.RetiredAt == 0 && t.Suspension == nil && p.Suspension == nil
	if consent == "" {
		return e, nil
	}
	c, err := m.c.Consents().Get(ctx, consent)
	if err != nil {
		return nil, err
	}
	if c.ProductID != t.ProductID || !record.HasItem(c.TemplateIDs, id) {
		e.Usable = false
		e.Notes = append(e.Notes, fmt.Sprintf("consent %s does not allow template %s: a request would be denied", consent, id))
	}
	e.Remaining, err = m.remaining(ctx, c, p, e.Epoch)
	return e, err
}

// explain is what template and product alone say.
func explain(t *Template, p *Product) *Explanation {
	e := &Explanation{
		Template: t.TemplateID, Product: t.ProductID, Provider: t.Provider, Kind: t.Kind, Outputs: t.Outputs, Params: []Parameter{}, Questions: 1,
		AnswerTTL: uint64(t.AnswerTTL), Columns: []ColumnCost{},
	}
	for _, param := range t.Params {
		e.Questions *= uint64(len(param.Values))
		e.Params = append(e.Params, Parameter{param.Name, param.Values})
	}
	if t.Kind != record.Total && t.Kind != record.CohortKind {
		e.Millibits = answer.LeakMillibits(len(t.Outputs))
	}
	for _, name := range t.Columns {
		col, ok := p.Column(name)
		if !ok {
			e.Notes = append(e.Notes, fmt.Sprintf("product %s has no column %q: the template cannot be answered", p.ProductID, name))
			continue
		}
		c := ColumnCost{Name: name, DataClass: string(col.DataClass), Class: string(col.Class.Kind), Millibits: e.Millibits, BitsPerEpoch: col.Class.BitsPerEpoch, BitsPerYear: col.Class.BitsPerYear}
		if e.Millibits > 0 {
			c.PerEpoch, c.PerYear = 1000*c.BitsPerEpoch/e.Millibits, 1000*c.BitsPerYear/e.Millibits
		}
		e.Columns = append(e.Columns, c)
	}
	e.Learns = learnsFrom(t, "")
	if t.Kind == record.CohortKind {
		e.Notes = append(e.Notes,
			"a permit debits epsilon from every bank's product, whatever comes of it; asking the same again debits again and draws other noise",
			"the set is of 3 to 12 banks whose templates state this very plan (assent cohort ask)")
		return e
	}
	if t.Kind == record.Total {
		e.Notes = append(e.Notes, "the total is over the banks of a set; which sets may follow one another, the ledger decides")
		return e
	}
	e.Notes = append(e.Notes,
		"asking the same again in this epoch costs a use of the consent and no bits: the answer is frozen",
		"how much other lenders have used of the account only the provider knows: an exhausted one is REFUSED, without a reason")
	return e
}

// learnsFrom says who learns what from one answer; value is what it said, "" before
// it was asked.
func learnsFrom(t *Template, value string) []Learns {
	if t.Kind == record.CohortKind && t.Cohort != nil {
		return learnsFromCohort(t)
	}
	columns := strings.Join(t.Columns, ", ")
	lender := fmt.Sprintf("one of %d outputs (%s): at most %s about %s of one subject", len(t.Outputs), strings.Join(t.Outputs, ", "), Bits(answer.LeakMillibits(len(t.Outputs))), columns)
	provider := "which lender asked this of which of its customers, when and for which purpose"
	switch {
	case t.Kind == record.Total:
		lender = fmt.Sprintf("the total of %s over the banks of the set", columns)
		provider = "that this lender asks about its customer, or about somebody it does not know; never another bank's figure"
	case value == record.NoRecord:
		lender = fmt.Sprintf("%s, which stands for unknown, not bound to the consent and without a usable value alike: at most %s about %s of one subject", value, Bits(answer.LeakMillibits(len(t.Outputs))), columns)
	case value != "":
		lender = fmt.Sprintf("%s, one of %d outputs: at most %s about %s of one subject", value, len(t.Outputs), Bits(answer.LeakMillibits(len(t.Outputs))), columns)
	}
	return []Learns{
		{LearnsLender, lender},
		{LearnsLenderNode, "that an answer came, and when; not the answer"},
		{LearnsProvider, provider},
		{LearnsMembers, "that this lender asked this template under a pseudonymous consent, the decision and whether it was answered; neither subject nor answer"},
		{LearnsSubject, "every request under the consent, permitted or denied, with a proof that none is missing"},
	}
}

// Bits writes thousandths of a bit for people.
func Bits(millibits uint64) string {
	if millibits%1000 == 0 {
		return fmt.Sprintf("%d bits", millibits/1000)
	}
	return fmt.Sprintf("%d.%03d bits", millibits/1000, millibits%1000)
}

// Remaining is what remains of a consent and, as far as its own answers show, of
// its subject's leak account.
type Remaining struct {
	Consent   ConsentID         `json:"consentId"`
	Status    Status            `json:"status"`
	Until     time.Time         `json:"until"`     // the consent expires
	Uses      uint64            `json:"uses"`      // permits that are left
	UsesToday uint64            `json:"usesToday"` // of them, in this UTC day
	Epoch     uint64            `json:"epoch"`
	Columns   []ColumnRemaining `json:"columns"` // of the product that answers have touched or may
	Height    uint64            `json:"height"`  // as of the state after it
}

// ColumnRemaining is one column of the subject's leak account in this epoch.
type ColumnRemaining struct {
	Name   string `json:"name"`
	Used   uint64 `json:"usedMillibits"`   // by answers under this consent, thousandths of a bit
	AtMost uint64 `json:"atMostMillibits"` // that remain: less, if other lenders asked or the year is used up
}

// remaining reads what is left. The list of uses is proven complete, the receipts
// and the catalogue are as the node says.
func (m Queries) remaining(ctx context.Context, c *Consent, p *Product, epoch uint64) (*Remaining, error) {
	list, err := m.c.Uses(ctx, c.ConsentID)
	if err != nil {
		return nil, err
	}
	now := m.c.set.now()
	r := &Remaining{
		Consent: c.ConsentID, Status: c.Status, Until: time.UnixMilli(c.ExpirationDateTime).UTC(), Epoch: epoch, Height: list.Height,
		Uses: left(c.AccessLimits.MaxUses, list.Usage.Uses), UsesToday: c.AccessLimits.FrequencyPerDay, Columns: []ColumnRemaining{},
	}
	if list.Usage.Day == record.DayOf(now.UnixMilli()) {
		r.UsesToday = left(c.AccessLimits.FrequencyPerDay, list.Usage.DayUses)
	}
	r.UsesToday = min(r.UsesToday, r.Uses)
	used, err := m.used(ctx, list.Uses, p.ProductID, epoch)
	if err != nil {
		return nil, err
	}
	for _, col := range p.Columns {
		if col.Class.Kind == record.ClassAnswerOnly {
			r.Columns = append(r.Columns, ColumnRemaining{col.Name, used[col.Name], left(1000*col.Class.BitsPerEpoch, used[col.Name])})
		}
	}
	return r, nil
}

func left(limit, used uint64) uint64 { return limit - min(limit, used) }

// used adds up what answers under a consent have debited in an epoch: one debit for
// every question that was answered, however often it was asked.
func (m Queries) used(ctx context.Context, uses []AccessRequest, product ProductID, epoch uint64) (map[string]uint64, error) {
	out := map[string]uint64{}
	counted := map[string]bool{}
	for i := range uses {
		r := &uses[i]
		question := r.CodeHash.Hex() + r.Params.Digest().Hex()
		if r.Decision != record.Permit || r.Epoch != epoch || r.ProductID != product || counted[question] {
			continue
		}
		receipt, err := read[record.Receipt](ctx, m.c, record.ContractAccess, "GetReceipt", string(r.RequestID))
		if CodeOf(err) == "NOT_FOUND" {
			continue // not answered yet
		}
		if err != nil {
			return nil, err
		}
		if receipt.Outcome != record.Answered {
			continue
		}
		t, err := m.c.template(ctx, r.TemplateID, r.CodeHash)
		if err != nil {
			return nil, err
		}
		if t.Kind == record.Total {
			continue // debits no account
		}
		counted[question] = true
		for _, name := range t.Columns {
			out[name] += answer.LeakMillibits(len(t.Outputs))
		}
	}
	return out, nil
}
