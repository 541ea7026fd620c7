package query

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/vault"
)

// A trial is a data officer's dry run: what a template would say about every
// customer of the bank, before anybody proposes or approves it. It is one pass over
// the vault, keeps a counter per output and nothing else, and touches neither
// private.db nor the ledger.

// Limits of a trial.
const (
	// MaxTrialQuestions bounds the sets of parameter values of one pass.
	MaxTrialQuestions = 64
	// DefaultK is the smallest group of customers that an output should be given to.
	DefaultK = 20
	// MaxK bounds what may be asked for instead.
	MaxK = 1_000_000
	// trialEvery is after how many customers progress hears, and ctx is looked at.
	trialEvery = 8192
)

// ErrTooManyQuestions: a template has more sets of parameter values than a trial
// tries in one pass; name one set.
var ErrTooManyQuestions = errors.New("query: too many sets of parameter values for one trial")

// Trial is what a template says about the customers of a vault. Counts are of
// people: it is for the bank's own officers.
type Trial struct {
	Report    Report
	Customers uint64 // rows read; one with two rows counts twice
	Unusable  uint64 // of them, with a row that cannot be used: NO_RECORD
	K         uint64
	Questions []TrialQuestion // one per set of parameter values
}

// TrialQuestion is one question with its parameters.
type TrialQuestion struct {
	Params  record.ParamValues
	Outputs []OutputCount // in the template's order
	Nulls   uint64        // NO_RECORD because of a null that the template does not handle
	Failed  uint64        // NO_RECORD because of overflow, division by zero, the cost limit or an unlisted output
}

// OutputCount is to how many customers an output would be given.
type OutputCount struct {
	Output    string
	Customers uint64
}

// Few reports whether the output would be given to somebody, but to fewer than k
// customers: whoever gets it is nearly named by it.
func (o OutputCount) Few(k uint64) bool { return o.Customers > 0 && o.Customers < k }

// Try evaluates a template over every subject of the product's vault. params is one
// set of parameter values; nil: every set of the enumeration, at most
// MaxTrialQuestions. k is what Trial.K will be; 0: DefaultK. progress hears how many
// customers were read. One at a time, together with BuildAnswers. Errors:
// ErrBuilding, ErrNoVault, ErrParameter, ErrTooManyQuestions, *TemplateError,
// *vault.SchemaError and those of a scan.
func (a *Answerer) Try(ctx context.Context, product *record.Product, spec *record.TemplateSpec, params record.ParamValues, k uint64, progress func(read uint64)) (*Trial, error) {
	if !a.building.TryLock() {
		return nil, ErrBuilding
	}
	defer a.building.Unlock()
	report, err := a.cfg.Engine.Check(&product.ProductSpec, spec)
	if err != nil {
		return nil, err
	}
	sets, err := questionsOf(spec, params)
	if err != nil {
		return nil, err
	}
	conn, mapped := a.cfg.Vault(product.ProductID)
	scanner, can := conn.(vault.Scanner)
	if !mapped || !can {
		return nil, fmt.Errorf("%w: product %s", ErrNoVault, product.ProductID)
	}
	if err := CheckMapping(&product.ProductSpec, spec.Columns, conn.Describe()); err != nil {
		return nil, err
	}
	t := &record.Template{TemplateSpec: *spec}
	if t.CodeHash, err = spec.CodeHash(); err != nil {
		return nil, err
	}
	if k == 0 {
		k = DefaultK
	}
	out := &Trial{Report: report, K: k}
	outputs := spec.Outputs
	if spec.Kind == record.CohortKind {
		outputs = []string{InCohort, OutsideCohort}
	}
	for _, set := range sets {
		q := TrialQuestion{Params: set, Outputs: make([]OutputCount, len(outputs))}
		for i, o := range outputs {
			q.Outputs[i].Output = o
		}
		out.Questions = append(out.Questions, q)
	}
	err = scanner.Scan(ctx, spec.Columns, func(_ vault.Subject, row vault.Row) error {
		if out.Customers++; out.Customers%trialEvery == 0 {
			if progress != nil {
				progress(out.Customers)
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if row == nil {
			out.Unusable++
		}
		for i := range out.Questions {
			if err := a.tryOne(&product.ProductSpec, t, &out.Questions[i], row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("try template: %w", err)
	}
	return out, nil
}

// tryOne counts what one customer would be told: as find answers it.
func (a *Answerer) tryOne(p *record.ProductSpec, t *record.Template, q *TrialQuestion, row vault.Row) error {
	value := record.NoRecord
	if t.Kind == record.CohortKind {
		value = OutsideCohort // as who has a null that the condition does not handle
	}
	if row != nil {
		said, err := a.cfg.Engine.Evaluate(p, t, q.Params, row)
		var broken *TemplateError
		switch {
		case err == nil && said == InCohort && lacks(t, row):
			q.Nulls++ // and is not of the cohort: see survey
		case err == nil && said != "":
			value = said
		case err == nil: // the condition does not hold
		case errors.As(err, &broken), errors.Is(err, ErrParameter):
			return err
		case errors.Is(err, ErrNull):
			q.Nulls++
		default:
			q.Failed++
		}
	}
	i := slices.IndexFunc(q.Outputs, func(o OutputCount) bool { return o.Output == value })
	if i < 0 {
		return fmt.Errorf("%w: %s is not among the outputs", ErrEvaluation, record.NoRecord) // Check refuses such templates
	}
	q.Outputs[i].Customers++
	return nil
}

// lacks reports whether a customer has no value in one of a COHORT template's figures.
func lacks(t *record.Template, row vault.Row) bool {
	if t.Cohort == nil {
		return false
	}
	return slices.ContainsFunc(t.Cohort.Statistics, func(s record.CohortStatistic) bool {
		at := slices.Index(t.Columns, s.Column)
		return at >= 0 && row[at].IsNull()
	})
}

// questionsOf lists the sets of parameter values to try.
func questionsOf(spec *record.TemplateSpec, params record.ParamValues) ([]record.ParamValues, error) {
	if params != nil {
		if !spec.Accepts(params) {
			return nil, ErrParameter
		}
		return []record.ParamValues{params}, nil
	}
	sets := []record.ParamValues{{}}
	for _, p := range spec.Params {
		if len(sets)*len(p.Values) > MaxTrialQuestions {
			return nil, fmt.Errorf("%w: more than %d", ErrTooManyQuestions, MaxTrialQuestions)
		}
		var wider []record.ParamValues
		for _, s := range sets {
			for _, v := range p.Values {
				wider = append(wider, append(slices.Clone(s), record.ParamValue{Name: p.Name, Value: v}))
			}
		}
		sets = wider
	}
	return sets, nil
}
