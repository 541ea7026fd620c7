//go:build !faultpoints

package node

import "github.com/assent-network/assent/node/executor"

// withFaults returns the options as they are; see faultpoints.go.
func withFaults(o Options) Options { return o }

// withFaultyContracts returns the contracts as they are; see faultpoints_contracts.go.
func withFaultyContracts(c executor.Contracts) executor.Contracts { return c }
