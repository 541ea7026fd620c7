package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
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

func TestScanFindsEveryDisguise(t *testing.T) {
	const value = "911234199001017890"
	n := newNeedles()
	if err := n.add("identity number", value); err != nil {
		t.Fatal(err)
	}
	sha := sha256.Sum256([]byte(value))
	kec := crypto.Keccak256([]byte(value))
	for name, text := range map[string]string{
		"raw":            `{"id":"` + value + `"}`,
		"hex":            hex.EncodeToString([]byte(value)),
		"upper hex":      strings.ToUpper(hex.EncodeToString(sha[:])),
		"base64":         base64.StdEncoding.EncodeToString([]byte(value)),
		"base64 inside":  base64.StdEncoding.EncodeToString([]byte("x" + value + "tail")),
		"base64 inside2": base64.URLEncoding.EncodeToString([]byte("xy" + value + "tail")),
		"sha256":         "..." + string(sha[:]),
		"keccak hex":     "0x" + hex.EncodeToString(kec),
		"keccak base64":  base64.StdEncoding.EncodeToString(kec),
	} {
		if k, _ := n.count([]byte(text)); k == 0 {
			t.Errorf("%s is not found", name)
		}
	}
	if k, what := n.count([]byte("911234199001017891 and other text, 0x1234")); k != 0 {
		t.Errorf("another value counts as %s", what)
	}
	if err := n.add("name", "short"); err == nil {
		t.Error("a value of five bytes is accepted")
	}
}
