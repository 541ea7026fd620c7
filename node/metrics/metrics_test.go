package metrics

import (
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/assent-network/assent/chaincode/record"
)

// busy is a node of which every metric has a sample.
func busy(t *testing.T) *Metrics {
	t.Helper()
	m := New("test")
	f := Figures{
		Height: 7, Executed: 6, Certified: 5, Halted: 6, BlockAge: time.Second, Validators: 4, QuorumMargin: 1, View: 3, Leader: 2, ViewAge: 2 * time.Second,
		Ready:      map[string]bool{"disk": true, "quorum": false},
		Peers:      []Peer{{ID: "p1", Member: "bank", Connected: true, RTT: time.Millisecond, Classes: map[string]Class{"tx": {Queued: 1, Dropped: 2, Throttled: 3}}}},
		StoreBytes: map[string]int64{"blocks": 10}, StateMemory: map[string]int64{"past": 11}, DiskFree: 12, OutboxItems: 2, OutboxOldest: time.Minute,
		Admission: map[string]uint64{"busy": 4}, PoolUnits: map[string]int{"bank": 5}, PoolLimit: 6, OrderedPerSecond: 7, Garbage: 8, Shuns: 9, Costly: 10,
		EngineViewChanges: 21, EngineReliefs: 22, EngineMessages: map[string]uint64{"refused": 23},
		Refusals: map[string]uint64{"client_rate": 11}, Vaults: []Vault{{"bank.card", true}, {"bank.loan", false}}, Contradictions: []Contradiction{{3, "proven", 2}},
		KeyEnds: map[Key]time.Duration{{"data", "k1"}: time.Hour}, Overdue: map[string]int{"erasure": 3},
	}
	m.Watch(func() Figures {
		f.View++
		return f
	})
	m.Call("/assent.v1.LedgerService/Submit", "OK", time.Millisecond)
	m.Committed(time.Millisecond)
	m.Block()
	m.Outcome("OK")
	m.Decision([]byte(`{"answerKey":"0x00","clientKey":"0x01","code":"PERMIT","params":{"code":"x"}}`))
	m.Receipt([]byte(`{"evaluatedHeight":1,"outcome":"ANSWERED"}`))
	m.Answered("REFUSED", true)
	m.Lookup("bank.card", "unavailable", time.Millisecond)
	m.Refused("OVERLOADED")
	return m
}

// The table, the registry and the operators' document name the same metrics, with
// the same kinds and labels.
func TestTableRegistryAndDocumentAgree(t *testing.T) {
	families, err := busy(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range Table {
		i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == r.Name })
		if i < 0 {
			t.Errorf("%s is in the table and nothing counts it", r.Name)
			continue
		}
		f := families[i]
		if kind := strings.ToLower(f.GetType().String()); kind != r.Kind || f.GetHelp() != r.Help {
			t.Errorf("%s is a %s (%s), the table says %s (%s)", r.Name, kind, f.GetHelp(), r.Kind, r.Help)
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		want := slices.Sorted(slices.Values(r.Labels))
		if !slices.Equal(labels, want) {
			t.Errorf("%s has the labels %v, the table says %v", r.Name, labels, want)
		}
		line := "| `" + r.Name + "` | " + r.Kind + " | " + strings.Join(r.Labels, ", ") + " | " + r.Help + " |"
		if !strings.Contains(string(doc), line) {
			t.Errorf("OPERATIONS.md lacks the line\n%s", line)
		}
	}
	for _, f := range families {
		name := f.GetName()
		if !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") && !slices.ContainsFunc(Table, func(r Row) bool { return r.Name == name }) {
			t.Errorf("%s is not in the table", name)
		}
	}
	for _, m := range regexp.MustCompile("`(assent_[a-z_]+)`").FindAllStringSubmatch(string(doc), -1) {
		if !slices.ContainsFunc(Table, func(r Row) bool { return r.Name == m[1] }) {
			t.Errorf("OPERATIONS.md names %s, which does not exist", m[1])
		}
	}
}

