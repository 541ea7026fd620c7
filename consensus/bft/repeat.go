package bft

import (
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
