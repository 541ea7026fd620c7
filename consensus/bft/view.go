package bft

import (
	"slices"
	"sync/atomic"

	"github.com/hyperledger-labs/SmartBFT/pkg/metrics"
	"github.com/hyperledger-labs/SmartBFT/pkg/metrics/disabled"

	"github.com/assent-network/assent/consensus"
)

// viewGauge is the library's metric that tells the view; there is no other way
// to learn it that does not race with a change of membership.
const viewGauge = "view_number"

// viewMeter is a metrics provider that keeps the view and drops the rest.
type viewMeter struct {
	disabled.Provider
	view    atomic.Uint64
	changes atomic.Uint64
}

func (v *viewMeter) NewGauge(o metrics.GaugeOpts) metrics.Gauge {
	if o.Name == viewGauge {
		return (*viewSink)(v)
	}
	return v.Provider.NewGauge(o)
}

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
