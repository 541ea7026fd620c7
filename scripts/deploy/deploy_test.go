package deploy

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// instructions returns the arguments of a kind of instruction, lines joined.
func instructions(t *testing.T, kind string) []string {
	t.Helper()
	var out []string
	for line := range strings.SplitSeq(strings.ReplaceAll(read(t, "Dockerfile"), "\\\n", " "), "\n") {
		if args, ok := strings.CutPrefix(line, kind+" "); ok {
			out = append(out, args)
		}
	}
	return out
}

const pgo = "-pgo=scripts/deploy/assentd.pgo"

// The profile is one that the compiler can use, and of this program.
func TestProfileIsOfTheNode(t *testing.T) {
	out := filepath.Join(t.TempDir(), "weights")
	if b, err := exec.CommandContext(t.Context(), "go", "tool", "preprofile", "-i", "assentd.pgo", "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("go tool preprofile: %v\n%s", err, b)
	}
	weights := read(t, out)
	for _, name := range []string{"node/executor.(*Executor).Execute", "node/chain.(*Chain).admit", "node/gateway."} {
		if !strings.Contains(weights, "github.com/assent-network/assent/"+name) {
			t.Errorf("the profile knows no %s: take it anew, see doc.go", name)
		}
	}
	if info, err := os.Stat("assentd.pgo"); err != nil || info.Size() > 500_000 {
		t.Errorf("the profile has %d bytes (%v), at most 500,000 belong into the repository", info.Size(), err)
	}
}

// The build command of the image, run as it stands, gives a program that needs no
// library and works.
func TestRecipeBuildsAProgramThatRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the node")
	}
	i := slices.IndexFunc(instructions(t, "RUN"), func(r string) bool { return strings.HasPrefix(r, "go build ") })
	if i < 0 {
		t.Fatal("the Dockerfile has no line RUN go build")
	}
	out := t.TempDir()
	line := strings.ReplaceAll(instructions(t, "RUN")[i], "/out/", out+"/")
	// Building with the profile takes minutes and gives the same program, faster.
	if !strings.Contains(line, pgo) {
		t.Fatalf("%s: builds without %s", line, pgo)
	}
	line = strings.Replace(line, pgo, "-pgo=off", 1)
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", line)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "VERSION=9.8.7")
	for _, e := range instructions(t, "ENV") {
		cmd.Env = append(cmd.Env, e)
	}
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", line, err, b)
	}
	program := filepath.Join(out, "assentd")
	checkStatic(t, program)

	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = []string{"HOME=" + out} // nothing of this machine's
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		b, err := cmd.Output()
		if err != nil {
			t.Fatalf("assentd %s: %v\n%s", strings.Join(args, " "), err, &stderr)
		}
		return b
	}
	var v struct {
		Version  string `json:"version"`
		Protocol uint64 `json:"protocol"`
		CGO      string `json:"cgo"`
	}
	if err := json.Unmarshal(run("version", "--json"), &v); err != nil || v.Version != "9.8.7" || v.Protocol == 0 || v.CGO != "1" {
		t.Errorf("version is %+v, %v", v, err)
	}
	password := filepath.Join(out, "pw")
	if err := os.WriteFile(password, []byte("a password of some length\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(out, "home")
	run("init", "--home", home, "--member", "my-bank", "--listen", "/ip4/127.0.0.1/tcp/7400", "--password", "file:"+password)
	if _, err := os.Stat(filepath.Join(home, "config.yaml")); err != nil {
		t.Error(err)
	}
}

// checkStatic: a scratch image has no loader and no library.
func checkStatic(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libs, err := f.ImportedLibraries(); err != nil || len(libs) > 0 {
		t.Errorf("the program needs %v (%v)", libs, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the program needs a loader, which the image has not")
		}
	}
}

// What the image's recipe promises beside the program.
func TestRecipe(t *testing.T) {
	text := read(t, "Dockerfile")
	stages := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(text, -1)
	if len(stages) != 2 || stages[1][1] != "scratch" {
		t.Errorf("stages are %v, want a build and scratch", stages)
	}
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, filepath.Join(root, "go.mod")))
	if !strings.HasPrefix(stages[0][1], "golang:"+want[1]+"-") {
		t.Errorf("the image is built with %s, go.mod wants %s", stages[0][1], want[1])
	}
	last := text[strings.LastIndex(text, "\nFROM "):]
	for _, line := range []string{"USER 65532:65532", `ENTRYPOINT ["/usr/local/bin/assentd"`, "VOLUME /var/lib/assent", "STOPSIGNAL SIGTERM"} {
		if !strings.Contains(last, "\n"+line) {
			t.Errorf("the last stage lacks %s", line)
		}
	}
	for _, secret := range []string{"password=", "PASSWORD=", "COPY password"} {
		if strings.Contains(strings.ReplaceAll(text, "ASSENT_IDENTITY_PASSWORD=file:", ""), secret) {
			t.Errorf("the recipe holds %s", secret)
		}
	}
	ignored := strings.Fields(read(t, filepath.Join(root, ".dockerignore")))
	if !slices.Contains(ignored, ".git") {
		t.Error(".dockerignore lets the history into the image's context")
	}
}

// unit writes the unit with a program that exists here, which systemd-analyze
// looks for.
func unit(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"systemd-analyze", "true"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "assentd.service")
	text := strings.ReplaceAll(read(t, "assentd.service"), "/usr/local/bin/assentd", program)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnitIsUnderstood(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit(t)).CombinedOutput()
	// What it says about other units of this machine is not this one's.
	var mine []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n") {
		if strings.Contains(line, "assentd") {
			mine = append(mine, line)
		}
	}
	if err != nil || len(mine) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// The unit is exposed to little: systemd's own judgement, 0 is best, 10 worst.
func TestUnitIsHardened(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit(t)).CombinedOutput()
	if err != nil {
		t.Errorf("exposure above 2.0: %v\n%s", err, out)
	}
}

// What the unit relies on is what the program understands.
func TestUnitSpeaksTheProgramsLanguage(t *testing.T) {
	text := read(t, "assentd.service")
	for _, line := range []string{"ExecStart=/usr/local/bin/assentd start --home /var/lib/assent", "StateDirectory=assent", "KillSignal=SIGTERM", "UMask=0077"} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^Environment=(\S+?)=`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(strings.Fields("ASSENT_IDENTITY_PASSWORD"), m[1]) {
			t.Errorf("the unit sets %s", m[1])
		}
	}
}
