package cohort

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// What the lender adds up is every bank's figures and noise, and nothing else.
func TestAnswerIsTheSumOfFiguresAndNoise(t *testing.T) {
	for _, banks := range []int{MinBanks, 5, MaxBanks} {
		w := newWorld(t, banks, incomes())
		w.fill(200)
		counts, figures := w.run()
		got, err := Combine(&w.session, counts, figures)
		must(t, err)

		want := make([]int64, 1+w.session.Plan.cells())
		for i, tally := range w.tallies {
			n := newNoiser(seeded("noise of ", i)) // the same noise again
			want[0] += tally.count + n.share(w.session.Plan.rate(0))
			at := 1
			for k := range w.session.Plan.Statistics {
				for range w.session.Plan.Statistics[k].cells() {
					want[at] += tally.cells[at-1] + n.share(w.session.Plan.rate(k+1))
					at++
				}
			}
		}
		mean := min(max(5000+10*float64(want[4])/float64(want[0]), 0), 10_000)
		if got.Count != want[0] || !slices.Equal(got.Figures[0].Buckets, want[1:4]) || math.Abs(got.Figures[1].Mean-mean) > 1e-9 || got.Figures[2].Sum.Cmp(big.NewInt(100*want[5])) != 0 {
			t.Errorf("%d banks: %+v, want %v", banks, got, want)
		}
	}
}

// The figures are right within the deviations that come with them.
func TestAnswerIsNearTheTruth(t *testing.T) {
	w := newWorld(t, 3, incomes())
	count, sum, debts, young := 0.0, 0.0, 0.0, 0.0
	random := rand.New(seeded("truth"))
	for b, tally := range w.tallies {
		for i := range 3000 {
			age, income, debt := random.Int64N(60)+20, random.Int64N(12_000), random.Int64N(3_000)-1_000
			must(t, tally.Add(fmt.Sprint(b, i), []Value{{N: age}, {N: income}, {N: debt}}))
			count++
			sum += float64(min(income, 10_000))
			debts += float64(min(max(debt, -500), 2_000))
			if age < 30 {
				young++
			}
		}
	}
	counts, figures := w.run()
	r, err := Combine(&w.session, counts, figures)
	must(t, err)
	debt, _ := new(big.Float).SetInt(r.Figures[2].Sum).Float64()
	for _, k := range []struct {
		name           string
		got, want, dev float64
	}{
		{"count", float64(r.Count), count, r.Deviation},
		{"young", float64(r.Figures[0].Buckets[0]), young, r.Figures[0].Deviation},
		{"mean", r.Figures[1].Mean, sum / count, r.Figures[1].Deviation + 0.1},
		{"debts", debt, debts, r.Figures[2].Deviation + 50*math.Sqrt(count)},
	} {
		if math.Abs(k.got-k.want) > 5*k.dev {
			t.Errorf("%s: %f, the truth is %f, deviation %f", k.name, k.got, k.want, k.dev)
		}
	}
}

// Whoever a customer is and however many rows she has, she moves the count by one at
// most and each statistic by what the noise is made for.
func TestACustomerMovesNothingFurtherThanTheBounds(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		p := randomPlan(random)
		if p.Check() != nil {
			continue
		}
		with, without := NewTally(&p), NewTally(&p)
		for range 30 {
			who := random.IntN(8)
			values := make([]Value, len(p.Statistics))
			for i := range values {
				values[i] = Value{N: random.Int64() >> random.IntN(60), Null: random.IntN(20) == 0}
			}
			must(t, with.Add(fmt.Sprint(who), values))
			if who != 0 {
				must(t, without.Add(fmt.Sprint(who), values))
			}
		}
		if d := with.count - without.count; d < 0 || d > 1 {
			t.Errorf("seed %d: the count moved by %d", seed, d)
		}
		at := 0
		for i := range p.Statistics {
			moved := int64(0)
			for range p.Statistics[i].cells() {
				moved += magnitude(with.cells[at] - without.cells[at])
				at++
			}
			if uint64(moved) > p.Statistics[i].units() {
				t.Errorf("seed %d: %+v moved by %d, its noise is for %d", seed, p.Statistics[i], moved, p.Statistics[i].units())
			}
		}
	}
}

