package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// Every decoder is reached by a fuzz target of its package; scripts/fuzz runs all
// targets there are.
func TestEveryDecoderIsFuzzed(t *testing.T) {
	pkgs, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedFiles, Dir: root(t)}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		if len(p.GoFiles) == 0 {
			continue
		}
		complaints, err := checkFuzzed(strings.TrimPrefix(p.PkgPath, Module+"/"), filepath.Dir(p.GoFiles[0]))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range complaints {
			t.Error(c)
		}
	}
}

func TestADecoderWithoutATargetIsFound(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"p.go": `package p
			func Parse(b []byte) { inner(b) }
			func inner(b []byte) { json.Unmarshal(b, nil) }
			func Decode(b []byte) {}
			func quiet(b []byte) { rlp.DecodeBytes(b, nil) }
			func Encode() {}`,
		"p_test.go": `package p
			func FuzzParse(f *testing.F) { f.Fuzz(func(t *testing.T, b []byte) { Parse(b) }) }
			func TestDecode(t *testing.T) { Decode(nil) }`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := checkFuzzed("p", dir)
	if err != nil || len(got) != 2 || !strings.HasPrefix(got[0], "p.Decode ") || !strings.HasPrefix(got[1], "p.quiet ") {
		t.Errorf("%q, %v", got, err)
	}
}
