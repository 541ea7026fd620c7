package main

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzPopulation reads the figures that somebody gives: an error that names the
// row, or customers with a whole number in every column.
func FuzzPopulation(f *testing.F) {
	head := strings.Join(figureColumns, ",")
	f.Add([]byte(head + "\n" + strings.TrimSuffix(strings.Repeat("1,", len(figureColumns)), ",")))
	f.Add([]byte(head + "\n" + strings.TrimSuffix(strings.Repeat("1e300,", len(figureColumns)), ",")))
	f.Add([]byte("\xef\xbb\xbf" + head + "\nNaN"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parsePopulation(bytes.NewReader(b), "x.csv", 1)
		if (err == nil) != (len(list) > 0) {
			t.Fatalf("%d customers, %v", len(list), err)
		}
		for _, c := range list {
			if len(c.figures) != len(figureColumns) {
				t.Fatalf("%d figures", len(c.figures))
			}
		}
	})
}