func randomPlan(r *rand.Rand) Plan {
	p := Plan{Epsilon: uint64(1 + r.IntN(MaxEpsilon)), K: uint64(2 + r.IntN(100))}
	for range r.IntN(4) {
		s := Statistic{Kind: Kind(1 + r.IntN(3)), Column: "c"}
		if s.Kind == Histogram {
			cuts := map[int64]bool{}
			for range 1 + r.IntN(5) {
				cuts[int64(r.IntN(1000)-500)] = true
			}
			for c := range cuts {
				s.Cuts = append(s.Cuts, c)
			}
			slices.Sort(s.Cuts)
		} else {
			s.Low = int64(r.IntN(1_000_000) - 500_000)
			s.High, s.Granule = s.Low+1+int64(r.IntN(1_000_000)), 1+int64(r.IntN(5000))
		}
		p.Statistics = append(p.Statistics, s)
	}
	return p
}

// A customer with a null in a statistic's column is not of the cohort.
func TestNullsAndSecondRowsAreLeftOut(t *testing.T) {
	p := incomes()
	tally := NewTally(&p)
	full := []Value{{N: 30}, {N: 7_004}, {N: -9_999}}
	must(t, tally.Add("a", full))
	must(t, tally.Add("a", full))
	must(t, tally.Add("b", []Value{{N: 30}, {Null: true}, {N: 1}}))
	must(t, tally.Add("b", full)) // her first row counts
	if tally.count != 1 || !slices.Equal(tally.cells, []int64{0, 1, 0, 200, -5}) {
		t.Errorf("%d, %v", tally.count, tally.cells)
	}
	if err := tally.Add("c", nil); err == nil {
		t.Error("a row of no values was counted")
	}
	if fmt.Sprintf("%v %+v %d", tally, tally, tally) != "[tally] [tally] [tally]" {
		t.Errorf("a tally prints itself: %v", tally)
	}
}

// A cohort of fewer than k people is told less than once in fifty times, a large one
// nearly always; without a decision no figure leaves.
func TestSmallCohortsAreNotTold(t *testing.T) {
	p := Plan{Epsilon: 1_000_000, K: 20}
	w := newWorld(t, 3, p)
	const sessions = 600
	told := func(people int64) (n int) {
		for i := range sessions {
			w.next(i)
			w.tallies[0].count, w.tallies[1].count, w.tallies[2].count = people, 0, 0
			d, err := Decide(&w.session, w.counts())
			must(t, err)
			if d.Released {
				n++
			} else if _, err := MakeFigures(&w.session, 0, w.tallies[0], w.noisers[0], w.secrets[0], d); !errors.Is(err, ErrTooFew) {
				t.Fatalf("figures of a cohort that is too small: %v", err)
			}
		}
		return n
	}
	if n := told(int64(p.K) - 1); n > sessions/50 {
		t.Errorf("%d of %d cohorts of k-1 people were told", n, sessions)
	}
	if n := told(2*w.session.Plan.Threshold(3) - int64(p.K)); n < sessions*98/100 {
		t.Errorf("%d of %d cohorts of enough people were told", n, sessions)
	}
}

func TestPlansAndSessionsOutOfBoundsAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Session){
		"no epsilon":        func(s *Session) { s.Plan.Epsilon = 0 },
		"much epsilon":      func(s *Session) { s.Plan.Epsilon = MaxEpsilon + 1 },
		"k of one":          func(s *Session) { s.Plan.K = 1 },
		"noise too large":   func(s *Session) { s.Plan.Epsilon = 4; s.Plan.Statistics[1].Granule = 1 },
		"epsilon of parts":  func(s *Session) { s.Plan.Epsilon = 3 },
		"many statistics":   func(s *Session) { s.Plan.Statistics = make([]Statistic, MaxStatistics+1) },
		"no such kind":      func(s *Session) { s.Plan.Statistics[0].Kind = 9 },
		"no column":         func(s *Session) { s.Plan.Statistics[0].Column = "" },
		"cuts not in order": func(s *Session) { s.Plan.Statistics[0].Cuts = []int64{5, 5} },
		"no cuts":           func(s *Session) { s.Plan.Statistics[0].Cuts = nil },
		"cuts of a sum":     func(s *Session) { s.Plan.Statistics[2].Cuts = []int64{1} },
		"limits of cuts":    func(s *Session) { s.Plan.Statistics[0].High = 1 },
		"limits reversed":   func(s *Session) { s.Plan.Statistics[1].Low = 10_001 },
		"limits vast":       func(s *Session) { s.Plan.Statistics[1].High = math.MaxInt64 },
		"no granule":        func(s *Session) { s.Plan.Statistics[1].Granule = 0 },
		"fine granule":      func(s *Session) { s.Plan.Statistics[1].Granule, s.Plan.Statistics[1].High = 1, 1<<40 },
		"two banks":         func(s *Session) { s.Seats = s.Seats[:2] },
		"31 banks":          func(s *Session) { s.Seats = make([]Seat, 31) },
		"banks not in order": func(s *Session) {
			s.Seats[0].Bank, s.Seats[1].Bank = s.Seats[1].Bank, s.Seats[0].Bank
		},
		"the lender a bank": func(s *Session) { s.Lender = s.Seats[1].Bank },
		"one key twice":     func(s *Session) { s.Seats[1].Key = s.Seats[0].Key },
		"short key":         func(s *Session) { s.Seats[1].Key = s.Seats[1].Key[:31] },
		"no request":        func(s *Session) { s.RequestID = "x" },
		"no product":        func(s *Session) { s.Seats[0].ProductID = "" },
	} {
		w := newWorld(t, 3, incomes())
		change(&w.session)
		if err := w.session.Check(); !errors.Is(err, ErrSession) && !errors.Is(err, ErrPlan) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Decide(&w.session, nil); err == nil {
			t.Errorf("%s: decided", name)
		}
		if _, err := Combine(&w.session, nil, nil); err == nil {
			t.Errorf("%s: combined", name)
		}
		if _, err := MakeCount(&w.session, 0, w.tallies[0], w.noisers[0], w.secrets[0]); err == nil {
			t.Errorf("%s: a share was made", name)
		}
		if _, err := Audit(&w.session, nil, nil, nil); err == nil {
			t.Errorf("%s: audited", name)
		}
	}
	w := newWorld(t, 3, incomes())
	other := incomes()
	other.Epsilon++
	if _, err := MakeCount(&w.session, 0, NewTally(&other), w.noisers[0], w.secrets[0]); !errors.Is(err, ErrSession) {
		t.Errorf("a tally of another plan: %v", err)
	}
	d, err := Decide(&w.session, w.counts())
	must(t, err)
	d.Released = true
	w.next(1)
	if _, err := MakeFigures(&w.session, 0, w.tallies[0], w.noisers[0], w.secrets[0], d); !errors.Is(err, ErrSession) {
		t.Errorf("a decision of another session: %v", err)
	}
}

// Nothing secret prints itself.
func TestSecretsDoNotPrintThemselves(t *testing.T) {
	w := newWorld(t, 3, incomes())
	s := w.secrets[0][1]
	for _, text := range []string{fmt.Sprintf("%v %x %+v %s", s, s, s, s), fmt.Sprintf("%v %x %+v", SeedOf(s, Hash{}, 0, 1), SeedOf(s, Hash{}, 0, 1), SeedOf(s, Hash{}, 0, 1)), s.LogValue().String(), Seed{}.LogValue().String(), w.tallies[0].LogValue().String()} {
		if strings.Trim(text, "[]pairsectdyl ") != "" {
			t.Errorf("printed: %s", text)
		}
	}
	if seat, ok := w.session.Seat("bank-02"); !ok || seat != 2 {
		t.Errorf("seat %d, %v", seat, ok)
	}
	if _, ok := w.session.Seat(record.OrgID("bank-99")); ok {
		t.Error("a bank of no seat")
	}
}
