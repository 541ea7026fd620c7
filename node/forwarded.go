package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/ledger"
)

// What other nodes forward: checked by them already, if they are honest. A
// signature check costs as much as a hundred refusals of other kinds, so whoever
// sends what cannot be valid soon has to wait.

const (
	// A peer may send garbagePerSecond invalid requests, garbageBurst at once:
	// clocks, configs and versions differ a little. Each one more costs a shun,
	// longer each time.
	garbagePerSecond, garbageBurst = 2, 50
	shunLeast, shunMost            = 2 * time.Second, time.Minute
	// costlyPerSecond bounds the checks of seals and config updates, for which no
	// member's share pays. An update holds the signatures of many admins.
	costlyPerSecond, costlyBurst = 200, 400
	updateCosts                  = 40
)

// senders is what is remembered of peers that forward requests. It holds no more
// of them than the network admits.
type senders struct {
	mu    sync.Mutex
	peers map[network.PeerID]*sender
	n     ForwardedCounters
}

type sender struct {
	garbage *rate.Limiter
	costly  *rate.Limiter
	shun    time.Duration // of the last time
	until   time.Time     // when it ends
}

// ForwardedCounters are totals of what other nodes forwarded here.
type ForwardedCounters struct {
	Invalid uint64 // no honest node forwards these
	Shuns   uint64 // how often a peer was not listened to for a while
	Costly  uint64 // config updates and seals dropped because there were too many
}

// Forwarded returns the totals of what other nodes forwarded here.
func (n *Node) Forwarded() ForwardedCounters {
	n.senders.mu.Lock()
	defer n.senders.mu.Unlock()
	return n.senders.n
}

// Admission returns the counters of what waits to be ordered.
func (n *Node) Admission() chain.Counters { return n.chain.Admission() }

func (s *senders) ofLocked(id network.PeerID, known func(network.PeerID) bool) *sender {
	if x := s.peers[id]; x != nil {
		return x
	}
	if s.peers == nil {
		s.peers = make(map[network.PeerID]*sender)
	}
	for other := range s.peers { // seldom: a peer's first message
		if !known(other) {
			delete(s.peers, other)
		}
	}
	x := &sender{garbage: rate.NewLimiter(garbagePerSecond, garbageBurst), costly: rate.NewLimiter(costlyPerSecond, costlyBurst)}
	s.peers[id] = x
	return x
}

// mayCost reports whether a peer may have one more seal or update checked.
func (s *senders) mayCost(id network.PeerID, kind ledger.Kind, known func(network.PeerID) bool, now time.Time) bool {
	cost := 1
	if kind == ledger.KindUpdate {
		cost = updateCosts
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ofLocked(id, known).costly.AllowN(now, cost) {
		return true
	}
	s.n.Costly++
	return false
}

// invalid notes garbage of a peer and returns for how long not to listen to it.
func (s *senders) invalid(id network.PeerID, known func(network.PeerID) bool, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n.Invalid++
	x := s.ofLocked(id, known)
	if x.garbage.AllowN(now, 1) {
		return 0
	}
	switch {
	case now.Before(x.until): // what was on its way
	case x.shun == 0 || now.Sub(x.until) > shunMost:
		x.shun = shunLeast
	default:
		x.shun = min(2*x.shun, shunMost)
	}
	x.until = now.Add(x.shun)
	s.n.Shuns++
	return x.shun
}

// forwarded takes a request that another node passed on.
func (n *Node) forwarded(from network.PeerID, msg []byte) {
	member, ok := n.dir.member(from)
	if !ok {
		return // it is leaving
	}
	known := func(id network.PeerID) bool { _, ok := n.dir.member(id); return ok }
	if kind := ledger.KindOf(msg); kind != ledger.KindTransaction && !n.senders.mayCost(from, kind, known, n.now()) {
		return
	}
	via, _ := n.dir.replica(from)
	err := n.chain.Accept(context.Background(), via, msg)
	if err == nil {
		return
	}
	if !errors.Is(err, chain.ErrInvalid) {
		n.log.Debug("a forwarded request is not taken", "peer", from, "error", err)
		return
	}
	if d := n.senders.invalid(from, known, n.now()); d > 0 {
		n.host.Shun(from, network.ClassTx, d)
		n.log.Warn("a node forwards requests that no honest node would: it is not listened to for a while", "peer", from, "member", member, "seconds", d.Seconds(), "error", err)
	}
}

// registered reports whether a key may act for a member in the newest state.
func (n *Node) registered(org string, key ledger.Address) (bool, error) {
	view := n.state.View()
	c, err := loadRecord[record.Client](view, record.ClientKey(record.OrgID(org), key))
	if errors.Is(err, errNoRecord) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return c.Usable(max(record.Millis(view.Time()), record.Millis(n.now().UnixMilli()))) == nil, nil
}
