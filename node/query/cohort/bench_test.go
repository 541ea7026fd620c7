package cohort

import (
	"fmt"
	"testing"
)

// A whole session over 30,000 customers at 3 banks, but for reading the vaults:
// tallies, noise, masks, both rounds, the lender's sum.
func BenchmarkSession(b *testing.B) {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("9001001990%08d", i)
	}
	for b.Loop() {
		w := newWorld(b, 3, incomes())
		for _, tally := range w.tallies {
			for i, name := range names {
				must(b, tally.Add(name, []Value{{N: int64(i % 80)}, {N: int64(i)}, {N: int64(i % 3000)}}))
			}
		}
		counts, figures := w.run()
		if _, err := Combine(&w.session, counts, figures); err != nil {
			b.Fatal(err)
		}
	}
}
