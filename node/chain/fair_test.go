package chain

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/assent-network/assent/node/ledger"
)

// waiting makes n requests of a member, of about the given bytes.
func waiting(org string, from, n, size int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		tx := asked(org, 1, uint64(from+i), 10)
		tx.Payload.Args = [][]byte{make([]byte, size)}
		out[i] = tx.Encode()
	}
	return out
}

func perOrg(reqs [][]byte) map[string]int {
	got := map[string]int{}
	for _, r := range reqs {
		org, _, _ := ledger.SenderOf(r)
		got[string(org)]++
	}
	return got
}

func TestOneMemberAloneFillsTheBlock(t *testing.T) {
	var f fair
	if got := f.choose(waiting("bank", 0, 900, 0), 2000, 50, time.Unix(1, 0)); len(got) != 900 {
		t.Errorf("%d of 900 were chosen", len(got))
	}
	if got := f.choose(waiting("bank", 0, 3000, 0), 2000, 50, time.Unix(1, 0)); len(got) != 2000 {
		t.Errorf("%d of 3000 were chosen, want a whole block", len(got))
	}
}

func TestAFewRequestsDoNotWaitForAHeap(t *testing.T) {
	var f fair
	now := time.Unix(1, 0)
	pool := append(waiting("greedy", 0, 1500, 0), waiting("small", 0, 3, 0)...)
	got := perOrg(f.choose(pool, 2000, 50, now))
	if got["small"] != 3 || got["greedy"] != 47 {
		t.Errorf("chosen: %v, want all 3 of the small one in a block of 50", got)
	}
	// A moment later the small one has nothing waiting, but will ask again.
	got = perOrg(f.choose(pool[:1500], 2000, 50, now.Add(100*time.Millisecond)))
	if got["greedy"] != 50 {
		t.Errorf("chosen: %v, want a short block", got)
	}
	// When it has been quiet for long enough, the greedy one is alone.
	got = perOrg(f.choose(pool[:1500], 2000, 50, now.Add(5*time.Second)))
	if got["greedy"] != 1500 {
		t.Errorf("chosen: %v, want everything", got)
	}
}

func TestEqualsShareALargeBlock(t *testing.T) {
	var f fair
	pool := append(waiting("a", 0, 300, 0), waiting("b", 0, 1000, 0)...)
	pool = append(pool, waiting("c", 0, 300, 0)...)
	if got := perOrg(f.choose(pool, 2000, 50, time.Unix(1, 0))); got["a"] != 300 || got["b"] != 300 || got["c"] != 300 {
		t.Errorf("chosen: %v, want 300 each", got)
	}
	if got := perOrg(f.choose(pool, 600, 50, time.Unix(1, 0))); got["a"] != 200 || got["b"] != 200 || got["c"] != 200 {
		t.Errorf("chosen: %v, want 200 each", got)
	}
}

func TestLargeRequestsPayForTheirSize(t *testing.T) {
	var f fair
	pool := append(waiting("large", 0, 100, 20<<10), waiting("small", 0, 100, 0)...)
	got := perOrg(f.choose(pool, 2000, 200, time.Unix(1, 0)))
	if got["small"] != 100 || got["large"] < 3 || got["large"] > 5 {
		t.Errorf("chosen: %v, want all small ones and about four large ones", got)
	}
	// One that is larger than any share still comes through.
	pool = append(waiting("huge", 0, 3, 200<<10), waiting("small", 0, 100, 0)...)
	if got := perOrg(f.choose(pool, 2000, 50, time.Unix(1, 0))); got["huge"] != 1 {
		t.Errorf("chosen: %v, want one huge request", got)
	}
}

// TestChoiceAgreesWithASlowTwin: counts per member are max-min fair, which the
// twin finds by giving one unit after the other to whoever has least; the order
// of coming is kept; what is nobody's is always taken.
func TestChoiceAgreesWithASlowTwin(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	seal, err := ledger.NewSeal(ledger.Hash{1}, 3, ledger.NewKeySigner(key(1)))
	if err != nil {
		t.Fatal(err)
	}
	for round := range 300 {
		var pool [][]byte
		want := map[string]int{}
		for m := range 1 + rng.IntN(6) {
			want[fmt.Sprint("org", m)] = 1 + rng.IntN(1<<rng.IntN(8))
			pool = append(pool, waiting(fmt.Sprint("org", m), 0, want[fmt.Sprint("org", m)], 0)...)
		}
		rng.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		pool = append(pool, seal.Encode())
		most, short := len(want)+rng.IntN(400), 1+rng.IntN(100)
		f := fair{}
		got := f.choose(pool, most, short, time.Unix(1, 0))

		budget := most
		if len(want) > 1 {
			least := 1 << 30
			for _, n := range want {
				least = min(least, n)
			}
			budget = min(budget, max(short, least*len(want)))
		}
		quota := map[string]int{}
		for range budget {
			who := ""
			for org, n := range want {
				if quota[org] < n && (who == "" || quota[org] < quota[who]) {
					who = org
				}
			}
			if who != "" {
				quota[who]++
			}
		}
		have := perOrg(got)
		for org, q := range quota {
			// Where the rest does not divide evenly, who gets it is left open.
			if d := have[org] - max(q, 1); d < -1 || d > 1 {
				t.Fatalf("round %d: %s got %d, want %d of %v within %d", round, org, have[org], q, want, budget)
			}
		}
		if have[""] != 1 {
			t.Fatalf("round %d: the seal was left out", round)
		}
		next := 0
		for _, r := range got {
			for ; next < len(pool) && !bytes.Equal(pool[next], r); next++ {
			}
			if next == len(pool) {
				t.Fatalf("round %d: the order of coming was changed", round)
			}
			next++
		}
	}
}

// BenchmarkChoose is what the choice costs per request, in a pool of 512 of two
// members that all fit, and in a pool of 3,000 of which most have to wait.
func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{512, 3000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var f fair
			pool := append(waiting("a", 0, n/2, 300), waiting("b", 0, n/2, 300)...)
			b.ReportAllocs()
			for b.Loop() {
				f.choose(pool, 2000, 50, time.Unix(1, 0))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/request")
		})
	}
}
