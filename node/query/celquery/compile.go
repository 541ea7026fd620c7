package celquery

import (
	"fmt"
	"math"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types/ref"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/answer"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/vault"
)

// Limits of a source text. With them parsing and checking stay below a few
// dozen milliseconds for any input.
const (
	maxSource = 8 << 10
	maxDepth  = 64
	maxNodes  = 2_000
	// maxBinds bounds cel.bind inside cel.bind: cel-go's cost estimate takes time
	// exponential in it (18 s for 25 of them).
	maxBinds = 6
)

// compiler collects the problems of one template.
type compiler struct {
	product  *record.ProductSpec
	template *record.TemplateSpec
	problems []query.Problem

	columns map[string]vault.Type // declared and readable
	params  map[string]*cel.Type
	values  map[string]param
	source  *ast.SourceInfo
	read    map[string]bool // columns met in the source
	says    map[string]bool // outputs the source can say, as far as it is plain
	open    bool            // it can say something that is not plain in the source
}

// compile checks a template and makes it ready to run.
func compile(p *record.ProductSpec, t *record.TemplateSpec) (*program, error) {
	c := &compiler{product: p, template: t, columns: map[string]vault.Type{}, params: map[string]*cel.Type{},
		values: map[string]param{}, read: map[string]bool{}, says: map[string]bool{}}
	c.declarations()
	prog := c.program()
	if len(c.problems) > 0 {
		return nil, &query.TemplateError{TemplateID: t.TemplateID, Problems: c.problems}
	}
	return prog, nil
}

func (c *compiler) problem(format string, args ...any) {
	c.problems = append(c.problems, query.Problem{Message: fmt.Sprintf(format, args...)})
}

// at records a problem at an expression's place.
func (c *compiler) at(id int64, format string, args ...any) {
	loc := c.source.GetStartLocation(id)
	c.problems = append(c.problems, query.Problem{Line: max(loc.Line(), 1), Column: max(loc.Column(), 0) + 1, Message: fmt.Sprintf(format, args...)})
}

// declarations checks what stands around the source.
func (c *compiler) declarations() {
	t := c.template
	if t.CostLimit == 0 || t.CostLimit > MaxCost {
		c.problem("cost limit %d: want 1 to %d", t.CostLimit, MaxCost)
	}
	if !c.condition() && !slices.Contains(t.Outputs, record.NoRecord) {
		c.problem("the outputs must list %s", record.NoRecord)
	}
	for _, name := range t.Columns {
		c.declareColumn(name)
	}
	for _, p := range t.Params {
		c.declareParam(p)
	}
}

// condition reports whether the source says who belongs to a cohort, and not what one
// subject is answered.
func (c *compiler) condition() bool { return c.template.Kind == record.CohortKind }

func (c *compiler) declareColumn(name string) {
	col, ok := c.product.Column(name)
	if !ok {
		c.problem("column %q: product %s has none of this name; its columns: %s", name, c.product.ProductID, columnNames(c.product))
		return
	}
	if c.condition() && col.Class.Kind != record.ClassStatOnly {
		c.problem("column %q: its class is %s: statistics read STAT_ONLY columns", name, col.Class.Kind)
		return
	}
	if !c.condition() && col.Class.Kind != record.ClassAnswerOnly {
		c.problem("column %q: %s", name, classRefusal(col.Class.Kind))
		return
	}
	t, err := query.VaultType(col.Type)
	if err != nil {
		c.problem("column %q: %v", name, err)
		return
	}
	if reserved[name] {
		c.problem("column %q: the name is a word of the template language; publish the column under another name", name)
		return
	}
	c.columns[name] = t
}

func (c *compiler) declareParam(p record.Param) {
	t, err := query.VaultType(p.Type)
	if err != nil {
		c.problem("parameter %q: type %s; use INT, STRING or BOOL", p.Name, p.Type)
		return
	}
	decl := param{name: p.Name, values: map[string]ref.Val{}}
	for _, s := range p.Values {
		v, err := celParam(p.Type, s)
		if err != nil {
			c.problem("parameter %q: the value %q %v", p.Name, s, err)
			return
		}
		decl.values[s] = v
	}
	if len(decl.values) == 0 {
		c.problem("parameter %q: enumerate its values; a lender may not choose freely", p.Name)
	}
	c.params[p.Name] = celType(t)
	c.values[p.Name] = decl
}

