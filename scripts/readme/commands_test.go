package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	fenced   = regexp.MustCompile("(?s)\n```[a-z]*\n(.*?)\n```\n")
	indented = regexp.MustCompile(`(?m)^    (\S.*)$`)
	inline   = regexp.MustCompile("`([^`]+)`")
	called   = regexp.MustCompile(`(?:^|[\s;&|(])(assentd?) ([^;&#]*)`)
	flagged  = regexp.MustCompile(`(?:^|\s)--([a-z][a-z-]*)`)
	placed   = regexp.MustCompile(`^(?:chaincode|consensus|network|node|sdk|scripts)/[\w./-]+$`)
	tested   = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)
	linked   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	unlinked = regexp.MustCompile(`[^\p{L}\p{N}\- ]`)
)

// documents are all texts for people, by their path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for path := range strings.FieldsSeq(string(out)) {
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(b)
	}
	if len(texts) < 10 {
		t.Fatalf("only %d documents", len(texts))
	}
	return texts
}

// code is what a document shows as typed.
func code(text string) []string {
	var out []string
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.Split(m[1], "\n")...)
	}
	text = fenced.ReplaceAllString(text, "\n\n")
	for _, m := range indented.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	for _, m := range inline.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.Join(strings.Fields(m[1]), " "))
	}
	return out
}

// programs asks what commands and flags there are, each once.
type programs struct {
	t    *testing.T
	bin  string
	help map[string]string
}

func (p *programs) of(path []string) string {
	key := strings.Join(path, " ")
	if text, ok := p.help[key]; ok {
		return text
	}
	cmd := exec.CommandContext(p.t.Context(), filepath.Join(p.bin, path[0]), append(slices.Clone(path[1:]), "--help")...)
	out, err := cmd.Output()
	if err != nil {
		p.t.Errorf("%s --help: %v", key, err)
	}
	p.help[key] = string(out)
	return p.help[key]
}

func (p *programs) has(path []string, sub string) bool {
	_, list, found := strings.Cut(p.of(path), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	return found && strings.Contains("\n"+list, "\n  "+sub+" ")
}

// check holds one command line against the programs: the words up to the first
// argument are commands, and every flag is known there.
func (p *programs) check(program, rest string) []string {
	rest, _, _ = strings.Cut(rest, " | ")
	rest = strings.ReplaceAll(rest, `\|`, "|")
	path := []string{program}
	for word := range strings.FieldsSeq(rest) {
		words := strings.Split(strings.TrimSuffix(word, ","), "|") // a|b: either
		if !slices.ContainsFunc(words, func(w string) bool { return p.has(path, w) }) {
			if strings.Contains(p.of(path), "Available Commands:") && regexp.MustCompile(`^[a-z-]+$`).MatchString(words[0]) && words[0][0] != '-' && path[len(path)-1] != "backup" {
				return []string{"there is no command " + strings.Join(path, " ") + " " + words[0]}
			}
			break
		}
		if len(words) > 1 {
			var wrong []string
			for _, w := range words {
				if regexp.MustCompile(`^[a-z-]+$`).MatchString(w) && !p.has(path, w) {
					wrong = append(wrong, "there is no command "+strings.Join(path, " ")+" "+w)
				}
			}
			return wrong // what follows may belong to any of them
		}
		path = append(path, words[0])
	}
	var wrong []string
	for _, m := range flagged.FindAllStringSubmatch(" "+rest, -1) {
		if !strings.Contains(p.of(path), "--"+m[1]+" ") && !strings.Contains(p.of(path), "--"+m[1]+"\n") {
			wrong = append(wrong, strings.Join(path, " ")+" has no flag --"+m[1])
		}
	}
	return wrong
}

// Every command and flag that a document names exists.
func TestCommandsOfTheDocumentsExist(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs")
	}
	p := &programs{t: t, bin: t.TempDir(), help: make(map[string]string)}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", p.bin+string(filepath.Separator), "./node/cmd/assentd", "./sdk/cmd/assent")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line, want := range map[string]string{
		"no-such thing":                 "there is no command assent no-such",
		"member propose --no-such x":    "assent member propose has no flag --no-such",
		"member|no-such suspend":        "there is no command assent no-such",
		"member node set - --json":      "",
		"consent authorise --written":   "",
		"query batch FILE --ticket FIL": "",
	} {
		if got := strings.Join(p.check("assent", line), "; "); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	seen := 0
	for path, text := range documents(t) {
		for _, line := range code(text) {
			for _, m := range called.FindAllStringSubmatch(line, -1) {
				seen++
				for _, wrong := range p.check(m[1], m[2]) {
					t.Errorf("%s: %q: %s", path, line, wrong)
				}
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d command lines found", seen)
	}
}

// Every file, test and place in a document that a document names exists.
func TestPlacesInTheDocumentsExist(t *testing.T) {
	source := allTests(t)
	files, tests, links := 0, 0, 0
	for path, text := range documents(t) {
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			if !placed.MatchString(m[1]) || strings.Contains(m[1], "...") {
				continue
			}
			files++
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		for _, name := range tested.FindAllString(text, -1) {
			tests++
			if !strings.Contains(source, "\nfunc "+name) {
				t.Errorf("%s: there is no %s", path, name)
			}
		}
		for _, m := range linked.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			if wrong := follow(path, m[1]); wrong != "" {
				t.Errorf("%s: link to %s: %s", path, m[1], wrong)
			}
		}
	}
	if files < 20 || tests < 20 || links < 20 {
		t.Errorf("only %d files, %d tests and %d links found", files, tests, links)
	}
}

// follow says what is wrong with a link in a document; "" if it leads somewhere.
func follow(from, link string) string {
	file, anchor, _ := strings.Cut(link, "#")
	at := from
	if file != "" {
		at = filepath.Join(filepath.Dir(from), file)
	}
	b, err := os.ReadFile(filepath.Join(root, at))
	if info, serr := os.Stat(filepath.Join(root, at)); serr == nil && info.IsDir() {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	for _, m := range heading.FindAllStringSubmatch(string(b), -1) {
		if strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-") == anchor {
			return ""
		}
	}
	if anchor == "" {
		return ""
	}
	return at + " has no heading of that name"
}

// allTests is the source of all tests.
func allTests(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "grep", "-hE", "^func (Test|Fuzz|Benchmark)", "--", "*.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	return "\n" + string(out)
}
