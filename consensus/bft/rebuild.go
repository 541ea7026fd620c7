package bft

import (
	"sync"
	"sync/atomic"
	"time"
)

// rebuild keeps requests out of the pool while the library sets new times in it
// for a change of membership: it writes them with no lock that a submission takes.
type rebuild struct {
	mu   sync.RWMutex // read-locked by submissions, locked from begins to ends
	held atomic.Bool
}

// What the library says around it, always in one goroutine. A change that drops
// this replica ends before the pool is touched.
const (
	rebuildBegins  = "Starting reconfig"
	rebuildEnds    = "Changed pool timeouts"
	rebuildDone    = "Reconfig is done" // also when it could not change them
	rebuildEvicted = "Evicted in reconfiguration, shutting down"
	rebuildLeft    = "Closing consensus since this node is not in the current set of nodes"
)

func (r *rebuild) begin() {
	r.mu.Lock()
	r.held.Store(true)
}

func (r *rebuild) end() {
	if r.held.CompareAndSwap(true, false) {
		r.mu.Unlock()
	}
}

// wait lets a submission through, which must pass afterwards, or reports that the
// change took longer than limit.
func (r *rebuild) wait(limit time.Duration) bool {
	if r.mu.TryRLock() {
		return true
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if r.mu.TryRLock() {
				return true
			}
		case <-late.C:
			return false
		}
	}
}

func (r *rebuild) pass() { r.mu.RUnlock() }

// heed acts on texts of the library that say what no call of ours says.
func (e *Engine) heed(format string) {
	switch format {
	case catchesUp:
		e.fresh.begin()
		e.overdue.timedOut(e.meter.current.Load(), e.meter.begun.Load())
	case viewBegins:
		e.ahead.begins()
	case rebuildBegins:
		e.rebuild.begin()
	case rebuildEnds, rebuildDone, rebuildEvicted, rebuildLeft:
		e.rebuild.end()
	}
}
