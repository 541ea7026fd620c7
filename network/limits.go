package network

import (
	"errors"
	"fmt"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// Limits bounds what peers and this node's own code can make the network hold
// or do. A zero field means the default in DefaultLimits.
type Limits struct {
	// MaxPeers is the number of admitted peers the resource limits are sized for.
	MaxPeers int

	Consensus, Tx        ClassLimits
	Sync, Sealed, Answer ProtocolLimits

	// TxRate is how many units per second one peer may send in ClassTx; a
	// message costs one unit and one more for every whole 4 KiB. TxBurst is the
	// size of the bucket. A message waits for its units (the sender feels this as
	// flow control) at most TxWait and is dropped and counted after that.
	TxRate  float64
	TxBurst int
	TxWait  time.Duration
	// TxPace is the least time between two writes of ClassTx to one peer: under
	// load messages share a write, an idle stream still sends at once. Negative
	// turns it off.
	TxPace time.Duration

	// Grace is how long after a connection was lost (or a peer was added)
	// messages are still queued and requests still wait for a connection.
	Grace time.Duration
	// DialTimeout bounds one attempt to connect; BackoffMin and BackoffMax bound
	// the pause between two attempts, which doubles and is jittered.
	DialTimeout, BackoffMin, BackoffMax time.Duration
	// HandshakeTimeout bounds the agreement on a protocol at the start of a
	// stream and the handshake of an incoming connection.
	HandshakeTimeout time.Duration
	// FrameTimeout bounds a frame that has begun; large frames get one second
	// more for each 256 KiB.
	FrameTimeout time.Duration
	// WriteTimeout bounds how long a peer may leave a write unread: the stream is
	// reset between half of it and all of it. A connection that takes no byte for
	// that long, or leaves a probe unanswered, is closed.
	WriteTimeout time.Duration
	// KeepAlive is how often an idle connection is probed. A peer that vanished
	// is noticed after at most KeepAlive + WriteTimeout.
	KeepAlive time.Duration
	// RequestTimeout bounds a request on both sides; a context may ask for less.
	RequestTimeout time.Duration
}

// ClassLimits bounds one class, per peer.
type ClassLimits struct {
	Message       int // bytes of one message
	QueueMessages int
	QueueBytes    int
}

// ProtocolLimits bounds one protocol.
type ProtocolLimits struct {
	Request, Response int // bytes
	PerPeer           int // requests in flight with one peer, in each direction
	Total             int // handlers running at once, over all peers
}

// DefaultLimits are the limits of a node on a network of tens of nodes.
func DefaultLimits() Limits {
	return Limits{
		MaxPeers:         256,
		Consensus:        ClassLimits{Message: 16 * mib, QueueMessages: 4096, QueueBytes: 32 * mib},
		Tx:               ClassLimits{Message: 257 * kib, QueueMessages: 16384, QueueBytes: 8 * mib},
		Sync:             ProtocolLimits{Request: 64 * kib, Response: 8 * mib, PerPeer: 2, Total: 8},
		Sealed:           ProtocolLimits{Request: 64 * kib, Response: 64 * kib, PerPeer: 16, Total: 64},
		Answer:           ProtocolLimits{Request: 64 * kib, Response: 64 * kib, PerPeer: 16, Total: 64},
		TxRate:           8000,
		TxBurst:          8000,
		TxWait:           time.Second,
		TxPace:           4 * time.Millisecond,
		Grace:            2 * time.Second,
		DialTimeout:      5 * time.Second,
		BackoffMin:       200 * time.Millisecond,
		BackoffMax:       5 * time.Second,
		HandshakeTimeout: 5 * time.Second,
		FrameTimeout:     10 * time.Second,
		WriteTimeout:     10 * time.Second,
		KeepAlive:        5 * time.Second,
		RequestTimeout:   30 * time.Second,
	}
}

// WithDefaults returns l with every zero field replaced by its default.
func (l Limits) WithDefaults() Limits {
	d := DefaultLimits()
	setDefault(&l.MaxPeers, d.MaxPeers)
	l.Consensus = l.Consensus.withDefaults(d.Consensus)
	l.Tx = l.Tx.withDefaults(d.Tx)
	l.Sync = l.Sync.withDefaults(d.Sync)
	l.Sealed = l.Sealed.withDefaults(d.Sealed)
	l.Answer = l.Answer.withDefaults(d.Answer)
	setDefault(&l.TxRate, d.TxRate)
	setDefault(&l.TxBurst, d.TxBurst)
	setDefault(&l.TxWait, d.TxWait)
	setDefault(&l.TxPace, d.TxPace)
	setDefault(&l.Grace, d.Grace)
	setDefault(&l.DialTimeout, d.DialTimeout)
	setDefault(&l.BackoffMin, d.BackoffMin)
	setDefault(&l.BackoffMax, d.BackoffMax)
	setDefault(&l.HandshakeTimeout, d.HandshakeTimeout)
	setDefault(&l.FrameTimeout, d.FrameTimeout)
	setDefault(&l.WriteTimeout, d.WriteTimeout)
	setDefault(&l.KeepAlive, d.KeepAlive)
	setDefault(&l.RequestTimeout, d.RequestTimeout)
	return l
}

func (c ClassLimits) withDefaults(d ClassLimits) ClassLimits {
	setDefault(&c.Message, d.Message)
	setDefault(&c.QueueMessages, d.QueueMessages)
	setDefault(&c.QueueBytes, max(d.QueueBytes, c.Message))
	return c
}

func (p ProtocolLimits) withDefaults(d ProtocolLimits) ProtocolLimits {
	setDefault(&p.Request, d.Request)
	setDefault(&p.Response, d.Response)
	setDefault(&p.PerPeer, d.PerPeer)
	setDefault(&p.Total, d.Total)
	return p
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Class returns the limits of c, and false for a class that does not exist.
func (l *Limits) Class(c Class) (ClassLimits, bool) {
	switch c {
	case ClassConsensus:
		return l.Consensus, true
	case ClassTx:
		return l.Tx, true
	default:
		return ClassLimits{}, false
	}
}

// Protocol returns the limits of p, and false for a protocol that does not exist.
func (l *Limits) Protocol(p Protocol) (ProtocolLimits, bool) {
	switch p {
	case ProtocolSync:
		return l.Sync, true
	case ProtocolSealed:
		return l.Sealed, true
	case ProtocolAnswer:
		return l.Answer, true
	default:
		return ProtocolLimits{}, false
	}
}

// Check joins all complaints about limits that cannot work.
func (l Limits) Check() error {
	var errs []error
	complain := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("network limits: "+format, args...))
		}
	}
	for _, c := range Classes() {
		cl, _ := l.Class(c)
		complain(cl.Message > 0 && cl.Message < maxFrame, "%s message of %d bytes is not in 1…%d", c, cl.Message, maxFrame-1)
		complain(cl.QueueMessages > 0, "%s queue of %d messages", c, cl.QueueMessages)
		complain(cl.QueueBytes >= cl.Message, "%s queue of %d bytes cannot hold a message of %d", c, cl.QueueBytes, cl.Message)
	}
	for _, p := range Protocols() {
		pl, _ := l.Protocol(p)
		complain(pl.Request > 0 && pl.Request < maxFrame, "%s request of %d bytes is not in 1…%d", p, pl.Request, maxFrame-1)
		complain(pl.Response > 0 && pl.Response < maxFrame, "%s response of %d bytes is not in 1…%d", p, pl.Response, maxFrame-1)
		complain(pl.PerPeer > 0 && pl.Total > 0, "%s allows %d requests per peer and %d in all", p, pl.PerPeer, pl.Total)
	}
	complain(l.MaxPeers > 0, "%d peers", l.MaxPeers)
	complain(l.TxRate > 0 && l.TxBurst > 0, "tx rate %v with burst %d", l.TxRate, l.TxBurst)
	complain(l.BackoffMin > 0 && l.BackoffMin <= l.BackoffMax, "back-off from %v to %v", l.BackoffMin, l.BackoffMax)
	for name, d := range map[string]time.Duration{
		"tx wait": l.TxWait, "grace": l.Grace, "dial timeout": l.DialTimeout, "handshake timeout": l.HandshakeTimeout,
		"frame timeout": l.FrameTimeout, "write timeout": l.WriteTimeout, "keep-alive": l.KeepAlive, "request timeout": l.RequestTimeout,
	} {
		complain(d > 0, "%s of %v", name, d)
	}
	return errors.Join(errs...)
}

// TxCost is how many units of the tx rate a message of n bytes takes.
func TxCost(n int) int { return 1 + n/(4*kib) }
