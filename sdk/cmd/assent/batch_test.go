package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/assent-network/assent/sdk"
)

const someConsent = "0x000102030405060708090a0b0c0d0e0f"

func TestQuestions(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want int    // questions
		says string // of the error
	}{
		"CSV":                    {"consent,template,purpose\n" + someConsent + ",t,P,a=1,b=2\n", 1, ""},
		"CSV of a spreadsheet":   {"\xef\xbb\xbfconsent,template,purpose,params\r\n" + someConsent + ",t,P,a=1,\r\n" + someConsent + ",t,P,,\r\n", 2, ""},
		"value with a sign":      {"consent,template,purpose\n" + someConsent + ",t,P,a=b=c\n", 1, ""},
		"JSON lines":             {`{"consent":"` + someConsent + `","template":"t","purpose":"P"}` + "\n\n" + `{"consent":"` + someConsent + `","template":"t","purpose":"P","params":{"a":"1"}}`, 2, ""},
		"nothing":                {"", 0, "header of a CSV file is consent,template,purpose"},
		"header alone":           {"consent,template,purpose\n", 0, "no question"},
		"other header":           {"consent,purpose,template\n", 0, "line 1: column 2"},
		"few fields":             {"consent,template,purpose\n" + someConsent + ",t\n", 0, "line 2: 2 fields"},
		"no name":                {"consent,template,purpose\n" + someConsent + ",t,P,=1\n", 0, "write name=value"},
		"name twice":             {"consent,template,purpose\n" + someConsent + ",t,P,a=1,a=2\n", 0, "each name once"},
		"quotes":                 {"consent,template,purpose\n\"x,t,P\n", 0, "line 2"},
		"consent":                {"consent,template,purpose\n\nJane,t,P\n", 0, "line 3: consent id"},
		"template":               {"consent,template,purpose\n" + someConsent + ",a b,P\n", 0, "line 2: template id"},
		"no purpose":             {"consent,template,purpose\n" + someConsent + ",t,\n", 0, "purpose is missing"},
		"unknown field":          {`{"consent":"` + someConsent + `","name":"Jane"}`, 0, "line 1: write"},
		"two documents a line":   {`{"consent":"` + someConsent + `","template":"t","purpose":"P"} {}`, 0, "write one a line"},
		"JSON of another kind":   {`{"consent":7}`, 0, "line 1: write"},
		"a line that never ends": {`{"consent":"` + strings.Repeat("x", maxQuestion) + `"}`, 0, "at most 65536 bytes"},
		"too many": {"consent,template,purpose\n" + strings.Repeat(someConsent+",t,P\n", sdk.MaxBatch+1), 0,
			fmt.Sprintf("line %d: more than %d questions: split the file", sdk.MaxBatch+2, sdk.MaxBatch)},
		"as many as may be": {"consent,template,purpose\n" + strings.Repeat(someConsent+",t,P\n", sdk.MaxBatch), sdk.MaxBatch, ""},
	} {
		got, err := readQuestions([]byte(c.file))
		switch {
		case c.says == "" && err != nil, c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: error %v, want %q", name, err, c.says)
		case len(got) != c.want:
			t.Errorf("%s: %d questions, want %d", name, len(got), c.want)
		}
	}
	q, err := readQuestions([]byte("consent,template,purpose\n" + someConsent + ",t,P,a=b=c\n"))
	if err != nil || q[0].Params["a"] != "b=c" || q[0].Purpose != "P" || q[0].Template != "t" || q[0].Consent != someConsent {
		t.Errorf("question %+v, %v", q, err)
	}
}

// Whatever a file holds: an error, or at most MaxBatch questions that all name a
// consent and a template, and that read the same when written as JSON lines.
func FuzzQuestions(f *testing.F) {
	f.Add([]byte("consent,template,purpose\n" + someConsent + ",t,P,a=1\n"))
	f.Add([]byte(`{"consent":"` + someConsent + `","template":"t","purpose":"P","params":{"a":"1"}}`))
	f.Add([]byte("\xef\xbb\xbfconsent,template,purpose,params\r\n\"\",,"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readQuestions(b)
		if err != nil {
			return
		}
		if len(got) == 0 || len(got) > sdk.MaxBatch {
			t.Fatalf("%d questions", len(got))
		}
		var lines strings.Builder
		for _, q := range got {
			if q.Consent.Check() != nil || q.Template.Check() != nil || q.Purpose == "" {
				t.Fatalf("question %+v", q)
			}
			line, err := json.Marshal(map[string]any{"consent": q.Consent, "template": q.Template, "purpose": q.Purpose, "params": q.Params})
			if err != nil {
				t.Fatal(err)
			}
			lines.Write(append(line, '\n'))
		}
		again, err := readQuestions([]byte(lines.String()))
		if err != nil || len(again) != len(got) {
			t.Fatalf("%d questions became %d: %v", len(got), len(again), err)
		}
	})
}

// A damaged file of tickets is an error, never a panic, and never more questions
// than a batch has.
func FuzzBatchTickets(f *testing.F) {
	f.Add([]byte(`{"kind":"assent-batch","transaction":"AAAA","answerKey":"AAAA","queries":[{"Consent":"` + someConsent + `"}]}`))
	f.Add([]byte(`{"kind":"assent-batch","queries":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tickets, err := parseBatchTickets(b)
		if err == nil && (len(tickets) == 0 || len(tickets) > sdk.MaxBatch) {
			t.Fatalf("%d tickets", len(tickets))
		}
		for i, x := range tickets {
			if _, err := x.RequestID(); err != nil || x.Item != i || !x.Batch {
				t.Fatalf("ticket %d: %+v, %v", i, x, err)
			}
		}
	})
}
