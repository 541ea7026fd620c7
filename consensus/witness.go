package consensus

// Witness is what an App may be besides: one that remembers what other replicas
// say, to find out who contradicts himself. An engine tells it what comes in before
// it judges it, so nothing need be true but who sent it. The methods are called
// from the goroutines of Step, and hold no lock of the engine. An engine for one
// replica hears nobody.
type Witness interface {
	// Proposed hears of a proposal from the leader of its view, or of one that
	// another replica shows in its account of itself (by 0). Of p only Header,
	// Meta, Height and ConfigSeq are there.
	Proposed(by ReplicaID, p Proposal)

	// Voted hears of a vote for something that the engine calls by digest, at a
	// height, cast in a view.
	Voted(view, height uint64, digest string, v Vote)
}
