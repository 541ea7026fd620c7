//go:build protocolnext

package ledger

// Protocol is one more than in a release: with this build tag a program plays the
// next release, whose rules are those of this one, so that upgrades can be rehearsed
// (scripts/faults). No release has it.
const Protocol = 2
