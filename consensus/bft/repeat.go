package bft

import (
	"sync"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

// repeater says again what this replica said about a proposal that stays
// undecided. The library says it once; when a stream is reset, or replicas
// restart one after the other, it is lost, and nothing happens until a request
// times out and the view changes. Repeated messages are ignored by those who
// have them, and answered with the missing votes by those who are one decision
// ahead. A stall repeats less and less often, but not before steady has passed:
// until the first complaint a replica that has just caught up can still help to
// decide, if it hears of the proposal in time. A view change, to a leader that
// may be down, costs many times more.
type repeater struct {
	after, steady time.Duration

	height uint64    // the undecided height seen last
	first  time.Time // when it was seen first
	next   time.Time // when to repeat it
	wait   time.Duration
}

// maxRepeat bounds the distance of repetitions.
const maxRepeat = 8 * time.Second

// due reports whether to repeat now, given the height that is undecided (0:
// none).
func (r *repeater) due(height uint64, now time.Time) bool {
	if height == 0 || height != r.height {
		r.height, r.wait, r.first, r.next = height, r.after, now, now.Add(r.after)
		return false
	}
	if now.Before(r.next) {
		return false
	}
	limit := maxRepeat
	if now.Sub(r.first) < r.steady {
		limit = 2 * r.after
	}
	r.wait = min(2*r.wait, limit)
	r.next = now.Add(r.wait)
	return true
}

// undecided returns what this replica said about the proposal after height, if
// it has accepted one in a view that it has not left.
func (p *promises) undecided(height uint64) (accepted claim, vote *pb.Signature, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.accepted.meta.height != height+1 || p.accepted.meta.view < p.floor {
		return claim{}, nil, false
	}
	if p.logged && p.vote.same(p.accepted) {
		vote = p.signature
	}
	return p.accepted, vote, true
}

// repeat is called at every tick, by Run.
func (e *Engine) repeat(r *repeater, now time.Time) {
	if e.muted() {
		return
	}
	c, vote, ok := e.promises.undecided(e.height.Load())
	if !r.due(c.meta.height, now) || !ok {
		return
	}
	digest := c.proposal.Digest()
	var said []*pb.Message
	if leaderOf(c.meta.view, e.membership()) == e.cfg.Self {
		said = append(said, &pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{
			View: c.meta.view, Seq: c.meta.height, Proposal: c.message(),
		}}})
	}
	said = append(said, &pb.Message{Content: &pb.Message_Prepare{Prepare: &pb.Prepare{
		View: c.meta.view, Seq: c.meta.height, Digest: digest,
	}}})
	if vote != nil {
		said = append(said, &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{
			View: c.meta.view, Seq: c.meta.height, Digest: digest, Signature: vote,
		}}})
	}
	e.counters.repeats.Add(1)
	for _, m := range said {
		raw, err := proto.Marshal(m)
		if err != nil {
			e.cfg.Logger.Error("consensus message not repeated", "reason", err)
			return
		}
		for _, id := range e.membership().Replicas {
			if id != e.cfg.Self {
				e.send(id, raw)
			}
		}
	}
}

// send hands an encoded message to the transport.
func (e *Engine) send(to consensus.ReplicaID, raw []byte) {
	e.counters.sent.Add(1)
	e.cfg.Transport.Send(to, raw)
}

// message is the proposal as the library sends it.
func (c claim) message() *pb.Proposal {
	return &pb.Proposal{
		Header: c.proposal.Header, Payload: c.proposal.Payload, Metadata: c.proposal.Metadata,
		VerificationSequence: uint64(c.proposal.VerificationSequence),
	}
}

// maxReminded bounds how many requests are passed on again at a time.
const maxReminded = 16

// reminder passes on again what lies in the pool and comes to nothing. The library
// does that from a request's timers, but stops them while it changes the view: a
// replica that complained alone, because only it was cut off, waits for a view that
// nobody else wants, and a request that only it holds would wait with it.
type reminder struct {
	oldest consensus.RequestInfo
	next   time.Time
}

// due reports whether the oldest request has been the same for patience, once in patience.
func (r *reminder) due(oldest consensus.RequestInfo, now time.Time, patience time.Duration) bool {
	if oldest != r.oldest {
		r.oldest, r.next = oldest, now.Add(patience)
		return false
	}
	if now.Before(r.next) {
		return false
	}
	r.next = now.Add(patience)
	return true
}

// remind is called at every tick, by Run.
func (e *Engine) remind(r *reminder, in *instance, now time.Time) {
	if e.muted() {
		return
	}
	s := e.cfg.Settings
	pooled, _ := in.cons.Pool.NextRequests(maxReminded, uint64(s.BatchMaxBytes), false)
	if len(pooled) == 0 {
		*r = reminder{}
		return
	}
	// By then the timers, if they run, have done what they are for.
	if !r.due(e.cfg.App.Inspect(pooled[0]), now, 2*(s.ForwardTimeout+s.ComplainTimeout)) {
		return
	}
	for _, req := range pooled {
		for _, id := range e.membership().Replicas {
			if id != e.cfg.Self {
				e.cfg.Transport.Forward(id, req)
			}
		}
	}
}

// A replica that is further in a view change repeats what one that lags asks for, to
// all, as if it asked itself. If two of them have missed what the other asks for now,
// each takes the other for one that lags, and they answer each other as fast as the
// network carries it until they ask for their own view again.

// asked remembers which views this replica asked whom for, and when.
type asked struct {
	mu   sync.Mutex
	when map[ask]time.Time
}

type ask struct {
	to   consensus.ReplicaID
	view uint64
}

// again reports whether to ask now: not twice within pause.
func (a *asked) again(to consensus.ReplicaID, view uint64, now time.Time, pause time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := ask{to, view}
	if at, ok := a.when[q]; ok && now.Sub(at) < pause {
		return false
	}
	for q, at := range a.when {
		if now.Sub(at) >= pause {
			delete(a.when, q)
		}
	}
	if a.when == nil {
		a.when = make(map[ask]time.Time)
	}
	a.when[q] = now
	return true
}
