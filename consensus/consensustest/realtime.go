//go:build !simulation

package consensustest

import "testing"

// InSimulatedTime runs f, in simulated time with the build tag simulation and in
// real time without it.
func InSimulatedTime(t *testing.T, f func(t *testing.T)) { f(t) }
