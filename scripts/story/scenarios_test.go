package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/scripts/testnet"
)

// What each scenario claims on real processes. Most claims make the story itself fail
// where they are not true; what is held here is that they were made at all.
func TestScenariosOverProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("starts networks of processes")
	}
	program, err := testnet.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(keys) // the scenario of totals names its keys from there
	for scene, claims := range map[string]map[string]any{
		sceneVerifiable: {"finding": string(record.Upheld)},
		sceneExposure:   {"personalDataFound": 0.0, "plantedValueFound": true},
		sceneCohort:     {"personalDataFound": 0.0, "plantedValueFound": true, "tooFew": true},
		sceneLift:       {"personalDataFound": 0.0, "plantedValueFound": true, "applicants": 150.0, "answers": 150.0, "verified": 150.0, "batches": 1.0},
	} {
		t.Run(scene, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			o := options{scene: scene, json: true, seed: 1, program: program, base: t.TempDir(), applicants: 150}
			if scene == sceneLift {
				o.rows = 1500
			}
			if err := o.check(); err != nil {
				t.Fatal(err)
			}
			r, err := tell(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			var said map[string]any
			if err := json.Unmarshal(b, &said); err != nil {
				t.Fatal(err)
			}
			for name, want := range claims {
				if said[name] != want {
					t.Errorf("%s is %v, want %v: %s", name, said[name], want, b)
				}
			}
			if scene == sceneLift {
				own, plus := r.(*lifted).Own.AUC, r.(*lifted).PlusAnswer.AUC
				if svg, err := os.ReadFile(r.(*lifted).Picture); err != nil || !strings.Contains(string(svg), "150 applicants") || plus <= own {
					t.Errorf("%.3f with the answer, %.3f without, picture %v", plus, own, err)
				}
			}
		})
	}
}

func TestOptionsThatDoNotFit(t *testing.T) {
	for want, o := range map[string]options{
		"unknown scenario":     {scene: "lifts"},
		"leave --postgres out": {scene: sceneCohort, pg: "auto"},
		"leave --picture out":  {scene: sceneCohort, picture: "x.svg"},
	} {
		if err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	o := options{scene: sceneLift}
	if err := o.check(); err != nil || o.rows < 2*liftApplicants {
		t.Errorf("lift has %d rows by default: %v", o.rows, err)
	}
}
