package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// renames lists the files that may put something in another's place themselves:
// what they rename is no small file, and each syncs the directory afterwards. All
// others call durable.WriteFile, so that a loss of power leaves the old or the new.
var renames = map[string]string{
	"node/durable/durable.go":   "the one way to write a file whole",
	"node/backup.go":            "a backup is streamed",
	"node/query/epoch/build.go": "the answers about millions, streamed",
	"node/restore.go":           "the home of a node, a directory",
	"node/snapshot/dir.go":      "a snapshot, a directory",
	"node/store/store.go":       "a ledger, a directory",
	"node/join/fetch.go":        "a state, a directory",
	"consensus/bft/settle.go":   "a file of the ordering log, which has a format and a mode of its own",
}

// renaming returns where a file calls os.Rename.
func renaming(fset *token.FileSet, f *ast.File) []token.Position {
	var out []token.Position
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Rename" {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "os" {
				out = append(out, fset.Position(s.Pos()))
			}
		}
		return true
	})
	return out
}

func TestFilesAreReplacedInOneWay(t *testing.T) {
	fset, top, seen := token.NewFileSet(), root(t), map[string]bool{}
	for _, dir := range []string{"chaincode", "consensus", "network", "node", "sdk"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(top, path)
			if err != nil {
				return err
			}
			for _, at := range renaming(fset, f) {
				seen[filepath.ToSlash(name)] = true
				if renames[filepath.ToSlash(name)] == "" {
					t.Errorf("%s: os.Rename: use durable.WriteFile, which syncs file and directory", at)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for name := range renames {
		if !seen[name] {
			t.Errorf("%s renames nothing any more: take it out of the table", name)
		}
	}
}
