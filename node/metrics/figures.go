package metrics

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Figures are what the rooms of a node know of themselves at one moment. What is
// not known is left at -1 where the field says so.
type Figures struct {
	Height, Executed, Certified uint64
	Halted                      uint64 // height at which the node halted; 0: it has not
	BlockAge                    time.Duration
	ConfigSeq                   uint64
	Validators, QuorumMargin    int
	View, Leader                uint64
	Pool                        int
	ViewAge                     time.Duration // -1: never established
	Ready                       map[string]bool

	Peers []Peer

	StoreBytes  map[string]int64 // by part
	StateMemory map[string]int64 // by part
	DiskFree    int64            // -1: not known

	OutboxItems  int
	OutboxOldest time.Duration

	Admission        map[string]uint64 // transactions since the start, by what became of them at the pool
	PoolUnits        map[string]int    // units that wait, by member
	PoolLimit        int               // units that the pool takes now
	OrderedPerSecond float64           // units
	Garbage, Shuns   uint64            // from other nodes, since the start
	Costly           uint64
	Refusals         map[string]uint64 // calls and connections turned away since the start, by limit

	// What the ordering engine counted since the node started.
	EngineDecided, EngineCatchUps, EngineViewChanges uint64
	EngineRestarts, EngineReliefs, EngineRepeats     uint64
	EngineMessages                                   map[string]uint64 // sent, received, refused, held
	EngineLogRecords, EngineLogBytes                 uint64

	Vaults []Vault

	Contradictions []Contradiction

	KeyEnds map[Key]time.Duration // until a key ends by itself, negative once it has; keys without an end are not in it
	Overdue map[string]int        // of this member, by what: erasure, deletion, dispute
}

// Key is one of this member's keys on the ledger.
type Key struct{ Kind, ID string } // client or data; the address or the key's id

// Contradiction counts how often a validator contradicted itself since the start.
type Contradiction struct {
	Validator uint64
	Kind      string // proven, two-proposals or two-votes
	Count     uint64
}

// Vault is a product's database as it was when it was last used or looked at.
type Vault struct {
	Product string
	OK      bool
}

// Peer is another node of the ledger.
type Peer struct {
	ID, Member string
	Connected  bool
	RTT        time.Duration // 0: not measured
	Classes    map[string]Class
}

// Class counts one kind of message to or from a peer.
type Class struct {
	Queued             int
	Dropped, Throttled uint64
}

// Watch has figures asked for at every scrape. It is called once.
func (m *Metrics) Watch(figures func() Figures) {
	w := &watched{figures: figures, descs: make(map[string]*prometheus.Desc)}
	for _, r := range Table {
		w.descs[r.Name] = prometheus.NewDesc(r.Name, r.Help, r.Labels, nil)
	}
	m.registry.MustRegister(w)
}

// watched turns figures into samples.
type watched struct {
	figures func() Figures
	descs   map[string]*prometheus.Desc

	mu      sync.Mutex // guards what follows
	seen    bool
	view    uint64 // at the last scrape
	changes uint64
}

