package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// Under load a node makes much garbage around a small live heap, and what counts is
// the most memory it ever takes. A percentage alone either leaves most of that unused
// most of the time, or lets the peaks of the live heap grow by it. So the collector
// has room up to a bound, and the bound follows the live heap when that grows.
const (
	collectorPercent = 100      // while the bound is far away
	collectorRoom    = 76 << 20 // all that Go's runtime takes in a node of some 10,000 consents
	collectorOther   = 10 << 20 // of it stacks, the runtime's own and holes
)

// tuneCollector sets the bound now and after every collection, until stop is called.
// It does nothing when GOGC or GOMEMLIMIT say what whoever runs the node wants.
func tuneCollector() (stop func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	debug.SetGCPercent(collectorPercent)
	adapt := func() { debug.SetMemoryLimit(collectorBound(liveHeap())) }
	adapt()
	return afterCollections(adapt)
}

// collectorBound is how much memory Go's runtime may take around so many live bytes. A
// large heap gets a third for garbage: with a bound that stands still it would be
// collected without end.
func collectorBound(live uint64) int64 {
	return max(collectorRoom, int64(live)+int64(live/3)+collectorOther)
}

// liveHeap returns the bytes that the last collection found alive.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}

// afterCollections calls f after every collection, until stop is called.
func afterCollections(f func()) (stop func()) {
	type object struct{ self *object } // a pointer in it: small objects without share one allocation
	stopped := new(atomic.Bool)
	var wait func(struct{})
	arm := func() { runtime.AddCleanup(new(object), wait, struct{}{}) } // nothing holds the object: the next collection finds it
	wait = func(struct{}) {
		if stopped.Load() {
			return
		}
		f()
		arm()
	}
	arm()
	return func() { stopped.Store(true) }
}
