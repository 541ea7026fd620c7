package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/assent-network/assent/sdk"
)

// showStatistics says what statistics will tell, with how much noise, and what they take.
func showStatistics(w io.Writer, s *sdk.ExplainedStatistics) {
	if s == nil {
		return
	}
	fmt.Fprintf(w, "releases\tthe number of people, noise %s; of fewer than %d people nothing\n", noise(s.Count), s.K)
	for i := range s.Figures {
		f := &s.Figures[i]
		switch {
		case len(f.Cuts) > 0:
			fmt.Fprintf(w, "releases\t%s of %s in %d buckets, noise of each %s\n", f.Kind, f.Column, len(f.Cuts)+1, noise(f.ExpectedNoise))
		case f.Kind == "MEAN":
			fmt.Fprintf(w, "releases\tMEAN of %s, each from %s to %s, noise %s over %d people, less over more\n", f.Column, f.Low, f.High, noise(f.ExpectedNoise), s.K)
		default:
			fmt.Fprintf(w, "releases\t%s of %s, each from %s to %s, noise %s\n", f.Kind, f.Column, f.Low, f.High, noise(f.ExpectedNoise))
		}
	}
	fmt.Fprintf(w, "costs\tepsilon %s of each bank's product, by the permit\n", plainNumber(epsilon(s.Epsilon)))
	if b := s.Budget; b != nil {
		fmt.Fprintf(w, "remains\tepsilon %s of this product in %d: %d answers; %s spent over all lenders, proven\n", plainNumber(epsilon(b.Left)), b.Year, b.Answers, plainNumber(epsilon(b.Spent)))
	}
}

// noise is a deviation with the fewest and the most banks.
func noise(n sdk.ExpectedNoise) string {
	short := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	return fmt.Sprintf("±%s with %d banks, ±%s with %d", short(n.OfFewest), sdk.MinCohortBanks, short(n.OfMost), sdk.MaxCohortBanks)
}
