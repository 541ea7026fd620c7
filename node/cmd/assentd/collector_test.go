package main

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestCollectorBound(t *testing.T) {
	for _, c := range []struct{ live, want int64 }{
		{0, 76 << 20},
		{48 << 20, 76 << 20},
		{51 << 20, 78 << 20},
		{300 << 20, 410 << 20},
	} {
		if got := collectorBound(uint64(c.live)); got != c.want {
			t.Errorf("%d live bytes: bound %d, want %d", c.live, got, c.want)
		}
	}
}

// The bound grows with what is alive, also when that happens long after the start, and
// shrinks again: a node with a large heap is not collected without end.
func TestCollectorFollowsTheLiveHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(-1)
	debug.SetGCPercent(percent)
	stop := tuneCollector()
	t.Cleanup(func() {
		stop()
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	})
	if was := debug.SetGCPercent(collectorPercent); was != collectorPercent {
		t.Errorf("the collector runs at %d %%, want %d", was, collectorPercent)
	}
	waitBound := func(what string, ok func(int64) bool) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); ; runtime.GC() {
			bound := debug.SetMemoryLimit(-1)
			if ok(bound) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: the bound is %d", what, bound)
			}
		}
	}
	heap := make([]byte, 200<<20)
	waitBound("200 MiB alive", func(b int64) bool { return b > 260<<20 && b < 2<<30 })
	runtime.KeepAlive(heap)
	heap = nil
	waitBound("nothing of that is alive any more", func(b int64) bool { return b < 200<<20 })
}

func TestCollectorLeavesWhatTheEnvironmentSays(t *testing.T) {
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(name, "50")
			percent, limit := debug.SetGCPercent(77), debug.SetMemoryLimit(math.MaxInt64-1)
			t.Cleanup(func() {
				debug.SetGCPercent(percent)
				debug.SetMemoryLimit(limit)
			})
			tuneCollector()()
			if p, l := debug.SetGCPercent(77), debug.SetMemoryLimit(-1); p != 77 || l != math.MaxInt64-1 {
				t.Errorf("percent %d, limit %d: changed although %s is set", p, l, name)
			}
		})
	}
}
