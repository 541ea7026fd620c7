package consensus

import "context"

// App is the replicated application.
//
// Concurrency. Assemble, CheckLive, Deliver and CatchUp never overlap each
// other: state that only they touch needs no lock. They come from different
// goroutines, one after the other with a happens-before edge between. All
// other methods may be called from any goroutine at any time, also during
// those four.
//
// No method may call Engine.Submit, Engine.Accept, Engine.Step or wait for
// Engine.Run: the engine holds locks. Engine.Forget and Engine.Status are
// safe everywhere.
type App interface {
	// Inspect returns the identity of a request. It is cheap and never fails:
	// for bytes it cannot parse it derives an identity from their hash.
	Inspect(req []byte) RequestInfo

	// CheckRequest reports whether a pooled request is still acceptable. The
	// answer depends on the bytes and the configuration in force only. The
	// engine calls it for every pooled request after ConfigSeq has changed and
	// drops those that fail.
	CheckRequest(req []byte) (RequestInfo, error)

	// Assemble makes the proposal at the given height on top of the last
	// delivered decision; only the leader is asked. It fills Header, Payload
	// and ConfigSeq; Height and Meta are the engine's (it may hash both into
	// Header). It may leave out requests (expired, too many bytes) but should
	// Forget those that will never fit, or the engine offers them again at
	// once; with nothing left it returns a proposal without requests.
	// An error means the application cannot go on and stops the engine.
	Assemble(height uint64, meta []byte, reqs [][]byte) (Proposal, error)

	// CheckLive reports why an honest replica must not vote for p, or the
	// requests in it. It is called for live proposals only, this replica's own
	// included, never on restart, view change or catch-up: the place for checks
	// of clock and executed state. A proposal that repeats a request delivered
	// before, or holds one twice, must be accepted: pools cannot rule it out.
	// It may wait for execution, but well below the leader time-out. An error
	// makes this replica complain about the leader.
	CheckLive(p Proposal) ([]RequestInfo, error)

	// Requests lists the requests of a proposal that some quorum accepted.
	Requests(p Proposal) []RequestInfo

	// SignVote signs p, and the view in which this replica votes for it, with this
	// replica's vote key. An error stops the engine.
	SignVote(p Proposal, view uint64) ([]byte, error)

	// VerifyVote checks v.Signature over p and view by v.Replica. It is called
	// several times for the same vote, from several goroutines: cache it.
	VerifyVote(p Proposal, view uint64, v Vote) error

	// Sign signs an engine message (of view change) with this replica's vote
	// key, under a domain different from that of votes. An error stops the
	// engine.
	Sign(msg []byte) ([]byte, error)

	// Verify checks what Sign made on the replica named. The message is
	// untrusted.
	Verify(by ReplicaID, msg, signature []byte) error

	// ConfigSeq is the number of the configuration in force after the last
	// delivered decision.
	ConfigSeq() uint64

	// Deliver takes the decision that follows the last one, and returns the
	// new membership if it changed that, else nil. A nil error means that d is
	// on disk. It must return well within the leader time-out and tolerate a
	// decision it has already appended (same height, same bytes) as a success.
	// An error stops this replica's engine: nothing is sent any more and Run
	// returns the error.
	Deliver(d Decision) (*Membership, error)

	// CatchUp fetches from peers the decisions that this replica lacks, checks
	// and appends them, and returns this replica's tip, also when there was
	// nothing to fetch. It is called when the engine learns that it is behind,
	// on the goroutine that otherwise delivers: it must be bounded in time
	// (also by ctx), may stop half-way with what it has, and must not keep other
	// replicas from being served. An error means the store cannot be trusted
	// any more and stops the engine; peers that do not answer are no error.
	CatchUp(ctx context.Context) (Tip, error)
}

// Fair is what an App may be besides: one that shares the ordering between those
// who ask for it. An engine without a pool of its own kind may ignore it.
// Its methods may be called while an instance restarts, from one goroutine at a
// time each, and hold no lock of the engine.
type Fair interface {
	// Choose returns those of the pooled requests, oldest first, that the next
	// proposal should hold; the others stay pooled. It is asked right before
	// Assemble, with everything that is pooled; without Fair an engine offers the
	// oldest that fit.
	Choose(reqs [][]byte) [][]byte

	// Overdue is asked on a replica that does not lead about a request that has
	// waited for long. true: the leader is told of it again and complained about
	// if it does not order it. false: it is dropped here. A replica that shares
	// its pool may refuse what another one has taken, and must not blame the
	// leader for having done the same.
	Overdue(req []byte) bool
}

// Engine orders requests. An engine runs once: after Run has returned, make a
// new one.
type Engine interface {
	// Run orders until ctx ends (it returns nil), until the replica is removed
	// (ErrRemoved) or until the application or the disk fails (that error).
	// Every goroutine it started has ended when it returns.
	Run(ctx context.Context) error

	// Submit takes a request of this node's own clients, which the caller has
	// checked and found not to be delivered already, and passes it to every
	// replica through Transport.Forward; one that it knows already too, for
	// others may have missed it. A nil error means it is pooled here, or was
	// recently: not that it will be ordered. On an error nothing was
	// passed on. It blocks for a quarter of a second at most.
	Submit(ctx context.Context, req []byte) error

	// Accept takes a request that another replica forwarded, checked by the
	// caller like one of its own; it is not passed on. Otherwise like Submit.
	Accept(ctx context.Context, req []byte) error

	// Step takes a message from a replica that the transport authenticated.
	// The bytes are untrusted and not retained. It may block while the engine is busy: that is
	// the flow control towards that peer, so call it from one goroutine per
	// peer, in the order of arrival.
	Step(from ReplicaID, msg []byte)

	// Forget drops requests from the pool, delivered or expired; absent ones
	// are no error, and those that arrive shortly after are not taken either.
	// The application calls it for every decision it appends in CatchUp and for
	// requests that expire; for what it delivers the engine does it itself,
	// when Deliver has returned.
	Forget(reqs []RequestInfo)

	// Status never blocks for long.
	Status() Status
}

// Status is what an engine knows of itself.
type Status struct {
	// Running: Run has started and has not failed.
	Running bool
	// Leader is the leader of View, 0 if unknown.
	Leader ReplicaID
	View   uint64
	// VotedHeight is the highest height for which this replica has signed a
	// vote, restarts included; 0 for none. A decision at this height may exist
	// elsewhere before it is delivered here.
	VotedHeight uint64
	// Pool is the number of requests waiting.
	Pool int
}

// Transport is what an engine needs of the network. Its methods never block
// (they are called under engine locks): on overflow a peer's queue is dropped
// and its stream reset. Messages to one replica arrive in the order sent or
// not at all. The slices are shared between calls and must not be changed.
type Transport interface {
	// Send carries an engine message to the Step of another replica.
	Send(to ReplicaID, msg []byte)
	// Forward carries a request to another replica's node, which checks it and
	// calls Accept.
	Forward(to ReplicaID, req []byte)
}
