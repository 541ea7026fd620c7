package gateway

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/assent-network/assent/node/api"
	assentv1 "github.com/assent-network/assent/node/api/assent/v1"
)

// meter is what one client has used: its calls per second and its open calls.
type meter struct {
	bucket  *rate.Limiter
	open    atomic.Int64
	streams atomic.Int64 // event streams among them
	seen    atomic.Int64 // Unix ns of the last call
}

// meters keeps a meter per key, at most max of them. When full it forgets the
// one unused for longest among a few, so that whoever opens many keys mostly
// pushes out her own.
type meters[K comparable] struct {
	every rate.Limit
	burst int
	max   int

	mu  sync.RWMutex
	all map[K]*meter
}

func newMeters[K comparable](perSecond float64, burst, max int) *meters[K] {
	return &meters[K]{every: rate.Limit(perSecond), burst: burst, max: max, all: make(map[K]*meter)}
}

func (m *meters[K]) of(k K, now time.Time) *meter {
	m.mu.RLock()
	x := m.all[k]
	m.mu.RUnlock()
	if x == nil {
		m.mu.Lock()
		if x = m.all[k]; x == nil {
			if len(m.all) >= m.max {
				m.evictLocked()
			}
			x = &meter{bucket: rate.NewLimiter(m.every, m.burst)}
			m.all[k] = x
		}
		m.mu.Unlock()
	}
	x.seen.Store(now.UnixNano())
	return x
}

func (m *meters[K]) evictLocked() {
	const sample = 8
	var oldest K
	at := int64(math.MaxInt64)
	n := 0
	for k, x := range m.all { // map order is random: a sample
		if s := x.seen.Load(); s < at && x.open.Load() == 0 { // open calls must find their meter again
			oldest, at = k, s
		}
		if n++; n == sample {
			break
		}
	}
	delete(m.all, oldest)
}

// take spends one call, or says when to come again.
func (x *meter) take(now time.Time) error {
	r := x.bucket.ReserveN(now, 1)
	if !r.OK() {
		return rateLimited(time.Second)
	}
	if d := r.DelayFrom(now); d > 0 {
		r.CancelAt(now)
		return rateLimited(d)
	}
	return nil
}

// charge takes n calls more from the rate, up to its burst.
func (x *meter) charge(now time.Time, n int) { x.bucket.ReserveN(now, min(n, x.bucket.Burst())) }

func rateLimited(after time.Duration) error {
	return &api.Error{Code: assentv1.Code_CODE_RATE_LIMITED, RetryAfter: max(after, time.Millisecond)}
}

// enter counts an open call; leave must follow if it returns nil.
func (x *meter) enter(most int64) error {
	if x.open.Add(1) > most {
		x.open.Add(-1)
		return &api.Error{
			Code:       assentv1.Code_CODE_RATE_LIMITED,
			What:       "this client has too many open calls and streams",
			Remedy:     "End some of them first; the operator may raise limits.clientStreams in the node's configuration.",
			RetryAfter: time.Second,
		}
	}
	return nil
}

func (x *meter) leave() { x.open.Add(-1) }

// network returns what an address is counted under: the IPv4 address, or the
// IPv6 /64 that one customer gets.
func network(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // all unreadable ones together
	}
	a := ap.Addr().Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
