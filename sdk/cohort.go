package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query/cohort"
)

// Records and results of statistics over the customers of several banks.
type (
	Cohort         = record.Cohort
	CohortSeat     = record.CohortSeat
	CohortPlan     = record.CohortPlan
	EpsilonAccount = record.EpsilonAccount

	// CohortStatistics is what the banks tell together: every figure has noise, and
	// says how much.
	CohortStatistics = cohort.Result
	// CohortFault is what one bank did wrong.
	CohortFault = cohort.Fault
)

// CohortRequest asks for statistics over the customers of 3 to 12 banks who meet the
// condition of their COHORT templates, one of each bank, of one plan.
type CohortRequest struct {
	Templates []TemplateID      `json:"templates"`
	Params    map[string]string `json:"params"` // of every template's enumeration
	Purpose   Purpose           `json:"purpose"`
	Deadline  time.Duration     `json:"deadline"` // 0: what the templates allow
}

// Cohorts takes a request for statistics through its steps, for those who want more
// than Client.Cohort: Prepare, Request, Collect, Combine, Verify.
type Cohorts struct{ c *Client }

// Cohorts returns the steps of a request for statistics.
func (c *Client) Cohorts() Cohorts { return Cohorts{c} }

// CohortTicket is a request for statistics under way. Stored (it is JSON) before
// Request, it survives a crash of its client. It is a secret until the result is known.
type CohortTicket struct {
	Query       CohortRequest `json:"query"`
	Transaction []byte        `json:"transaction"` // signed bytes
	AnswerKey   []byte        `json:"answerKey"`   // X25519 private key
	Height      uint64        `json:"height"`      // of the block with the decision; 0: not known yet
}

func (t *CohortTicket) seat(i int) *Ticket {
	return &Ticket{Transaction: t.Transaction, AnswerKey: t.AnswerKey, Height: t.Height, Batch: true, Item: i}
}

// CohortDecision is the ledger's yes or no, to all banks as one. A no is a result, not
// an error, and debits nothing: Record.Seats say which bank it is and what its account
// has left.
type CohortDecision struct {
	ID        Hash
	Permit    bool
	Code      Code
	Remedy    string // what to do about a no
	Record    Cohort
	Deadline  time.Time
	Height    uint64
	BlockTime time.Time
}

// NoStatistics means that nothing was released: the cohort is too small, or banks are
// at fault, whom it names. What the request debited stays debited.
type NoStatistics struct {
	ID     Hash
	TooFew bool   // fewer people than k, says a bank by the noised count of all
	K      uint64 // of the plan
	Faults []CohortFault
}

// Error says why.
func (e *NoStatistics) Error() string {
	if e.TooFew {
		return fmt.Sprintf("no statistics for %s: the cohort is below k = %d people, as far as its noised count tells; nothing is released", e.ID, e.K)
	}
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return fmt.Sprintf("no statistics for %s: %s", e.ID, strings.Join(lines, "; "))
}

// Retryable reports whether nothing but delay stood in the way. Asking again debits
// again.
func (e *NoStatistics) Retryable() bool {
	return !e.TooFew && !slices.ContainsFunc(e.Faults, func(f CohortFault) bool { return f.Kind != cohort.Missing && f.Kind != cohort.Late })
}

// VerifiedCohort is what the ledger certifies about statistics.
type VerifiedCohort struct {
	Record   Cohort          // the frozen set, and what it debited
	Receipts []AccessReceipt // each bank's commitment to what it sent, by seat
	Proof    *ProvenReceipt  // of Record
}

// CohortResult is what became of a request for statistics.
type CohortResult struct {
	Decision   CohortDecision
	Statistics *CohortStatistics // nil after a denial
	Verified   *VerifiedCohort   // of a denial too, without receipts
	Timing     QueryTiming
}

