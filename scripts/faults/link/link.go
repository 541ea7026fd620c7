// Package link stands between nodes: every node is told the others' addresses at
// doors of this package, which pass bytes on, late, slowly, in one direction only
// or not at all.
//
// It owns the doors and the rules of each directed pair of nodes. It promises that
// a rule holds from the return of Set on, also for connections that stand, and
// that nothing it holds back arrives after Heal: connections over a link that was
// cut or stalled are reset then, as after a partition that outlasted TCP's
// patience. What it cannot do is lose, repeat or reorder single packets: nodes
// speak TCP, which turns these into stalls, short writes and resets, and those are
// what Rule.Rough gives.
package link

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Rule is what one direction of a link is like. The zero Rule passes everything
// at once.
type Rule struct {
	// Cut resets connections, and new ones at once.
	Cut bool
	// Stall passes nothing on, and tells nobody.
	Stall bool
	// Delay and up to Jitter more come on top of each piece, in order.
	Delay, Jitter time.Duration
	// Rate bounds bytes per second; 0: no bound.
	Rate int
	// Rough is the chance of each piece to meet what loss is to a TCP stream: a
	// pause of 200 ms to 1 s; a fiftieth of them meet a reset instead. Pieces are
	// written in parts then.
	Rough float64
}

func (r Rule) broken() bool { return r.Cut || r.Stall }

type pair struct{ from, to string }

// Identify says which node is at the other end of a connection that a door took.
type Identify func(conn net.Conn) (string, error)

// Links are the doors of a network's nodes.
type Links struct {
	identify Identify

	mu      sync.Mutex // guards all below
	rng     *rand.Rand
	rules   map[pair]Rule
	changed chan struct{} // closed and replaced with every change of rules
	wires   map[*wire]struct{}
	doors   []net.Listener
	closed  bool
	running sync.WaitGroup

	made, met atomic.Int64
}

// New returns links without doors.
func New(seed uint64, identify Identify) *Links {
	return &Links{
		identify: identify, rng: rand.New(rand.NewPCG(seed, 7)), rules: make(map[pair]Rule),
		changed: make(chan struct{}), wires: make(map[*wire]struct{}),
	}
}

// Open makes a door to the node named to, which listens at target, and returns
// the door's address.
func (l *Links) Open(to, target string) (string, error) {
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("open door to %s: %w", to, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", errors.Join(errors.New("open door: links are closed"), door.Close())
	}
	l.doors = append(l.doors, door)
	l.running.Go(func() {
		for {
			conn, err := door.Accept()
			if err != nil {
				return // closed
			}
			l.running.Go(func() { l.serve(conn.(*net.TCPConn), to, target) })
		}
	})
	return door.Addr().String(), nil
}

// Set makes rules for the direction from one node to another.
func (l *Links) Set(from, to string, r Rule) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules[pair{from, to}] = r
	if r != (Rule{}) {
		l.made.Add(1)
	}
	close(l.changed)
	l.changed = make(chan struct{})
	if r.Cut {
		for w := range l.wires {
			if w.between(from, to) {
				l.met.Add(1)
				w.reset()
			}
		}
	}
}

// Both is Set for both directions.
func (l *Links) Both(a, b string, r Rule) {
	l.Set(a, b, r)
	l.Set(b, a, r)
}

// Heal forgets all rules, and resets the connections over links that were cut or
// stalled.
func (l *Links) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.wires {
		if l.rules[pair{w.a, w.b}].broken() || l.rules[pair{w.b, w.a}].broken() {
			w.reset()
		}
	}
	clear(l.rules)
	close(l.changed)
	l.changed = make(chan struct{})
}

// Effect counts the rules that were ever made, and how often a connection or a
// piece met one: a rule that nothing met has broken nothing.
func (l *Links) Effect() (made, met int64) { return l.made.Load(), l.met.Load() }

// Wires counts connections that stand.
func (l *Links) Wires() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.wires)
}

// Close closes the doors, resets every connection and waits for what served them.
func (l *Links) Close() error {
	l.mu.Lock()
	l.closed = true
	var errs []error
	for _, d := range l.doors {
		errs = append(errs, d.Close())
	}
	for w := range l.wires {
		w.reset()
	}
	l.mu.Unlock()
	l.running.Wait()
	return errors.Join(errs...)
}

// rule returns the rule in force and what is closed when that changes.
func (l *Links) rule(from, to string) (Rule, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rules[pair{from, to}], l.changed
}

func (l *Links) random() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rng.Float64()
}

// wire is one connection through a door.
type wire struct {
	a, b  string // who dialled, who was dialled
	conns [2]*net.TCPConn
	end   context.CancelFunc
	once  sync.Once
}

func (w *wire) between(a, b string) bool { return w.a == a && w.b == b || w.a == b && w.b == a }

// reset ends both connections at once, with what they hold.
func (w *wire) reset() {
	w.once.Do(func() {
		w.end()
		for _, c := range w.conns {
			if c != nil {
				_ = c.SetLinger(0) // RST instead of FIN
				_ = c.Close()
			}
		}
	})
}

// serve carries one connection until either end is done with it.
func (l *Links) serve(conn *net.TCPConn, to, target string) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &wire{b: to, conns: [2]*net.TCPConn{conn, nil}, end: cancel}
	defer w.reset()
	from, err := l.identify(conn)
	if err != nil {
		return // whoever it was is gone, or is none of the network
	}
	w.a = from
	dialled, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return
	}
	w.conns[1] = dialled.(*net.TCPConn)
	l.mu.Lock()
	if l.closed || l.rules[pair{from, to}].Cut || l.rules[pair{to, from}].Cut {
		l.met.Add(1)
		l.mu.Unlock()
		return
	}
	l.wires[w] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.wires, w)
		l.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() { defer w.reset(); l.pump(ctx, w.conns[0], w.conns[1], from, to) })
	both.Go(func() { defer w.reset(); l.pump(ctx, w.conns[1], w.conns[0], to, from) })
	both.Wait()
}
