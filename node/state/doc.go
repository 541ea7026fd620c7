// Package state owns what execution leaves behind: the rows contracts keep,
// the Merkle trie over the mutable ones, the log of receipts, the index of
// transactions, and the roots after every block. All of it lives in one
// goleveldb directory; keys.go lists every key in it.
//
// It promises:
//   - Equal blocks give equal roots, on every machine, whatever was flushed,
//     restarted or replayed in between.
//   - What is on disk is always the state after one whole block: a flush is one
//     atomic batch. A crash loses only the blocks since the last flush; executing
//     them again from the block store brings back the same bytes.
//   - A View never changes and never waits for the executor; any number of
//     goroutines may read any number of views while blocks are executed.
//   - A record, present or absent, can be proven at every height from the last
//     certified one on, and further back for as long as memory allows.
//   - Damage is found, not served: every trie node read is hashed, and an error
//     names the place and the remedy.
//
// It leaves to others: which blocks there are and in which order (store, chain),
// what a transaction means (executor), when to flush by the clock (its caller:
// the package reads none), and whether a root is certified.
package state
