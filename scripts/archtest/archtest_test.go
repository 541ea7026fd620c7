package archtest

import (
	"go/ast"
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

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEveryImportIsAllowed(t *testing.T) {
	pkgs, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedImports, Dir: root(t)}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 5 {
		t.Fatalf("only %d packages found below %s", len(pkgs), root(t))
	}
	for _, p := range pkgs {
		pkg := strings.TrimPrefix(p.PkgPath, Module+"/")
		var ours []string
		for imp := range p.Imports {
			if rest, ok := strings.CutPrefix(imp, Module+"/"); ok {
				ours = append(ours, rest)
			}
		}
		slices.Sort(ours)
		for _, complaint := range checkImports(pkg, ours) {
			t.Error(complaint)
		}
	}
}

// Only the packages named know these libraries; everybody else goes through
// them.
func TestLibrariesStayInTheirRooms(t *testing.T) {
	rooms := map[string][]string{
		"github.com/hyperledger-labs/SmartBFT":              {"consensus/bft"},
		"github.com/libp2p/go-libp2p":                       {"network"},
		"github.com/ethereum/go-ethereum/trie":              {"node/state", "node/ledger"},
		"github.com/consensys/gnark":                        {"node/query/exposure"},
		"github.com/consensys/gnark-crypto":                 {"node/query/exposure"},
		"cel.dev/cel-go":                                    {"node/query"},
		"github.com/hyperledger/fabric":                     {"chaincode", "node/executor"},
		"connectrpc.com/connect":                            {"node/api", "node/gateway", "sdk"},
		"github.com/syndtr/goleveldb":                       {"node/state", "node/store", "scripts/story"},
		"github.com/ethereum/go-ethereum/accounts/keystore": {"node/keys", "sdk"},
	}
	pkgs, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedImports, Dir: root(t)}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		pkg := strings.TrimPrefix(p.PkgPath, Module+"/")
		for imp := range p.Imports {
			for lib, homes := range rooms {
				if !strings.HasPrefix(imp, lib) {
					continue
				}
				if !slices.ContainsFunc(homes, func(h string) bool { return pkg == h || strings.HasPrefix(pkg, h+"/") && h != "node" }) {
					t.Errorf("%s imports %s, which only %v may: ask that package for what is needed", pkg, imp, homes)
				}
			}
		}
	}
}

func TestDeterministicZone(t *testing.T) {
	patterns := make([]string, len(zone))
	for i, z := range zone {
		patterns[i] = Module + "/" + z
	}
	mode := packages.NeedName | packages.NeedImports | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedFiles
	pkgs, err := packages.Load(&packages.Config{Mode: mode, Dir: root(t)}, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		if len(p.Errors) > 0 {
			t.Fatalf("%s: %v", p.PkgPath, p.Errors[0])
		}
		for _, complaint := range checkZone(p) {
			t.Error(complaint)
		}
	}
}

func TestOnlyTheAgreedTopLevelFolders(t *testing.T) {
	agreed := []string{"chaincode", "consensus", "network", "node", "sdk", "scripts", "bin"}
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(agreed, e.Name()) && !strings.HasPrefix(e.Name(), ".") {
			t.Errorf("top-level folder %s: the house has %v and no others", e.Name(), agreed)
		}
	}
}

// A check that cannot fail is worthless: each rule is shown something it must
// refuse.
func TestImportRulesRefuse(t *testing.T) {
	for _, tc := range []struct {
		pkg, imp string
		ok       bool
	}{
		{"sdk", "node/chain", false},
		{"sdk", "node/ledger", true},
		{"node/store", "node/state", false},
		{"node/executor", "node/state", true},
		{"chaincode/access", "node/ledger", false},
		{"chaincode/access", "chaincode/consent", false},
		{"chaincode/access", "chaincode/record", true},
		{"consensus/bft", "consensus", true},
		{"consensus/bft", "node/ledger", false},
		{"network", "node/ledger", false},
		{"node/query", "node/outbox", false},
		{"node", "network", true},
		{"node/sync", "node", false},
		{"unheard/of", "node/ledger", false},
	} {
		if got := len(checkImports(tc.pkg, []string{tc.imp})) == 0; got != tc.ok {
			t.Errorf("%s → %s: allowed = %v, want %v", tc.pkg, tc.imp, got, tc.ok)
		}
	}
}

func TestZoneRefuses(t *testing.T) {
	const src = `package p
import ("time"; "os"; "sort")
func bad(m map[string]int) float64 {
	go bad(nil)
	for range m { }
	_ = time.Now()
	_ = os.Getenv("x")
	return 0
}
func good(m map[string]int) []string {
	var keys []string
	for k := range m { //archtest:order-free sorted below
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: stub{}, Error: func(error) {}}
	pkg, _ := conf.Check("p", fset, []*ast.File{f}, info)
	got := checkZone(&packages.Package{PkgPath: "p", Fset: fset, Syntax: []*ast.File{f}, Types: pkg, TypesInfo: info})
	for _, want := range []string{"goroutine", "walks a map", "time.Now", "os.Getenv", "float64"} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("nothing said about %s in %q", want, got)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d complaints, want 5: %q", len(got), got)
	}
}

// stub imports empty packages: names resolve to their package, which is all the
// check needs.
type stub struct{}

func (stub) Import(path string) (*types.Package, error) {
	p := types.NewPackage(path, filepath.Base(path))
	p.MarkComplete()
	return p, nil
}
