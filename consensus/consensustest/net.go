package consensustest

import (
	"sync"

	"github.com/assent-network/assent/consensus"
)

// queueLen bounds the messages under way on one link.
const queueLen = 4096

// Class tells what a message is.
type Class string

// The two classes of consensus.Transport.
const (
	Consensus Class = "consensus"
	Request   Class = "request"
)

// Message is one message on a link.
type Message struct {
	From, To consensus.ReplicaID
	Class    Class
	Body     []byte
}

// Net is a network in memory. Every link keeps order, like a stream, and is
// emptied when its queue is full. The zero value is not usable.
type Net struct {
	mu      sync.Mutex // guards all below; never held while delivering
	deliver map[consensus.ReplicaID]func(Message)
	links   map[[2]consensus.ReplicaID]chan Message
	cut     map[[2]consensus.ReplicaID]bool
	filter  func(Message) []Message
	closed  chan struct{}
	running sync.WaitGroup
}

func newNet() *Net {
	return &Net{
		deliver: make(map[consensus.ReplicaID]func(Message)),
		links:   make(map[[2]consensus.ReplicaID]chan Message),
		cut:     make(map[[2]consensus.ReplicaID]bool),
		closed:  make(chan struct{}),
	}
}

// Filter passes every message through f, which may drop, change or add some;
// nil passes all. f must be safe for concurrent use.
func (n *Net) Filter(f func(Message) []Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.filter = f
}

// Cut stops messages from one replica to another; Heal lets them pass again.
func (n *Net) Cut(from, to consensus.ReplicaID) { n.set(from, to, true) }

// Heal undoes Cut.
func (n *Net) Heal(from, to consensus.ReplicaID) { n.set(from, to, false) }

func (n *Net) set(from, to consensus.ReplicaID, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]consensus.ReplicaID{from, to}] = cut
}

func (n *Net) connected(from, to consensus.ReplicaID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[[2]consensus.ReplicaID{from, to}]
}

// attach names the receiver of a replica's messages; nil detaches it.
func (n *Net) attach(id consensus.ReplicaID, deliver func(Message)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deliver[id] = deliver
}

func (n *Net) send(m Message) {
	n.mu.Lock()
	filter := n.filter
	cut := n.cut[[2]consensus.ReplicaID{m.From, m.To}]
	n.mu.Unlock()
	if cut {
		return
	}
	if filter == nil {
		n.enqueue(m)
		return
	}
	for _, out := range filter(m) {
		n.enqueue(out)
	}
}

func (n *Net) enqueue(m Message) {
	link := n.link(m.From, m.To)
	if link == nil {
		return
	}
	select {
	case link <- m:
	default: // full: like a reset stream, lose what is under way
		for range queueLen {
			select {
			case <-link:
			default:
				return
			}
		}
	}
}

func (n *Net) link(from, to consensus.ReplicaID) chan Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.closed:
		return nil
	default:
	}
	key := [2]consensus.ReplicaID{from, to}
	link := n.links[key]
	if link == nil {
		link = make(chan Message, queueLen)
		n.links[key] = link
		n.running.Add(1)
		go n.pump(link)
	}
	return link
}

func (n *Net) pump(link chan Message) {
	defer n.running.Done()
	for {
		select {
		case <-n.closed:
			return
		case m := <-link:
			n.mu.Lock()
			deliver := n.deliver[m.To]
			n.mu.Unlock()
			if deliver != nil {
				deliver(m)
			}
		}
	}
}

func (n *Net) close() {
	n.mu.Lock()
	close(n.closed)
	n.mu.Unlock()
	n.running.Wait()
}

// endpoint is one replica's consensus.Transport.
type endpoint struct {
	net *Net
	id  consensus.ReplicaID
}

func (e endpoint) Send(to consensus.ReplicaID, msg []byte) {
	e.net.send(Message{From: e.id, To: to, Class: Consensus, Body: msg})
}

func (e endpoint) Forward(to consensus.ReplicaID, req []byte) {
	e.net.send(Message{From: e.id, To: to, Class: Request, Body: req})
}
