package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestEveryScenarioHasANameOfItsOwnAndSaysWhatItDoes(t *testing.T) {
	seen := make(map[string]bool)
	short := 0
	for i := range scenarios {
		s := &scenarios[i]
		if s.name == "" || s.about == "" || s.disturb == nil || seen[s.name] || s.name == "all" || s.name == "short" || strings.Contains(s.name, ",") {
			t.Errorf("scenario %d: %+v", i, s)
		}
		seen[s.name] = true
		if s.tagged && s.prepare == nil {
			t.Errorf("%s needs fault points and prepares none", s.name)
		}
		if s.short {
			short++
		}
	}
	if short == 0 || short > 4 {
		t.Errorf("%d scenarios in the short selection", short)
	}
}

func TestChoose(t *testing.T) {
	controls := 0
	for i := range scenarios {
		if scenarios[i].control != nil {
			controls++
		}
	}
	for names, want := range map[string]int{"all": len(scenarios) - controls, "control-late": 1, "calm": 1, "calm,kill-all": 2} {
		if got, err := choose(names); err != nil || len(got) != want {
			t.Errorf("%s: %d, %v", names, len(got), err)
		}
	}
	for _, names := range []string{"", "unheard-of", "calm,"} {
		if got, err := choose(names); err == nil || !strings.Contains(err.Error(), "--list") {
			t.Errorf("%q: %d, %v", names, len(got), err)
		}
	}
}

func TestAReportIsOneObjectWithAllFigures(t *testing.T) {
	var out bytes.Buffer
	if err := (&report{Name: "calm", Seed: 7, Passed: true}).print(&out, true); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]any)
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "seed", "passed", "acked", "lost", "duplicated", "forks", "lateAnswers", "recoveryMs", "pauseMs"} {
		if _, ok := got[key]; !ok {
			t.Errorf("%s is missing in %s", key, out.String())
		}
	}
}

func TestSeedsOfScenariosDiffer(t *testing.T) {
	if seedOf(1, "a") == seedOf(1, "b") || seedOf(1, "a") == seedOf(2, "a") || seedOf(1, "a") != seedOf(1, "a") {
		t.Error("seeds")
	}
}
