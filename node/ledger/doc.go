// Package ledger owns the bytes of the ledger: what a transaction, a block, a
// certificate, a configuration, a receipt and a proof look like, how each is
// hashed and signed, and how a reader who trusts no node checks them.
//
// It promises that every encoding is canonical (decoding and encoding again
// gives the same bytes), that every decoder is bounded and never panics, that
// every hashed or signed object starts with its own domain tag, and that every
// check depends only on its arguments: no clock, no disk, no network.
//
// It leaves to others: which transactions may run (contracts), in which order
// (consensus), where the bytes are kept (store, state) and when a signature is
// made (keys). SPEC.md describes the same bytes for other languages, with
// vectors in testdata/vectors.
package ledger
