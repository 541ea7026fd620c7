package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"golang.org/x/tools/go/packages"
)

// zone lists the packages whose results must be a function of their arguments:
// every node computes the same bytes from them.
var zone = []string{
	"chaincode", "chaincode/membership", "chaincode/catalog", "chaincode/consent", "chaincode/access", "chaincode/record", "chaincode/call",
	"chaincode/fabric",
	"node/ledger", "node/state", "node/executor",
}

// bannedImports may not appear in the zone at all.
var bannedImports = []string{"math/rand", "math/rand/v2", "crypto/rand", "net", "net/http", "os/exec", "os/user", "unsafe"}

// bannedCalls are functions of otherwise useful packages.
var bannedCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"},
	"os":   {"Getenv", "LookupEnv", "Environ", "Hostname", "Getpid", "Getwd"},
}

// ExcuseComment, with a reason, on the line of a map walk whose order cannot
// reach a result.
const ExcuseComment = "//archtest:order-free"

// checkZone returns one sentence for each thing in p that could make two nodes
// differ.
func checkZone(p *packages.Package) []string {
	var out []string
	for path := range p.Imports {
		for _, b := range bannedImports {
			if path == b {
				out = append(out, fmt.Sprintf("%s imports %s: the deterministic zone has no randomness, network or processes", p.PkgPath, b))
			}
		}
	}
	for _, f := range p.Syntax {
		excused := excusedLines(p.Fset, f)
		ast.Inspect(f, func(n ast.Node) bool {
			if why := offence(p.TypesInfo, n); why != "" {
				pos := p.Fset.Position(n.Pos())
				if !(strings.HasPrefix(why, "walks a map") && excused[pos.Line]) {
					out = append(out, fmt.Sprintf("%s: %s", pos, why))
				}
			}
			return true
		})
	}
	return out
}

func excusedLines(fset *token.FileSet, f *ast.File) map[int]bool {
	lines := make(map[int]bool)
	for _, g := range f.Comments {
		for _, c := range g.List {
			if rest, ok := strings.CutPrefix(c.Text, ExcuseComment); ok && strings.TrimSpace(rest) != "" {
				lines[fset.Position(c.Pos()).Line] = true
			}
		}
	}
	return lines
}

// offence names what n does that the zone forbids, or "".
func offence(info *types.Info, n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine in the deterministic zone"
	case *ast.RangeStmt:
		if t := info.TypeOf(n.X); t != nil {
			if _, ok := t.Underlying().(*types.Map); ok {
				return "walks a map in the deterministic zone: sort the keys, or say after " + ExcuseComment + " why order cannot matter"
			}
		}
	case *ast.SelectorExpr:
		if id, ok := n.X.(*ast.Ident); ok {
			if pkg, ok := info.Uses[id].(*types.PkgName); ok {
				for _, name := range bannedCalls[pkg.Imported().Path()] {
					if n.Sel.Name == name {
						return fmt.Sprintf("uses %s.%s in the deterministic zone: take the value as an argument", pkg.Imported().Path(), name)
					}
				}
			}
		}
	case *ast.Ident:
		if obj, ok := info.Uses[n].(*types.TypeName); ok && obj.Pkg() == nil && (obj.Name() == "float64" || obj.Name() == "float32") {
			return "uses " + obj.Name() + " in the deterministic zone: count in integers of a small unit"
		}
	}
	return ""
}
