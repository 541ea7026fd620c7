package consensustest

import (
	"testing"
	"time"
)

// KeepTime leaves something to wait for until a test in simulated time ends; it is
// called before anything else there. With the build tag simulation, a test that has no
// timer yet and wants a mutex that is held elsewhere, by the runtime of cgo or a package
// of the standard library, would else be taken for a deadlock.
func KeepTime(t *testing.T) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { close(done) }) // after every other one
}
