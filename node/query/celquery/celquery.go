// Package celquery runs query templates written in CEL (cel.dev/cel-go).
//
// A template is one expression over the columns it declares and its enumerated
// parameters, which it reads as params.<name>; it yields one of its outputs, or in a
// COHORT template whether a customer belongs to the cohort.
// Integers, strings, booleans, null, comparison, && || !, ?:, in, startsWith,
// cel.bind, and two functions for score cards:
//
//	points(x, [10, 20], [5, 15, 30])        5 below 10, 15 from 10 below 20, 30 from 20
//	band(score, [500, 650], ["LOW", "MID", "HIGH"])
//
// Everything else of CEL is left out: floats, because an answer must not depend on
// rounding; string building, regular expressions, maps and comprehensions, because
// nothing that reads one row needs them and each is a way to spend much for little.
//
// It promises what query.Engine asks for: a template is refused before it is
// approved if it reads what it may not read, if its worst case costs more than its
// limit, or if it can say something it does not list and that can be known; at run
// time the cost limit and the list of outputs are enforced again.
package celquery

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/vault"
)

// MaxCost is the highest cost limit a template may name: about half a millisecond.
const MaxCost = 10_000

// maxCached bounds the compiled templates kept.
const maxCached = 512

// Engine implements query.Engine.
type Engine struct {
	mu       sync.RWMutex // guards compiled
	compiled map[record.Hash]*program
}

var _ query.Engine = (*Engine)(nil)

// New makes an engine.
func New() *Engine { return &Engine{compiled: map[record.Hash]*program{}} }

// program is a template ready to run; immutable.
type program struct {
	report  query.Report
	run     cel.Program
	columns map[string]int // position in the row
	params  map[string]param
	outputs map[string]bool
	// condition: the source says who belongs to a cohort, query.InCohort or not.
	condition bool
}

// param is one parameter with its enumeration as CEL values.
type param struct {
	name   string
	values map[string]ref.Val
}

// Check implements query.Engine.
func (e *Engine) Check(p *record.ProductSpec, t *record.TemplateSpec) (query.Report, error) {
	prog, err := compile(p, t)
	if err != nil {
		return query.Report{}, err
	}
	return prog.report, nil
}

// Evaluate implements query.Engine.
func (e *Engine) Evaluate(p *record.ProductSpec, t *record.Template, params record.ParamValues, row vault.Row) (string, error) {
	prog, err := e.program(p, t)
	if err != nil {
		return "", err
	}
	return prog.evaluate(params, row)
}

func (e *Engine) program(p *record.ProductSpec, t *record.Template) (*program, error) {
	e.mu.RLock()
	prog, ok := e.compiled[t.CodeHash]
	e.mu.RUnlock()
	if ok {
		return prog, nil
	}
	// Two that race here compile twice; the results are equal.
	prog, err := compile(p, &t.TemplateSpec)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.compiled) >= maxCached {
		for h := range e.compiled { // any one: a provider has far fewer templates
			delete(e.compiled, h)
			break
		}
	}
	e.compiled[t.CodeHash] = prog
	return prog, nil
}

func (p *program) evaluate(params record.ParamValues, row vault.Row) (string, error) {
	if len(row) != len(p.columns) {
		return "", fmt.Errorf("%w: a row of %d values for %d columns", query.ErrEvaluation, len(row), len(p.columns))
	}
	if len(params) != len(p.params) {
		return "", fmt.Errorf("%w: %d given, %d wanted", query.ErrParameter, len(params), len(p.params))
	}
	in := &input{columns: p.columns, row: row, params: make(map[string]ref.Val, len(params))}
	for _, v := range params {
		decl, ok := p.params[v.Name]
		if !ok {
			return "", fmt.Errorf("%w: there is no parameter %q", query.ErrParameter, v.Name)
		}
		val, ok := decl.values[v.Value]
		if !ok {
			return "", fmt.Errorf("%w: parameter %q", query.ErrParameter, v.Name)
		}
		in.params[paramPrefix+v.Name] = val
	}
	out, _, err := p.run.Eval(in)
	if err != nil {
		// cel-go's texts may quote operands: they are not passed on.
		for _, v := range row {
			if v.IsNull() {
				return "", query.ErrNull
			}
		}
		return "", fmt.Errorf("%w: overflow, division by zero or cost limit", query.ErrEvaluation)
	}
	if p.condition {
		if out == types.True {
			return query.InCohort, nil
		}
		return "", nil
	}
	s, ok := out.(types.String)
	if !ok || !p.outputs[string(s)] {
		return "", fmt.Errorf("%w: the result is not among the outputs", query.ErrEvaluation)
	}
	return string(s), nil
}

// input gives a row and the parameters to CEL. It implements cel.Activation.
type input struct {
	columns map[string]int
	row     vault.Row
	params  map[string]ref.Val
}

// ResolveName implements cel.Activation.
func (in *input) ResolveName(name string) (any, bool) {
	if i, ok := in.columns[name]; ok {
		return celValue(in.row[i]), true
	}
	v, ok := in.params[name]
	return v, ok
}

// Parent implements cel.Activation.
func (in *input) Parent() cel.Activation { return nil }

func celValue(v vault.Value) ref.Val {
	if n, ok := v.Int(); ok {
		return types.Int(n)
	}
	if s, ok := v.Str(); ok {
		return types.String(s)
	}
	if b, ok := v.Bool(); ok {
		return types.Bool(b)
	}
	return types.NullValue
}

// celParam reads one enumerated value in its declared type. Only the canonical
// spelling counts: two spellings of one number would be two questions.
func celParam(t record.ColumnType, s string) (ref.Val, error) {
	switch t {
	case record.TypeInt, record.TypeTimestamp:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != s {
			return nil, errors.New("is not a whole number in plain digits")
		}
		return types.Int(n), nil
	case record.TypeBool:
		if s != "true" && s != "false" {
			return nil, errors.New("is neither true nor false")
		}
		return types.Bool(s == "true"), nil
	case record.TypeString:
		return types.String(s), nil
	}
	return nil, fmt.Errorf("has type %s; use INT, STRING or BOOL", t)
}
