package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
)

// customer is one invented person with a bank's history of one credit card.
// Identity number, phone and name are invented here and go to the vaults only.
type customer struct {
	identity string // 18 characters, the form of a resident identity number, in a region that does not exist
	phone    string
	name     string // at least 8 bytes

	figures []string // in the order of figureColumns
	banks   [2]bool  // whose customer: bank A, bank B

	// What came after: no bank has it, and no vault. Files may not say.
	labelled, defaulted bool
}

// labelColumn says in the public data set whether the next payment was missed.
const labelColumn = "default.payment.next.month"

// figure is a number of a customer's row.
func (c *customer) figure(column string) int {
	for i, name := range figureColumns {
		if name == column {
			n, _ := strconv.Atoi(c.figures[i]) // a number when it was read
			return n
		}
	}
	return 0
}

// figureColumns are the columns of the public credit-card data set (UCI 350)
// that a bank keeps of a customer, in its spelling.
var figureColumns = []string{
	"LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE",
	"PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6",
	"BILL_AMT1", "BILL_AMT2", "BILL_AMT3", "BILL_AMT4", "BILL_AMT5", "BILL_AMT6",
	"PAY_AMT1", "PAY_AMT2", "PAY_AMT3", "PAY_AMT4", "PAY_AMT5", "PAY_AMT6",
}

// vaultColumns is the header of the CSV file that a bank imports.
var vaultColumns = append([]string{"identity_number", "phone", "name"}, lower(figureColumns)...)

func sorted(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return out
}

func lower(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(s)
	}
	return out
}

// readPopulation takes the figures from a CSV file in the form of the public
// data set and invents the people.
func readPopulation(path string, seed uint64) ([]customer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read customers: %w: name a file with the columns of UCI_Credit_Card.csv, or leave --data out for a generated sample", err)
	}
	defer f.Close()
	return parsePopulation(f, path, seed)
}

// parsePopulation reads the rows of a file that path names.
func parsePopulation(f io.Reader, path string, seed uint64) ([]customer, error) {
	r := csv.NewReader(f)
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("read customers: %s: header: %w", path, err)
	}
	label := slices.Index(header, labelColumn)
	at := make([]int, len(figureColumns))
	for i, want := range figureColumns {
		at[i] = -1
		for j, have := range header {
			if strings.EqualFold(strings.TrimPrefix(have, "\ufeff"), want) {
				at[i] = j
			}
		}
		if at[i] < 0 {
			return nil, fmt.Errorf("read customers: %s has no column %s: give a file with the columns of UCI_Credit_Card.csv", path, want)
		}
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	var out []customer
	for row := 2; ; row++ {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read customers: %s: %w", path, err)
		}
		c := invent(rng, len(out))
		for i, j := range at {
			n, err := strconv.ParseFloat(rec[j], 64) // some editions of the file write amounts as 20000.0
			if err != nil || n != float64(int64(n)) {
				return nil, fmt.Errorf("read customers: %s row %d column %s: %q is no whole number", path, row, figureColumns[i], rec[j])
			}
			c.figures = append(c.figures, strconv.FormatInt(int64(n), 10))
		}
		if label >= 0 {
			if rec[label] != "0" && rec[label] != "1" {
				return nil, fmt.Errorf("read customers: %s row %d column %s: %q is neither 0 nor 1", path, row, labelColumn, rec[label])
			}
			c.labelled, c.defaulted = true, rec[label] == "1"
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read customers: %s has no rows", path)
	}
	return out, nil
}

// samplePopulation invents n customers whose figures behave like card holders':
// limits by age and education, a repayment status that persists from month to
// month, bills below the limit and payments that follow the status.
func samplePopulation(n int, seed uint64) []customer {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]customer, n)
	for i := range out {
		c := invent(rng, i)
		c.figures = sampleFigures(rng)
		out[i] = c
	}
	fate := rand.New(rand.NewPCG(seed, 4))
	for i := range out {
		c := &out[i]
		// Fitted by eye to the public data: a fifth default, most of those who are late.
		late, worst := c.figure("PAY_0"), 0
		for _, name := range figureColumns[5:11] {
			worst = max(worst, c.figure(name))
		}
		odds := math.Exp(-1.6 + 0.7*float64(min(max(late, 0), 3)) + 0.35*float64(min(worst, 3)) - 0.15*float64(min(c.figure("LIMIT_BAL")/50_000, 8)))
		c.labelled, c.defaulted = true, fate.Float64() < odds/(1+odds)
	}
	return out
}

