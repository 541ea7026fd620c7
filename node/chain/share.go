package chain

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// The pool is shared between the members, on every validator by itself and
// without any message about it. Its size is a time, not a number: what the
// network orders in poolTime, because a request that waits for longer than a
// follower's patience would look like a leader's fault. Of it a member may hold
// as much as is still free, so that one alone gets half, and there is always
// room for the next one (the dynamic threshold of shared-memory switches). A
// node takes from its own clients only half of that: what an honest node has
// taken, the others take too.

const (
	// poolTime is how long a request may wait in a full pool.
	poolTime = 1500 * time.Millisecond
	// firstRate, in units per second, is believed until blocks tell better.
	firstRate = 1500
	// leastPool is the pool of a network that is very slow.
	leastPool = 512
	// leastShare is what every member may hold however full the pool is.
	leastShare = 64
	// claimsPerMember is how many overdue requests of one member a follower
	// holds against the leader, and how many each validator may pass to it beyond
	// the member's share.
	claimsPerMember = 16
	// forgottenByEngine is the age at which an engine has dropped a request.
	forgottenByEngine = time.Minute
	// passAgain is the age at which a pooled request is passed on again when its
	// client sends it again: whoever has missed it the first time gets it then.
	passAgain = time.Second
	// keyChecked is how long a key that was found usable is not looked up again.
	keyChecked = time.Second
	// maxKeys bounds the remembered keys of one member.
	maxKeys = 1024
	// maxDropped bounds the remembered names of requests that were dropped.
	maxDropped = 1 << 16
)

// unitsOf is what a request costs: one unit, and one more for every whole KiB.
// The limits of a block, 2,000 requests and 2 MiB, are about as many units.
func unitsOf(req []byte) int { return 1 + len(req)>>10 }

// Busy is the ErrBusy of a transaction that came from this node's own client.
type Busy struct {
	Org        string
	Held, Room int           // units that the member has waiting, and that it may have
	RetryAfter time.Duration // when there may be room again
}

func (b *Busy) Error() string {
	return fmt.Sprintf("%v: %d requests of member %s wait to be ordered, %d may: send the same transaction again in %s", ErrBusy, b.Held, b.Org, b.Room, b.RetryAfter)
}

// Is makes errors.Is(err, ErrBusy) true.
func (b *Busy) Is(target error) bool { return target == ErrBusy }

var (
	errShareFull = fmt.Errorf("%w: the member's share of the pool is full", ErrBusy)
	errHeld      = errors.New("the request is pooled")
)

// shares knows what is pooled here and whose it is.
type shares struct {
	most int // units

	mu    sync.Mutex // guards what follows; nothing is called under it
	orgs  map[string]*share
	held  map[ledger.Hash]held
	total int // units
	pace  pace
	n     Counters

	dropped []ledger.Hash // names of requests dropped as overdue, a ring when full
	oldest  int           // in dropped, once it is full
}

// share is one member's part of the pool.
type share struct {
	units   int
	claims  int                           // overdue requests that the leader owes
	relayed map[consensus.ReplicaID]int   // requests beyond the share, by the validator that vouched
	keys    map[ledger.Address]*keyInPool // of own clients, and of clients checked lately
}

type keyInPool struct {
	units   int       // of own clients' requests
	checked time.Time // when the key was last found usable
}

// held is one pooled request. With 0 units it was dropped as overdue, and its
// name is kept so that it is not taken in again.
type held struct {
	org     *share
	key     *keyInPool // nil unless own
	via     consensus.ReplicaID
	units   int
	until   uint64    // ms of block time
	since   time.Time // when the engine got it
	passed  time.Time // when it was passed on again last
	claimed bool
}

func newShares(most int) *shares {
	return &shares{most: most, orgs: make(map[string]*share), held: make(map[ledger.Hash]held), pace: pace{perSecond: firstRate}}
}

// limitLocked is the pool's size now, in units.
func (s *shares) limitLocked() int {
	return max(min(int(s.pace.perSecond*poolTime.Seconds()), s.most), min(leastPool, s.most))
}

// roomLocked is how many units a member may hold now.
func (s *shares) roomLocked(own bool) int {
	free := s.limitLocked() - s.total
	if own {
		free /= 2
	}
	return max(free, leastShare)
}

func (s *shares) orgLocked(org string) *share {
	x := s.orgs[org]
	if x == nil {
		x = &share{relayed: make(map[consensus.ReplicaID]int), keys: make(map[ledger.Address]*keyInPool)}
		s.orgs[org] = x
	}
	return x
}