// Cohort asks for statistics, collects the banks' shares, checks and combines them and
// verifies all of it against votes of a quorum. A denial is a result with
// Decision.Permit false; a *NoStatistics error says why nothing was released. Both are
// verified too: a node that lies about them would have epsilon debited twice, or a bank
// accused of what it did not do.
func (c *Client) Cohort(ctx context.Context, q CohortRequest) (*CohortResult, error) {
	t, err := c.Cohorts().Prepare(ctx, q)
	if err != nil {
		return nil, err
	}
	return c.Cohorts().Run(ctx, t)
}

// Run is Cohort with a ticket of Prepare, which the caller stored. Run again with the
// same ticket asks, and debits, once.
func (m Cohorts) Run(ctx context.Context, t *CohortTicket) (*CohortResult, error) {
	begin := time.Now()
	d, err := m.Request(ctx, t)
	if err != nil {
		return nil, err
	}
	r := &CohortResult{Decision: *d, Timing: QueryTiming{Decided: time.Since(begin)}}
	if !d.Permit {
		r.Verified, err = m.verifyDenial(ctx, d)
		return r, err
	}
	proofs := m.prove(ctx, t, d) // while the shares are on their way
	defer proofs.stop()
	shares, err := m.Collect(ctx, t, d)
	if err != nil {
		return nil, err
	}
	if r.Statistics, err = m.Combine(d, shares); err != nil {
		return nil, m.verifyNone(proofs, d, shares, err)
	}
	r.Timing.Opened = time.Since(begin)
	if r.Verified, err = m.verify(proofs, d, shares); err != nil {
		return nil, err
	}
	r.Timing.Verified = time.Since(begin)
	return r, nil
}

// Prepare looks up the templates and the banks' data keys, makes a fresh answer key and
// signs the request. Nothing is asked yet.
func (m Cohorts) Prepare(ctx context.Context, q CohortRequest) (*CohortTicket, error) {
	public, private, err := newAnswerKey()
	if err != nil {
		return nil, err
	}
	spec := &record.CohortSpec{
		AnswerKey: public, DeadlineMs: q.Deadline.Milliseconds(), Params: record.MakeParamValues(q.Params), Purpose: q.Purpose,
	}
	for _, id := range q.Templates {
		template, err := m.c.Templates().Get(ctx, id)
		if err != nil {
			return nil, err
		}
		data, err := m.c.DataKeys().Usable(ctx, template.Provider)
		if err != nil {
			return nil, err
		}
		spec.Items = append(spec.Items, record.CohortItem{KeyID: data.KeyID, TemplateID: id})
	}
	slices.SortFunc(spec.Items, func(a, b record.CohortItem) int { return strings.Compare(string(a.TemplateID), string(b.TemplateID)) })
	body, err := encodeChecked("request for statistics", spec)
	if err != nil {
		return nil, err
	}
	tx, err := m.c.signed(record.ContractAccess, "RequestCohort", body)
	if err != nil {
		return nil, err
	}
	return &CohortTicket{Query: q, Transaction: tx.Bytes(), AnswerKey: private}, nil
}

// Request puts the request on the ledger and returns the decision. Calling it again
// with the same ticket asks, and debits, once.
func (m Cohorts) Request(ctx context.Context, t *CohortTicket) (*CohortDecision, error) {
	tx, err := t.seat(0).transaction()
	if err != nil {
		return nil, err
	}
	o, err := m.c.Submit(ctx, tx)
	if err != nil {
		return nil, err
	}
	c, err := record.Load[record.Cohort](o.Payload)
	if err == nil {
		err = askedCohort(t, c, o.TxID)
	}
	if err != nil {
		return nil, &Untrusted{Node: "the node", What: "the decision on the statistics of " + o.TxID.Hex(), Cause: err}
	}
	t.Height = o.Height
	d := &CohortDecision{ID: o.TxID, Permit: c.Decision == record.Permit, Code: record.CodePermit, Record: *c, Height: o.Height, BlockTime: o.BlockTime}
	if d.Permit {
		d.Deadline = time.UnixMilli(c.Deadline).UTC()
		return d, nil
	}
	d.Code, d.Remedy = denial(m.seats(c))
	return d, nil
}

