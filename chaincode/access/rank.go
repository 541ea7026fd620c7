package access

import (
	"math/bits"

	"github.com/assent-network/assent/chaincode/record"
)

// Shows reports whether the totals of all these sets together show something about
// one bank alone: whether some sum of multiples of them is about no other bank's
// figures. Then the rank of the sets, as rows of zeros and ones over the figures,
// falls when that bank's columns are taken away.
//
// Sets that are two apart, pair by pair, are not enough: {1,2,3} + {1,4,5} −
// {2,3,4,5} is twice the figure of bank 1.
//
// It is asked twice. First every bank is one column, whichever epochs and templates
// were asked: a figure hardly changes from one epoch to the next, so a total of
// three banks now, and of two of them in the next epoch, would nearly show the third.
// Then every figure is a column of its own: the same banks, one of them in a new
// epoch, would show how its figure changed.
func Shows(sets []record.FigureSet) bool {
	byBank := func(f *record.Figure) record.Figure { return record.Figure{Bank: f.Bank} }
	byFigure := func(f *record.Figure) record.Figure { return *f }
	return singlesOut(columnsOf(sets, byBank)) || singlesOut(columnsOf(sets, byFigure))
}

// column is one figure: bit i of sets says that set i has it.
type column struct {
	bank record.OrgID
	sets uint64
}

// columnsOf are the columns in the order in which the sets first name them.
func columnsOf(sets []record.FigureSet, name func(*record.Figure) record.Figure) []column {
	var out []column
	at := make(map[record.Figure]int)
	for i := range sets {
		for j := range sets[i].Figures {
			f := name(&sets[i].Figures[j])
			k, known := at[f]
			if !known {
				k = len(out)
				at[f], out = k, append(out, column{bank: f.Bank})
			}
			out[k].sets |= 1 << i
		}
	}
	return out
}

// singlesOut reports whether the rank falls without one of the banks. Only a bank
// of which a basis has a column can be one: the others leave that basis whole.
func singlesOut(columns []column) bool {
	var all span
	var basis []column
	for _, c := range columns {
		if all.add(c.sets) {
			basis = append(basis, c)
		}
	}
	for i := range basis {
		if rankWithout(basis[i].bank, basis, columns, len(basis)) < len(basis) {
			return true
		}
	}
	return false
}

// rankWithout is the rank of the columns that are not the bank's. It begins with
// those of the basis and stops when it has found enough.
func rankWithout(bank record.OrgID, basis, columns []column, enough int) int {
	var rest span
	for _, list := range [2][]column{basis, columns} {
		for _, c := range list {
			if len(rest) == enough {
				return enough
			}
			if c.bank != bank {
				rest.add(c.sets)
			}
		}
	}
	return len(rest)
}

// prime is 2^61 − 1. The rank modulo it is the rank itself: a square matrix of n
// zeros and ones has a determinant of at most (n+1)^((n+1)/2) / 2^n, which is below
// 2^18 for the 17 rows that there can be, so none vanishes that is not zero.
const prime = 1<<61 - 1

// span holds independent vectors modulo prime, each with a 1 at its first place
// that is not zero.
type span []vector

type vector struct {
	first int
	v     [record.MaxExposureSets + 1]uint64
}

// add adds the vector of a mask's bits and reports whether it was independent.
func (s *span) add(mask uint64) bool {
	var v vector
	for i := range v.v {
		v.v[i] = mask >> i & 1
	}
	for i := range *s {
		p := &(*s)[i]
		if factor := v.v[p.first]; factor != 0 {
			for j := range v.v {
				v.v[j] = minus(v.v[j], times(factor, p.v[j]))
			}
		}
	}
	for v.first < len(v.v) && v.v[v.first] == 0 {
		v.first++
	}
	if v.first == len(v.v) {
		return false
	}
	factor := inverse(v.v[v.first])
	for j := range v.v {
		v.v[j] = times(v.v[j], factor)
	}
	*s = append(*s, v)
	return true
}

func minus(a, b uint64) uint64 {
	if a >= b {
		return a - b
	}
	return a + prime - b
}

func times(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	sum := lo&prime + (hi<<3 | lo>>61)
	if sum >= prime {
		sum -= prime
	}
	return sum
}

// inverse is a^(prime−2).
func inverse(a uint64) uint64 {
	out := uint64(1)
	for e := uint64(prime - 2); e != 0; e >>= 1 {
		if e&1 != 0 {
			out = times(out, a)
		}
		a = times(a, a)
	}
	return out
}
