package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/assent-network/assent/sdk"
)

const (
	maxQuestions = 4 << 20  // bytes of a file of questions
	maxQuestion  = 64 << 10 // bytes of one line
	maxParams    = 64       // parameters of one question
)

var questionHeader = []string{"consent", "template", "purpose"}

// readQuestions reads a file of questions: JSON documents, one a line, or CSV.
// Errors name the line and what to write instead.
func readQuestions(b []byte) ([]sdk.QueryRequest, error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) // spreadsheets write it
	var questions []sdk.QueryRequest
	var err error
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		questions, err = readJSONLines(b)
	} else {
		questions, err = readCSV(b)
	}
	switch {
	case err != nil:
		return nil, err
	case len(questions) == 0:
		return nil, errors.New("it holds no question")
	}
	return questions, nil
}

func tooMany(line int) error {
	return fmt.Errorf("line %d: more than %d questions: split the file", line, sdk.MaxBatch)
}

func readJSONLines(b []byte) ([]sdk.QueryRequest, error) {
	var out []sdk.QueryRequest
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, maxQuestion)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		if len(out) == sdk.MaxBatch {
			return nil, tooMany(n)
		}
		var q struct {
			Consent  string            `json:"consent"`
			Template string            `json:"template"`
			Purpose  string            `json:"purpose"`
			Params   map[string]string `json:"params"`
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return nil, fmt.Errorf(`line %d: write {"consent":"0x…","template":"…","purpose":"…","params":{"name":"value"}}: %w`, n, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("line %d: more than one document: write one a line", n)
		}
		v, err := question(n, q.Consent, q.Template, q.Purpose, q.Params)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("a line after question %d: %w (at most %d bytes)", len(out), err, maxQuestion)
	}
	return out, nil
}

func readCSV(b []byte) ([]sdk.QueryRequest, error) {
	r := csv.NewReader(bytes.NewReader(b))
	r.FieldsPerRecord = -1 // as many parameters as the template has
	head, err := r.Read()
	if err != nil || len(head) < len(questionHeader) {
		return nil, fmt.Errorf("line 1: the header of a CSV file is %s", strings.Join(questionHeader, ","))
	}
	for i, want := range questionHeader {
		if strings.TrimSpace(head[i]) != want {
			return nil, fmt.Errorf("line 1: column %d is %.40q, want %q: the header is %s", i+1, head[i], want, strings.Join(questionHeader, ","))
		}
	}
	var out []sdk.QueryRequest
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err // names line and column
		}
		line, _ := r.FieldPos(0)
		if len(out) == sdk.MaxBatch {
			return nil, tooMany(line)
		}
		if len(row) < len(questionHeader) {
			return nil, fmt.Errorf("line %d: %d fields, want %s and name=value for each parameter", line, len(row), strings.Join(questionHeader, ","))
		}
		params := map[string]string{}
		for _, cell := range row[len(questionHeader):] {
			if cell = strings.TrimSpace(cell); cell == "" {
				continue
			}
			name, value, ok := strings.Cut(cell, "=")
			if _, twice := params[name]; !ok || name == "" || twice {
				return nil, fmt.Errorf("line %d: parameter %.40q: write name=value, each name once", line, cell)
			}
			params[name] = value
		}
		v, err := question(line, strings.TrimSpace(row[0]), strings.TrimSpace(row[1]), strings.TrimSpace(row[2]), params)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
}

// question checks what the network would refuse a whole batch for.
func question(line int, consent, template, purpose string, params map[string]string) (sdk.QueryRequest, error) {
	q := sdk.QueryRequest{Consent: sdk.ConsentID(consent), Template: sdk.TemplateID(template), Purpose: sdk.Purpose(purpose), Params: params}
	if q.Params == nil {
		q.Params = map[string]string{}
	}
	if err := q.Consent.Check(); err != nil {
		return q, fmt.Errorf("line %d: %w", line, err)
	}
	if err := q.Template.Check(); err != nil {
		return q, fmt.Errorf("line %d: %w", line, err)
	}
	if purpose == "" {
		return q, fmt.Errorf("line %d: the purpose is missing, e.g. CreditChecking", line)
	}
	if len(params) > maxParams {
		return q, fmt.Errorf("line %d: %d parameters, at most %d", line, len(params), maxParams)
	}
	return q, nil
}
