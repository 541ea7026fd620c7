package cohort

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// seenOf is what the lender and all banks but the first two make of those two: their
// masks with everybody else are known, the one between them cancels in the sum.
func (w *world) seenOf(round Round, deliveries []Delivery) []int64 {
	w.t.Helper()
	out := make([]int64, w.session.numbers(round))
	for seat := range 2 {
		h, err := DecodeShare(deliveries[seat].Share)
		must(w.t, err)
		for other := 2; other < len(w.session.Seats); other++ {
			for i, m := range SeedOf(w.secrets[seat][other], w.session.Digest(), seat, other).masks(place(round), len(out)) {
				h.Values[i] -= signed(m, seat, other)
			}
		}
		for i, v := range h.Values {
			out[i] += int64(v)
		}
	}
	return out
}

// The lender with all banks but two asks about two neighbouring states of the two
// others' vaults: no threshold on what it sees is crossed e^epsilon times as often in
// one as in the other. With more than its epsilon's worth of difference it is: the
// test can tell.
func TestAllBanksButTwoAndTheLenderSeeNoSingleCustomer(t *testing.T) {
	p := Plan{Epsilon: 1_000_000, K: 2}
	w := newWorld(t, 4, p)
	const sessions = 1000
	watch := func(people int64) map[int64]int {
		seen := map[int64]int{}
		for i := range sessions {
			w.next(i)
			w.tallies[0].count, w.tallies[1].count = people, 500
			var shares []Delivery // the others' are nothing new to the adversary
			for seat := range 2 {
				h, err := MakeCount(&w.session, seat, w.tallies[seat], w.noisers[seat], w.secrets[seat])
				must(t, err)
				shares = append(shares, Delivery{Bank: w.session.Seats[seat].Bank, Share: h.Bytes()})
			}
			seen[w.seenOf(CountRound, shares)[0]]++
		}
		return seen
	}
	leaks := func(a, b map[int64]int) (worst float64) {
		for cut := int64(980); cut < 1020; cut++ {
			var x, y float64
			for v := range a {
				if v <= cut {
					x += float64(a[v])
				}
			}
			for v := range b {
				if v <= cut {
					y += float64(b[v])
				}
			}
			for _, k := range [][2]float64{{x, y}, {sessions - x, sessions - y}} {
				if k[0] < 100 || k[1] < 1 {
					continue
				}
				worst = max(worst, math.Log(k[0]/k[1])-3*math.Sqrt(1/k[0]+1/k[1]), math.Log(k[0]/k[1])-8*math.Sqrt(1/k[0]+1/k[1])-2)
			}
		}
		return worst
	}
	here, there, far := watch(500), watch(499), watch(495)
	if got := max(leaks(here, there), leaks(there, here)); got > 1 {
		t.Errorf("one customer changes what is seen by e^%.2f, epsilon is 1", got)
	}
	if got := max(leaks(here, far), leaks(far, here)); got < 1.3 {
		t.Errorf("five customers change what is seen by e^%.2f alone: the test sees nothing", got)
	}
}

// A share alone is uniform, and every split of the same sum explains the same shares.
func TestEverySplitExplainsTheSameShares(t *testing.T) {
	w := newWorld(t, 3, Plan{Epsilon: MaxEpsilon, K: 2})
	counts := map[int64]int{}
	const sessions = 1000
	for i := range sessions {
		w.next(i)
		h, err := MakeCount(&w.session, 0, w.tallies[0], w.noisers[0], w.secrets[0])
		must(t, err)
		counts[int64(h.Values[0]>>60)]++
	}
	if z := chiSquare(counts, sessions, func(x int64) float64 { return 1.0 / 16 }, 0, 14); z > 5 {
		t.Errorf("shares are %.1f deviations from uniform", z)
	}
	// What bank 2 and the lender know leaves one equation for two figures: a mask of
	// the pair that nobody else can compute makes any split true.
	shares := w.counts()
	sum := w.seenOf(CountRound, shares)[0]
	first, err := DecodeShare(shares[0].Share)
	must(t, err)
	second, err := DecodeShare(shares[1].Share)
	must(t, err)
	known := func(seat int) uint64 { return SeedOf(w.secrets[seat][2], w.session.Digest(), seat, 2).masks(0, 1)[0] }
	for _, split := range []int64{0, 1, -7, 1 << 50} {
		mask := first.Values[0] - known(0) - uint64(split)
		if got := int64(second.Values[0] - known(1) + mask); got != sum-split {
			t.Errorf("the split %d does not explain the shares: %d and %d", split, got, sum-split)
		}
	}
}

