// Package store owns the directory blocks/: every block of the ledger with its
// certificate, in a goleveldb of its own.
//
// It promises that a block is on disk, synced, when Append has returned; that
// heights have no gap and each block is built on the one below; that a height
// never changes its block; and that damage is reported, with the height and a
// remedy, never served. What a crash can cost is the block whose Append had
// not returned.
//
// It leaves to others whether a block is right: validators have voted for it,
// or package sync has checked the votes, before it comes here. Verify makes all
// checks again, for people who do not want to take that on trust. Executing
// blocks, finding transactions and deciding what is pruned are others' business.
//
// Headers, certificates and config blocks are kept for ever. The other bodies
// are there from a base on, which is 0 until something is pruned or the node
// begins with a snapshot.
//
// Files: a blocks/ directory may be lost or rolled back without harm to the
// network, and an observer fetches it again from its peers; a validator must not
// go on with an older copy, because it might vote twice at a height (the
// ordering engine's log notices and refuses). Damage in the last 32 KiB that were
// written cannot be told from a torn write: the blocks in them are missing after
// the next start, and are fetched from the peers again. It holds nothing secret beyond
// what members of the network may read.
package store
