// Package audit owns the form of an audit export: everything that happened on a
// ledger between two heights, in files that somebody checks who has the genesis
// config and no connection. SPEC.md describes the bytes.
//
// It promises that an export which Verify accepts is complete, not only authentic:
// its headers form one chain up to one that a quorum certified, their roots commit
// to every request of every block and to every receipt, and a receipt commits to
// every event. So nothing can be left out of it, added, altered or moved. Export and
// check hold one block in memory at a time.
//
// It leaves to others where the blocks come from, and whether the key that signed
// an export was registered for its member when it signed.
package audit