// faultsOf lists what a Blame names.
func faultsOf(err error) []string {
	var b *Blame
	if !errors.As(err, &b) {
		return nil
	}
	var out []string
	for _, f := range b.Faults {
		out = append(out, fmt.Sprintf("%s %s %s", f.Bank, f.Kind, f.With))
	}
	slices.Sort(out)
	return out
}

// Whatever is wrong with a share is its bank's fault by name, and nothing is added up.
func TestWrongSharesNameTheirBank(t *testing.T) {
	type shares struct{ counts, figures []Delivery }
	for name, k := range map[string]struct {
		spoil func(w *world, s *shares)
		want  []string
	}{
		"a dropped bank": {func(_ *world, s *shares) { s.figures = s.figures[1:] }, []string{"bank-00 MISSING "}},
		"no first share": {func(_ *world, s *shares) { s.counts = s.counts[:2] }, []string{"bank-02 MISSING "}},
		"a late share":   {func(_ *world, s *shares) { s.figures[1].Late = true }, []string{"bank-01 LATE "}},
		"two shares": {func(_ *world, s *shares) {
			s.figures = append(s.figures, Delivery{Bank: "bank-01", Share: s.figures[0].Share})
		}, []string{"bank-01 CONFLICTING "}},
		"a cut share":     {func(_ *world, s *shares) { s.figures[1].Share = s.figures[1].Share[:80] }, []string{"bank-01 MALFORMED "}},
		"another's share": {func(_ *world, s *shares) { s.figures[1].Share = s.figures[0].Share }, []string{"bank-01 REPLAYED "}},
		"the other round": {func(_ *world, s *shares) { s.figures[1].Share = s.counts[1].Share }, []string{"bank-01 REPLAYED "}},
		"of another epoch": {func(w *world, s *shares) {
			w.session.Seats[2].Epoch++
			c, f := w.run()
			w.session.Seats[2].Epoch--
			s.counts[0], s.figures[0] = c[0], f[0]
		}, []string{"bank-00 REPLAYED ", "bank-00 REPLAYED ", "bank-00 VIEW_DISPUTED bank-01", "bank-00 VIEW_DISPUTED bank-02"}},
		"of another plan": {func(w *world, s *shares) {
			w.session.Plan.Statistics[0].Cuts[0]++
			c, f := w.run()
			w.session.Plan.Statistics[0].Cuts[0]--
			s.counts[0], s.figures[0] = c[0], f[0]
		}, []string{"bank-00 REPLAYED ", "bank-00 REPLAYED ", "bank-00 VIEW_DISPUTED bank-01", "bank-00 VIEW_DISPUTED bank-02"}},
		"other masks":      {func(w *world, s *shares) { w.respoil(s.figures, 1, func(h *Share) { h.Seeds[0][0] ^= 1 }) }, []string{"bank-00 MASK_DISPUTED bank-01", "bank-01 CONFLICTING ", "bank-01 MASK_DISPUTED bank-00"}},
		"two first shares": {func(w *world, s *shares) { s.counts[1] = w.counts()[1] }, []string{"bank-01 VIEW_DISPUTED bank-00", "bank-01 VIEW_DISPUTED bank-01", "bank-01 VIEW_DISPUTED bank-02"}},
		"another's view":   {func(w *world, s *shares) { w.respoil(s.figures, 1, func(h *Share) { h.Views[2][5] ^= 1 }) }, []string{"bank-02 VIEW_DISPUTED bank-01"}},
		"strangers' shares": {func(_ *world, s *shares) {
			s.figures = append(s.figures, Delivery{Bank: "stranger", Share: []byte("x")})
		}, nil},
	} {
		w := newWorld(t, 3, incomes())
		w.fill(200)
		var s shares
		s.counts, s.figures = w.run()
		k.spoil(w, &s)
		r, err := Combine(&w.session, s.counts, s.figures)
		if got := faultsOf(err); !slices.Equal(got, k.want) || (err == nil) != (k.want == nil) || (r == nil) == (err == nil) {
			t.Errorf("%s: %v, want %v", name, err, k.want)
		}
	}
}

// respoil changes a bank's share.
func (w *world) respoil(list []Delivery, seat int, change func(*Share)) {
	h, err := DecodeShare(list[seat].Share)
	must(w.t, err)
	change(&h)
	list[seat].Share = h.Bytes()
}

