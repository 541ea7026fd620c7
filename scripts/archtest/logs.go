package archtest

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// What identifies a person, and what comes out of a bank's database, must not get
// into a log. A log call therefore names what it says in constants, and its values
// are numbers, truths, times, errors, names that stand on the ledger, or of types
// that print themselves without their content; plain text only under a key that is
// known to hold nothing else.

const slogPath = "log/slog"

// module is where our own types are.
const module = Module + "/"

// loggable are the named types whose content stands on the ledger or on the
// network before everybody, or means nothing to anybody. Ids of consents and
// requests are random.
var loggable = []string{
	"time.Time", "net/netip.AddrPort", "log/slog.Level",
	"github.com/ethereum/go-ethereum/common.Hash", "github.com/ethereum/go-ethereum/common.Address",
	module + "network.PeerID", module + "network.Class", module + "network.Protocol",
	module + "chaincode/record.RequestID", module + "chaincode/record.ConsentID", module + "chaincode/record.OrgID",
	module + "chaincode/record.ProductID", module + "chaincode/record.TemplateID", module + "chaincode/record.NodeID",
	module + "chaincode/record.Code", module + "chaincode/record.ReceiptOutcome",
	module + "node.VaultState", module + "node.standing",
	module + "node/outbox.Kind", module + "node/outbox.Ending",
}

// textKeys are the keys under which plain text may stand, and what it is.
var textKeys = map[string]string{
	"addr":      "a network address",
	"address":   "a network address",
	"api":       "a network address",
	"asked":     "which call of the API or which record was asked for",
	"at":        "places in the source",
	"before":    "a state, one of few words",
	"code":      "a code of the closed list",
	"connector": "one of few words",
	"contract":  "a contract's name",
	"dir":       "a directory of the node",
	"function":  "a contract's function",
	"id":        "of a chaincode package",
	"item":      "the id of a consent or request",
	"key":       "a state key as ledger.ShownKey shows it: without those of subjects",
	"kind":      "one of few words",
	"listen":    "network addresses",
	"member":    "a member's id",
	"message":   "why a contract refused, in its own words",
	"method":    "a method of the API",
	"node":      "a node's id or address",
	"org":       "a member's id",
	"page":      "a page of the console, or its route without values",
	"panic":     "a type, or an error of the runtime",
	"part":      "a part of the node",
	"peer":      "a node's id",
	"product":   "a product's id",
	"protocol":  "a protocol's name",
	"reason":    "one of the program's sentences",
	"recipient": "a member's id",
	"stack":     "places in the source",
	"stage":     "one of few words",
	"step":      "one of few words",
	"tx":        "a transaction's id",
	"version":   "of the program",
	"what":      "one of the program's sentences",
}

// logExceptions are the functions that pass on what their callers say; each is
// checked by a rule of its own or by nothing but people.
var logExceptions = map[string]string{
	module + "consensus/bft.write": "lines of the ordering library, which knows no persons; whole messages are named by type and size",
	module + "node/logs.replace":   "the handler itself",
}

// logFinding is one argument that a log call must not have.
type logFinding struct {
	at   token.Position
	what string
}

func (f logFinding) String() string { return fmt.Sprintf("%s: %s", f.at, f.what) }

// logCheck looks at the log calls of one package.
type logCheck struct {
	fset  *token.FileSet
	info  *types.Info
	found []logFinding
}

// logCalls reports what the log calls in files must not say.
func logCalls(fset *token.FileSet, files []*ast.File, info *types.Info, path string) []logFinding {
	c := &logCheck{fset: fset, info: info}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && logExceptions[path+"."+fn.Name.Name] != "" {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					c.call(call)
				}
				return true
			})
		}
	}
	return c.found
}

func (c *logCheck) complain(n ast.Node, format string, args ...any) {
	c.found = append(c.found, logFinding{c.fset.Position(n.Pos()), fmt.Sprintf(format, args...)})
}

// call checks a call of package slog; others do not concern it.
func (c *logCheck) call(call *ast.CallExpr) {
	fn := c.callee(call)
	if fn == nil || fn.Pkg() == nil || fn.Pkg().Path() != slogPath {
		return
	}
	if recv := fn.Signature().Recv(); recv != nil && !isLogger(recv.Type()) {
		return
	}
	args := call.Args
	switch fn.Name() {
	case "Debug", "Info", "Warn", "Error":
		c.message(call, args, 0)
	case "DebugContext", "InfoContext", "WarnContext", "ErrorContext":
		c.message(call, args, 1)
	case "Log", "LogAttrs":
		c.message(call, args, 2)
	case "With":
		c.pairs(call, args)
	case "Group":
		if len(args) > 0 {
			c.pairs(call, args[1:])
		}
	case "String", "Int", "Int64", "Uint64", "Float64", "Bool", "Time", "Duration", "Any":
		if fn.Signature().Recv() == nil && len(args) == 2 {
			c.value(args[0], args[1])
		}
	}
}

