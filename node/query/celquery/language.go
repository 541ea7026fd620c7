package celquery

import (
	"sort"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"

	"github.com/assent-network/assent/node/vault"
)

// paramPrefix keeps parameters apart from columns: params.<name>.
const paramPrefix = "params."

const (
	pointsFunction = "points"
	bandFunction   = "band"
)

// language is the part of CEL's standard library that templates may use, by
// function and overload. What is not here does not exist for a template.
var language = map[string][]string{
	operators.Conditional:   {overloads.Conditional},
	operators.LogicalAnd:    {overloads.LogicalAnd},
	operators.LogicalOr:     {overloads.LogicalOr},
	operators.LogicalNot:    {overloads.LogicalNot},
	operators.Equals:        {overloads.Equals},
	operators.NotEquals:     {overloads.NotEquals},
	operators.Less:          {overloads.LessInt64, overloads.LessString},
	operators.LessEquals:    {overloads.LessEqualsInt64, overloads.LessEqualsString},
	operators.Greater:       {overloads.GreaterInt64, overloads.GreaterString},
	operators.GreaterEquals: {overloads.GreaterEqualsInt64, overloads.GreaterEqualsString},
	operators.Add:           {overloads.AddInt64},
	operators.Subtract:      {overloads.SubtractInt64},
	operators.Multiply:      {overloads.MultiplyInt64},
	operators.Divide:        {overloads.DivideInt64},
	operators.Modulo:        {overloads.ModuloInt64},
	operators.Negate:        {overloads.NegateInt64},
	operators.In:            {overloads.InList},
	overloads.StartsWith:    {overloads.StartsWithString},
}

// subset is language in the form that cel-go takes.
func subset() *env.LibrarySubset {
	s := env.NewLibrarySubset().SetDisableMacros(true)
	for name, ids := range language {
		list := make([]*env.Overload, len(ids))
		for i, id := range ids {
			list[i] = &env.Overload{ID: id}
		}
		s.AddIncludedFunctions(env.NewFunction(name, list...))
	}
	return s
}

// newEnv declares the columns and parameters. Columns may be null; CEL's checker
// lets a nullable int stand where an int is wanted, and null there is an error at
// run time.
func newEnv(columns map[string]vault.Type, params map[string]*cel.Type) (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(subset())),
		ext.Bindings(ext.BindingsVersion(0)),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.ParserRecursionLimit(maxDepth),
		cel.ExpressionNodeLimit(maxNodes),
		cel.Function(pointsFunction, cel.Overload("points_int_list_list",
			[]*cel.Type{cel.IntType, cel.ListType(cel.IntType), cel.ListType(cel.IntType)}, cel.IntType,
			cel.FunctionBinding(pick))),
		cel.Function(bandFunction, cel.Overload("band_int_list_list",
			[]*cel.Type{cel.IntType, cel.ListType(cel.IntType), cel.ListType(cel.StringType)}, cel.StringType,
			cel.FunctionBinding(pick))),
	}
	for name, t := range columns {
		opts = append(opts, cel.Variable(name, cel.NullableType(celType(t))))
	}
	for name, t := range params {
		opts = append(opts, cel.Variable(paramPrefix+name, t))
	}
	return cel.NewCustomEnv(opts...)
}

func celType(t vault.Type) *cel.Type {
	switch t {
	case vault.String:
		return cel.StringType
	case vault.Bool:
		return cel.BoolType
	}
	return cel.IntType
}

// pick returns the entry of args[2] whose interval of the ascending cuts args[1]
// holds args[0]: entry i below cut i, the last one from the last cut on.
func pick(args ...ref.Val) ref.Val {
	x, ok := args[0].(types.Int)
	cuts, ok1 := args[1].(traits.Lister)
	entries, ok2 := args[2].(traits.Lister)
	if !ok || !ok1 || !ok2 {
		return types.MaybeNoSuchOverloadErr(args[0])
	}
	n := int(cuts.Size().(types.Int))
	i := sort.Search(n, func(i int) bool {
		cut, ok := cuts.Get(types.Int(i)).(types.Int)
		return ok && x < cut
	})
	return entries.Get(types.Int(i))
}

// sizes tells the cost estimate how long what comes from outside can be.
type sizes struct{}

// EstimateSize implements cost.Estimator.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if n.Expr().Kind() == ast.IdentKind || n.Expr().Kind() == ast.SelectKind {
		return &cost.SizeEstimate{Min: 0, Max: vault.MaxStringBytes}
	}
	return nil
}

// EstimateCallCost implements cost.Estimator; our functions search a short list.
func (sizes) EstimateCallCost(function, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	if function == pointsFunction || function == bandFunction {
		return &cost.CallEstimate{CostEstimate: cost.CostEstimate{Min: 1, Max: 1}}
	}
	return nil
}