// A bank whose numbers are garbled spoils the sum; an audit names it, and nobody else.
func TestAuditNamesWhoGarbledTheSum(t *testing.T) {
	for _, banks := range []int{3, 6} {
		w := newWorld(t, banks, incomes())
		w.fill(200)
		counts, figures := w.run()
		w.respoil(figures, 1, func(h *Share) { h.Values[3] += 1 << 62 })
		if _, err := Combine(&w.session, counts, figures); !errors.Is(err, ErrGarbled) {
			t.Fatalf("a garbled sum: %v", err)
		}
		seeds := w.seeds()
		got, err := Audit(&w.session, counts, figures, seeds)
		must(t, err)
		if len(got) != 1 || got[0].Bank != "bank-01" || got[0].Kind != WrongShare {
			t.Errorf("named: %v", got)
		}
		seeds[2][0] = Seed{1}
		seeds[0] = nil
		got, err = Audit(&w.session, counts, figures, seeds)
		must(t, err)
		want := []Fault{{Bank: "bank-00", Kind: SeedWithheld}, {Bank: "bank-01", Kind: WrongShare}, {Bank: "bank-02", Kind: SeedWithheld}}
		for _, f := range want {
			if !slices.Contains(got, f) || len(got) != 3 {
				t.Errorf("with seeds withheld: %v", got)
			}
		}

		// In the first round nobody goes on, and the same audit tells.
		w.respoil(counts, 2, func(h *Share) { h.Values[0] += 1 << 60 })
		if _, err := Decide(&w.session, counts); !errors.Is(err, ErrGarbled) {
			t.Errorf("a garbled count: %v", err)
		}
		if got, err = Audit(&w.session, counts, nil, w.seeds()); err != nil || len(got) != 1 || got[0].Bank != "bank-02" {
			t.Errorf("named: %v, %v", got, err)
		}
		w.respoil(counts, 2, func(h *Share) { h.Seeds[0] = Hash{} })
		if _, err = Audit(&w.session, counts, nil, w.seeds()); !errors.Is(err, ErrSession) {
			t.Errorf("an audit before masks are settled: %v", err)
		}
	}
}

// Banks that go on although the cohort is too small are not believed.
func TestLenderTakesNoAnswerBelowTheThreshold(t *testing.T) {
	w := newWorld(t, 3, incomes())
	counts := w.counts()
	d, err := Decide(&w.session, counts)
	must(t, err)
	if d.Released {
		t.Fatalf("a cohort of nobody counts %d", d.Count)
	}
	d.Released = true
	if _, err := Combine(&w.session, counts, w.figures(d)); !errors.Is(err, ErrTooFew) {
		t.Errorf("combined: %v", err)
	}
}

// The same in everything but one part of a session gives other masks.
func TestEveryPartOfASessionIsBound(t *testing.T) {
	w := newWorld(t, 3, incomes())
	was := w.session.Digest()
	for name, change := range map[string]func(*Session){
		"chain":     func(s *Session) { s.ChainID[0]++ },
		"request":   func(s *Session) { s.RequestID = record.NewRequestID(record.Hash{9}) },
		"lender":    func(s *Session) { s.Lender = "other" },
		"epsilon":   func(s *Session) { s.Plan.Epsilon++ },
		"k":         func(s *Session) { s.Plan.K++ },
		"kind":      func(s *Session) { s.Plan.Statistics[1].Kind = Sum },
		"column":    func(s *Session) { s.Plan.Statistics[1].Column = "other" },
		"low":       func(s *Session) { s.Plan.Statistics[1].Low++ },
		"high":      func(s *Session) { s.Plan.Statistics[1].High++ },
		"granule":   func(s *Session) { s.Plan.Statistics[1].Granule++ },
		"cut":       func(s *Session) { s.Plan.Statistics[0].Cuts[1]++ },
		"bank":      func(s *Session) { s.Seats[2].Bank = "bank-03" },
		"product":   func(s *Session) { s.Seats[2].ProductID = "loan" },
		"code hash": func(s *Session) { s.Seats[2].CodeHash[9]++ },
		"epoch":     func(s *Session) { s.Seats[2].Epoch++ },
		"key id":    func(s *Session) { s.Seats[2].KeyID = "data-2" },
		"key":       func(s *Session) { s.Seats[2].Key = slices.Concat(s.Seats[2].Key[:31], []byte{1}) },
	} {
		x := newWorld(t, 3, incomes())
		change(&x.session)
		if x.session.Digest() == was {
			t.Errorf("the digest does not depend on: %s", name)
		}
		if SeedOf(w.secrets[0][1], x.session.Digest(), 0, 1) == SeedOf(w.secrets[0][1], was, 0, 1) {
			t.Errorf("masks do not depend on: %s", name)
		}
	}
}
