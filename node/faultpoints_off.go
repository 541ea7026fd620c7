//go:build !faultpoints

package node

// withFaults returns the options as they are; see faultpoints.go.
func withFaults(o Options) Options { return o }
