package query

import (
	"errors"
	"fmt"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/vault"
)

// Engine runs query templates. It is the port behind which a template language
// lives; package celquery is the one implementation, querytest the conformance
// suite. An Engine is deterministic, touches nothing outside its arguments, and
// is safe for concurrent use.
type Engine interface {
	// Check judges a template before an officer approves it. A template that may
	// not run gives a *TemplateError with every problem found, each with its place
	// in the source, in words for whoever wrote it.
	Check(p *record.ProductSpec, t *record.TemplateSpec) (Report, error)

	// Evaluate runs a checked template over one row, whose values stand in the
	// order of t.Columns, and returns one of t.Outputs, or of a COHORT template InCohort
	// or "" for whether the row's customer belongs to it. It never runs longer than
	// t.CostLimit allows. Errors: *TemplateError, ErrParameter, ErrNull,
	// ErrEvaluation; their texts hold no value of the row. Implementations may
	// cache by t.CodeHash, which covers everything of t that matters; a product
	// never changes under its id.
	Evaluate(p *record.ProductSpec, t *record.Template, params record.ParamValues, row vault.Row) (string, error)
}

// InCohort is what Evaluate returns of a COHORT template for whom its condition holds.
const InCohort = "IN"

// OutsideCohort is what a trial of a COHORT template counts everybody else under.
const OutsideCohort = "OUT"

// Errors of Evaluate.
var (
	// ErrParameter: a parameter is missing, unknown or not of its enumeration.
	ErrParameter = errors.New("query: parameter not of the template's enumeration")
	// ErrNull: the row holds a null that the template does not handle.
	ErrNull = errors.New("query: the template does not handle a null in the row")
	// ErrEvaluation: arithmetic overflow, division by zero, cost limit, or an
	// output that the template does not list.
	ErrEvaluation = errors.New("query: the template gave no listed output")
)

// Report is what Check found out about a template that may run.
type Report struct {
	Columns       []string // read by the source, in the order of the product
	CostMax       uint64   // worst case, in the evaluator's units
	LeakMillibits uint64   // debited per new answer, thousandths of a bit
	Notes         []string // what is allowed but probably not meant
}

// Problem is one reason why a template may not run.
type Problem struct {
	Line, Column int // in the source, from 1; 0: not in the source
	Message      string
}

// String is "line:column: message".
func (p Problem) String() string {
	if p.Line == 0 {
		return p.Message
	}
	return fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Message)
}

// TemplateError says why a template may not run.
type TemplateError struct {
	TemplateID record.TemplateID
	Problems   []Problem
}

// Error lists every problem on a line of its own.
func (e *TemplateError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return fmt.Sprintf("template %s: %s", e.TemplateID, strings.Join(lines, "\n  "))
}

// VaultType is the type in which a vault delivers a published column and a
// template sees it. A TIMESTAMP is an integer of Unix milliseconds; a DOUBLE has
// none, because an answer must not depend on how a machine rounds.
func VaultType(t record.ColumnType) (vault.Type, error) {
	switch t {
	case record.TypeInt, record.TypeTimestamp:
		return vault.Int, nil
	case record.TypeBool:
		return vault.Bool, nil
	case record.TypeString:
		return vault.String, nil
	}
	return 0, fmt.Errorf("query: templates cannot read %s columns; publish the column as INT in minor units, with a scale in the vault mapping", t)
}
