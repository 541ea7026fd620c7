// Package evidence keeps what validators say against themselves.
//
// It owns the proof that a validator voted in one view for two blocks of one
// height (Proof), the place on disk where such proofs stay (Book), and the memory of what
// was said about the last heights, in which contradictions are found (Watch).
//
// It promises that a Proof is checked by anybody who knows the network's chain id
// and the vote keys of its configs; that nobody who keeps the rules can be named by
// one, whatever others send; that what is kept is bounded, whoever lies how often;
// and that it looks at signatures only where something was contradicted, so that it
// costs nothing while nobody lies.
//
// What can be proven, and what only seen: votes are signed, so two of them are a
// proof. Proposals and first-round votes are not signed by vote keys; a leader that
// proposed two blocks, or a validator that voted twice for something whose header
// nobody here knows, was seen by this node alone (Sighting), and others have to
// believe it.
//
// It leaves to others: how messages come in and who sent them, what the ordering
// engine's metadata mean, and what is done about a validator.
package evidence
