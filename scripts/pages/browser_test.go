package pages

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/assent-network/assent/scripts/testnet"
)

// chromium finds the browser, or skips the test; with ASSENT_REQUIRE_CHROMIUM it fails.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("ASSENT_REQUIRE_CHROMIUM") != "" {
		t.Fatal("no Chromium: install it with 'sudo apt-get install chromium'")
	}
	t.Skip("no Chromium: install it with 'sudo apt-get install chromium'")
	return ""
}

// tab is one tab of a browser of its own, at one node.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string // https://host:port

	mu       sync.Mutex
	asked    []string // addresses that it asked
	complain []string // what it wrote to its console
}

// patience bounds every wait for a page: what is waited for is a condition.
const patience = time.Minute

// open starts a browser that knows the node's key and no other.
func open(t *testing.T, x *testnet.Node) *tab {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(x.Card.SPKI[:])),
	)
	alloc, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), flags...) // the browser outlives the test by its cleanup
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil { // and waits: its directory goes next
			t.Logf("the browser did not end by itself: %v", err)
		}
		stop()
	})
	b := &tab{t: t, ctx: ctx, base: "https://" + x.API}
	chromedp.ListenTarget(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch e := ev.(type) {
		case *network.EventRequestWillBeSent:
			b.asked = append(b.asked, e.Request.URL)
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError {
				b.complain = append(b.complain, e.Entry.Text+" "+e.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			b.complain = append(b.complain, e.ExceptionDetails.Error())
		}
	})
	if err := chromedp.Run(ctx); err != nil { // the browser lives as long as the context of its first action
		t.Fatalf("start %s: %v", chromium(t), err)
	}
	b.do(network.Enable(), log.Enable(), runtime.Enable())
	return b
}

// do runs actions and fails the test if they do not end well in time.
func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		var where, text string
		_ = chromedp.Run(b.ctx, chromedp.Location(&where), chromedp.Evaluate(`document.body.innerText`, &text)) // for the message alone
		b.t.Fatalf("%v, at %s:\n%s", err, where, text)
	}
}

func (b *tab) visit(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base+path), chromedp.WaitReady("main"))
}

// eval returns what an expression is on the page.
func eval[T any](b *tab, js string) (v T) {
	b.t.Helper()
	b.do(chromedp.Evaluate(js, &v, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return v
}

// until waits until an expression is true on the page, which may be another one by then.
func (b *tab) until(what, js string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	look := time.NewTicker(25 * time.Millisecond)
	defer look.Stop()
	for {
		var is bool
		err := chromedp.Run(ctx, chromedp.Evaluate(`!!(`+js+`)`, &is))
		if err == nil && is {
			return
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			b.t.Fatalf("waiting until %s: %v; the page says:\n%s", what, err, b.text())
		}
	}
}

func (b *tab) text() string { b.t.Helper(); return eval[string](b, `document.body.innerText`) }

// says fails the test unless the page shows all of it.
func (b *tab) says(texts ...string) {
	b.t.Helper()
	shown := b.text()
	for _, want := range texts {
		if !strings.Contains(shown, want) {
			b.t.Errorf("the page does not say %q:\n%s", want, shown)
		}
	}
}

// screen sets the size and colours of the screen.
func (b *tab) screen(width, height int64, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.do(chromedp.EmulateViewport(width, height),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
}

// shoot keeps a screenshot of the whole page as an artifact.
func (b *tab) shoot(name string) {
	b.t.Helper()
	var png []byte
	b.do(chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// quiet fails the test if the browser complained or asked anybody but the node. What
// is expected to be refused is not a complaint.
func (b *tab) quiet(expected ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.asked {
		if !strings.HasPrefix(url, b.base+"/console/") && !strings.HasPrefix(url, "data:") && url != "about:blank" {
			b.t.Errorf("the browser asked %s", url)
		}
	}
	if len(b.asked) == 0 {
		b.t.Error("no request was seen at all")
	}
next:
	for _, line := range b.complain {
		for _, e := range expected {
			if strings.Contains(line, e) {
				continue next
			}
		}
		b.t.Errorf("the browser complains: %s", line)
	}
}

// accessible runs axe-core on the page and fails the test on what is serious.
func (b *tab) accessible(what string) {
	b.t.Helper()
	axe, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		b.t.Fatal(err)
	}
	var loaded bool
	b.do(chromedp.Evaluate(string(axe)+"\n;typeof axe === 'object'", &loaded))
	if !loaded {
		b.t.Fatal("axe-core did not load")
	}
	found := eval[string](b, `axe.run(document).then(r => JSON.stringify({passes: r.passes.length, violations: r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => n.html).slice(0, 3)}))}))`)
	var r struct {
		Passes     int
		Violations []struct {
			ID, Impact, Help string
			Nodes            []string
		}
	}
	if err := json.Unmarshal([]byte(found), &r); err != nil {
		b.t.Fatalf("%v: %s", err, found)
	}
	if r.Passes == 0 {
		b.t.Errorf("%s: axe-core checked nothing", what)
	}
	for _, v := range r.Violations {
		if v.Impact == "serious" || v.Impact == "critical" {
			b.t.Errorf("%s: %s (%s): %s %v", what, v.ID, v.Impact, v.Help, v.Nodes)
		}
	}
}

// fits fails the test if the page is wider than the screen.
func (b *tab) fits(what string) {
	b.t.Helper()
	if over := eval[int](b, `document.scrollingElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		b.t.Errorf("%s is %d pixels wider than the screen", what, over)
	}
}

// told is a network on which the demonstration was told, still running.
func told(t *testing.T) *testnet.Net {
	t.Helper()
	if testing.Short() {
		t.Skip("processes are not for -short")
	}
	chromium(t)
	dir := t.TempDir()
	program, err := testnet.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	story := filepath.Join(dir, "story")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", story, "../story").CombinedOutput(); err != nil {
		t.Fatalf("build the story: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	defer cancel()
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, story, "--assentd", program, "--keep", "--rows", "200")
	cmd.Dir = dir // below which it makes its network
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("tell the story: %v\n%s", err, said.String())
	}
	found, err := filepath.Glob(filepath.Join(dir, ".assent", "demo-*", "net", "genesis.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the story's network: %v %v\n%s", found, err, said.String())
	}
	n, err := testnet.Load(filepath.Dir(found[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var errs []error
		for _, x := range n.Nodes {
			if x.Running() {
				errs = append(errs, x.StopNode()) // the test started it again
				continue
			}
			errs = append(errs, x.StopByPID(30*time.Second))
		}
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
	return n
}

// signIn signs somebody in, and waits for the network's page.
func (b *tab) signIn(n *testnet.Net, member, role string) {
	b.t.Helper()
	password, err := os.ReadFile(n.PasswordPath(member))
	if err != nil {
		b.t.Fatal(err)
	}
	b.visit("/console/")
	b.give(n.KeyPath(member, testRole(role)), strings.TrimSpace(string(password)))
	b.until(fmt.Sprintf("%s of %s is signed in", role, member), `location.pathname === "/console/" && document.querySelector("#verdict")`)
}

// give fills in the sign-in and sends it.
func (b *tab) give(key, password string) {
	b.t.Helper()
	b.do(chromedp.SetUploadFiles("#key", []string{key}), chromedp.Evaluate(`document.querySelector("#password").value = ""`, nil), chromedp.SendKeys("#password", password), chromedp.Click("#sign-in button"))
}