// Describe implements prometheus.Collector: nothing is promised beforehand, as
// some samples exist only while there are peers.
func (w *watched) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (w *watched) Collect(out chan<- prometheus.Metric) {
	f := w.figures()
	gauge := func(name string, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(w.desc(name), prometheus.GaugeValue, v, labels...)
	}
	counter := func(name string, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(w.desc(name), prometheus.CounterValue, float64(v), labels...)
	}
	gauge("assent_height", float64(f.Height))
	gauge("assent_executed_height", float64(f.Executed))
	gauge("assent_certified_height", float64(f.Certified))
	gauge("assent_halted_height", float64(f.Halted))
	gauge("assent_block_age_seconds", f.BlockAge.Seconds())
	gauge("assent_config_seq", float64(f.ConfigSeq))
	gauge("assent_validators", float64(f.Validators))
	gauge("assent_quorum_margin", float64(f.QuorumMargin))
	gauge("assent_view", float64(f.View))
	gauge("assent_leader", float64(f.Leader))
	counter("assent_leader_changes_total", w.leaderChanges(f.View))
	gauge("assent_pool_requests", float64(f.Pool))
	if f.ViewAge < 0 {
		gauge("assent_view_age_seconds", -1)
	} else {
		gauge("assent_view_age_seconds", f.ViewAge.Seconds())
	}
	for check, ok := range f.Ready {
		gauge("assent_ready", one(ok), check)
	}
	for part, n := range f.StoreBytes {
		gauge("assent_store_bytes", float64(n), part)
	}
	for part, n := range f.StateMemory {
		gauge("assent_state_memory_bytes", float64(n), part)
	}
	if f.DiskFree >= 0 {
		gauge("assent_disk_free_bytes", float64(f.DiskFree))
	}
	gauge("assent_outbox_items", float64(f.OutboxItems))
	gauge("assent_outbox_oldest_seconds", f.OutboxOldest.Seconds())
	for result, n := range f.Admission {
		counter("assent_admission_total", n, result)
	}
	for member, n := range f.PoolUnits {
		gauge("assent_pool_units", float64(n), member)
	}
	gauge("assent_pool_limit_units", float64(f.PoolLimit))
	gauge("assent_ordering_units_per_second", f.OrderedPerSecond)
	counter("assent_engine_decided_total", f.EngineDecided)
	counter("assent_engine_catch_ups_total", f.EngineCatchUps)
	counter("assent_engine_view_changes_total", f.EngineViewChanges)
	counter("assent_engine_restarts_total", f.EngineRestarts)
	counter("assent_engine_reliefs_total", f.EngineReliefs)
	counter("assent_engine_repeats_total", f.EngineRepeats)
	for result, n := range f.EngineMessages {
		counter("assent_engine_messages_total", n, result)
	}
	counter("assent_engine_log_records_total", f.EngineLogRecords)
	counter("assent_engine_log_bytes_total", f.EngineLogBytes)
	counter("assent_peer_garbage_total", f.Garbage)
	counter("assent_peer_shuns_total", f.Shuns)
	counter("assent_peer_costly_dropped_total", f.Costly)
	for limit, n := range f.Refusals {
		counter("assent_api_refused_total", n, limit)
	}
	for _, c := range f.Contradictions {
		counter("assent_contradictions_total", c.Count, strconv.FormatUint(c.Validator, 10), c.Kind)
	}
	for _, v := range f.Vaults {
		gauge("assent_vault_ok", one(v.OK), v.Product)
	}
	for key, left := range f.KeyEnds {
		gauge("assent_key_ends_seconds", left.Seconds(), key.Kind, key.ID)
	}
	for what, n := range f.Overdue {
		gauge("assent_overdue", float64(n), what)
	}
	for _, p := range f.Peers {
		gauge("assent_peer_connected", one(p.Connected), p.ID, p.Member)
		if p.RTT > 0 {
			gauge("assent_peer_rtt_seconds", p.RTT.Seconds(), p.ID, p.Member)
		}
		for class, c := range p.Classes {
			gauge("assent_peer_queue_messages", float64(c.Queued), p.ID, class)
			counter("assent_peer_dropped_total", c.Dropped, p.ID, class)
			counter("assent_peer_throttled_total", c.Throttled, p.ID, class)
		}
	}
}

func (w *watched) desc(name string) *prometheus.Desc {
	d, ok := w.descs[name]
	if !ok {
		panic(fmt.Sprintf("metrics: %s is not in the table", name))
	}
	return d
}

// leaderChanges follows the view, which rises by one with each of them.
func (w *watched) leaderChanges(view uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen && view > w.view {
		w.changes += view - w.view
	}
	w.seen, w.view = true, max(view, w.view)
	return w.changes
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