// full reports, before anything of a request was checked, that it would be
// refused: for an own client with the reason. org and key are what the request
// says of itself; a lie harms only who told it.
func (s *shares) full(org []byte, key ledger.Address, units int, own bool, via consensus.ReplicaID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.orgs[string(org)]
	if x == nil {
		return nil
	}
	var k *keyInPool
	if own {
		k = x.keys[key]
	}
	if ok, _ := s.fitsLocked(x, k, units, own, via); ok {
		return nil
	}
	s.n.Busy++
	return s.busyLocked(string(org), x, own)
}

func (s *shares) busyLocked(org string, x *share, own bool) error {
	if !own {
		return errShareFull
	}
	wait := time.Duration(float64(s.total) / max(s.pace.perSecond, 1) * float64(time.Second) / 4)
	return &Busy{Org: org, Held: x.units, Room: s.roomLocked(true), RetryAfter: min(max(wait.Round(time.Millisecond), 50*time.Millisecond), 2*time.Second)}
}

// fitsLocked reports whether a member may have units more waiting, and whether
// only because validator via vouches for it. k is the own client's key, or nil.
func (s *shares) fitsLocked(x *share, k *keyInPool, units int, own bool, via consensus.ReplicaID) (ok, vouched bool) {
	if s.total+units > s.most+s.most/2 { // the engine's pool ends here
		return false, false
	}
	room := s.roomLocked(own)
	// One key may not take the last quarter of its member's room.
	if (x.units == 0 || x.units+units <= room) && (k == nil || k.units == 0 || k.units+units <= room-room/4) {
		return true, false
	}
	vouched = via != 0 && x.relayed[via] < claimsPerMember
	return vouched, vouched
}

// take counts a checked transaction as pooled. errHeld: it is already, or was
// dropped here and comes from another node once more.
func (s *shares) take(tx *ledger.Transaction, units int, own bool, via consensus.ReplicaID, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := tx.ID()
	if h, ok := s.held[id]; ok && (h.units > 0 || !own) {
		if now.Sub(h.since) < forgottenByEngine || h.units == 0 {
			return errHeld
		}
		h.since = now
		s.held[id] = h
		return nil
	}
	x := s.orgLocked(tx.Payload.Org)
	h := held{org: x, units: units, until: tx.Payload.ValidUntil, since: now}
	if own {
		h.key = x.keyLocked(tx.Payload.Key)
	}
	ok, vouched := s.fitsLocked(x, h.key, units, own, via)
	if !ok {
		s.n.Busy++
		return s.busyLocked(tx.Payload.Org, x, own)
	}
	if vouched {
		h.via = via
		x.relayed[via]++
	}
	if h.key != nil {
		h.key.units += units
	}
	x.units += units
	s.total += units
	s.held[id] = h
	s.n.Admitted++
	return nil
}

// mayPassAgain reports, once in passAgain, that a pooled request which its client
// has sent again has waited for so long that the other validators may have missed
// it: a link broke just then.
func (s *shares) mayPassAgain(id ledger.Hash, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[id]
	if !ok || h.units == 0 || now.Sub(h.since) < passAgain || now.Sub(h.passed) < passAgain {
		return false
	}
	h.passed = now
	s.held[id] = h
	return true
}

func (x *share) keyLocked(a ledger.Address) *keyInPool {
	k := x.keys[a]
	if k != nil {
		return k
	}
	if len(x.keys) >= maxKeys {
		for other, idle := range x.keys {
			if idle.units == 0 {
				delete(x.keys, other)
			}
		}
	}
	k = &keyInPool{}
	x.keys[a] = k
	return k
}

// usable reports whether a key was found usable a moment ago.
func (s *shares) usable(org string, key ledger.Address, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.orgs[org]
	if x == nil {
		return false
	}
	k := x.keys[key]
	return k != nil && now.Sub(k.checked) < keyChecked
}

func (s *shares) setUsable(org string, key ledger.Address, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orgLocked(org).keyLocked(key).checked = now
}

// overdue decides about a request that has waited here for too long. A few of
// each member's are claims: the leader hears of them again and must order them.
// The others are dropped here: a member that has more waiting than fits has no
// claim on the leader. Own clients' requests are never dropped.
func (s *shares) overdue(id ledger.Hash) (claim bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, ok := s.held[id]
	switch {
	case !ok, h.key != nil, h.claimed:
		return true
	case h.org.claims < claimsPerMember:
		h.org.claims++
		h.claimed = true
		s.held[id] = h
		return true
	}
	s.releaseLocked(&h)
	s.held[id] = h
	s.rememberLocked(id)
	s.n.Overdue++
	return false
}

