package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/assent-network/assent/network/internal/queue"
)

const (
	// A batch is what goes out in one write if its messages are small: one yamux
	// frame, one system call.
	batchMessages = 256
	batchBytes    = 60 * kib
	// directBytes is the size from which a message is written from its own,
	// shared, memory instead of being copied into the batch.
	directBytes = 16 * kib
	// openBackoff bounds the pause after a stream could not be opened.
	openBackoffMin, openBackoffMax = 50 * time.Millisecond, 2 * time.Second
)

// egress sends one class to one peer. Its goroutine, run, owns the stream.
type egress struct {
	remote *remote
	class  Class
	queue  *queue.Queue
	pace   time.Duration // least time between two writes

	refused atomic.Uint64 // not even queued: no connection
	resets  atomic.Uint64

	mu     sync.Mutex  // guards stream against interrupt
	stream lnet.Stream // nil when none is open
	epoch  queue.Epoch // of the messages that were written to stream

	// Owned by run.
	batch    [][]byte
	buf      []byte
	deadline time.Time
	lastSend time.Time
}

func newEgress(r *remote, c Class) *egress {
	cl, _ := r.host.limits.Class(c)
	e := &egress{remote: r, class: c}
	policy := queue.DropAll
	if c == ClassTx {
		policy = queue.DropNew
		e.pace = max(0, r.host.limits.TxPace)
	}
	e.queue = queue.New(policy, cl.QueueMessages, cl.QueueBytes)
	return e
}

// send queues msg. It never blocks: no lock it takes is held while waiting.
func (e *egress) send(msg []byte) error {
	if !e.remote.up.Load() && e.remote.graceLeft() <= 0 {
		e.refused.Add(1)
		return ErrUnreachable
	}
	if e.queue.Push(msg) {
		return nil
	}
	if e.class == ClassConsensus {
		e.interrupt()
	}
	return ErrOverflow
}

// interrupt ends a write that waits for the peer to read: what it writes was
// dropped.
func (e *egress) interrupt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stream != nil {
		e.stream.SetWriteDeadline(time.Unix(1, 0))
	}
}

// run sends until the peer's time is over.
func (e *egress) run() {
	defer e.drop(nil)
	wait := openBackoffMin
	failures := newOccasional()
	for e.waitForWork() {
		if e.stream == nil {
			if err := e.open(); err != nil {
				if failures.now() && e.remote.ctx.Err() == nil {
					e.remote.host.log.Warn("cannot open stream to peer", "peer", e.remote.id, "class", e.class.String(), "err", err)
				}
				if !pause(e.remote.ctx, jitter(wait)) {
					return
				}
				wait = min(2*wait, openBackoffMax)
				continue
			}
			wait = openBackoffMin
		}
		if err := e.flush(); err != nil {
			e.drop(err)
		}
	}
}

// waitForWork returns true when there is a message and a connection, and false
// when the peer's time is over. A queue that outlives the grace time without a
// connection is dropped.
func (e *egress) waitForWork() bool {
	r := e.remote
	for {
		if r.ctx.Err() != nil {
			return false
		}
		if e.queue.Stats().Messages == 0 {
			select {
			case <-e.queue.Wake():
			case <-r.ctx.Done():
			}
			continue
		}
		conn, changed := r.best()
		if conn != nil {
			return true
		}
		left := r.graceLeft()
		if left <= 0 && !r.up.Load() {
			e.queue.Clear()
			continue
		}
		timer := time.NewTimer(max(left, time.Millisecond))
		select {
		case <-changed:
		case <-timer.C:
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

// open opens the stream and waits until the peer has agreed to the class.
func (e *egress) open() error {
	conn, _ := e.remote.best()
	if conn == nil {
		return ErrUnreachable
	}
	h := e.remote.host
	ctx, cancel := context.WithTimeout(e.remote.ctx, h.limits.HandshakeTimeout)
	defer cancel()
	s, err := conn.NewStream(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { s.Reset() })
	err = proposeProtocol(s, classProtocol(e.class))
	if !stop() || err != nil {
		s.Reset()
		return errors.Join(err, ctx.Err())
	}
	e.deadline = time.Time{}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stream, e.epoch = s, e.queue.Epoch()
	return nil
}

// drop resets the stream, if there is one. A write deadline that passed means
// that what waits for the peer is old: consensus messages are dropped.
func (e *egress) drop(cause error) {
	e.mu.Lock()
	s := e.stream
	e.stream = nil
	e.mu.Unlock()
	if s == nil {
		return
	}
	s.Reset()
	if cause == nil || e.remote.ctx.Err() != nil {
		return
	}
	e.resets.Add(1)
	if e.class == ClassConsensus && isTimeout(cause) {
		e.queue.Clear()
	}
	e.remote.host.log.Debug("stream to peer broke", "peer", e.remote.id, "class", e.class.String(), "err", cause)
}

var errOverrun = errors.New("the queue overflowed")

// flush writes one batch.
func (e *egress) flush() error {
	if wait := e.pace - time.Since(e.lastSend); wait > 0 && e.queue.Stats().Bytes < batchBytes {
		if !pause(e.remote.ctx, wait) {
			return e.remote.ctx.Err()
		}
	}
	var epoch queue.Epoch
	e.batch, epoch = e.queue.Peek(e.batch[:0], batchMessages, batchBytes)
	defer clear(e.batch) // keep no message alive
	if err := e.extendDeadline(epoch); err != nil {
		return err
	}
	written, err := e.write()
	e.lastSend = time.Now()
	if !e.queue.Done(written, epoch) {
		return errOverrun
	}
	return err
}

// extendDeadline gives the next write between half and all of WriteTimeout. It
// costs a timer only every so often.
func (e *egress) extendDeadline(epoch queue.Epoch) error {
	timeout := e.remote.host.limits.WriteTimeout
	e.mu.Lock()
	defer e.mu.Unlock()
	if epoch != e.epoch { // after an interrupt the stream has a hole
		return errOverrun
	}
	if time.Until(e.deadline) > timeout/2 {
		return nil
	}
	e.deadline = time.Now().Add(timeout)
	return e.stream.SetWriteDeadline(e.deadline)
}

// write hands the batch to the stream and returns how many messages it took.
func (e *egress) write() (taken int, err error) {
	e.buf = e.buf[:0]
	for i, msg := range e.batch {
		e.buf = appendFrameHeader(e.buf, kindMessage, len(msg))
		if len(msg) < directBytes {
			e.buf = append(e.buf, msg...)
			continue
		}
		if _, err := e.stream.Write(e.buf); err != nil {
			return taken, err
		}
		e.buf = e.buf[:0]
		if _, err := e.stream.Write(msg); err != nil {
			return i, err
		}
		taken = i + 1
	}
	if len(e.buf) > 0 {
		if _, err := e.stream.Write(e.buf); err != nil {
			return taken, err
		}
	}
	return len(e.batch), nil
}

// proposeProtocol agrees on the protocol of a new stream: multistream-select
// with one candidate, one write and one read.
func proposeProtocol(s lnet.Stream, proto string) error {
	if err := s.SetProtocol(protocol.ID(proto)); err != nil {
		return err
	}
	if _, err := s.Write(appendProposal(nil, proto)); err != nil {
		return fmt.Errorf("propose %s: %w", proto, err)
	}
	// The peer writes nothing more on a one-way stream, so what the buffer reads
	// ahead cannot be missed.
	return readAgreement(bufio.NewReaderSize(s, 64), proto)
}
