//go:build simulation

package consensustest

import (
	"testing"
	"testing/synctest"
	"time"
	_ "unsafe" // for go:linkname
)

// InSimulatedTime runs f, in simulated time with the build tag simulation and in
// real time without it.
func InSimulatedTime(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		go keepTime(done)
		t.Cleanup(func() { close(done) }) // after every other one
		f(t)
	})
}

// keepTime leaves something to wait for until done. A test that has no timer yet and
// wants a mutex that is held elsewhere, by the runtime of cgo or a package of the
// standard library, would else be taken for a deadlock.
func keepTime(done <-chan struct{}) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-done:
			return
		}
	}
}

// Simulated time (testing/synctest) goes on when every goroutine of a test waits
// for something in the test. Waiting for a mutex does not count, in general for
// good reasons. SmartBFT holds mutexes while it waits for time to pass: for two
// ticks before it commits a proposal taken over in a view change, and for as long
// as catching up takes. Whoever wants the mutex meanwhile would stop the time that
// its holder waits for.
//
// With the build tag simulation a wait for a mutex counts. That is right where
// mutexes are held by goroutines of the same test only; one held elsewhere is held
// by a running goroutine, and the worst that can follow is time that passes too
// early. Nothing of the program under test is changed. The linker wants
// -ldflags=-checklinkname=0 for it.

//go:linkname waitCounts runtime.isIdleInSynctest
var waitCounts [30]bool // the first of them; a longer array would end behind the runtime's

//go:linkname waitNames runtime.waitReasonStrings
var waitNames [30]string

func init() {
	found := 0
	for i, name := range waitNames {
		switch name {
		case "sync.Mutex.Lock", "sync.RWMutex.RLock", "sync.RWMutex.Lock":
			waitCounts[i] = true
			found++
		}
	}
	if found != 3 {
		panic("consensustest: this Go names the waits for a mutex otherwise: see runtime.waitReasonStrings, and correct simulated.go")
	}
}
