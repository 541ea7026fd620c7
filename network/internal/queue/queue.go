// Package queue is the bounded queue in front of one outgoing stream.
//
// It owns the messages that were accepted for sending and not yet handed over,
// and promises that they never exceed its two limits. Who sends them and what a
// lost message means is left to others.
package queue

import "sync"

// Policy says what a full queue does with one message more.
type Policy uint8

const (
	// DropAll empties the queue and refuses the message: an epoch ends.
	DropAll Policy = iota
	// DropNew refuses the message.
	DropNew
)

// Epoch numbers the lives of a queue: it changes whenever messages that were
// accepted were dropped.
type Epoch uint64

// Queue is a first-in first-out queue with any number of producers and one
// consumer. A message stays in the queue, and counts, until the consumer says
// Done.
type Queue struct {
	policy      Policy
	maxMessages int
	maxBytes    int
	wake        chan struct{}

	mu      sync.Mutex
	ring    [][]byte
	head, n int
	bytes   int
	epoch   Epoch
	sent    uint64
	dropped uint64
}

// New returns an empty queue that holds at most maxMessages and maxBytes.
func New(policy Policy, maxMessages, maxBytes int) *Queue {
	return &Queue{policy: policy, maxMessages: maxMessages, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// Push appends msg, which the queue keeps without copying, and reports whether
// it fitted. If not, the policy was applied.
func (q *Queue) Push(msg []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n+1 > q.maxMessages || q.bytes+len(msg) > q.maxBytes {
		q.dropped++
		if q.policy == DropAll {
			q.clearLocked()
		}
		return false
	}
	if q.n == len(q.ring) {
		q.resizeLocked(max(16, 2*len(q.ring)))
	}
	q.ring[(q.head+q.n)%len(q.ring)] = msg
	q.n++
	q.bytes += len(msg)
	q.signal()
	return true
}

// Wake receives after a Push or a Clear that the consumer may not have seen yet.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

// Peek appends the oldest messages to dst, without removing them: at least one
// if there is any, and no more than maxMessages or about maxBytes.
func (q *Queue) Peek(dst [][]byte, maxMessages, maxBytes int) ([][]byte, Epoch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	for i := 0; i < q.n && i < maxMessages && (i == 0 || size < maxBytes); i++ {
		msg := q.ring[(q.head+i)%len(q.ring)]
		dst = append(dst, msg)
		size += len(msg)
	}
	return dst, q.epoch
}

// Done removes the n oldest messages, which a Peek of this epoch returned. It
// reports false, and removes nothing, when the epoch is over.
func (q *Queue) Done(n int, e Epoch) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e != q.epoch {
		return false
	}
	for range n {
		msg := q.ring[q.head]
		q.ring[q.head] = nil
		q.head = (q.head + 1) % len(q.ring)
		q.n--
		q.bytes -= len(msg)
	}
	q.sent += uint64(n)
	if q.n == 0 && len(q.ring) > 1024 {
		q.ring, q.head = nil, 0 // do not keep the memory of a burst
	}
	return true
}

// Clear drops every message and ends the epoch.
func (q *Queue) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n > 0 {
		q.clearLocked()
	}
}

// Epoch returns the present epoch.
func (q *Queue) Epoch() Epoch {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.epoch
}

// Stats is a snapshot of a queue.
type Stats struct {
	Messages, Bytes int
	Sent, Dropped   uint64
}

// Stats returns the present size and the counts since New.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{Messages: q.n, Bytes: q.bytes, Sent: q.sent, Dropped: q.dropped}
}

func (q *Queue) clearLocked() {
	q.dropped += uint64(q.n)
	q.ring, q.head, q.n, q.bytes = nil, 0, 0, 0
	q.epoch++
	q.signal()
}

func (q *Queue) resizeLocked(size int) {
	ring := make([][]byte, size)
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)%len(q.ring)]
	}
	q.ring, q.head = ring, 0
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
