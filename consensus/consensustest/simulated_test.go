//go:build simulation

package consensustest

import (
	"sync"
	"testing"
	"time"
)

// Whoever waits for a mutex that is held outside the test, with no timer running, is
// not taken for a deadlock.
func TestAMutexHeldElsewhereIsNoDeadlock(t *testing.T) {
	var mu sync.Mutex
	mu.Lock()
	time.AfterFunc(50*time.Millisecond, mu.Unlock) // real time: the test has begun to wait long before
	InSimulatedTime(t, func(*testing.T) {
		mu.Lock()
		defer mu.Unlock()
	})
}
