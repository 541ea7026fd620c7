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
	t.Cleanup(func() { // after every other one
		close(done)
		// Simulated time ends with the test, and whatever has not ended by then is
		// taken for blocked, even the goroutine above on its way out. Time passes
		// once nothing runs, or by one step that was under way when somebody outside
		// let the mutex go; so it passes twice.
		time.Sleep(time.Millisecond)
		time.Sleep(time.Millisecond)
	})
}
