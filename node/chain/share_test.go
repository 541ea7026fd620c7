package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// asked is an unsigned transaction: shares do not look at signatures.
func asked(org string, key byte, n uint64, until uint64) *ledger.Transaction {
	p := ledger.Payload{Org: org, ValidUntil: until}
	p.Key[0] = key
	p.Nonce[0], p.Nonce[1], p.Nonce[2], p.Nonce[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return ledger.NewTransaction(p)
}

func TestOneMemberNeverFillsThePool(t *testing.T) {
	s := newShares(20_000)
	now := time.Unix(1_800_000_000, 0)
	limit := s.limitLocked()
	if want := int(firstRate * poolTime.Seconds()); limit != want {
		t.Fatalf("a fresh pool has %d units, want %d", limit, want)
	}
	fill := func(org string, own bool, via consensus.ReplicaID) (got int) {
		for n := uint64(0); n < 100_000; n++ {
			tx := asked(org, byte(n), n, 10)
			if s.take(tx, 1, own, via, now) == nil {
				got++
			} else if s.full([]byte(org), tx.Payload.Key, 1, own, via) == nil {
				t.Fatalf("%s: refused although there is room", org)
			} else {
				return got
			}
		}
		t.Fatalf("%s filled the pool without end", org)
		return 0
	}
	greedy := fill("greedy", false, 0)
	if greedy < limit/2-1 || greedy > limit/2+1 {
		t.Errorf("one member got %d of %d, want half", greedy, limit)
	}
	if got := fill("second", false, 0); got < limit/4-1 || got > limit/4+1 {
		t.Errorf("the second got %d, want a quarter", got)
	}
	if got := fill("own", true, 0); got < limit/12 {
		t.Errorf("own clients got %d", got)
	}
	// A validator may pass on a few more, whoever it is, and no validator for another.
	for via := consensus.ReplicaID(1); via <= 3; via++ {
		got := 0
		for n := range uint64(100) {
			if s.take(asked("greedy", byte(via), 1_000_000+n, 10), 1, false, via, now) == nil {
				got++
			}
		}
		if got != claimsPerMember {
			t.Errorf("validator %d passed %d beyond the share, want %d", via, got, claimsPerMember)
		}
	}
	// However full, a newcomer gets its least share.
	for i := range 40 {
		fill(fmt.Sprint("member-", i), false, 0)
	}
	if got := fill("newcomer", false, 0); got != leastShare {
		t.Errorf("a newcomer got %d, want %d", got, leastShare)
	}
	if err := s.take(asked("late", 1, 1, 10), 257, false, 0, now); err != nil {
		t.Errorf("a member with nothing waiting may not send its largest request: %v", err)
	}
}

func TestOneKeyLeavesRoomToItsMember(t *testing.T) {
	s := newShares(20_000)
	now := time.Unix(1_800_000_000, 0)
	var err error
	n := uint64(0)
	for ; err == nil; n++ {
		err = s.take(asked("bank", 1, n, 10), 1, true, 0, now)
	}
	var busy *Busy
	if !errors.As(err, &busy) || !errors.Is(err, ErrBusy) || busy.Org != "bank" || busy.RetryAfter < 50*time.Millisecond || busy.RetryAfter > 2*time.Second {
		t.Fatalf("refused with %v", err)
	}
	if err := s.take(asked("bank", 2, n, 10), 1, true, 0, now); err != nil {
		t.Errorf("another key of the member has no room: %v", err)
	}
}

func TestOverdueClaimsAreFew(t *testing.T) {
	s := newShares(20_000)
	now := time.Unix(1_800_000_000, 0)
	claims, dropped := 0, 0
	for n := range uint64(100) {
		tx := asked("greedy", 1, n, 10)
		if err := s.take(tx, 1, false, 0, now); err != nil {
			t.Fatal(err)
		}
		if s.overdue(tx.ID()) {
			claims++
		} else {
			dropped++
			if err := s.take(tx, 1, false, 0, now); !errors.Is(err, errHeld) {
				t.Errorf("a dropped request is taken in again: %v", err)
			}
		}
	}
	if claims != claimsPerMember || dropped != 100-claimsPerMember {
		t.Errorf("%d claims, %d dropped", claims, dropped)
	}
	if s.total != claims {
		t.Errorf("%d units are held, want the %d claims", s.total, claims)
	}
	own := asked("mine", 1, 1, 10)
	if err := s.take(own, 1, true, 0, now); err != nil || !s.overdue(own.ID()) {
		t.Errorf("an own client's request was dropped (%v)", err)
	}
	// A claim that was ordered makes room for another.
	first := asked("greedy", 1, 0, 10)
	s.drop(infoOf(first.ID()))
	next := asked("greedy", 1, 1000, 10)
	if err := s.take(next, 1, false, 0, now); err != nil || !s.overdue(next.ID()) {
		t.Errorf("no claim became free (%v)", err)
	}
}

// Names of dropped requests are kept against their being taken in again, and what a
// flood of them takes is bounded: the first ones are forgotten.
func TestNamesOfDroppedRequestsAreBounded(t *testing.T) {
	s := newShares(20_000)
	now := time.Unix(1_800_000_000, 0)
	n := uint64(0)
	drop := func() ledger.Hash {
		tx := asked("greedy", 1, n, 1<<40)
		n++
		if err := s.take(tx, 1, false, 0, now); err != nil {
			t.Fatal(err)
		}
		s.overdue(tx.ID())
		return tx.ID()
	}
	for range claimsPerMember {
		drop()
	}
	first := drop()
	for range maxDropped - 1 {
		drop()
	}
	if _, ok := s.held[first]; !ok || len(s.held) != maxDropped+claimsPerMember {
		t.Fatalf("%d names are kept, the first dropped: %t", len(s.held), ok)
	}
	last := drop()
	for range 1000 {
		drop()
	}
	_, gone := s.held[first]
	if _, ok := s.held[last]; gone || !ok || len(s.held) != maxDropped+claimsPerMember || s.total != claimsPerMember {
		t.Errorf("%d names and %d units are kept, the first %t, the last %t", len(s.held), s.total, gone, ok)
	}
}

// A client that comes here itself is served, whatever was dropped when another node
// passed it on.
func TestADroppedRequestIsTakenFromItsOwnClient(t *testing.T) {
	s := newShares(20_000)
	now := time.Unix(1_800_000_000, 0)
	var tx *ledger.Transaction
	for n := range uint64(claimsPerMember + 1) {
		tx = asked("bank", 1, n, 10)
		if err := s.take(tx, 1, false, 0, now); err != nil {
			t.Fatal(err)
		}
		s.overdue(tx.ID())
	}
	if err := s.take(tx, 1, false, 0, now); !errors.Is(err, errHeld) {
		t.Fatalf("taken from another node again: %v", err)
	}
	if err := s.take(tx, 1, true, 0, now); err != nil || s.total != claimsPerMember+1 {
		t.Fatalf("its own client: %v, %d units", err, s.total)
	}
	if !s.overdue(tx.ID()) {
		t.Error("an own client's request was dropped")
	}
}

func TestThePoolIsAsLargeAsTheNetworkIsFast(t *testing.T) {
	p := pace{perSecond: 1000}
	ms := uint64(1_000_000)
	run := func(blocks, units, every, waiting int) {
		for range blocks {
			ms += uint64(every)
			p.block(ms, units, waiting)
		}
	}
	run(200, 100, 20, 0) // 5,000 a second, at most twice as much with each window
	if p.perSecond < 4500 || p.perSecond > 5500 {
		t.Errorf("estimate %.0f, want about 5000", p.perSecond)
	}
	run(500, 1, 20, 0) // quiet: nothing is learnt
	if p.perSecond < 4500 {
		t.Errorf("a quiet network lowered the estimate to %.0f", p.perSecond)
	}
	run(500, 2, 20, 600) // 100 a second with a backlog
	if p.perSecond > 150 {
		t.Errorf("a slow network is taken for %.0f a second", p.perSecond)
	}
	s := newShares(20_000)
	s.pace.perSecond = 1
	if s.limitLocked() != leastPool {
		t.Errorf("the least pool is %d", s.limitLocked())
	}
	s.pace.perSecond = 1e9
	if s.limitLocked() != 20_000 {
		t.Errorf("the largest pool is %d", s.limitLocked())
	}
}

// TestSharesAgreeWithASlowTwin runs random operations and counts everything
// anew after each.
func TestSharesAgreeWithASlowTwin(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	s := newShares(1000)
	now := time.Unix(1_800_000_000, 0)
	type entry struct {
		org     string
		units   int
		own     bool
		claimed bool
		key     byte
		until   uint64
	}
	twin := map[ledger.Hash]*entry{}
	var ids []ledger.Hash
	for step := range 20_000 {
		switch op := rng.IntN(10); {
		case op < 6:
			org, key, until := fmt.Sprint("org", rng.IntN(4)), byte(rng.IntN(3)), 10+rng.Uint64N(1000)
			own := org == "org0"
			tx := asked(org, key, rng.Uint64(), until)
			units := 1
			if rng.IntN(20) == 0 {
				units += rng.IntN(200)
			}
			if err := s.take(tx, units, own, consensus.ReplicaID(rng.IntN(3)), now); err == nil {
				twin[tx.ID()] = &entry{org: org, units: units, own: own, key: key, until: until}
				ids = append(ids, tx.ID())
			}
		case op < 8 && len(ids) > 0:
			i := rng.IntN(len(ids))
			s.drop(infoOf(ids[i]))
			delete(twin, ids[i])
			ids = append(ids[:i], ids[i+1:]...)
		case op == 8 && len(ids) > 0:
			id := ids[rng.IntN(len(ids))]
			e := twin[id]
			claims := 0
			for _, o := range twin {
				if o.org == e.org && o.claimed {
					claims++
				}
			}
			want := e.own || e.claimed || claims < claimsPerMember
			if got := s.overdue(id); got != want {
				t.Fatalf("step %d: overdue is %t, want %t with %d claims", step, got, want, claims)
			}
			if !e.own && want {
				e.claimed = true
			}
			if !want {
				e.units = 0
			}
		default:
			s.pace.perSecond = 100 + rng.Float64()*600
		}
		total, orgs := 0, map[string]int{}
		for _, e := range twin {
			total += e.units
			orgs[e.org] += e.units
		}
		if s.total != total {
			t.Fatalf("step %d: %d units, want %d", step, s.total, total)
		}
		for org, x := range s.orgs {
			if x.units != orgs[org] {
				t.Fatalf("step %d: %s has %d units, want %d", step, org, x.units, orgs[org])
			}
		}
		if total > s.most+s.most/2 {
			t.Fatalf("step %d: %d units in a pool of %d", step, total, s.most)
		}
	}
	for _, i := range s.expired(1 << 40) {
		s.drop(i)
	}
	for org, x := range s.orgs {
		if x.units != 0 || x.claims != 0 || len(x.relayed) != 0 {
			t.Errorf("%s keeps %d units, %d claims, %v relayed when nothing is left", org, x.units, x.claims, x.relayed)
		}
		for _, k := range x.keys {
			if k.units != 0 {
				t.Errorf("a key of %s keeps %d units", org, k.units)
			}
		}
	}
}

// BenchmarkShares is what the accounting adds to one request, from its coming to
// its block.
func BenchmarkShares(b *testing.B) {
	s := newShares(1 << 30)
	s.pace.perSecond = 1e9
	now := time.Now()
	txs := make([]*ledger.Transaction, 4096)
	reqs := make([][]byte, len(txs))
	infos := make([]consensus.RequestInfo, len(txs))
	for i := range txs {
		txs[i] = asked(fmt.Sprint("member-", i%4), byte(i), uint64(i), 10)
		txs[i].Payload.Args = [][]byte{make([]byte, 300)}
		reqs[i] = txs[i].Encode()
		infos[i] = infoOf(txs[i].ID())
	}
	b.ReportAllocs()
	before := ownCPU(b)
	i := 0
	for b.Loop() {
		req, tx := reqs[i], txs[i]
		org, key, _ := ledger.SenderOf(req)
		units := unitsOf(req)
		if s.full(org, key, units, true, 0) != nil || s.take(tx, units, true, 0, now) != nil {
			b.Fatal("refused")
		}
		if i++; i == len(txs) {
			i = 0
			s.drop(infos...)
		}
	}
	b.ReportMetric(float64((ownCPU(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// ownCPU is the processor time of this process: what a busy machine does not
// change.
func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
