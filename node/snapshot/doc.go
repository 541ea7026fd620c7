// Package snapshot owns the directory snapshots/: copies of the state after a
// certified height, written while the node serves, from which another node can
// begin, and their form, which SPEC.md fixes.
//
// A snapshot is a manifest and chunks. The manifest names the certified header
// whose roots the state must have, and the hash of every chunk; chunks carry the
// records and index rows by key, then every receipt of the log in order. What
// follows from these (the trie, the log's tree, the index of transactions, the
// log rows) is not carried, for whoever restores computes it.
//
// It promises that a snapshot appears whole or not at all, that equal states give
// equal chunks, that memory is bounded whatever the size, and that Restore makes a
// state only of what gives the roots of the header. Nothing in a snapshot is
// believed: its header must be one that the caller has verified.
//
// It leaves to others whether a header is certified (store, sync), moving bytes
// between nodes (sync), when to write and what to do with a restored state
// (package node).
//
// Files: snapshots/ may be lost or removed at any time, except that blocks below
// the newest snapshot may have been pruned everywhere; it holds nothing that
// members of the network may not read.
package snapshot
