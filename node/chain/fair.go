package chain

import (
	"slices"
	"sync"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// The leader fills its blocks fairly: when not everything fits, members get
// equal parts, and what one leaves is the others' (max-min). While several
// members ask, a block is also kept short, about blockTime of work, unless all
// of them have more waiting than that: a member with few requests, each waiting
// for the one before, then waits for a short block and not for everything that
// somebody else has piled up.

const (
	// blockTime, as a part of a second, is how much a block holds when members
	// compete.
	blockTime  = 32
	leastBlock = 16 // units
	// demandWindow is how long a member counts as asking: up to twice this.
	demandWindow = 500 * time.Millisecond
)

// fair is the leader's memory of who has been asking.
type fair struct {
	mu      sync.Mutex // guards what follows; nothing is called under it
	since   time.Time  // when the present window began
	demands map[string]*demand
	order   []*demand // those with something in this pool
	of      []*demand // whose request i is; nil for what is nobody's
}

// demand is what one member has had waiting, in units.
type demand struct {
	now       int // in this pool
	cur, prev int // most in this window and the one before
	quota     int // of this block
	taken     int
}

func (d *demand) recent() int { return max(d.cur, d.prev) }

var _ consensus.Fair = (*Chain)(nil)

// Choose implements consensus.Fair: the requests of the next block, in the order
// of their coming.
func (c *Chain) Choose(reqs [][]byte) [][]byte {
	most := int(c.Config().Limits.MaxBlockRequests)
	short := max(int(c.shares.perSecond())/blockTime, leastBlock)
	return c.fair.choose(reqs, most, short, c.cfg.Clock())
}

// Overdue implements consensus.Fair.
func (c *Chain) Overdue(req []byte) bool {
	if ledger.KindOf(req) != ledger.KindTransaction {
		return true
	}
	return c.shares.overdue(ledger.Hash([]byte(c.Inspect(req).ID)))
}

func (f *fair) choose(reqs [][]byte, most, short int, now time.Time) [][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := f.lookLocked(reqs, now)
	budget := min(f.budgetLocked(short), most)
	if sum <= budget {
		return reqs
	}
	divide(f.order, budget)
	out := make([][]byte, 0, len(reqs))
	for i, r := range reqs {
		d := f.of[i]
		if d == nil {
			out = append(out, r)
			continue
		}
		if u := unitsOf(r); d.taken == 0 || d.taken+u <= d.quota {
			d.taken += u
			out = append(out, r)
		}
	}
	return out
}

// lookLocked finds out whose the requests are and returns their units.
func (f *fair) lookLocked(reqs [][]byte, now time.Time) (sum int) {
	if f.demands == nil {
		f.demands = make(map[string]*demand)
	}
	if passed := now.Sub(f.since); passed >= demandWindow || passed < 0 {
		f.since = now
		for org, d := range f.demands {
			d.prev, d.cur = d.cur, 0
			if passed >= 2*demandWindow || d.prev == 0 {
				delete(f.demands, org)
			}
		}
	}
	f.order, f.of = f.order[:0], slices.Grow(f.of[:0], len(reqs))
	for _, d := range f.demands {
		d.now = 0
	}
	for _, r := range reqs {
		org, _, ok := ledger.SenderOf(r)
		if !ok {
			f.of = append(f.of, nil)
			continue
		}
		d := f.demands[string(org)]
		if d == nil {
			d = &demand{}
			f.demands[string(org)] = d
		}
		if d.now == 0 {
			d.taken = 0
			f.order = append(f.order, d)
		}
		u := unitsOf(r)
		d.now += u
		sum += u
		f.of = append(f.of, d)
	}
	for _, d := range f.order {
		d.cur = max(d.cur, d.now)
	}
	return sum
}

// budgetLocked is how many units the next block should hold: no bound for one
// member alone; otherwise as much as all of them have had waiting, and at least
// a short block.
func (f *fair) budgetLocked(short int) int {
	const unbounded = 1 << 40
	if len(f.demands) < 2 {
		return unbounded
	}
	least := unbounded
	for _, d := range f.demands {
		least = min(least, d.recent())
	}
	return max(short, least*len(f.demands))
}

// divide shares budget units among the members: nobody gets more than it has
// waiting, nor more than another one that has not got all it wants.
func divide(members []*demand, budget int) {
	slices.SortFunc(members, func(a, b *demand) int { return a.now - b.now })
	for i, d := range members {
		d.quota = min(d.now, budget/(len(members)-i))
		budget -= d.quota
	}
}
