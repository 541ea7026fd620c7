package consensustest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/assent-network/assent/consensus"
)

// Chaos submits requests while replicas are stopped, restarted, cut off and
// are not heard, then heals everything and expects new requests to be delivered
// everywhere and all pools to drain. At most f replicas are in trouble at a
// time, except that now and then all stop at once and, with tangles, links break
// that leave every replica some others and perhaps nobody a quorum. The steps depend
// on the seed; their timing does not. All messages pass through watch, if not nil (see
// Net.Filter).
func Chaos(t *testing.T, o Options, seed uint64, steps int, tangles bool, watch func(Message) []Message) {
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	c := NewCluster(t, o.Replicas, o.Open)
	c.Net.Filter(watch)
	c.Start()
	ch := &chaos{c: c, rng: rng, tangles: tangles, cut: make(map[consensus.ReplicaID]bool), down: make(map[consensus.ReplicaID]bool)}
	for i := range steps {
		ch.step(i)
	}
	ch.heal()
	ids := c.requests("end", 2*o.Replicas)
	c.WaitApplied(c.IDs(), ids...)
	ids = c.requests("last", 1)
	c.WaitApplied(c.IDs(), ids...)
	for _, id := range c.IDs() {
		e := c.Replica(id).Engine()
		c.Wait(fmt.Sprintf("the pool of replica %d to drain", id), func() bool { return e.Status().Pool == 0 })
	}
}

type chaos struct {
	c    *Cluster
	rng  *rand.Rand
	cut  map[consensus.ReplicaID]bool
	down map[consensus.ReplicaID]bool

	tangles bool
}

// healthy lists the replicas in no trouble.
func (ch *chaos) healthy() []consensus.ReplicaID {
	return slices.DeleteFunc(ch.c.IDs(), func(id consensus.ReplicaID) bool { return ch.cut[id] || ch.down[id] })
}

func (ch *chaos) step(i int) {
	ids := ch.c.IDs()
	troubled := len(ids) - len(ch.healthy())
	victim := ids[ch.rng.IntN(len(ids))]
	switch p := ch.rng.IntN(100); {
	case p < 50:
		ch.traffic(i)
	case p < 70 && ch.tangles && troubled == 0:
		ch.tangle(i)
	case p < 75 && troubled < consensus.Faulty(len(ids)):
		ch.trouble(victim)
	case p < 78:
		ch.blink()
	default:
		ch.heal()
	}
}

// traffic submits some requests to healthy replicas and usually waits.
func (ch *chaos) traffic(i int) {
	to := ch.healthy()
	n := 1 + ch.rng.IntN(10)
	reqs := ch.c.requests(fmt.Sprintf("step-%d", i), n, to...)
	if ch.rng.IntN(3) > 0 {
		ch.c.WaitApplied(to[:1], reqs...)
	}
}

func (ch *chaos) trouble(id consensus.ReplicaID) {
	switch ch.rng.IntN(3) {
	case 0:
		ch.c.Isolate(id)
		ch.cut[id] = true
	case 1: // it hears, but is not heard
		for _, other := range ch.c.others(id) {
			ch.c.Net.Cut(id, other)
		}
		ch.cut[id] = true
	default:
		if err := ch.c.Replica(id).Stop(); err != nil {
			ch.c.t.Fatalf("stop replica %d: %v", id, err)
		}
		ch.down[id] = true
	}
}

// tangle breaks links, each for itself and perhaps in one direction only, for a few
// time-outs, with requests on the way.
func (ch *chaos) tangle(i int) {
	ids := ch.c.IDs()
	for _, a := range ids {
		for _, b := range ids {
			if a < b && ch.rng.IntN(3) == 0 {
				one := ch.rng.IntN(4)
				if one != 1 {
					ch.c.Net.Cut(a, b)
				}
				if one != 2 {
					ch.c.Net.Cut(b, a)
				}
				ch.cut[a], ch.cut[b] = true, true
			}
		}
	}
	ch.c.requests(fmt.Sprintf("step-%d", i), 1+ch.rng.IntN(10))
	time.Sleep(time.Duration(ch.rng.IntN(4000)) * time.Millisecond) // how long it lasts
	ch.heal()
}

// blink stops and starts all replicas.
func (ch *chaos) blink() {
	for _, id := range ch.c.IDs() {
		if !ch.down[id] {
			if err := ch.c.Replica(id).Stop(); err != nil {
				ch.c.t.Fatalf("stop replica %d: %v", id, err)
			}
			ch.down[id] = true
		}
	}
	ch.heal()
}

func (ch *chaos) heal() {
	for _, id := range ch.c.IDs() {
		if ch.cut[id] {
			ch.c.Rejoin(id)
		}
		if ch.down[id] {
			app := ch.c.Replica(id).App
			if ch.rng.IntN(2) == 0 { // as a node does before it opens its engine
				if _, err := app.CatchUp(ch.c.t.Context()); err != nil {
					ch.c.t.Fatalf("catch up replica %d: %v", id, err)
				}
			}
			ch.c.Start(id)
		}
	}
	clear(ch.cut)
	clear(ch.down)
}
