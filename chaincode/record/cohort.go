package record

import (
	"errors"
	"fmt"
	"strconv"
)

// Bounds of statistics over the customers of several banks. With them the shares of
// every bank fit into one answer, whose length tells nothing.
const (
	MinCohortBanks = 3
	MaxCohortBanks = 12
	// MaxCohortCells bounds the numbers that are added up: one for a sum or mean, one
	// for each bucket of a histogram.
	MaxCohortCells = 120

	maxStatistics    = 8
	maxCuts          = 63
	maxEpsilonMicro  = 10_000_000 // millionths: more hides nobody
	maxCohortK       = 1_000_000
	maxCohortUnits   = 1 << 20 // by which one customer can move a sum
	maxCohortScale   = 1 << 21 // of the noise, in granules
	maxSignedText    = 20
	epsilonPerMicro  = 1_000_000
	millisPerDay     = 86_400_000
	daysPerEra       = 146_097 // 400 years
	daysToYearNought = 719_468 // from 1 March of the year 0 to 1970
)

// StatisticKind is what is told of one column over a cohort. Its count is always told.
type StatisticKind string

const (
	StatisticSum       StatisticKind = "SUM"
	StatisticMean      StatisticKind = "MEAN"
	StatisticHistogram StatisticKind = "HISTOGRAM"
)

var statisticKinds = []StatisticKind{StatisticSum, StatisticMean, StatisticHistogram}

// CohortStatistic is one statistic of a COHORT template, with the bounds of what one
// customer adds. Numbers that may be below zero are text, decimal, in their one
// spelling.
type CohortStatistic struct {
	Column  string
	Cuts    []string // HISTOGRAM: strictly ascending; a value counts in the first bucket whose cut it is below
	Granule uint64   // SUM, MEAN: values are rounded to a multiple of it
	High    string   // SUM, MEAN: a value above it counts as it
	Kind    StatisticKind
	Low     string // SUM, MEAN: a value below it counts as it
}

func (v *CohortStatistic) fields(c *codec) {
	text(c, "column", &v.Column, maxID)
	texts(c, "cuts", &v.Cuts, maxCuts, maxSignedText)
	optNumber(c, "granule", &v.Granule)
	optText(c, "high", &v.High, maxSignedText)
	enum(c, "kind", &v.Kind, statisticKinds)
	optText(c, "low", &v.Low, maxSignedText)
}

// Limits reads low and high.
func (v *CohortStatistic) Limits() (low, high int64, err error) {
	if low, err = ParseSigned(v.Low); err == nil {
		high, err = ParseSigned(v.High)
	}
	return low, high, err
}