// program parses, checks and costs the source.
func (c *compiler) program() *program {
	env, err := newEnv(c.columns, c.params)
	if err != nil {
		c.problem("declarations: %v", err)
		return nil
	}
	if len(c.template.Source) > maxSource {
		c.problem("source of %d bytes, at most %d", len(c.template.Source), maxSource)
		return nil
	}
	parsed, issues := env.Parse(c.template.Source)
	if issues.Err() != nil {
		c.issues(issues)
		return nil
	}
	c.source = parsed.NativeRep().SourceInfo()
	c.walk(parsed.NativeRep().Expr(), nil)
	if len(c.problems) > 0 {
		return nil // the checker would say the same in its own words
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		c.issues(issues)
		return nil
	}
	if c.condition() {
		if !checked.OutputType().IsExactType(cel.BoolType) {
			c.at(checked.NativeRep().Expr().ID(), "the condition yields %s; who belongs to the cohort is true or false", plain(checked.OutputType().String()))
			return nil
		}
	} else if !checked.OutputType().IsExactType(cel.StringType) {
		c.at(checked.NativeRep().Expr().ID(), "the template yields %s, but an answer is one of the outputs, which are strings", plain(checked.OutputType().String()))
		return nil
	}
	if !c.condition() {
		c.leaves(checked.NativeRep().Expr())
	}
	worst := c.cost(env, checked)
	run, err := env.Program(checked, cel.CostLimit(c.template.CostLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		c.problem("plan: %v", err)
		return nil
	}
	return c.finish(run, worst)
}

// cost refuses a template whose worst case is above its limit, or unbounded.
func (c *compiler) cost(env *cel.Env, checked *cel.Ast) uint64 {
	est, err := env.EstimateCost(checked, sizes{})
	switch {
	case err != nil:
		c.problem("cost: %v", err)
	case est.Max == math.MaxUint64:
		c.problem("cost: the worst case is not bounded")
	case est.Max > c.template.CostLimit:
		c.problem("cost: the worst case is %d, the template's limit %d; simplify the source or raise the limit (at most %d)", est.Max, c.template.CostLimit, MaxCost)
	}
	return est.Max
}

func (c *compiler) finish(run cel.Program, worst uint64) *program {
	t := c.template
	p := &program{run: run, columns: map[string]int{}, params: c.values, outputs: map[string]bool{}}
	for i, name := range t.Columns {
		p.columns[name] = i
	}
	for _, out := range t.Outputs {
		p.outputs[out] = true
	}
	if c.condition() {
		p.condition = true
		p.report = query.Report{Columns: t.Columns, CostMax: worst} // its epsilon is the plan's
		return p
	}
	p.report = query.Report{CostMax: worst, LeakMillibits: answer.LeakMillibits(len(t.Outputs))}
	for _, col := range c.product.Columns {
		if c.read[col.Name] {
			p.report.Columns = append(p.report.Columns, col.Name)
		} else if slices.Contains(t.Columns, col.Name) {
			p.report.Notes = append(p.report.Notes, fmt.Sprintf("column %q is declared but not read; its leak account is debited all the same", col.Name))
		}
	}
	for _, out := range t.Outputs {
		if out != record.NoRecord && !c.open && !c.says[out] {
			p.report.Notes = append(p.report.Notes, fmt.Sprintf("output %q is listed but never said; every listed output costs leak", out))
		}
	}
	return p
}

// issues passes on what the parser or checker found, with its place.
func (c *compiler) issues(list *cel.Issues) {
	for _, e := range list.Errors() {
		c.problems = append(c.problems, query.Problem{Line: max(e.Location.Line(), 1), Column: max(e.Location.Column(), 0) + 1, Message: plain(e.Message)})
	}
	if len(c.problems) == 0 {
		c.problem("%v", list.Err())
	}
}
