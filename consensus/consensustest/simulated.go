//go:build simulation

package consensustest

import (
	"testing"
	"testing/synctest"
	_ "unsafe" // for go:linkname
)

// InSimulatedTime runs f, in simulated time with the build tag simulation and in
// real time without it.
func InSimulatedTime(t *testing.T, f func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		KeepTime(t)
		f(t)
	})
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
