package readme

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
)

const root = "../.."

// maxLines keeps it readable in one sitting.
const maxLines = 200

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocks returns the fenced blocks of a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```\n").FindAllStringSubmatch(readme(t), -1) {
		out = append(out, m[1]+"\n")
	}
	if len(out) == 0 {
		t.Fatalf("the README has no block of %s", language)
	}
	return out
}

func TestLinksLeadSomewhere(t *testing.T) {
	text := readme(t)
	if n := strings.Count(text, "\n"); n > maxLines {
		t.Errorf("%d lines, at most %d", n, maxLines)
	}
	links := regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(text, -1)
	if len(links) < 5 {
		t.Fatalf("only %d links found", len(links))
	}
	for _, m := range links {
		if strings.Contains(m[1], "://") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("link to %s: %v", m[1], err)
		}
	}
}

// The Go programs are vetted as if they lay in this module.
func TestGoProgramsCompile(t *testing.T) {
	for i, src := range blocks(t, "go") {
		dir, err := filepath.Abs(filepath.Join("snippet" + strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		tmp := t.TempDir()
		file := filepath.Join(tmp, "main.go")
		overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(dir, "main.go"): file}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tmp, "overlay.json"), overlay, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(tmp, "program"), "-overlay", filepath.Join(tmp, "overlay.json"), "./"+filepath.Base(dir))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if out, err := exec.CommandContext(t.Context(), "gofmt", "-l", file).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("gofmt would change it: %s %v", out, err)
		}
	}
}

// The shell lines, typed literally in an empty directory: only the ports are
// others, so that the test does not meet a real node.
func TestShellLinesMakeANode(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a node")
	}
	lines := blocks(t, "sh")
	if len(lines) != 2 {
		t.Fatalf("%d blocks of shell lines, the test knows 2", len(lines))
	}
	bin, dir := t.TempDir(), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+string(filepath.Separator), "./node/cmd/assentd", "./sdk/cmd/assent")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ports := strings.NewReplacer("7400", freePort(t), "7443", freePort(t))
	// The API port is the default one, which the lines do not name.
	shell := func(ctx context.Context, script string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "ASSENT_METRICS_LISTEN=off",
			ports.Replace("ASSENT_API_LISTEN=127.0.0.1:7443"))
		return cmd
	}
	first, start, found := strings.Cut(lines[0], "assentd start")
	if !found {
		t.Fatal("the first block does not start the node")
	}
	if out, err := shell(t.Context(), ports.Replace(first)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var log bytes.Buffer
	node := shell(context.WithoutCancel(t.Context()), "exec assentd start"+start)
	node.Stderr = &log
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- node.Wait() }()
	var out []byte
	err := error(nil)
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		select { // the first line of the second block needs a node that listens
		case err := <-ended:
			t.Fatalf("the node ended: %v\n%s", err, &log)
		case <-time.After(100 * time.Millisecond):
		}
		if out, err = shell(t.Context(), ports.Replace(lines[1])).CombinedOutput(); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{" set in block ", "network mine, chain id 0x", "registered for my-bank as admin"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if err := node.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the node ended with %v\n%s", err, &log)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := testnet.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}