// CutValues reads the cuts.
func (v *CohortStatistic) CutValues() ([]int64, error) {
	out := make([]int64, len(v.Cuts))
	for i := range v.Cuts {
		var err error
		if out[i], err = ParseSigned(v.Cuts[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ParseSigned reads an integer of a statistic: decimal, from -(2^53−1) to 2^53−1, in
// its one spelling.
func ParseSigned(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > MaxInt || n < -MaxInt || strconv.FormatInt(n, 10) != s {
		return 0, errors.New("want an integer between -(2^53−1) and 2^53−1, without leading zeros")
	}
	return n, nil
}

func (v *CohortStatistic) check() error {
	if v.Kind == StatisticHistogram {
		if v.Low != "" || v.High != "" || v.Granule != 0 || len(v.Cuts) == 0 {
			return errors.New("a HISTOGRAM has cuts, no limits and no granule")
		}
		cuts, err := v.CutValues()
		if err != nil {
			return fmt.Errorf("cuts: %w", err)
		}
		for i := 1; i < len(cuts); i++ {
			if cuts[i-1] >= cuts[i] {
				return errors.New("cuts: want strictly ascending")
			}
		}
		return nil
	}
	if len(v.Cuts) != 0 || v.Granule == 0 {
		return errors.New("SUM and MEAN have low, high and a granule of at least 1, and no cuts")
	}
	low, high, err := v.Limits()
	switch {
	case err != nil:
		return fmt.Errorf("low, high: %w", err)
	case low >= high:
		return errors.New("low, high: want the lower first")
	case v.units(low, high) > maxCohortUnits:
		return errors.New("granule: one customer can move the statistic by more than 2^20 of it; give a coarser one")
	}
	return nil
}

// units is by how many granules one customer can move the statistic: as package
// node/query/cohort has it, which makes the noise.
func (v *CohortStatistic) units(low, high int64) uint64 {
	middle := int64(0)
	if v.Kind == StatisticMean {
		middle = low + (high-low)/2
	}
	far := uint64(0)
	for _, n := range [...]int64{low - middle, high - middle} {
		far = max(far, (uint64(max(n, -n))+v.Granule/2)/v.Granule)
	}
	return max(far, 1)
}

// CohortPlan is what a COHORT template tells of a cohort, and at which price.
type CohortPlan struct {
	EpsilonMicro uint64 // of one answer, millionths: debited from the account of every product
	K            uint64 // least number of people over all banks
	Statistics   []CohortStatistic
}

func (v *CohortPlan) fields(c *codec) {
	number(c, "epsilonMicro", &v.EpsilonMicro)
	number(c, "k", &v.K)
	objects(c, "statistics", &v.Statistics, maxStatistics)
}

// Check implements Checked.
func (v *CohortPlan) Check() error {
	if v.EpsilonMicro == 0 || v.EpsilonMicro > maxEpsilonMicro {
		return fmt.Errorf("epsilonMicro: want 1 to %d", maxEpsilonMicro)
	}
	if v.K < 2 || v.K > maxCohortK {
		return fmt.Errorf("k: want 2 to %d", maxCohortK)
	}
	each, cells := v.EpsilonMicro/uint64(len(v.Statistics)+1), 0
	units := uint64(1)
	for i := range v.Statistics {
		s := &v.Statistics[i]
		if err := s.check(); err != nil {
			return fmt.Errorf("statistic %d: %w", i, err)
		}
		cells++
		if s.Kind == StatisticHistogram {
			cells += len(s.Cuts)
			continue
		}
		low, high, _ := s.Limits() // checked
		units = max(units, s.units(low, high))
	}
	if cells > MaxCohortCells {
		return fmt.Errorf("statistics: %d sums, means and buckets, at most %d", cells, MaxCohortCells)
	}
	if each == 0 || units*epsilonPerMicro/each > maxCohortScale {
		return errors.New("epsilonMicro: the noise would be more than 2^21 granules; give a larger epsilon, a coarser granule or narrower limits")
	}
	return nil
}

// SameAs reports whether two plans are the same question.
func (v *CohortPlan) SameAs(other *CohortPlan) bool {
	a, errA := Encode(v)
	b, errB := Encode(other)
	return errA == nil && errB == nil && string(a) == string(b)
}

// checkCohort is what a COHORT template may be: a condition over columns, and the
// statistics of those customers who meet it. It lists no outputs.
func (v *TemplateSpec) checkCohort() error {
	if v.Cohort == nil {
		return errors.New("cohort: a COHORT template wants epsilonMicro, k and statistics")
	}
	if len(v.Outputs) != 0 {
		return errors.New("outputs: a COHORT template lists none")
	}
	if err := v.Cohort.Check(); err != nil {
		return fmt.Errorf("cohort: %w", err)
	}
	for i := range v.Cohort.Statistics {
		if !HasItem(v.Columns, v.Cohort.Statistics[i].Column) {
			return fmt.Errorf("cohort: the column of statistic %d is not among the template's", i)
		}
	}
	return v.checkParams()
}

// CohortItem is one bank's part of a set: its COHORT template, and the data key from
// which its masks come.
type CohortItem struct {
	KeyID      DataKeyID
	TemplateID TemplateID
}

func (v *CohortItem) fields(c *codec) {
	text(c, "keyId", &v.KeyID, maxID)
	text(c, "templateId", &v.TemplateID, maxID)
}

// CohortSpec is the argument of RequestCohort.
type CohortSpec struct {
	AnswerKey  Blob         // X25519 key that the shares are sealed to, 32 bytes, fresh for this request
	DeadlineMs Millis       // the shares are wanted within this time; 0: what the templates allow
	Items      []CohortItem // strictly ascending by template
	Params     ParamValues
	Purpose    Purpose
}

func (v *CohortSpec) fields(c *codec) {
	blob(c, "answerKey", &v.AnswerKey, 32)
	optNumber(c, "deadlineMs", &v.DeadlineMs)
	objects(c, "items", &v.Items, MaxCohortBanks)
	paramValues(c, "params", &v.Params, false)
	enum(c, "purpose", &v.Purpose, purposes)
}

// Check implements Checked.
func (v *CohortSpec) Check() error {
	if allZero(v.AnswerKey) {
		return errors.New("answerKey: zero")
	}
	if v.DeadlineMs != 0 && (v.DeadlineMs < MinAnswerTTL || v.DeadlineMs > MaxAnswerTTL) {
		return errors.New("deadlineMs: out of range")
	}
	if n := len(v.Items); n < MinCohortBanks {
		return fmt.Errorf("items: %d templates, want %d to %d, of one bank each", n, MinCohortBanks, MaxCohortBanks)
	}
	for i := range v.Items {
		if i > 0 && v.Items[i-1].TemplateID >= v.Items[i].TemplateID {
			return errors.New("items: want strictly ascending templates")
		}
		if err := errors.Join(v.Items[i].TemplateID.Check(), v.Items[i].KeyID.Check()); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

// CohortSeat is one bank's place in a set. What follows CapMicro, but for ids, is
// there with a PERMIT only.
type CohortSeat struct {
	Bank       OrgID
	CapMicro   uint64 // the most that the year's account may hold for this template's columns, millionths
	Code       Code   // its own reason for a denial, or SET_INCOMPLETE for another's
	CodeHash   Hash
	Epoch      uint64
	Key        Blob // the bank's X25519 data key
	KeyID      DataKeyID
	ProductID  ProductID
	RequestID  RequestID
	SpentMicro uint64 // of the account, this request's epsilon included if it is permitted
	TemplateID TemplateID
}

func (v *CohortSeat) fields(c *codec) {
	text(c, "bank", &v.Bank, maxID)
	number(c, "capMicro", &v.CapMicro)
	enum(c, "code", &v.Code, decisionCodes)
	optHash(c, "codeHash", &v.CodeHash)
	optNumber(c, "epoch", &v.Epoch)
	optBlob(c, "key", &v.Key, 32)
	text(c, "keyId", &v.KeyID, maxID)
	text(c, "productId", &v.ProductID, maxID)
	text(c, "requestId", &v.RequestID, maxID+2)
	optNumber(c, "spentMicro", &v.SpentMicro)
	text(c, "templateId", &v.TemplateID, maxID)
}

// Left is what the seat's account allows for the rest of the year, millionths.
func (v *CohortSeat) Left() uint64 { return v.CapMicro - min(v.SpentMicro, v.CapMicro) }

// Cohort is what RequestCohort returns, its event, and with a PERMIT its record: the
// set of banks, frozen, with what was debited.
type Cohort struct {
	AnswerKey   Blob
	CohortID    Hash // id of the transaction
	Consumer    OrgID
	Deadline    Millis // PERMIT only
	Decision    Outcome
	Params      ParamValues // PERMIT only
	Plan        CohortPlan  // of all the templates
	Purpose     Purpose
	RequestedAt Millis
	Seats       []CohortSeat // strictly ascending by bank
	Year        uint64       // of the accounts, UTC
}

func (v *Cohort) fields(c *codec) {
	blob(c, "answerKey", &v.AnswerKey, 32)
	hash(c, "cohortId", &v.CohortID)
	text(c, "consumer", &v.Consumer, maxID)
	optNumber(c, "deadline", &v.Deadline)
	enum(c, "decision", &v.Decision, outcomes)
	paramValues(c, "params", &v.Params, true)
	object(c, "plan", &v.Plan)
	enum(c, "purpose", &v.Purpose, purposes)
	number(c, "requestedAt", &v.RequestedAt)
	objects(c, "seats", &v.Seats, MaxCohortBanks)
	number(c, "year", &v.Year)
}

// EpsilonAccount is what cohort statistics took from a product in a year, over all
// lenders. Each column says how far it may go: Column.Class.EpsilonMicro.
type EpsilonAccount struct {
	Answers    uint64 // permitted requests
	ProductID  ProductID
	SpentMicro uint64 // millionths
	Year       uint64 // UTC
}

func (v *EpsilonAccount) fields(c *codec) {
	number(c, "answers", &v.Answers)
	text(c, "productId", &v.ProductID, maxID)
	number(c, "spentMicro", &v.SpentMicro)
	number(c, "year", &v.Year)
}

// YearOf is the UTC calendar year of a block time, by days in the proleptic Gregorian
// calendar whose years begin in March.
func YearOf(t Millis) uint64 {
	days := uint64(t)/millisPerDay + daysToYearNought
	era, day := days/daysPerEra, days%daysPerEra
	year := (day - day/1460 + day/36_524 - day/146_096) / 365
	if day-(365*year+year/4-year/100) >= 306 { // January and February end that year
		year++
	}
	return era*400 + year
}

// EpsilonCap is how far a product's account may be drawn by a template: what the
// strictest of the columns that it reads allows.
func EpsilonCap(p *ProductSpec, t *TemplateSpec) uint64 {
	least := uint64(0)
	for _, name := range t.Columns {
		if c, ok := p.Column(name); ok && (least == 0 || c.Class.EpsilonMicro < least) {
			least = c.Class.EpsilonMicro
		}
	}
	return least
}
