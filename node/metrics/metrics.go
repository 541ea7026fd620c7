// Package metrics counts what a node does, for Prometheus.
//
// It owns the registry, the names (see Table) and what each of them means. It
// promises that no label holds anything about a person or a consent, that every
// label takes few values (methods, codes of closed lists, node ids of the
// ledger), that counting costs a call nothing to speak of, and that figures which
// somebody else keeps are asked for when they are scraped, not before.
//
// It leaves to others where it is served (node, on the operators' address) and
// what to do about a figure (node/OPERATIONS.md).
package metrics

import (
	"bytes"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is one node's. Its methods may be called concurrently; on a nil
// Metrics they do nothing.
type Metrics struct {
	registry *prometheus.Registry

	calls       *prometheus.CounterVec   // method, code
	callTime    *prometheus.HistogramVec // method
	commit      prometheus.Histogram
	blocks      prometheus.Counter
	outcomes    *prometheus.CounterVec // code
	decisions   *prometheus.CounterVec // code
	receipts    *prometheus.CounterVec // outcome
	answers     *prometheus.CounterVec // outcome
	leakRefused prometheus.Counter
	vaultTime   *prometheus.HistogramVec // product
	vaultErrors *prometheus.CounterVec   // product, kind
	refused     *prometheus.CounterVec   // why
}

// New makes the metrics of a node that runs a version of the program.
func New(version string) *Metrics {
	counters := func(name string) *prometheus.CounterVec {
		r := row(name)
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: r.Help}, r.Labels)
	}
	counter := func(name string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: row(name).Help})
	}
	histogram := func(name string, buckets []float64) *prometheus.HistogramVec {
		r := row(name)
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: r.Help, Buckets: buckets}, r.Labels)
	}
	m := &Metrics{
		registry:    prometheus.NewRegistry(),
		calls:       counters("assent_api_requests_total"),
		callTime:    histogram("assent_api_request_seconds", prometheus.ExponentialBuckets(0.0005, 2, 16)),
		blocks:      counter("assent_blocks_executed_total"),
		outcomes:    counters("assent_transactions_total"),
		decisions:   counters("assent_decisions_total"),
		receipts:    counters("assent_receipts_total"),
		answers:     counters("assent_answers_total"),
		leakRefused: counter("assent_leak_account_refusals_total"),
		vaultTime:   histogram("assent_vault_lookup_seconds", prometheus.ExponentialBuckets(0.0001, 2.5, 13)),
		vaultErrors: counters("assent_vault_errors_total"),
		refused:     counters("assent_admission_refusals_total"),
	}
	m.commit = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "assent_commit_seconds", Help: row("assent_commit_seconds").Help, Buckets: prometheus.ExponentialBuckets(0.002, 1.6, 20),
	})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "assent_build_info", Help: row("assent_build_info").Help, ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(m.calls, m.callTime, m.commit, m.blocks, m.outcomes, m.decisions, m.receipts, m.answers, m.leakRefused,
		m.vaultTime, m.vaultErrors, m.refused, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 10 * time.Second, MaxRequestsInFlight: 4})
}

// Call counts an API call that has ended. method is one that exists, code is of
// the closed list.
func (m *Metrics) Call(method, code string, took time.Duration) {
	if m == nil {
		return
	}
	m.calls.WithLabelValues(method, code).Inc()
	m.callTime.WithLabelValues(method).Observe(took.Seconds())
}

// Committed counts a transaction whose client waited for its outcome.
func (m *Metrics) Committed(took time.Duration) {
	if m != nil {
		m.commit.Observe(took.Seconds())
	}
}

// Block counts an executed block; Outcome, Decision and Receipt what was in it.
func (m *Metrics) Block() {
	if m != nil {
		m.blocks.Inc()
	}
}

// Outcome counts a transaction by its outcome code.
func (m *Metrics) Outcome(code string) {
	if m != nil {
		m.outcomes.WithLabelValues(code).Inc()
	}
}

// Decision counts the decision on an access request, by the request's record.
func (m *Metrics) Decision(request []byte) {
	if m == nil {
		return
	}
	if code := field(request, codeField); code != "" {
		m.decisions.WithLabelValues(code).Inc()
	}
}

// Decisions counts the decisions on the requests of a batch, by the batch's record.
// Items that were refused, and so have no request, are counted by their code too.
func (m *Metrics) Decisions(batch []byte) {
	if m == nil {
		return
	}
	for {
		i := bytes.Index(batch, []byte(codeField))
		if i < 0 {
			return
		}
		if code := field(batch[i:], codeField); code != "" {
			m.decisions.WithLabelValues(code).Inc()
		}
		batch = batch[i+len(codeField):]
	}
}

// Receipt counts a receipt on the ledger, by its record.
func (m *Metrics) Receipt(receipt []byte) {
	if m == nil {
		return
	}
	if outcome := field(receipt, `"outcome":"`); outcome != "" {
		m.receipts.WithLabelValues(outcome).Inc()
	}
}

const codeField = `"code":"`

// field returns a text field at the top of a record's canonical JSON, in which
// names ascend and no nested record stands before these. Decoding the record
// would cost a hundred times as much. Values are those of a closed list: letters
// and underscores; anything else is not counted.
func field(record []byte, name string) string {
	i := bytes.Index(record, []byte(name))
	if i < 0 {
		return ""
	}
	rest := record[i+len(name):]
	for n, c := range rest {
		switch {
		case c == '"' && n > 0 && n <= 48:
			return string(rest[:n])
		case c != '_' && (c < 'A' || c > 'Z'):
			return ""
		}
	}
	return ""
}

// Answered counts what this node's own answering came to: ANSWERED, REFUSED,
// OVERDUE or WITHHELD. leak says that a leak account refused.
func (m *Metrics) Answered(outcome string, leak bool) {
	if m == nil {
		return
	}
	m.answers.WithLabelValues(outcome).Inc()
	if leak {
		m.leakRefused.Inc()
	}
}

// Lookup counts a look into a product's vault. kind is why it failed, one of few
// words; empty: it did not.
func (m *Metrics) Lookup(product, kind string, took time.Duration) {
	if m == nil {
		return
	}
	m.vaultTime.WithLabelValues(product).Observe(took.Seconds())
	if kind != "" {
		m.vaultErrors.WithLabelValues(product, kind).Inc()
	}
}

// Refused counts a transaction that the node did not take into its pool. why is
// one of few words.
func (m *Metrics) Refused(why string) {
	if m != nil {
		m.refused.WithLabelValues(why).Inc()
	}
}
