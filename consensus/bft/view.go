package bft

import (
	"slices"
	"sync/atomic"

	"github.com/hyperledger-labs/SmartBFT/pkg/metrics"
	"github.com/hyperledger-labs/SmartBFT/pkg/metrics/disabled"

	"github.com/assent-network/assent/consensus"
)

// The library's metrics that tell views; there is no other way to learn them that
// does not race with a change of membership.
const (
	viewGauge    = "view_number"             // that the replica works in
	currentGauge = "viewchange_current_view" // that its view changer knows of
	realGauge    = "viewchange_real_view"    // that its view changer last saw begin
)

// viewMeter is a metrics provider that keeps the views and drops the rest.
type viewMeter struct {
	disabled.Provider
	view    atomic.Uint64
	changes atomic.Uint64
	current gauge
	begun   counter
}

func (v *viewMeter) NewGauge(o metrics.GaugeOpts) metrics.Gauge {
	switch o.Name {
	case viewGauge:
		return (*viewSink)(v)
	case currentGauge:
		return &v.current
	case realGauge:
		return &v.begun
	}
	return v.Provider.NewGauge(o)
}

// gauge keeps what it was set to last.
type gauge struct{ atomic.Uint64 }

func (g *gauge) With(...string) metrics.Gauge { return g }
func (g *gauge) Add(float64)                  {}
func (g *gauge) Set(v float64)                { g.Store(uint64(v)) }

// counter keeps how often it was set.
type counter struct{ atomic.Uint64 }

func (c *counter) With(...string) metrics.Gauge { return c }
func (c *counter) Add(float64)                  {}
func (c *counter) Set(float64)                  { c.Uint64.Add(1) }

type viewSink viewMeter

func (s *viewSink) With(...string) metrics.Gauge { return s }
func (s *viewSink) Add(float64)                  {}
func (s *viewSink) Set(view float64) {
	if s.view.Swap(uint64(view)) != uint64(view) {
		s.changes.Add(1)
	}
}

// leaderOf is the library's choice without rotation.
func leaderOf(view uint64, m consensus.Membership) consensus.ReplicaID {
	if len(m.Replicas) == 0 {
		return 0
	}
	sorted := slices.Clone(m.Replicas)
	slices.Sort(sorted)
	return sorted[view%uint64(len(sorted))]
}
