package bft

import (
	"errors"
	"fmt"
	"sync"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/assent-network/assent/consensus"
)

// Nodes implements the library's Comm.
func (e *Engine) Nodes() []uint64 {
	m := e.membership()
	nodes := make([]uint64, len(m.Replicas))
	for i, id := range m.Replicas {
		nodes[i] = uint64(id)
	}
	return nodes
}

// SendConsensus implements the library's Comm. The library calls it once per
// replica for a broadcast, under its locks; the transport does not block.
func (e *Engine) SendConsensus(target uint64, m *pb.Message) {
	if e.muted() {
		return
	}
	switch {
	case m.GetStateTransferRequest() != nil: // what was caught up with is in the library's memory by now
		e.fresh.end()
	case m.GetNewView() != nil:
		if e.led.begins(m.GetNewView()) {
			// The library acts on it itself; only stopping keeps it from that.
			e.restart(errors.New("a view was about to begin twice"))
			return
		}
	case m.GetViewChange() != nil:
		e.fresh.wait(e.cfg.Settings.ViewChangeResend, e.runCtx.Done())
		if !e.asked.again(consensus.ReplicaID(target), m.GetViewChange().GetNextView(), time.Now(), e.cfg.Settings.ViewChangeResend/2) {
			return
		}
	}
	sends := len(e.membership().Replicas) - 1
	if h := m.GetHeartBeat(); h != nil {
		m, sends = e.heartbeat(h), 1
	}
	raw, err := e.encoded.bytes(m, sends)
	if err != nil {
		e.fail(fmt.Errorf("encode consensus message: %w", err))
		return
	}
	e.send(consensus.ReplicaID(target), raw)
}

// SendTransaction implements the library's Comm: a request that a follower
// holds for long goes to the leader again, unless a Fair application drops it.
// The library calls it from the request's timer, after it has started the one
// that ends in a complaint and without a lock.
func (e *Engine) SendTransaction(target uint64, request []byte) {
	if e.muted() {
		return
	}
	if fair, ok := e.cfg.App.(consensus.Fair); ok && !fair.Overdue(request) {
		e.Forget([]consensus.RequestInfo{e.cfg.App.Inspect(request)})
		return
	}
	e.cfg.Transport.Forward(consensus.ReplicaID(target), request)
}

// encodeCache remembers the encodings of the messages being broadcast, so that
// each is marshalled once. Entries hold the message itself: its address cannot
// be reused while it is a key. A broadcast that ends early leaves an entry
// behind until others push it out.
type encodeCache struct {
	mu   sync.Mutex // guards ring; held while a message is encoded
	ring [4]encoded
	next int
}

type encoded struct {
	message *pb.Message
	raw     []byte
	left    int // sends expected still
}

func (c *encodeCache) bytes(m *pb.Message, sends int) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.ring {
		entry := &c.ring[i]
		if entry.message != m {
			continue
		}
		raw := entry.raw
		if entry.left--; entry.left <= 0 {
			*entry = encoded{}
		}
		return raw, nil
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	if sends > 1 {
		c.ring[c.next] = encoded{message: m, raw: raw, left: sends - 1}
		c.next = (c.next + 1) % len(c.ring)
	}
	return raw, nil
}
