// Package networktest holds every implementation of the network to one
// behaviour. It owns the claims that network.Host and memnet.Host share, as
// tests; what only one of them has is tested beside it.
package networktest

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/assent-network/assent/network"
)

// Host is the whole of what a host offers. Consumers declare the part they use.
type Host interface {
	ID() network.PeerID
	Addrs() []string
	SetPeers(peers []network.Peer)
	Handle(c network.Class, handler func(from network.PeerID, msg []byte))
	Serve(p network.Protocol, handler func(ctx context.Context, from network.PeerID, req []byte) ([]byte, error))
	Send(to network.PeerID, c network.Class, msg []byte) error
	Broadcast(to []network.PeerID, c network.Class, msg []byte)
	Request(ctx context.Context, to network.PeerID, p network.Protocol, req []byte) ([]byte, error)
	Shun(id network.PeerID, c network.Class, d time.Duration)
	Status() []network.PeerStatus
	Run(ctx context.Context) error
}

// Opener opens hosts of one network. Node i has the same identity and address
// each time; it is opened again only after its Run has returned.
type Opener interface {
	Open(t testing.TB, i int) Host
}

// Factory makes a network whose hosts have these limits.
type Factory func(t testing.TB, limits network.Limits) Opener

// Run checks an implementation. Each claim gets a network of its own.
func Run(t *testing.T, factory Factory) {
	for name, claim := range map[string]func(*testing.T, Factory){
		"MessagesArriveInOrderFromTheirSender":    ordered,
		"BroadcastReachesAll":                     broadcast,
		"OnlyAdmittedPeersAreHeard":               admittedOnly,
		"RemovedPeerIsCut":                        removed,
		"TooLargeIsRefused":                       tooLarge,
		"ConsensusOverflowDropsTheQueue":          consensusOverflow,
		"TxOverflowDropsTheNewMessage":            txOverflow,
		"SlowReaderDelaysNobodyElse":              slowReader,
		"TxAboveTheRateIsThrottledThenDropped":    throttled,
		"ShunnedPeerIsNotHeardForAWhile":          shunned,
		"RequestGetsResponseOrRemoteError":        requests,
		"RequestEndsWithItsContext":               requestContext,
		"RequestThatNeverLeftIsSaidSo":            neverSent,
		"RequestsPerPeerAreBounded":               requestBound,
		"RequestEndsWhenPeerIsRemoved":            requestRemoved,
		"UnreachablePeerIsSaidSo":                 unreachable,
		"RestartedPeerIsReached":                  restarted,
		"MessagesSentWhileConnectingArrive":       early,
		"RunReturnsAndHostIsStopped":              stopped,
		"HandlerContextEndsWithRun":               handlerContext,
		"StatusTellsConnectionsAndCounts":         status,
		"ManyHostsAllToAll":                       allToAll,
		"SetPeersWhileTrafficFlows":               churn,
		"MessageOfAnySizeArrivesUnchanged":        sizes,
		"RequestToAProtocolNobodyServesIsAnError": unserved,
		"UnknownClassAndProtocolAreErrors":        unknownKinds,
		"HandleAfterRunPanics":                    lateHandle,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); claim(t, factory) })
	}
}

// inbox collects what one host receives.
type inbox struct {
	mu   sync.Mutex
	got  map[network.PeerID]map[network.Class][][]byte
	more chan struct{} // closed and replaced by every arrival
	hold chan struct{} // while open, handlers of peers in held wait
	held map[network.PeerID]bool
}

func newInbox() *inbox {
	return &inbox{got: make(map[network.PeerID]map[network.Class][][]byte), more: make(chan struct{}), held: make(map[network.PeerID]bool)}
}

func (b *inbox) handler(c network.Class) func(network.PeerID, []byte) {
	return func(from network.PeerID, msg []byte) {
		b.mu.Lock()
		hold := b.hold
		if !b.held[from] {
			hold = nil
		}
		b.mu.Unlock()
		if hold != nil {
			<-hold
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.got[from] == nil {
			b.got[from] = make(map[network.Class][][]byte)
		}
		b.got[from][c] = append(b.got[from][c], msg)
		close(b.more)
		b.more = make(chan struct{})
	}
}

// block makes the handlers for these peers wait until the returned function.
func (b *inbox) block(t testing.TB, from ...network.PeerID) (release func()) {
	hold := make(chan struct{})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold = hold
	for _, p := range from {
		b.held[p] = true
	}
	var once sync.Once
	release = func() {
		once.Do(func() {
			b.mu.Lock()
			clear(b.held)
			b.mu.Unlock()
			close(hold)
		})
	}
	t.Cleanup(release)
	return release
}

func (b *inbox) messages(from network.PeerID, c network.Class) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([][]byte(nil), b.got[from][c]...)
}

// wait returns when cond holds; it is tried after every arrival.
func (b *inbox) wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		more := b.more
		b.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func (b *inbox) waitCount(t testing.TB, from network.PeerID, c network.Class, n int) [][]byte {
	t.Helper()
	b.wait(t, "messages", func() bool { return len(b.messages(from, c)) >= n })
	return b.messages(from, c)
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// node is a host that runs, with its inbox.
type node struct {
	Host
	*inbox
	stop func() // ends Run and waits for it
}

// start opens and runs node i. It serves an echo on every protocol unless
// prepare says otherwise.
func start(t testing.TB, o Opener, i int, prepare func(Host)) *node {
	t.Helper()
	n := &node{Host: o.Open(t, i), inbox: newInbox()}
	for _, c := range network.Classes() {
		n.Handle(c, n.handler(c))
	}
	if prepare == nil {
		prepare = func(h Host) {
			for _, p := range network.Protocols() {
				h.Serve(p, echo)
			}
		}
	}
	prepare(n.Host)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	var once sync.Once
	n.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Run of node %d: %v", i, err)
				}
			case <-time.After(patience):
				t.Errorf("Run of node %d did not return", i)
			}
		})
	}
	t.Cleanup(n.stop)
	return n
}

func echo(_ context.Context, from network.PeerID, req []byte) ([]byte, error) {
	if string(req) == "refuse" {
		return nil, errors.New("no such record")
	}
	return append([]byte(from+":"), req...), nil
}

// introduce makes every node admit and dial every other, and waits until they
// are connected.
func introduce(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		n.SetPeers(peersOf(nodes...))
	}
	for i, a := range nodes {
		for _, b := range nodes[:i] {
			eventually(t, "connections", connected(a, b))
		}
	}
}

func peersOf(nodes ...*node) []network.Peer {
	var peers []network.Peer
	for _, n := range nodes {
		peers = append(peers, network.Peer{ID: n.ID(), Addrs: n.Addrs(), Dial: true})
	}
	return peers
}

func pairOf(t *testing.T, f Factory, l network.Limits) (a, b *node) {
	o := f(t, l)
	a, b = start(t, o, 0, nil), start(t, o, 1, nil)
	introduce(t, a, b)
	return a, b
}

func numbered(i, size int) []byte {
	msg := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(msg, uint64(i))
	return msg
}

func number(msg []byte) int { return int(binary.BigEndian.Uint64(msg)) }

// eventually polls cond, for states that no event announces.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func statusOf(h Host, id network.PeerID) network.PeerStatus {
	for _, s := range h.Status() {
		if s.ID == id {
			return s
		}
	}
	return network.PeerStatus{}
}

func connected(a, b *node) func() bool {
	return func() bool { return statusOf(a, b.ID()).Connected && statusOf(b, a.ID()).Connected }
}
