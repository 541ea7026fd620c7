// Package divergence finds out where this node's results first differ from those
// that a quorum certified.
//
// A certified header names the root of all receipts, and a node whose own root is
// another one halts. What it cannot tell by itself is which transaction it was:
// for that it reads the receipts of another node and holds its own against them.
//
// It owns the comparison. It promises to believe a peer nothing that the certified
// root does not prove, so that no peer can have it name a transaction or a key that
// does not differ; to ask one peer after the other, each for a bounded time; and to
// hold no more than one answer of a peer in memory.
//
// It leaves to others how peers are asked (package sync), what to do then (package
// node), and whether names may be shown (ledger.ShownKey).
package divergence
