package main

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assent-network/assent/scripts/faults/flat"
	"github.com/assent-network/assent/scripts/testnet"
)

// seen makes what a soak of half an hour would have sampled of one node, with the
// figures and stores that spoil changes.
func seen(spoil map[string]func(i int) float64) *soak {
	calm := map[string]func(i int) float64{
		"goroutines": func(i int) float64 { return float64(150 + i%7) },
		"heap":       func(i int) float64 { return float64(30*mib + i%11*100*kib) },
		"rss":        func(i int) float64 { return float64(120*mib + i%5*mib) },
		"sockets":    func(i int) float64 { return float64(20 + i%3) },
		"files":      func(i int) float64 { return float64(30 + min(i/10, 10)) },
		"pool":       func(i int) float64 { return float64(i % 13) },
		"outbox":     func(i int) float64 { return float64(i % 10) },
		"wal":        func(i int) float64 { return float64(i % 60 * mib) },
		"journal":    func(i int) float64 { return float64(4 * mib) },
		"vault":      func(i int) float64 { return 20 * kib },
		"other":      func(i int) float64 { return 50 * kib },
		"blocks":     func(i int) float64 { return float64(i * 100 * 900) },
		"state":      func(i int) float64 { return float64(i*100*3000 + i%4*mib) },
		"private":    func(i int) float64 { return float64(i * 100 * 400) },
		"log":        func(i int) float64 { return float64(i * 100) },
	}
	for name, f := range spoil {
		calm[name] = f
	}
	w := &watched{disk: make(map[string][]flat.Point), over: make(map[string][]flat.Point)}
	w.lives = []life{{pid: 1, points: make(map[string][]flat.Point)}}
	for i := range mostPoints {
		for name, f := range calm {
			p := flat.Point{At: float64(10 * i), Value: f(i)}
			w.lives[0].points[name] = append(w.lives[0].points[name], p)
			w.over[name] = append(w.over[name], p)
			w.disk[name] = append(w.disk[name], flat.Point{At: float64(100 * i), Value: f(i)})
		}
	}
	return &soak{watched: map[string]*watched{"n": w}, steady: map[string]bool{"n": true}}
}

// Every figure and every store has a leak planted, which must be found, alone.
func TestASoakFindsEveryPlantedLeak(t *testing.T) {
	if wrong := seen(nil).judge(); len(wrong) > 0 {
		t.Fatalf("a calm node: %q", wrong)
	}
	for name, leak := range map[string]func(i int) float64{
		"goroutines": func(i int) float64 { return float64(150 + i/5) },
		"heap":       func(i int) float64 { return float64(30*mib + i*128*kib) },
		"rss":        func(i int) float64 { return float64(120*mib + i*512*kib) },
		"sockets":    func(i int) float64 { return float64(20 + i/9) },
		"files":      func(i int) float64 { return float64(30 + i/3) },
		"pool":       func(i int) float64 { return float64(3 * i) },
		"outbox":     func(i int) float64 { return float64(i) },
		"wal":        func(i int) float64 { return float64(i * mib) },
		"journal":    func(i int) float64 { return float64(i * mib / 4) },
		"vault":      func(i int) float64 { return float64(20*kib + 4*kib*(i/60)) },
		"other":      func(i int) float64 { return float64(i * 4 * kib) },
		"blocks":     func(i int) float64 { return float64(i*i) * 1000 },
		"state":      func(i int) float64 { return float64(i * 100 * 9000) },
		"private":    func(i int) float64 { return float64(max(0, i-90) * 100 * 2000) },
		"log":        func(i int) float64 { return float64(i * 100 * 200) },
	} {
		wrong := seen(map[string]func(int) float64{name: leak}).judge()
		if len(wrong) != 1 || !strings.HasPrefix(wrong[0], "n: "+name+" grew by ") {
			t.Errorf("%s: %q", name, wrong)
		}
	}
}

func TestWhatWasNotSampledIsNotCalledFlat(t *testing.T) {
	s := seen(nil)
	s.watched["n"].lives = nil
	s.watched["n"].disk = nil
	wrong := strings.Join(s.judge(), "\n")
	if !strings.Contains(wrong, "blocks was sampled too seldom") || !strings.Contains(wrong, "goroutines was sampled only 0 times") {
		t.Errorf("%q", wrong)
	}
}

func TestASoakPrintsOneObjectOrATable(t *testing.T) {
	s := seen(map[string]func(int) float64{"heap": func(i int) float64 { return float64(i * mib) }})
	s.faults = map[string]int{"kill": 2}
	r := &report{Name: "soak", Seed: 7, Problems: s.judge()}
	var object, table bytes.Buffer
	if err := s.print(&object, r, true); err != nil {
		t.Fatal(err)
	}
	got := soakReport{report: new(report)}
	if err := json.Unmarshal(object.Bytes(), &got); err != nil || bytes.Count(object.Bytes(), []byte("\n")) != 1 {
		t.Fatalf("%v: %s", err, &object)
	}
	if l := got.Nodes[0].Levels["heap"]; l.Flat || !l.Judged || got.Nodes[0].Growth["blocks"].PerTx != 900 || got.report.Seed != 7 {
		t.Errorf("%+v", got)
	}
	if err := s.print(&table, r, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"GROWS", "goroutines", "bytes per transaction", "n: heap grew by"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &table)
		}
	}
}

func TestSoakRefusesWhatCannotBeJudged(t *testing.T) {
	for _, args := range [][]string{{"--duration", "59s"}, {"all"}} {
		if _, err := soakCommand(t.Context(), args, nil); err == nil || !strings.HasPrefix(err.Error(), "soak: ") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// Every byte of a home is in one part, and every handle in one kind.
func TestDiskAndHandlesAreCountedByKind(t *testing.T) {
	x := &testnet.Node{Home: t.TempDir()}
	for at, n := range map[string]int{
		"node.log": 1, "config.yaml": 2, "keys/vote.json": 4, "data/blocks/1.ldb": 8, "data/state/LOG": 16, "data/wal/a/1.wal": 32,
		"data/private.db": 64, "data/private.db-wal": 128, "data/private.db.sums": 256, "data/new/thing": 512,
	} {
		path := filepath.Join(x.Home, at)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := diskUse(x)
	if err != nil {
		t.Fatal(err)
	}
	for part, want := range map[string]float64{"log": 1, "blocks": 8, "state": 16, "wal": 32, "private": 64, "journal": 128, "other": 2 + 4 + 256 + 512} {
		if got[part] != want {
			t.Errorf("%s takes %v, want %v", part, got[part], want)
		}
	}
	before, after := make(map[string]float64), make(map[string]float64)
	if err := handles(os.Getpid(), before); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := os.Open(x.Home)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := handles(os.Getpid(), after); err != nil {
		t.Fatal(err)
	}
	if after["sockets"] != before["sockets"]+1 || after["files"] < before["files"]+1 {
		t.Errorf("before %v, after %v", before, after)
	}
}
