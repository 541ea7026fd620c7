package access

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
)

// setsOf reads "123 145": a set a word, a bank a letter; "1'" is bank 1 in its
// second epoch, "1\"" by its second template.
func setsOf(text string) []record.FigureSet {
	var out []record.FigureSet
	for _, word := range strings.Fields(text) {
		var s record.FigureSet
		for i := range word {
			switch word[i] {
			case '\'':
				s.Figures[len(s.Figures)-1].Epoch++
			case '"':
				s.Figures[len(s.Figures)-1].TemplateID = "second"
			default:
				s.Figures = append(s.Figures, record.Figure{Bank: record.OrgID(word[i : i+1]), Epoch: 1, TemplateID: "first"})
			}
		}
		out = append(out, s)
	}
	return out
}

func TestSetsThatShowOneBank(t *testing.T) {
	for text, want := range map[string]bool{
		"123":                 false,
		"123 1234":            true,  // bank 4
		"1234 123":            true,  // the same, the other way round
		"123 124":             false, // the difference of two banks
		"123 145":             false,
		"123 145 2345":        true, // twice bank 1
		"123 145 2346":        false,
		"123 124 125":         false,
		"123 124 134":         false, // differences of 2, 3 and 4, no sum of them alone
		"123 124 134 234":     true,  // the sum of all four sets is 3·(1+2+3+4)
		"1234 1256 3456":      false, // pairs
		"1234 1256 3456 135a": false,
		"1234 1256 3456 135":  false,
		"123 456 123456":      false,
		"123 456 1234567":     true,
		"123 1'23":            true,  // how bank 1 changed
		"123 1'2'3":           false, // how two changed, together
		"123 1'2'3'":          false,
		"1234 1'2'3'":         true, // bank 4, nearly
		"1234 1\"2\"3\"":      true, // bank 4, if both templates add up the same
		"123 1\"23":           true,
	} {
		if got := Shows(setsOf(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestRandomSetsAgreeWithFractions holds the rule against Gauss over the rationals,
// bank by bank: is there a row of the span that is zero for every other bank?
func TestRandomSetsAgreeWithFractions(t *testing.T) {
	met := map[bool]int{}
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 61))
		banks, epochs := 3+rng.IntN(6), uint64(1+rng.IntN(2))
		sets := make([]record.FigureSet, 1+rng.IntN(7))
		for i := range sets {
			for _, b := range rng.Perm(banks)[:min(banks, 3+rng.IntN(3))] {
				sets[i].Figures = append(sets[i].Figures, record.Figure{Bank: record.OrgID('a' + rune(b)), Epoch: 1 + rng.Uint64N(epochs), TemplateID: "t"})
			}
		}
		want := slowly(sets, func(f record.Figure) string { return string(f.Bank) }) ||
			slowly(sets, func(f record.Figure) string { return fmt.Sprint(f.Bank, f.Epoch) })
		if got := Shows(sets); got != want {
			t.Fatalf("seed %d: %v, fractions say %v: %v", seed, got, want, sets)
		}
		met[want]++
	}
	if met[true] < 30 || met[false] < 30 {
		t.Errorf("the runs show one side only: %v", met)
	}
}

func slowly(sets []record.FigureSet, name func(record.Figure) string) bool {
	places, owner := map[string]int{}, []record.OrgID{}
	for _, s := range sets {
		for _, f := range s.Figures {
			if _, known := places[name(f)]; !known {
				places[name(f)] = len(owner)
				owner = append(owner, f.Bank)
			}
		}
	}
	rank := func(without record.OrgID) int {
		rows := make([][]*big.Rat, len(sets))
		for i, s := range sets {
			rows[i] = make([]*big.Rat, len(owner))
			for j := range rows[i] {
				rows[i][j] = new(big.Rat)
			}
			for _, f := range s.Figures {
				if f.Bank != without {
					rows[i][places[name(f)]].SetInt64(1)
				}
			}
		}
		return gauss(rows)
	}
	all := rank("")
	for _, bank := range owner {
		if rank(bank) < all {
			return true
		}
	}
	return false
}

func gauss(rows [][]*big.Rat) int {
	rank := 0
	for col := 0; len(rows) > 0 && col < len(rows[0]) && rank < len(rows); col++ {
		at := rank
		for at < len(rows) && rows[at][col].Sign() == 0 {
			at++
		}
		if at == len(rows) {
			continue
		}
		rows[rank], rows[at] = rows[at], rows[rank]
		for i := rank + 1; i < len(rows); i++ {
			factor := new(big.Rat).Quo(rows[i][col], rows[rank][col])
			for j := range rows[i] {
				rows[i][j] = new(big.Rat).Sub(rows[i][j], new(big.Rat).Mul(factor, rows[rank][j]))
			}
		}
		rank++
	}
	return rank
}

func TestTheFieldAgreesWithBigIntegers(t *testing.T) {
	rng, p := rand.New(rand.NewPCG(1, 2)), big.NewInt(prime)
	for range 2_000 {
		a, b := rng.Uint64N(prime), rng.Uint64N(prime)
		if rng.IntN(4) == 0 {
			a, b = prime-1-rng.Uint64N(3), prime-1-rng.Uint64N(3)
		}
		x, y := new(big.Int).SetUint64(a), new(big.Int).SetUint64(b)
		if got, want := times(a, b), new(big.Int).Mod(new(big.Int).Mul(x, y), p).Uint64(); got != want {
			t.Fatalf("%d · %d = %d, want %d", a, b, got, want)
		}
		if got, want := minus(a, b), new(big.Int).Mod(new(big.Int).Sub(x, y), p).Uint64(); got != want {
			t.Fatalf("%d - %d = %d, want %d", a, b, got, want)
		}
		if a != 0 && times(a, inverse(a)) != 1 {
			t.Fatalf("1/%d = %d", a, inverse(a))
		}
	}
}

// BenchmarkShows is the most that the rule has to do: as many sets of as many banks
// as there may be, all figures different.
func BenchmarkShows(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 4))
	sets := make([]record.FigureSet, record.MaxExposureSets+1)
	for i := range sets {
		for _, k := range rng.Perm(90)[:record.MaxExposureBanks] {
			sets[i].Figures = append(sets[i].Figures, record.Figure{Bank: record.OrgID(fmt.Sprint(k)), Epoch: 1 + rng.Uint64N(8), TemplateID: "t"})
		}
	}
	for b.Loop() {
		Shows(sets)
	}
}
