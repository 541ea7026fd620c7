package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/assent-network/assent/node/metrics"
)

// promtool finds Prometheus' own checker, or skips the test; with
// ASSENT_REQUIRE_PROMTOOL it fails.
func promtool(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err == nil {
		return
	}
	if os.Getenv("ASSENT_REQUIRE_PROMTOOL") != "" {
		t.Fatal("no promtool: it is in Debian's package prometheus")
	}
	t.Skip("no promtool: it is in Debian's package prometheus, which also starts a server, so the test command does not install it")
}

// The rules are understood, ring where they must and are silent where they must be.
func TestAlertsRing(t *testing.T) {
	promtool(t)
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

type rule struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	var f struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(read(t, "alerts.yml")), &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Groups) != 1 || len(f.Groups[0].Rules) < 10 {
		t.Fatalf("%d groups", len(f.Groups))
	}
	return f.Groups[0].Rules
}

// Whoever is woken reads what it is and what to do, and each rule is played.
func TestAlertsSayWhatToDo(t *testing.T) {
	played := read(t, "alerts_test.yml")
	for _, r := range rules(t) {
		if len(r.Annotations["summary"]) < 15 || len(r.Annotations["remedy"]) < 25 || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
			t.Errorf("%s: %+v %+v", r.Alert, r.Labels, r.Annotations)
		}
		if !strings.Contains(played, `alertname="`+r.Alert+`"`) {
			t.Errorf("%s is not played in alerts_test.yml", r.Alert)
		}
	}
}

var metricName = regexp.MustCompile(`\bassent_[a-z0-9_]+`)

// asked fails the test on metrics that no node has, and on labels that they lack.
func asked(t *testing.T, where, expr string) {
	t.Helper()
	for _, name := range metricName.FindAllString(expr, -1) {
		base := name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		i := slices.IndexFunc(metrics.Table, func(r metrics.Row) bool { return r.Name == name || r.Name == base && r.Kind == "histogram" })
		if i < 0 {
			t.Errorf("%s asks for %s, which no node has", where, name)
			continue
		}
		for _, by := range regexp.MustCompile(`by \(([a-z, ]+)\)`).FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(by[1], ", ") {
				if label != "instance" && label != "le" && !slices.Contains(metrics.Table[i].Labels, label) {
					t.Errorf("%s adds up %s by %s, a label that it lacks: %v", where, name, label, metrics.Table[i].Labels)
				}
			}
		}
	}
}

func TestDashboardAndAlertsAskForWhatNodesHave(t *testing.T) {
	for _, r := range rules(t) {
		asked(t, r.Alert, r.Expr)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
			GridPos struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana.json")), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) < 15 {
		t.Fatalf("%d panels", len(d.Panels))
	}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("%s asks for nothing", p.Title)
		}
		for _, q := range p.Targets {
			asked(t, p.Title, q.Expr)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[at]; ok || at[0] >= 24 {
					t.Fatalf("%s lies upon %s at %v", p.Title, other, at)
				}
				taken[at] = p.Title
			}
		}
	}
}
