package cohort

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// What the ledger approves, the protocol can compute: the bounds stand in two places.
func TestEveryPlanThatTheLedgerTakesIsOne(t *testing.T) {
	r := rand.New(seeded("plans"))
	taken := 0
	for range 200_000 {
		p := record.CohortPlan{EpsilonMicro: 1 + r.Uint64N(1<<r.Uint64N(25)), K: 1 + r.Uint64N(1<<r.Uint64N(22))}
		for range r.IntN(10) {
			s := record.CohortStatistic{Column: "c", Kind: []record.StatisticKind{record.StatisticSum, record.StatisticMean, record.StatisticHistogram}[r.IntN(3)]}
			if s.Kind == record.StatisticHistogram {
				cut := r.Int64N(100) - 50
				for range 1 + r.IntN(66) {
					s.Cuts = append(s.Cuts, strconv.FormatInt(cut, 10))
					cut += 1 + r.Int64N(1<<40)
				}
			} else {
				low := r.Int64N(1<<r.Uint64N(53)) - r.Int64N(1<<r.Uint64N(53))
				s.Low, s.High, s.Granule = strconv.FormatInt(low, 10), strconv.FormatInt(low+r.Int64N(1<<r.Uint64N(53)), 10), 1+r.Uint64N(1<<r.Uint64N(40))
			}
			p.Statistics = append(p.Statistics, s)
		}
		if _, err := record.Encode(&p); err != nil || p.Check() != nil {
			continue
		}
		taken++
		if plan, err := PlanOf(&p); err != nil || plan.cells() > record.MaxCohortCells {
			t.Fatalf("%+v: %v", p, err)
		}
	}
	if taken < 5_000 {
		t.Errorf("only %d plans of the trial are any", taken)
	}
}

// Two shares of the largest session fit into what an answer carries, 2,183 bytes.
func TestTheLargestSharesFit(t *testing.T) {
	n := record.MaxCohortBanks
	count, figures := Share{Round: CountRound, Seeds: make([]Hash, n-1), Values: make([]uint64, 1)}, Share{
		Round: FiguresRound, Seeds: make([]Hash, n-1), Values: make([]uint64, record.MaxCohortCells), Views: make([]Hash, n),
	}
	both := Pack(count.Bytes(), figures.Bytes())
	if len(both) > 2183 {
		t.Errorf("%d bytes", len(both))
	}
	a, b, err := Unpack(both)
	if err != nil || string(a) != string(count.Bytes()) || string(b) != string(figures.Bytes()) {
		t.Errorf("unpacked otherwise: %v", err)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 0, 1}, {0, 1, 9}, {255, 255, 1}} {
		if _, _, err := Unpack(bad); err == nil {
			t.Errorf("%x is two shares", bad)
		}
	}
}