// A decision is read from the record without decoding it: only a code of the
// closed list's form, and never one that a parameter is named after.
func TestFieldsOfRecords(t *testing.T) {
	for record, want := range map[string]string{
		`{"answerKey":"0x00","code":"USES_EXHAUSTED","params":{"code":"X"}}`: "USES_EXHAUSTED",
		`{"code":""}`:      "",
		`{"code":"lower"}`: "",
		`{"code":"UNENDED`: "",
		`{"code":"` + strings.Repeat("A", 49) + `"}`: "",
		`{}`:         "",
		``:           "",
		`"code":"A"`: "A",
	} {
		if got := field([]byte(record), `"code":"`); got != want {
			t.Errorf("%s: %q, want %q", record, got, want)
		}
	}
}

// Every item of a batch is counted by its code, refused ones too.
func TestItemsOfABatchAreCounted(t *testing.T) {
	batch, err := record.Encode(&record.Batch{Consumer: "lender", Results: []record.ItemResult{
		{Code: record.CodePermit, Decision: record.Permit, Deadline: 5, RequestID: record.BatchRequestID(record.Hash{1}, 0)},
		{Code: record.CodeUsesExhausted, Decision: record.Deny, RequestID: record.BatchRequestID(record.Hash{1}, 1)},
		{Code: record.CodeConsentUnknown},
		{Code: record.CodePermit, Decision: record.Permit, Deadline: 5, RequestID: record.BatchRequestID(record.Hash{1}, 3)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := New("test")
	m.Decisions(batch)
	m.Decisions([]byte(`{"results":[{"code":"lower"},{"code":"`))
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, line := range []string{`{code="PERMIT"} 2`, `{code="USES_EXHAUSTED"} 1`, `{code="CONSENT_UNKNOWN"} 1`} {
		if !strings.Contains(w.Body.String(), "\nassent_decisions_total"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if n := strings.Count(w.Body.String(), "\nassent_decisions_total"); n != 3 {
		t.Errorf("%d codes are counted", n)
	}
}

// Scrapes see the figures of their moment; changes of leader are counted from the
// first one on.
func TestScrape(t *testing.T) {
	m := busy(t)
	var body string
	for range 3 {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		body = w.Body.String()
	}
	for _, line := range []string{
		"assent_height 7", "assent_halted_height 6", "assent_view 6", "assent_leader_changes_total 2", `assent_ready{check="quorum"} 0`,
		`assent_peer_dropped_total{class="tx",peer="p1"} 2`, `assent_decisions_total{code="PERMIT"} 1`, "assent_outbox_oldest_seconds 60",
		"assent_leak_account_refusals_total 1", `assent_admission_total{result="busy"} 4`, `assent_pool_units{member="bank"} 5`,
		"assent_engine_view_changes_total 21", "assent_engine_reliefs_total 22", `assent_engine_messages_total{result="refused"} 23`,
		`assent_api_refused_total{limit="client_rate"} 11`, `assent_vault_ok{product="bank.loan"} 0`, `assent_contradictions_total{kind="proven",validator="3"} 2`, "assent_peer_shuns_total 9",
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
}

// What is nil counts nothing, so that parts can run without metrics.
func TestNothingCounts(t *testing.T) {
	var m *Metrics
	m.Call("", "", 0)
	m.Committed(0)
	m.Block()
	m.Outcome("")
	m.Decision(nil)
	m.Decisions(nil)
	m.Receipt(nil)
	m.Answered("", true)
	m.Lookup("", "x", 0)
	m.Refused("")
}

func BenchmarkDecision(b *testing.B) {
	m := New("test")
	request := []byte(`{"answerKey":"0x` + strings.Repeat("0", 64) + `","clientKey":"0x` + strings.Repeat("0", 40) + `","code":"PERMIT","codeHash":"0x` + strings.Repeat("0", 64) + `"}`)
	for b.Loop() {
		m.Outcome("OK")
		m.Decision(request)
	}
}
