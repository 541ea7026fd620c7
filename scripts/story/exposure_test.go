package main

import (
	"testing"
)

// The borrower is a customer of every bank but one, and who is in credit owes nothing.
func TestLoansOfTheScenario(t *testing.T) {
	x := &teller{opts: options{rows: 500, seed: 1}}
	if err := x.loanPeople(); err != nil {
		t.Fatal(err)
	}
	identity := x.cast.borrower.identity
	for bank, name := range loanBanks {
		rows := x.loansOf(bank)
		amount, known := rows[identity]
		if known == (bank == strangerAt) || uint64(amount) != x.exposed.owed[name] || known && amount < leastOwed {
			t.Errorf("%s: %d, known %t", name, amount, known)
		}
		if len(rows) < 200 || len(rows) > 400 {
			t.Errorf("%s has %d customers of %d", name, len(rows), len(x.people))
		}
	}
	c := *x.cast.borrower
	c.figures = append([]string{}, c.figures...)
	for i, name := range figureColumns {
		if name == "BILL_AMT2" {
			c.figures[i] = "-150"
		}
	}
	if got := owedTo(&c, 1); got != 0 {
		t.Errorf("in credit and owes %d", got)
	}
}

func TestHundredths(t *testing.T) {
	for n, want := range map[uint64]string{0: "0.00", 5: "0.05", 99_900: "999.00", 119_794_000: "1,197,940.00", 100_000_000_000: "1,000,000,000.00"} {
		if got := hundredths(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}
