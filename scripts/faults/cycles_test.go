package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCyclesGoOnWhereTheyWere: figures of two runs are those of one, and a failure is
// not forgotten.
func TestCyclesGoOnWhereTheyWere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cycles.json")
	c, err := resume(path, 7)
	if err != nil {
		t.Fatal(err)
	}
	c.add(&report{Passed: true, Acked: 10}, 3, []int64{100, 300})
	if err := c.save(path); err != nil {
		t.Fatal(err)
	}
	if c, err = resume(path, 99); err != nil || c.Seed != 7 || c.Cycles != 2 || c.Batches != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	c.add(&report{Acked: 5, Lost: 1, Problems: []string{"lost"}}, 2, []int64{200})
	if c.Passed || c.Cycles != 3 || c.Killed != 5 || c.Acked != 15 || c.Lost != 1 || c.RecoveryMs != (quantile{200, 300, 300}) {
		t.Errorf("%+v", c)
	}
	c.add(&report{Passed: true}, 0, nil)
	if c.Passed {
		t.Error("a failure was forgotten")
	}
	var out bytes.Buffer
	if err := c.print(&out, true); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("%s, %v", &out, err)
	}
	got := make(map[string]any)
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "seed", "passed", "cycles", "acked", "lost", "duplicated", "forks", "lateAnswers", "recoveryMs"} {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is missing in %s", key, &out)
		}
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := resume(path, 1); err == nil || !strings.Contains(err.Error(), "another file") {
		t.Errorf("a torn file: %v", err)
	}
}
