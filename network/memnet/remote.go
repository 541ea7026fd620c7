package memnet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/network/internal/queue"
)

// remote is one admitted peer of a host.
type remote struct {
	host    *Host
	id      network.PeerID
	ctx     context.Context // ends with admission or with Run
	cancel  context.CancelFunc
	out     [2]*egress
	in      [2]*ingress
	calls   map[network.Protocol]chan struct{}
	serving map[network.Protocol]chan struct{}
	txRate  *rate.Limiter
	up      atomic.Bool // link != nil; written under net.mu

	dial bool // guarded by net.mu, as is link

	link    *link         // nil: not connected
	changed chan struct{} // closed and replaced when link changes; guarded by net.mu
	since   atomic.Int64  // Unix nanoseconds of up's present value
}

func newRemote(h *Host, id network.PeerID) *remote {
	r := &remote{
		host:    h,
		id:      id,
		calls:   make(map[network.Protocol]chan struct{}),
		serving: make(map[network.Protocol]chan struct{}),
		txRate:  rate.NewLimiter(rate.Limit(h.limits.TxRate), h.limits.TxBurst),
		changed: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.since.Store(time.Now().UnixNano())
	for _, c := range network.Classes() {
		r.out[c] = newEgress(r, c)
		r.in[c] = &ingress{remote: r, class: c, streams: make(chan *stream)}
	}
	for _, p := range network.Protocols() {
		pl, _ := h.limits.Protocol(p)
		r.calls[p] = make(chan struct{}, pl.PerPeer)
		r.serving[p] = make(chan struct{}, pl.PerPeer)
	}
	return r
}

func (r *remote) setLinkLocked(l *link) {
	r.link = l
	r.up.Store(l != nil)
	r.since.Store(time.Now().UnixNano())
	close(r.changed)
	r.changed = make(chan struct{})
}

// linked returns the link, or nil, and a channel that is closed when it changes.
func (r *remote) linked() (*link, <-chan struct{}) {
	r.host.net.mu.Lock()
	defer r.host.net.mu.Unlock()
	return r.link, r.changed
}

// peer returns the other host and its view of this one, while l is the link.
func (r *remote) peer(l *link) (*Host, *remote) {
	n := r.host.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.link != l || l == nil {
		return nil, nil
	}
	other := n.hosts[r.id]
	if other == nil {
		return nil, nil
	}
	return other, (*other.peers.Load())[r.host.id]
}

func (r *remote) graceLeft() time.Duration {
	return time.Until(time.Unix(0, r.since.Load()).Add(r.host.limits.Grace))
}

// await returns a link, waiting for one during the grace time.
func (r *remote) await(ctx context.Context) (*link, error) {
	for {
		l, changed := r.linked()
		if l != nil {
			return l, nil
		}
		left := r.graceLeft()
		if left <= 0 {
			return nil, network.ErrUnreachable
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, neverSent(ctx)
		case <-r.ctx.Done():
			timer.Stop()
			return nil, r.gone()
		}
		timer.Stop()
	}
}

func (r *remote) gone() error {
	if r.host.stopped.Load() || (*r.host.peers.Load())[r.id] == r {
		return network.ErrStopped
	}
	return network.ErrUnknownPeer
}

func (r *remote) status() network.PeerStatus {
	s := network.PeerStatus{ID: r.id, Connected: r.up.Load(), Since: time.Unix(0, r.since.Load())}
	for _, c := range network.Classes() {
		q := r.out[c].queue.Stats()
		s.Classes[c] = network.ClassStatus{
			QueuedMessages: q.Messages, QueuedBytes: q.Bytes, Sent: q.Sent,
			Dropped:   q.Dropped + r.out[c].refused.Load(),
			Resets:    r.out[c].resets.Load() + r.in[c].resets.Load(),
			Received:  r.in[c].received.Load(),
			Throttled: r.in[c].throttled.Load(),
		}
	}
	return s
}

// stream carries one class in one direction over one link. The channel's
// capacity stands for what a connection holds on its way.
type stream struct {
	link *link
	ch   chan parcel
	done chan struct{} // closed by reset
	once sync.Once
}

type parcel struct {
	msg   []byte
	due   time.Time // not before; zero: at once
	again int       // after how many later messages it arrives once more; 0: never
}

func newStream(l *link) *stream {
	return &stream{link: l, ch: make(chan parcel, inFlight), done: make(chan struct{})}
}

func (s *stream) reset() { s.once.Do(func() { close(s.done) }) }

// egress sends one class to one peer; run owns the stream.
type egress struct {
	remote          *remote
	class           network.Class
	queue           *queue.Queue
	refused, resets atomic.Uint64

	mu     sync.Mutex // guards stream against an overflow
	stream *stream
}

const inFlight = 16 // messages a stream holds

func newEgress(r *remote, c network.Class) *egress {
	cl, _ := r.host.limits.Class(c)
	policy := queue.DropAll
	if c == network.ClassTx {
		policy = queue.DropNew
	}
	return &egress{remote: r, class: c, queue: queue.New(policy, cl.QueueMessages, cl.QueueBytes)}
}

func (e *egress) send(msg []byte) error {
	if !e.remote.up.Load() && e.remote.graceLeft() <= 0 {
		e.refused.Add(1)
		return network.ErrUnreachable
	}
	if e.queue.Push(msg) {
		return nil
	}
	if e.class == network.ClassConsensus {
		e.mu.Lock()
		if e.stream != nil {
			e.stream.reset()
		}
		e.mu.Unlock()
	}
	return network.ErrOverflow
}

func (e *egress) run() {
	defer e.drop(false)
	for {
		l := e.waitForWork()
		if l == nil {
			return
		}
		if e.stream == nil || e.stream.link != l {
			e.drop(false)
			if !e.open(l) {
				continue
			}
		}
		if !e.pass() {
			e.drop(true)
		}
	}
}

// waitForWork returns the link when there is one and a message, nil at the end.
func (e *egress) waitForWork() *link {
	r := e.remote
	for r.ctx.Err() == nil {
		if e.queue.Stats().Messages == 0 {
			select {
			case <-e.queue.Wake():
			case <-r.ctx.Done():
			}
			continue
		}
		l, changed := r.linked()
		if l != nil {
			return l
		}
		left := r.graceLeft()
		if left <= 0 {
			e.queue.Clear()
			continue
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
	return nil
}

// open hands a new stream to the other side.
func (e *egress) open(l *link) bool {
	s := newStream(l)
	_, back := e.remote.peer(l)
	if back == nil {
		return false
	}
	select {
	case back.in[e.class].streams <- s:
	case <-l.done:
		return false
	case <-e.remote.ctx.Done():
		return false
	}
	e.mu.Lock()
	e.stream = s
	e.mu.Unlock()
	return true
}

// pass moves the oldest message onto the stream.
func (e *egress) pass() bool {
	msgs, epoch := e.queue.Peek(nil, 1, 0)
	if len(msgs) == 0 {
		return true
	}
	from, to, n := e.remote.host.id, e.remote.id, e.remote.host.net
	if n.loses(from, to, e.class, msgs[0]) {
		return e.queue.Done(1, epoch)
	}
	p := parcel{msg: msgs[0], due: n.arrival(from, to, len(msgs[0])), again: n.repeats(from, to, e.class, msgs[0])}
	timer := time.NewTimer(e.remote.host.limits.WriteTimeout)
	defer timer.Stop()
	select {
	case e.stream.ch <- p:
		return e.queue.Done(1, epoch)
	case <-timer.C:
		if e.class == network.ClassConsensus {
			e.queue.Clear()
		}
		return false
	case <-e.stream.done:
		return false
	case <-e.stream.link.done:
		return false
	case <-e.remote.ctx.Done():
		return false
	}
}

func (e *egress) drop(count bool) {
	e.mu.Lock()
	s := e.stream
	e.stream = nil
	e.mu.Unlock()
	if s == nil {
		return
	}
	s.reset()
	if count && e.remote.ctx.Err() == nil {
		e.resets.Add(1)
	}
}

// ingress receives one class from one peer, on one goroutine.
type ingress struct {
	remote              *remote
	class               network.Class
	streams             chan *stream
	repeats             []parcel // of the present stream; owned by run
	received, throttled atomic.Uint64
	resets              atomic.Uint64
	shunned             atomic.Int64 // Unix ns until which nothing is heard
}

func (in *ingress) run() {
	s := newStream(nil) // nothing comes from it
	for {
		select {
		case s = <-in.streams:
			in.repeats = nil
		case p := <-s.ch:
			in.deliver(p, s)
			in.repeat(p, s)
		case <-in.remote.ctx.Done():
			return
		}
	}
}

// repeat delivers once more what was to come after last, and keeps last itself if
// it is to come again.
func (in *ingress) repeat(last parcel, s *stream) {
	waiting := in.repeats
	in.repeats = nil
	for _, p := range waiting {
		if p.again--; p.again > 0 {
			in.repeats = append(in.repeats, p)
		} else {
			in.deliver(parcel{msg: p.msg}, s)
		}
	}
	if last.again > 0 {
		in.repeats = append(in.repeats, last)
	}
}

// deliver waits for a message's time and calls the handler. What is left on a
// broken stream is lost, as on a wire.
func (in *ingress) deliver(p parcel, s *stream) {
	if wait := time.Until(p.due); !p.due.IsZero() && wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
		case <-s.link.done:
		case <-in.remote.ctx.Done():
		}
	}
	if wait := time.Until(time.Unix(0, in.shunned.Load())); wait > 0 {
		in.resets.Add(1)
		s.reset()
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select { // the sender's next stream waits
		case <-timer.C:
		case <-in.remote.ctx.Done():
		}
		return
	}
	if in.class == network.ClassTx && !in.admit(len(p.msg)) {
		in.throttled.Add(1)
		return
	}
	select {
	case <-s.done:
	case <-s.link.done:
	case <-in.remote.ctx.Done():
	default:
		in.received.Add(1)
		in.remote.host.handlers[in.class](in.remote.id, p.msg)
	}
}

func (in *ingress) admit(n int) bool {
	limiter := in.remote.txRate
	cost := min(network.TxCost(n), limiter.Burst())
	if limiter.AllowN(time.Now(), cost) {
		return true
	}
	ctx, cancel := context.WithTimeout(in.remote.ctx, in.remote.host.limits.TxWait)
	defer cancel()
	if limiter.WaitN(ctx, cost) == nil {
		return true
	}
	<-ctx.Done()
	return false
}
