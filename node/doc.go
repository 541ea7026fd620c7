// Package node connects the rooms of a node and runs it: the one place where
// everything is visible.
//
// It owns the wiring (each room declares what it needs, and gets it here), the
// order of starting and stopping, the directory of who is who on the network,
// and the loop that carries what was executed to those who act on it: permits to
// the answerer, revocations to the outbox, node records to the network's gate.
//
// It promises that opening starts nothing, that Run returns after everything it
// started, that a node stops in reverse order of trust, and that a ledger is
// never created by starting a node. It leaves every decision to the room that
// owns it.
package node