func isLogger(t types.Type) bool {
	p, ok := t.(*types.Pointer)
	if !ok {
		return false
	}
	n, ok := p.Elem().(*types.Named)
	return ok && n.Obj().Name() == "Logger"
}

func (c *logCheck) callee(call *ast.CallExpr) *types.Func {
	var id *ast.Ident
	switch f := ast.Unparen(call.Fun).(type) {
	case *ast.Ident:
		id = f
	case *ast.SelectorExpr:
		id = f.Sel
	default:
		return nil
	}
	fn, _ := c.info.Uses[id].(*types.Func)
	return fn
}

func (c *logCheck) message(call *ast.CallExpr, args []ast.Expr, at int) {
	if len(args) <= at {
		return
	}
	if _, ok := c.constant(args[at]); !ok {
		c.complain(args[at], "the message is put together at run time: make it a constant, and values of what changes")
	}
	c.pairs(call, args[at+1:])
}

func (c *logCheck) pairs(call *ast.CallExpr, args []ast.Expr) {
	if call.Ellipsis.IsValid() {
		c.complain(call, "the arguments are passed on as a list: nobody can see here what they are")
		return
	}
	for len(args) > 0 {
		if named(c.info.TypeOf(args[0])) == "log/slog.Attr" { // where it is made it is checked
			args = args[1:]
			continue
		}
		if len(args) == 1 {
			c.complain(args[0], "a key without a value, or a value without a key")
			return
		}
		c.value(args[0], args[1])
		args = args[2:]
	}
}

func (c *logCheck) constant(e ast.Expr) (string, bool) {
	v := c.info.Types[e].Value
	if v == nil || v.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(v), true
}

func (c *logCheck) value(key, value ast.Expr) {
	k, ok := c.constant(key)
	if !ok {
		c.complain(key, "the key is not a constant")
		return
	}
	if _, ok := c.constant(value); ok {
		return
	}
	t := c.info.TypeOf(c.inside(value))
	switch {
	case harmless(t):
	case isText(t):
		if textKeys[k] == "" {
			c.complain(value, "text under the key %q: give it a type that says what it is, hide it with node/redact, or, if such text can never name a person, add the key to textKeys", k)
		}
	default:
		c.complain(value, "a value of type %s under the key %q: log a number, a name that stands on the ledger, or a type of node/redact", t, k)
	}
}

// inside looks through string(x), x.String() and strings.Join(x, …): what counts is
// the type of x.
func (c *logCheck) inside(e ast.Expr) ast.Expr {
	call, ok := ast.Unparen(e).(*ast.CallExpr)
	if !ok {
		return e
	}
	if tv := c.info.Types[call.Fun]; tv.IsType() && len(call.Args) == 1 {
		if harmless(c.info.TypeOf(call.Args[0])) {
			return call.Args[0]
		}
		return e
	}
	if s, ok := ast.Unparen(call.Fun).(*ast.SelectorExpr); ok && slices.Contains([]string{"String", "Hex"}, s.Sel.Name) && len(call.Args) == 0 {
		if x := c.info.TypeOf(s.X); x != nil && harmless(x) {
			return s.X
		}
	}
	return e
}

// harmless are the types that say nothing about persons.
func harmless(t types.Type) bool {
	if t == nil {
		return false
	}
	t = types.Unalias(t)
	if slices.Contains(loggable, named(t)) || isError(t) || hidesItself(t) {
		return true
	}
	switch u := t.Underlying().(type) {
	case *types.Basic:
		return u.Info()&(types.IsNumeric|types.IsBoolean) != 0
	case *types.Slice:
		return !isByte(u.Elem()) && harmless(u.Elem())
	case *types.Array:
		return !isByte(u.Elem()) && harmless(u.Elem())
	}
	return false
}

// isByte: bytes are numbers, and a list of them is anything.
func isByte(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Kind() == types.Uint8
}

func isText(t types.Type) bool {
	if t == nil {
		return false
	}
	if s, ok := t.Underlying().(*types.Slice); ok {
		t = s.Elem()
	}
	b, ok := types.Unalias(t).(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}

func isError(t types.Type) bool {
	return types.Implements(t, types.Universe.Lookup("error").Type().Underlying().(*types.Interface))
}

// hidesItself are our own types that say how they are logged, those of node/redact
// among them.
func hidesItself(t types.Type) bool {
	return strings.HasPrefix(named(t), module) && hasMethod(t, "LogValue")
}

func hasMethod(t types.Type, name string) bool {
	obj, _, _ := types.LookupFieldOrMethod(t, true, nil, name)
	_, ok := obj.(*types.Func)
	return ok
}

// named is the path and name of a named type or of a pointer to one.
func named(t types.Type) string {
	if t == nil {
		return ""
	}
	t = types.Unalias(t)
	if p, ok := t.(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	n, ok := t.(*types.Named)
	if !ok || n.Obj().Pkg() == nil {
		return ""
	}
	return n.Obj().Pkg().Path() + "." + n.Obj().Name()
}
