package archtest

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// loadLogs loads the packages that write logs, with their types.
func loadLogs(t *testing.T) []*packages.Package {
	t.Helper()
	pkgs, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports,
		Dir:  "../..",
	}, "./node/...", "./sdk/...", "./network/...", "./consensus/...", "./chaincode/...")
	if err != nil {
		t.Fatal(err)
	}
	if packages.PrintErrors(pkgs) > 0 {
		t.Fatal("the packages cannot be loaded")
	}
	return pkgs
}

// No log call passes what may identify a person; see logs.go for the rule.
func TestLogsNameNobody(t *testing.T) {
	calls := 0
	for _, p := range loadLogs(t) {
		for _, f := range logCalls(p.Fset, p.Syntax, p.TypesInfo, p.PkgPath) {
			t.Error(f)
		}
		for _, f := range p.Syntax {
			ast.Inspect(f, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if fn := (&logCheck{info: p.TypesInfo}).callee(call); fn != nil && fn.Pkg() != nil && fn.Pkg().Path() == slogPath {
						calls++
					}
				}
				return true
			})
		}
	}
	if calls < 100 {
		t.Errorf("only %d calls of log/slog were seen: the check does not see them any more", calls)
	}
}

// A planted example of everything that the rule forbids is found, at its line, and
// nothing else is.
func TestPlantedLogCallsAreFound(t *testing.T) {
	path := filepath.Join("testdata", "planted.go.txt")
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "planted.go", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	if _, err := conf.Check(module+"planted", fset, []*ast.File{file}, info); err != nil {
		t.Fatal(err)
	}
	var got, want []int
	for _, f := range logCalls(fset, []*ast.File{file}, info, module+"planted") {
		got = append(got, f.at.Line)
	}
	for i, line := range strings.Split(string(src), "\n") {
		if strings.Contains(line, "// WRONG") {
			want = append(want, i+1)
		}
	}
	slices.Sort(got)
	if !slices.Equal(slices.Compact(got), want) || len(want) < 10 {
		t.Errorf("found in lines %v, planted in %v", got, want)
	}
}
