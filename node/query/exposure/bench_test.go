package exposure

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Proofs and pledges are made before anybody asks; MakeShare is what a bank does at
// a request, Combine what the lender does.

func BenchmarkPledge(b *testing.B) {
	w := newWorld(b, 1, 2, 3)
	for b.Loop() {
		if _, _, err := MakePledge(testKeys().Proving[0], w.session.pledgeContext(0), 5); err != nil {
			b.Fatal(err)
		}
	}
}

func benchWorlds(b *testing.B, fn func(b *testing.B, w *world)) {
	for _, n := range []int{3, 5, 30} {
		figures := make([]uint64, n)
		for i := range figures {
			figures[i] = uint64(i)
		}
		w := newWorld(b, figures...)
		b.Run(fmt.Sprintf("banks=%d", n), func(b *testing.B) { fn(b, w) })
	}
}

func BenchmarkShare(b *testing.B) {
	benchWorlds(b, func(b *testing.B, w *world) {
		for b.Loop() {
			w.share(b, 0)
		}
	})
}

func BenchmarkCombine(b *testing.B) {
	benchWorlds(b, func(b *testing.B, w *world) {
		d := w.deliveries(b)
		for b.Loop() {
			if _, err := Combine(inRangeKey(), &w.session, d); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerdict(b *testing.B) {
	w := newWorld(b, 1, 2, 3, 4, 5)
	w.session.Recipient, w.session.Threshold = "aggregator", 10
	sum, err := Combine(inRangeKey(), &w.session, w.deliveries(b))
	if err != nil {
		b.Fatal(err)
	}
	v, err := MakeVerdict(testKeys().Proving[1], &w.session, sum)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("make", func(b *testing.B) {
		for b.Loop() {
			if _, err := MakeVerdict(testKeys().Proving[1], &w.session, sum); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if err := CheckVerdict(inRangeKey(), thresholdKey(), &w.session, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSum is a total as it is asked for, with nothing but the pledges prepared:
// every bank derives its pair secrets and makes its share, one after the other on one
// machine, and the lender checks and adds up. The median is what is promised.
func BenchmarkSum(b *testing.B) {
	benchWorlds(b, func(b *testing.B, w *world) {
		var took []time.Duration
		for b.Loop() {
			begun := time.Now()
			if _, err := Combine(inRangeKey(), &w.session, w.deliveries(b)); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	})
}
