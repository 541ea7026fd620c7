package celquery

import (
	"regexp"
	"slices"
	"sort"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/assent-network/assent/chaincode/record"
)

// reserved are the words that cannot name a column: CEL's own, its type names and
// what the language gives a meaning.
var reserved = func() map[string]bool {
	words := strings.Fields(`as break const continue else false for function if import in let loop namespace null
		package return true var void while int uint double bool string bytes list map type null_type dyn
		cel params points band google`)
	m := make(map[string]bool, len(words))
	for _, w := range words {
		m[w] = true
	}
	return m
}()

var comprehensions = []string{"all", "exists", "exists_one", "existsOne", "map", "filter", "transformList", "transformMap", "has"}

// scope is a name bound by cel.bind and what surrounds it.
type scope struct {
	name  string
	outer *scope
}

func (s *scope) depth() (n int) {
	for ; s != nil; s = s.outer {
		n++
	}
	return n
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.name == name {
			return true
		}
	}
	return false
}

// walk visits the parsed source and records what a template may not do, before
// the type checker sees it: its messages would not know about column classes.
func (c *compiler) walk(e ast.Expr, bound *scope) {
	switch e.Kind() {
	case ast.IdentKind:
		c.ident(e.ID(), e.AsIdent(), bound)
	case ast.SelectKind:
		c.selection(e)
	case ast.LiteralKind:
		c.literal(e)
	case ast.CallKind:
		c.call(e, bound)
	case ast.ListKind:
		for _, item := range e.AsList().Elements() {
			c.walk(item, bound)
		}
	case ast.ComprehensionKind: // cel.bind: the only macro there is
		b := e.AsComprehension()
		if name := b.AccuVar(); reserved[name] || bound.has(name) || c.isColumn(name) {
			c.at(e.ID(), "cel.bind: the name %q is taken; choose another", name)
		}
		if bound.depth() >= maxBinds {
			c.at(e.ID(), "cel.bind: at most %d inside one another", maxBinds)
			return
		}
		c.walk(b.AccuInit(), bound)
		c.walk(b.Result(), &scope{b.AccuVar(), bound})
	default:
		c.at(e.ID(), "maps and messages are not part of the template language")
	}
}

func (c *compiler) isColumn(name string) bool {
	_, ok := c.product.Column(name)
	return ok
}

// ident judges a bare name: a bound name or a declared column.
func (c *compiler) ident(id int64, name string, bound *scope) {
	if bound.has(name) {
		return
	}
	if _, ok := c.columns[name]; ok {
		c.read[name] = true
		return
	}
	if slices.Contains(c.template.Columns, name) {
		return // its declaration was refused already
	}
	if col, ok := c.product.Column(name); ok {
		if !c.condition() && col.Class.Kind != record.ClassAnswerOnly {
			c.at(id, "column %q: %s", name, classRefusal(col.Class.Kind))
			return
		}
		c.at(id, "column %q is read but not declared; add it to the template's columns", name)
		return
	}
	if _, ok := c.params[name]; ok {
		c.at(id, "%q is a parameter; write params.%s", name, name)
		return
	}
	c.at(id, "%q is neither a declared column nor a name bound by cel.bind; the product's columns: %s", name, columnNames(c.product))
}

// selection judges a.b, of which only params.<name> exists.
func (c *compiler) selection(e ast.Expr) {
	s := e.AsSelect()
	if s.Operand().Kind() == ast.IdentKind && s.Operand().AsIdent() == "params" && !s.IsTestOnly() {
		if _, ok := c.params[s.FieldName()]; !ok {
			names := make([]string, 0, len(c.params))
			for name := range c.params {
				names = append(names, name)
			}
			sort.Strings(names)
			c.at(e.ID(), "there is no parameter %q; the template's parameters: %s", s.FieldName(), orNone(names))
		}
		return
	}
	if s.Operand().Kind() == ast.IdentKind && c.isColumn(s.FieldName()) {
		c.at(e.ID(), "write the column as %s, without %s.", s.FieldName(), s.Operand().AsIdent())
		return
	}
	c.at(e.ID(), "values have no fields; columns are written by their name, parameters as params.<name>")
}

func (c *compiler) literal(e ast.Expr) {
	switch e.AsLiteral().(type) {
	case types.Double:
		c.at(e.ID(), "no floating-point numbers: write amounts as whole numbers of the minor unit")
	case types.Uint:
		c.at(e.ID(), "no unsigned numbers: leave out the u")
	case types.Bytes:
		c.at(e.ID(), "no byte strings: leave out the b")
	}
}