// askedCohort checks that a set is the one that the ticket asks for.
func askedCohort(t *CohortTicket, c *record.Cohort, id Hash) error {
	key, err := answer.ParsePrivateKey(t.AnswerKey)
	if err != nil {
		return fmt.Errorf("ticket: %w", err)
	}
	if c.CohortID != id || c.Purpose != t.Query.Purpose || !bytes.Equal(c.AnswerKey, key.PublicKey().Bytes()) || len(c.Seats) != len(t.Query.Templates) ||
		c.Decision == record.Permit && !slices.Equal(c.Params, record.MakeParamValues(t.Query.Params)) {
		return errors.New("it is another request than the ticket's")
	}
	for i := range c.Seats {
		s := &c.Seats[i]
		if !slices.Contains(t.Query.Templates, s.TemplateID) || s.RequestID != record.BatchRequestID(id, i) {
			return fmt.Errorf("its seat %d is another than the ticket's", i)
		}
	}
	return nil
}

// Collect waits for what every bank sends, at most until the deadline.
func (m Cohorts) Collect(ctx context.Context, t *CohortTicket, d *CohortDecision) ([]SeatShare, error) {
	return m.c.Queries().collectSet(ctx, t.seat, m.seats(&d.Record), d.Deadline)
}

// Combine checks every bank's shares and adds them up. The error is a *NoStatistics if
// there is nothing to tell.
func (m Cohorts) Combine(d *CohortDecision, shares []SeatShare) (*CohortStatistics, error) {
	s, err := cohort.SessionOf(m.c.chainID, &d.Record)
	if err != nil {
		return nil, &Untrusted{Node: "the node", What: "the set " + d.ID.Hex(), Cause: err}
	}
	none := &NoStatistics{ID: d.ID, K: d.Record.Plan.K}
	var counts, figures []cohort.Delivery
	why := make(map[OrgID]string)
	blamed := false
	for i := range shares {
		x := &shares[i]
		both := x.share()
		switch {
		case x.Answer == nil:
		case x.Answer.Outcome == record.Overdue:
			counts = append(counts, cohort.Delivery{Bank: x.Bank, Late: true})
			figures = append(figures, cohort.Delivery{Bank: x.Bank, Late: true})
		case x.Answer.Outcome != record.Answered:
			why[x.Bank] = string(x.Answer.Outcome)
		case x.Answer.Value == answer.TooFewValue:
			none.TooFew = true
		case both == nil || answer.ProofHash(both) != x.Answer.opened.Body.ProofHash:
			counts = append(counts, cohort.Delivery{Bank: x.Bank}) // nothing that the bank stands for
			figures = append(figures, cohort.Delivery{Bank: x.Bank})
			if x.Answer.opened == nil {
				why[x.Bank] = "its answer does not open: the bank's fault, or that of the node which kept it"
			}
		case x.Answer.Value == answer.BlamedValue:
			blamed = true
			none.Faults = accuse(none.Faults, s, x.Bank, both)
		default:
			count, figure, err := cohort.Unpack(both)
			if err != nil { // what follows calls it malformed
				count, figure = nil, nil
			}
			counts = append(counts, cohort.Delivery{Bank: x.Bank, Share: count})
			figures = append(figures, cohort.Delivery{Bank: x.Bank, Share: figure})
		}
	}
	if none.TooFew || blamed {
		if len(none.Faults) == 0 && blamed {
			none.Faults = []CohortFault{{Kind: cohort.Garbled}}
		}
		return nil, none
	}
	r, err := cohort.Combine(s, counts, figures)
	if errors.Is(err, cohort.ErrTooFew) {
		none.TooFew = true
		return nil, none
	}
	faults, ended := cohort.IsBlame(err)
	if !ended {
		return r, err
	}
	for _, f := range faults {
		if text, ok := why[f.Bank]; ok || f.Kind == cohort.Missing {
			f.Detail = text
		}
		if !slices.Contains(none.Faults, f) { // both rounds say the same of a missing one
			none.Faults = append(none.Faults, f)
		}
	}
	return nil, none
}