// rememberLocked bounds the names of dropped requests: the first is forgotten.
func (s *shares) rememberLocked(id ledger.Hash) {
	if len(s.dropped) < maxDropped {
		s.dropped = append(s.dropped, id)
		return
	}
	first := s.dropped[s.oldest]
	if h, ok := s.held[first]; ok && h.units == 0 {
		delete(s.held, first)
	}
	s.dropped[s.oldest] = id
	s.oldest = (s.oldest + 1) % maxDropped
}

// releaseLocked gives back what a request holds, and leaves it with nothing.
func (s *shares) releaseLocked(h *held) {
	h.org.units -= h.units
	s.total -= h.units
	if h.key != nil {
		h.key.units -= h.units
		h.key = nil
	}
	if h.claimed {
		h.org.claims--
		h.claimed = false
	}
	if h.via != 0 {
		if h.org.relayed[h.via]--; h.org.relayed[h.via] == 0 {
			delete(h.org.relayed, h.via)
		}
		h.via = 0
	}
	h.units = 0
}

func (s *shares) dropLocked(id ledger.Hash) {
	if h, ok := s.held[id]; ok {
		s.releaseLocked(&h)
		delete(s.held, id)
	}
}

// drop forgets requests: ordered, expired or not taken by the engine.
func (s *shares) drop(infos ...consensus.RequestInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range infos {
		if len(i.ID) == len(ledger.Hash{}) {
			s.dropLocked(ledger.Hash([]byte(i.ID)))
		}
	}
}

// dropAll is drop for a block's transactions.
func (s *shares) dropAll(txs []*ledger.Transaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tx := range txs {
		if tx != nil {
			s.dropLocked(tx.ID())
		}
	}
}

// empty drops everything.
func (s *shares) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.held {
		s.dropLocked(id)
	}
}

// expired names what no block after time ms may hold.
func (s *shares) expired(ms uint64) []consensus.RequestInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []consensus.RequestInfo
	for id, h := range s.held {
		if h.until < ms {
			out = append(out, infoOf(id))
		}
	}
	return out
}

// ordered tells of a block: its time, and its transactions' units.
func (s *shares) ordered(blockTime uint64, units int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pace.block(blockTime, units, s.total)
}

// perSecond is what the network orders, in units.
func (s *shares) perSecond() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pace.perSecond
}

// pace estimates what the network can order. It learns from block times, which
// are the same on a node that catches up. A quiet network says nothing of what
// it could do, so the estimate falls only while requests wait, for backlogged
// and longer.
type pace struct {
	perSecond float64
	from      uint64 // block time at which the window began; 0: no block yet
	units     int    // ordered in the window
	waiting   int    // least number that waited in the window
}

const (
	paceWindow = 500 // ms of block time
	backlogged = 250 // ms
)

func (p *pace) block(ms uint64, units, waiting int) {
	if p.from == 0 || ms < p.from {
		*p = pace{perSecond: p.perSecond, from: ms, waiting: waiting}
		return
	}
	p.units += units
	p.waiting = min(p.waiting, waiting)
	took := ms - p.from
	if took < paceWindow {
		return
	}
	seen := float64(p.units) * 1000 / float64(took)
	switch {
	case seen > p.perSecond:
		p.perSecond = min(seen, 2*p.perSecond)
	case float64(p.waiting)*1000 >= seen*backlogged:
		p.perSecond = max(seen, p.perSecond/2, 1)
	}
	*p = pace{perSecond: p.perSecond, from: ms, waiting: waiting}
}

// Counters are totals of admission since New, and its state now.
type Counters struct {
	Admitted uint64 // transactions taken into the pool
	Busy     uint64 // refused because the member's share was full
	Invalid  uint64 // refused for their bytes or signature
	NotNow   uint64 // refused for their time
	Stranger uint64 // forwarded, signed by a key that its member has not registered
	Overdue  uint64 // of others' clients, dropped after a long wait

	Waiting   int     // units in the pool; a request is one, and one more for every KiB
	Limit     int     // units that the pool takes now
	PerSecond float64 // units that the network orders in a second
	Members   map[string]int
}

// Admission returns the counters of admission. Members holds the units that wait
// of each member that has any.
func (c *Chain) Admission() Counters {
	s := c.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.n
	n.Waiting, n.Limit, n.PerSecond = s.total, s.limitLocked(), s.pace.perSecond
	n.Members = make(map[string]int)
	for org, x := range s.orgs {
		if x.units > 0 {
			n.Members[org] = x.units
		}
	}
	return n
}

// count adds one to the counter of an error of admission.
func (s *shares) count(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, ErrNotNow):
		s.n.NotNow++
	case errors.Is(err, ErrStranger):
		s.n.Stranger++
	case errors.Is(err, ErrInvalid):
		s.n.Invalid++
	}
}