func (c *compiler) call(e ast.Expr, bound *scope) {
	call := e.AsCall()
	name := call.FunctionName()
	switch _, ok := language[name]; {
	case ok, name == pointsFunction, name == bandFunction:
	case slices.Contains(comprehensions, name):
		c.at(e.ID(), "%s: no loops or presence tests: a template reads one row; compare with null instead of has()", name)
		return
	default:
		c.at(e.ID(), "%s is not part of the template language; it has comparisons, && || !, ?:, + - * / %% on integers, in, startsWith, cel.bind, points and band", display(name))
		return
	}
	if call.IsMemberFunction() {
		c.walk(call.Target(), bound)
	}
	for _, arg := range call.Args() {
		c.walk(arg, bound)
	}
	if (name == pointsFunction || name == bandFunction) && len(call.Args()) == 3 {
		c.intervals(name, call.Args())
	}
}

// intervals checks the lists of points and band, which must be plain: then every
// value falls into exactly one interval and nothing can fail at run time.
func (c *compiler) intervals(name string, args []ast.Expr) {
	if args[1].Kind() != ast.ListKind || args[2].Kind() != ast.ListKind {
		c.at(args[1].ID(), "%s: write both lists out in place", name)
		return
	}
	cuts, entries := args[1].AsList().Elements(), args[2].AsList().Elements()
	if len(cuts) == 0 || len(entries) != len(cuts)+1 {
		c.at(args[2].ID(), "%s: %d cuts make %d intervals, but there are %d entries", name, len(cuts), len(cuts)+1, len(entries))
		return
	}
	last, ascending := types.Int(0), true
	for i, cut := range cuts {
		n, ok := whole(cut)
		if !ok {
			c.at(cut.ID(), "%s: a cut must be a whole number written out", name)
			return
		}
		ascending = ascending && (i == 0 || n > last)
		last = n
	}
	if !ascending {
		c.at(args[1].ID(), "%s: the cuts must ascend", name)
	}
}

// whole reads an integer literal; a negative one is a literal in CEL's parser.
func whole(e ast.Expr) (types.Int, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	n, ok := e.AsLiteral().(types.Int)
	return n, ok
}

// leaves follows the result through ?:, cel.bind and band down to what it can be.
// A plain string must be an output; a parameter's values all must be; anything
// else is checked when it runs.
func (c *compiler) leaves(e ast.Expr) {
	switch {
	case e.Kind() == ast.LiteralKind:
		if s, ok := e.AsLiteral().(types.String); ok {
			c.leaf(e.ID(), string(s))
			return
		}
	case e.Kind() == ast.ComprehensionKind:
		c.leaves(e.AsComprehension().Result())
		return
	case e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Conditional:
		c.leaves(e.AsCall().Args()[1])
		c.leaves(e.AsCall().Args()[2])
		return
	case e.Kind() == ast.CallKind && e.AsCall().FunctionName() == bandFunction:
		for _, label := range e.AsCall().Args()[2].AsList().Elements() {
			c.leaves(label)
		}
		return
	case e.Kind() == ast.IdentKind && strings.HasPrefix(e.AsIdent(), paramPrefix):
		for value := range c.values[strings.TrimPrefix(e.AsIdent(), paramPrefix)].values {
			c.leaf(e.ID(), value)
		}
		return
	}
	c.open = true
}

func (c *compiler) leaf(id int64, s string) {
	c.says[s] = true
	if !slices.Contains(c.template.Outputs, s) {
		c.at(id, "the template can say %q, which its outputs do not list; outputs: %s", s, strings.Join(c.template.Outputs, ", "))
	}
}

func classRefusal(k record.ClassKind) string {
	switch k {
	case record.ClassNever:
		return "its class is NEVER: no answer may depend on it; leave it out"
	case record.ClassSumOnly:
		return "its class is SUM_ONLY: it may enter cross-bank totals, not answers about one subject; leave it out"
	case record.ClassStatOnly:
		return "its class is STAT_ONLY: it may enter cohort statistics, not answers about one subject; leave it out"
	}
	return "its class does not allow answers; leave it out"
}

func columnNames(p *record.ProductSpec) string {
	var names []string
	for _, col := range p.Columns {
		if col.Class.Kind == record.ClassAnswerOnly {
			names = append(names, col.Name)
		}
	}
	return orNone(names)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// display turns an operator's internal name into what was written.
func display(name string) string {
	if sym, ok := operators.FindReverse(name); ok && sym != "" {
		return sym
	}
	if name == operators.Index {
		return "[]"
	}
	return name
}

var (
	nullable   = regexp.MustCompile(`wrapper\((\w+)\)`)
	noOverload = regexp.MustCompile(`found no matching overload for '([^']*)' applied to '([^']*)'`)
)

// plain turns the parser's and checker's most frequent complaints into words.
func plain(msg string) string {
	msg = nullable.ReplaceAllString(msg, "$1")
	if strings.Contains(msg, "'<EOF>'") {
		return "the source ends too early"
	}
	m := noOverload.FindStringSubmatch(msg)
	if m == nil {
		return msg
	}
	return display(m[1]) + " does not work on " + m[2] + "; both sides must be integers, or both strings"
}
