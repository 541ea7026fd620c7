package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Whatever turns bytes from outside into something must be reached by a fuzz
// target of its own package. What counts as a decoder is told by its name, or by
// its calling one of the libraries' decoders; what a target reaches, by the names
// that its code and everything below it in the package mentions. That is coarse,
// and on the safe side where it matters: a decoder that nobody mentions is found.

// decoderName is how functions and methods of ours are named that decode.
var decoderName = regexp.MustCompile(`^([Pp]arse|[Dd]ecode|[Uu]nmarshal)([A-Z].*)?$`)

// libraryDecoders are those of other modules, by package name and function.
var libraryDecoders = map[string]bool{
	"json.Unmarshal": true, "json.NewDecoder": true, "yaml.Unmarshal": true, "yaml.NewDecoder": true,
	"rlp.DecodeBytes": true, "rlp.NewStream": true, "proto.Unmarshal": true, "protojson.Unmarshal": true,
	"csv.NewReader": true, "tar.NewReader": true, "hex.DecodeString": true, "base64.NewDecoder": true,
	"binary.ReadUvarint": true, "binary.Uvarint": true,
}

// notFuzzed are decoders without a target: why they need none.
var notFuzzed = map[string]string{
	"chaincode/call.decode":         "records of the ledger, which record.FuzzDecode reads, all of them",
	"node.ReadCard":                 "the card in a node's own home; the cards of others are in FuzzGenesisFiles of assentd",
	"node/cmd/assentd.parseSource":  "keys.ParseSource, which keys.FuzzSource reads",
	"node/console.begin":            "one text in JSON of 4 KiB at most, by encoding/json; the token in it is fuzzed where it is decoded",
	"node/console.parsePages":       "its own templates, embedded",
	"node/query.retry":              "the row of FuzzStoredPermit",
	"node/query.waitingUnder":       "the row of FuzzStoredPermit",
	"node/query.usage":              "a map of numbers, by encoding/json alone",
	"node/redact.UnmarshalText":     "takes any text: there is nothing to decode",
	"node/store.loadBase":           "its row is in FuzzRows",
	"node/store.loadFormat":         "its row is in FuzzRows",
	"scripts/bench.writeUnderLoad":  "what assentd snapshot write printed just before",
	"scripts/faults/link.parseAddr": "what the kernel writes in /proc",
	"scripts/testnet.Load":          "what Create wrote in the same directory",
	"scripts/testnet.makeNode":      "what assentd init wrote just before",
	"sdk/cmd/assent.bring":          "65 bytes in hex, by encoding/hex alone; the SDK checks the signature",
	"sdk/cmd/assent.showRecord":     "what the SDK encoded on the line before",
	"sdk/wallet.ParseAs":            "Parse, which FuzzParse reads",
}

// players are packages that play the other side in tests, or generate code: what
// they read comes from ours.
var players = []string{
	"chaincode/internal/peerside", "consensus/consensustest", "sdk/internal/fakenode", "node/api/openapi/assemble", "node/fault", "scripts/faults", "scripts/flood",
}

// fn is a function or method of a package.
type fn struct {
	name     string
	test     bool
	mentions map[string]bool // names, and package.Name of selectors
}

// checkFuzzed returns one sentence for each decoder of the package in dir that no
// fuzz target reaches. pkg is its path below Module.
func checkFuzzed(pkg, dir string) ([]string, error) {
	if slices.Contains(players, pkg) {
		return nil, nil
	}
	all, err := functions(dir)
	if err != nil {
		return nil, err
	}
	reached := reach(all)
	var out []string
	missing := make(map[string]bool)
	for _, f := range all {
		if f.test || reached[f.name] || !f.decodes() {
			continue
		}
		missing[pkg+"."+f.name] = true
		if _, known := notFuzzed[pkg+"."+f.name]; !known {
			out = append(out, fmt.Sprintf("%s.%s decodes and no fuzz target of its package reaches it: write one, or say in notFuzzed (scripts/archtest/fuzzed.go) why it needs none", pkg, f.name))
		}
	}
	for name := range notFuzzed {
		if strings.HasPrefix(name, pkg+".") && !missing[name] {
			out = append(out, name+" stands in notFuzzed (scripts/archtest/fuzzed.go) and is gone, or fuzzed: remove the line")
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (f *fn) decodes() bool {
	if decoderName.MatchString(f.name) {
		return true
	}
	for m := range f.mentions {
		if libraryDecoders[m] {
			return true
		}
	}
	return false
}

// reach returns the names that fuzz targets mention, and what those mention.
func reach(all []*fn) map[string]bool {
	byName := make(map[string][]*fn)
	for _, f := range all {
		byName[f.name] = append(byName[f.name], f)
	}
	seen := make(map[string]bool)
	var visit func(name string)
	visit = func(name string) {
		if seen[name] || byName[name] == nil {
			return
		}
		seen[name] = true
		for _, f := range byName[name] {
			for _, m := range slices.Sorted(maps.Keys(f.mentions)) {
				visit(m)
			}
			if f.mentions["json.Unmarshal"] || f.mentions["json.NewDecoder"] { // it calls these by itself
				visit("UnmarshalText")
				visit("UnmarshalJSON")
			}
		}
	}
	for _, f := range all {
		if f.test && strings.HasPrefix(f.name, "Fuzz") {
			visit(f.name)
		}
	}
	return seen
}

// functions parses the package in dir, its tests too.
func functions(dir string) ([]*fn, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []*fn
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			return nil, err
		}
		if ast.IsGenerated(file) {
			continue
		}
		for _, d := range file.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
				out = append(out, &fn{d.Name.Name, strings.HasSuffix(e.Name(), "_test.go"), mentions(d.Body)})
			}
		}
	}
	return out, nil
}

func mentions(body ast.Node) map[string]bool {
	out := make(map[string]bool)
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			out[n.Sel.Name] = true
			if x, ok := n.X.(*ast.Ident); ok {
				out[x.Name+"."+n.Sel.Name] = true
			}
		case *ast.Ident:
			out[n.Name] = true
		}
		return true
	})
	return out
}
