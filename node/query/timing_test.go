package query_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/vault"
)

// apart is the two-sample Kolmogorov–Smirnov test: the probability that two samples of
// one distribution lie at least as far apart as these (the asymptotic bound of Smirnov,
// which ties only make larger).
func apart(a, b []time.Duration) float64 {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	far := 0.0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		at := min(a[i], b[j])
		for i < len(a) && a[i] == at {
			i++
		}
		for j < len(b) && b[j] == at {
			j++
		}
		far = max(far, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	n := float64(len(a)) * float64(len(b)) / float64(len(a)+len(b))
	return min(1, 2*math.Exp(-2*n*far*far))
}

// Answers for a known subject, one without a row, and one that is not bound are of one
// size, and their times of departure, counted from the execution of the PERMIT, cannot
// be told apart: a two-sample test of each pair at the level 0.001, over 120 of each kind
// in an order that is shuffled with a fixed seed.
//
// Times are the machine's, which may pause. So a pair counts as told apart only if it is
// in three runs out of three: of equal distributions that happens less than once in a
// million. The test shows first that a plant of four steps of the grid is found.
func TestTimesOfAnswersDoNotTellWhoIsKnown(t *testing.T) {
	const level, runs, each = 0.001, 3, 120
	kinds := []string{"known", "without a row", "unbound"}

	var planted [][]time.Duration
	p := 1.0
	for run := 0; p > level && run < runs; run++ { // a machine that pauses hides it
		planted = departuresOf(t, uint64(run), each, kinds, 45*time.Millisecond)
		p = apart(planted[0], planted[1])
	}
	if p > level {
		t.Fatalf("an answer that takes four steps longer is not told apart in %d runs: %g", runs, p)
	}
	if p := apart(planted[0], planted[0]); p != 1 {
		t.Fatalf("equal samples are told apart: %g", p)
	}

	told := map[string]int{}
	for run := range runs {
		times := departuresOf(t, uint64(run), each, kinds, 0)
		found := 0
		for i := range kinds {
			for j := range i {
				if p := apart(times[i], times[j]); p < level {
					told[kinds[i]+" from "+kinds[j]]++
					found++
					t.Logf("run %d: %s from %s: %g", run, kinds[i], kinds[j], p)
				}
			}
		}
		if found == 0 {
			return
		}
	}
	for pair, n := range told {
		if n == runs {
			t.Errorf("%s can be told by the time of the answer, in %d runs of %d", pair, n, runs)
		}
	}
}

// departuresOf asks about so many subjects of each kind, in a shuffled order, and
// returns when their answers leave; those about known subjects take so much longer.
func departuresOf(t *testing.T, seed uint64, each int, kinds []string, known time.Duration) [][]time.Duration {
	w := newWorld(t)
	stranger, err := crypto.GenerateKey()
	must(t, err)
	tpl := w.incomeBand()
	type one struct {
		kind int
		k    consent
	}
	var all []one
	for i := range each {
		id := fmt.Sprintf("cn:%d", i)
		for kind := range kinds {
			c := customer{vault.Subject("no-" + id), stranger}
			switch kind {
			case 0:
				c = w.customer(id, income(int64(100*i)))
			case 1:
				c = w.customer("gone-"+id, nil)
			}
			x := one{kind, w.consent(c, "lender")}
			w.deliver(x.k)
			all = append(all, x)
		}
	}
	rand.New(rand.NewPCG(seed, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	out := make([][]time.Duration, len(kinds))
	size := 0
	for _, x := range all {
		p := w.permit(x.k, tpl)
		p.ExecutedAt = time.Now()
		if x.kind == 0 {
			p.ExecutedAt = p.ExecutedAt.Add(-known)
		}
		d := answeredNow(t, w, p)
		if size == 0 {
			size = len(d.Sealed)
		}
		if len(d.Sealed) != size {
			t.Fatalf("%s: an answer of %d bytes, others have %d", kinds[x.kind], len(d.Sealed), size)
		}
		at := d.NotBefore.Sub(p.ExecutedAt)
		if at <= 0 || at%(10*time.Millisecond) != 0 {
			t.Fatalf("%s: leaves %s after execution, off the grid", kinds[x.kind], at)
		}
		out[x.kind] = append(out[x.kind], at)
	}
	return out
}

func answeredNow(t *testing.T, w *world, p query.Permit) query.Departure {
	t.Helper()
	w.handle(p)
	d, ok := w.out.get(p.Request.RequestID)
	if !ok || d.Receipt.Outcome != record.Answered {
		t.Fatalf("no answer: %+v", d)
	}
	return d
}
