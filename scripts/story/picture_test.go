package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestPictureIsWellFormedAndStandsAlone(t *testing.T) {
	svg := drawROC("<5 & more>", []curve{
		{"alone", ranked{0.6, [2]float64{0.5, 0.7}}, []rocPoint{{1, 2}, {3, 4}}}, {"nobody", ranked{}, nil}, {"\"quoted\"", ranked{}, []rocPoint{{0, 1}}},
	}, []string{"a note"})
	var said []string
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			for _, a := range x.Attr {
				if a.Name.Local == "href" || strings.Contains(a.Value, "url(") {
					t.Errorf("<%s> refers to %s", x.Name.Local, a.Value)
				}
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("<%s %s> is %s", x.Name.Local, a.Name.Local, a.Value)
				}
			}
			if x.Name.Local == "script" || x.Name.Local == "image" || x.Name.Local == "style" {
				t.Errorf("the picture has <%s>", x.Name.Local)
			}
		case xml.CharData:
			said = append(said, string(x))
		}
	}
	all := strings.Join(said, "|")
	for _, want := range []string{"<5 & more>", "AUC 0.600", "95 %: 0.500 to 0.700", "a note", "\"quoted\""} {
		if !strings.Contains(all, want) {
			t.Errorf("the picture does not say %s: %s", want, all)
		}
	}
	// The curve ends in the corner where everybody is above the risk.
	if !strings.Contains(string(svg), "L203.3 264.0 L470.0 64.0\"") {
		t.Errorf("the first curve is drawn otherwise:\n%s", svg)
	}
}