func sampleFigures(rng *rand.Rand) []string {
	age := 21 + int(rng.ExpFloat64()*12)%50
	education := 1 + rng.IntN(4)
	limit := (1 + rng.IntN(8) + (age-20)/4*rng.IntN(3)) * (6 - education) * 10_000
	figures := []int{limit, 1 + rng.IntN(2), education, 1 + rng.IntN(3), age}

	// The months run from the newest back: six states of one chain.
	careless := rng.Float64() * rng.Float64()
	status, bill := 0, float64(limit)*rng.Float64()
	var states, bills, paid [6]int
	for m := 5; m >= 0; m-- {
		switch x := rng.Float64(); {
		case x < careless*0.6:
			status = min(max(status, 0)+1, 8)
		case x < 0.25:
			status = -1 // paid in full
		case x < 0.9 || status < 0:
			status = 0 // revolving
		default:
			status = max(status-1, 0)
		}
		pay := bill * (0.05 + 0.2*rng.Float64())
		switch {
		case status < 0:
			pay = bill
		case status > 0:
			pay = 0
		}
		bill = min(bill-pay+float64(limit)*0.15*rng.Float64(), float64(limit)*1.05)
		states[m], bills[m], paid[m] = status, int(bill), int(pay)
	}
	figures = append(figures, states[:]...)
	figures = append(figures, bills[:]...)
	figures = append(figures, paid[:]...)
	out := make([]string, len(figures))
	for i, f := range figures {
		out[i] = strconv.Itoa(f)
	}
	return out
}

// invent makes a person and says which bank knows them: 45 % bank A, 35 % bank
// B, 20 % both.
func invent(rng *rand.Rand, i int) customer {
	born := fmt.Sprintf("%04d%02d%02d", 1950+rng.IntN(54), 1+rng.IntN(12), 1+rng.IntN(28))
	body := fmt.Sprintf("9%05d%s%03d", i/1000, born, i%1000)
	c := customer{
		identity: body + identityCheck(body),
		phone:    fmt.Sprintf("199%08d", 10_000_000+(i*7919)%80_000_000+rng.IntN(9)),
		name:     familyNames[rng.IntN(len(familyNames))] + " " + givenNames[rng.IntN(len(givenNames))] + givenNames[rng.IntN(len(givenNames))],
	}
	switch x := rng.IntN(100); {
	case x < 45:
		c.banks[0] = true
	case x < 80:
		c.banks[1] = true
	default:
		c.banks = [2]bool{true, true}
	}
	return c
}

// Long enough that a name never has fewer than 8 bytes.
var (
	familyNames = []string{"Ouyang", "Zhuge", "Shangguan", "Huangfu", "Dongfang", "Situ", "Murong", "Gongsun", "Linghu", "Yuwen"}
	givenNames  = []string{"Wen", "Jing", "Hao", "Yue", "Lan", "Qiang", "Min", "Rui", "Xue", "Bo", "Ning", "Chen", "Fang", "Ping", "Shu", "Tao"}
)

// identityCheck is the check character of GB 11643 over 17 digits.
func identityCheck(body string) string {
	sum := 0
	for i := range 17 {
		sum += int(body[i]-'0') * ((1 << (17 - i)) % 11)
	}
	return string("10X98765432"[sum%11])
}

// writeVaultCSV writes what one bank imports and returns the number of rows.
func writeVaultCSV(path string, people []customer, bank int) (int, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, fmt.Errorf("write vault file: %w", err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	if err := w.Write(vaultColumns); err != nil {
		return 0, fmt.Errorf("write vault file: %w", err)
	}
	n := 0
	for i := range people {
		c := &people[i]
		if !c.banks[bank] {
			continue
		}
		if err := w.Write(append([]string{c.identity, c.phone, c.name}, c.figures...)); err != nil {
			return 0, fmt.Errorf("write vault file: %w", err)
		}
		n++
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return 0, fmt.Errorf("write vault file: %w", err)
	}
	return n, f.Close()
}