// accuse adds what one bank says of others. It is that bank's word, which its receipt
// commits it to.
func accuse(all []CohortFault, s *cohort.Session, accuser OrgID, carried []byte) []CohortFault {
	var said []CohortFault
	if json.Unmarshal(carried, &said) != nil {
		return append(all, CohortFault{Bank: accuser, Kind: cohort.Malformed})
	}
	for _, f := range said {
		_, sits := s.Seat(f.Bank)
		_, with := s.Seat(f.With)
		if f.Kind != cohort.Garbled && !sits || f.With != "" && !with || !slices.Contains(kindsOfBlame, f.Kind) {
			f = CohortFault{Bank: accuser, Kind: cohort.Malformed}
		} else {
			f.Detail = "says " + string(accuser)
		}
		at := slices.IndexFunc(all, func(o CohortFault) bool { return o.Bank == f.Bank && o.Kind == f.Kind && o.With == f.With })
		switch {
		case at < 0:
			all = append(all, f)
		case f.Detail != "":
			all[at].Detail += ", " + string(accuser)
		}
	}
	return all
}

var kindsOfBlame = []cohort.FaultKind{
	cohort.Missing, cohort.Late, cohort.Malformed, cohort.Replayed, cohort.Conflicting, cohort.MaskDispute, cohort.ViewDispute, cohort.Garbled,
}

// Get proves a permitted request: the frozen set and what was debited.
func (m Cohorts) Get(ctx context.Context, id Hash) (*Cohort, error) {
	return proven[record.Cohort](ctx, m.c, record.CohortKey(id))
}

// Budget is what a product may still tell in statistics in a year.
type Budget struct {
	Product  ProductID
	Provider OrgID
	Year     uint64
	Spent    uint64 // millionths of epsilon, over all lenders
	Answers  uint64
	Columns  []ColumnBudget // of class STAT_ONLY
}

// ColumnBudget is how far one column lets the product's account go.
type ColumnBudget struct {
	Column    string
	Cap, Left uint64 // millionths
	K         uint64
}

// Budget proves what statistics took from a product in a year (0: this one, by this
// client's clock) and says what each of its columns leaves.
func (m Cohorts) Budget(ctx context.Context, product ProductID, year uint64) (*Budget, error) {
	if year == 0 {
		year = record.YearOf(m.c.set.now().UnixMilli())
	}
	p, err := m.c.Products().Get(ctx, product)
	if err != nil {
		return nil, err
	}
	out := &Budget{Product: product, Provider: p.Provider, Year: year}
	r, err := m.c.Proofs().Record(ctx, record.EpsilonKey(product, year))
	if err != nil {
		return nil, err
	}
	if r.Present {
		a, err := record.Load[record.EpsilonAccount](r.Value)
		if err != nil {
			return nil, err
		}
		out.Spent, out.Answers = a.SpentMicro, a.Answers
	}
	for i := range p.Columns {
		if c := &p.Columns[i]; c.Class.Kind == record.ClassStatOnly {
			out.Columns = append(out.Columns, ColumnBudget{c.Name, c.Class.EpsilonMicro, c.Class.EpsilonMicro - min(out.Spent, c.Class.EpsilonMicro), c.Class.K})
		}
	}
	if len(out.Columns) == 0 {
		return nil, notSent("budget of "+string(product), "NOT_FOUND", "the product has no column for statistics", "Name a product with STAT_ONLY columns (assent catalog).")
	}
	return out, nil
}

// Bounds of a set.
const (
	MinCohortBanks = record.MinCohortBanks
	MaxCohortBanks = record.MaxCohortBanks
)

// Interval95 is where a figure lies without its noise, in about 95 of 100 answers:
// Deviation stands beside every figure of CohortStatistics.
func Interval95(value, deviation float64) (low, high float64) {
	return cohort.Interval95(value, deviation)
}
