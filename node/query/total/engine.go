package total

import (
	"fmt"
	"strconv"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/node/vault"
)

// Engine is query.Engine for TOTAL templates, and hands every other to Other.
//
// A TOTAL template names one column and has no language: its figure is the column's
// value in decimal digits. A debt below zero counts as none. What a bank cannot
// pledge is query.ErrEvaluation.
type Engine struct{ Other query.Engine }

var _ query.Engine = Engine{}

// Check implements query.Engine.
func (e Engine) Check(p *record.ProductSpec, t *record.TemplateSpec) (query.Report, error) {
	if t.Kind != record.Total {
		return e.Other.Check(p, t)
	}
	if problems := problems(p, t); len(problems) != 0 {
		return query.Report{}, &query.TemplateError{TemplateID: t.TemplateID, Problems: problems}
	}
	return query.Report{Columns: t.Columns}, nil
}

// problems says why a TOTAL template may not run: the ledger's own rules, in words
// for whoever wrote it.
func problems(p *record.ProductSpec, t *record.TemplateSpec) []query.Problem {
	if len(t.Columns) != 1 {
		return []query.Problem{{Message: "a TOTAL template adds up one column: name it in columns, and nothing else"}}
	}
	name := t.Columns[0]
	var out []query.Problem
	if t.Source != name {
		out = append(out, query.Problem{Line: 1, Column: 1, Message: fmt.Sprintf("the source of a TOTAL template is its column %q alone: what is added up can be read at a glance", name)})
	}
	column, found := p.Column(name)
	switch {
	case !found:
		out = append(out, query.Problem{Message: fmt.Sprintf("the product has no column %q", name)})
	case column.Class.Kind != record.ClassSumOnly:
		out = append(out, query.Problem{Message: fmt.Sprintf("column %q is %s: only SUM_ONLY columns are added up", name, column.Class.Kind)})
	case column.Type != record.TypeInt:
		out = append(out, query.Problem{Message: fmt.Sprintf("column %q is %s: publish it as INT in minor units", name, column.Type)})
	}
	return out
}

// Evaluate implements query.Engine. Parameters (the threshold) are the aggregator's
// to apply and do not change the figure.
func (e Engine) Evaluate(p *record.ProductSpec, t *record.Template, params record.ParamValues, row vault.Row) (string, error) {
	if t.Kind != record.Total {
		return e.Other.Evaluate(p, t, params, row)
	}
	if problems := problems(p, &t.TemplateSpec); len(problems) != 0 {
		return "", &query.TemplateError{TemplateID: t.TemplateID, Problems: problems}
	}
	if len(row) != 1 {
		return "", fmt.Errorf("%w: a row of %d values for one column", query.ErrEvaluation, len(row))
	}
	if row[0].IsNull() {
		return "", query.ErrNull
	}
	n, ok := row[0].Int()
	if !ok || n >= 1<<exposure.ValueBits {
		return "", fmt.Errorf("%w: no integer below 2^%d; publish the column in a larger unit", query.ErrEvaluation, exposure.ValueBits)
	}
	return strconv.FormatInt(max(n, 0), 10), nil
}
