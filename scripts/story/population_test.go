package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestSamplePopulationIsSeededAndPlausible(t *testing.T) {
	a, b := samplePopulation(2000, 7), samplePopulation(2000, 7)
	seen := map[string]bool{}
	var both, late int
	for i := range a {
		if a[i].identity != b[i].identity || strings.Join(a[i].figures, ",") != strings.Join(b[i].figures, ",") {
			t.Fatalf("customer %d differs between two runs of one seed", i)
		}
		if seen[a[i].identity] {
			t.Fatalf("identity number of customer %d is given twice", i)
		}
		seen[a[i].identity] = true
		if len(a[i].identity) != 18 || len(a[i].phone) != 11 || len(a[i].name) < 8 {
			t.Fatalf("customer %d: identity %d, phone %d, name %d bytes", i, len(a[i].identity), len(a[i].phone), len(a[i].name))
		}
		if !a[i].banks[0] && !a[i].banks[1] {
			t.Fatalf("customer %d belongs to no bank", i)
		}
		if a[i].banks[0] && a[i].banks[1] {
			both++
		}
		if len(a[i].figures) != len(figureColumns) {
			t.Fatalf("customer %d has %d figures", i, len(a[i].figures))
		}
		if n, _ := strconv.Atoi(a[i].figures[5]); n > 0 {
			late++
		}
	}
	if both < 300 || both > 500 || late < 100 || late > 700 {
		t.Errorf("%d of 2000 are at both banks, %d late in the newest month", both, late)
	}
}

func TestReadPopulationNamesRowAndColumn(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) string {
		p := filepath.Join(dir, "x.csv")
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	header := "ID," + strings.Join(figureColumns, ",")
	good := "1" + strings.Repeat(",5", len(figureColumns))
	if got, err := readPopulation(write(header+"\n"+good+"\n"), 1); err != nil || len(got) != 1 {
		t.Fatalf("good file: %d, %v", len(got), err)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"column missing": {strings.Replace(header, "PAY_3", "X", 1) + "\n" + good, "PAY_3"},
		"no number":      {header + "\n" + strings.Replace(good, ",5", ",five", 1), "row 2 column LIMIT_BAL"},
		"no rows":        {header + "\n", "no rows"},
	} {
		if _, err := readPopulation(write(tc.text), 1); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhoDefaultedIsReadWhereTheFileSays(t *testing.T) {
	header := "ID," + strings.Join(figureColumns, ",")
	row := "1" + strings.Repeat(",5", len(figureColumns))
	got, err := parsePopulation(strings.NewReader(header+","+labelColumn+"\n"+row+",1\n"+row+",0\n"), "x.csv", 1)
	if err != nil || len(got) != 2 || !got[0].labelled || !got[0].defaulted || !got[1].labelled || got[1].defaulted {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parsePopulation(strings.NewReader(header+","+labelColumn+"\n"+row+",maybe\n"), "x.csv", 1); err == nil || !strings.Contains(err.Error(), "row 2 column "+labelColumn) {
		t.Errorf("a fate that is neither 0 nor 1: %v", err)
	}
	if got, err = parsePopulation(strings.NewReader(header+"\n"+row+"\n"), "x.csv", 1); err != nil || got[0].labelled {
		t.Errorf("a file that does not say: %+v, %v", got, err)
	}
}
