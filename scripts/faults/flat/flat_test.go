package flat

import (
	"math"
	"math/rand/v2"
	"testing"
)

// minutes makes one sample every ten seconds.
func minutes(m int, value func(i int) float64) []Point {
	out := make([]Point, m*6)
	for i := range out {
		out[i] = Point{At: float64(10 * i), Value: value(i)}
	}
	return out
}

// Every planted leak is found, with noise of a tenth of the level on top; what is
// no leak is not. The bound is that of a live heap.
func TestJudgeFindsPlantedLeaksAndNoOthers(t *testing.T) {
	const seed = 7
	bound := Bound{Least: 8, Share: 0.15} // MiB
	t.Logf("seed %d", seed)
	for name, c := range map[string]struct {
		value func(i int) float64 // of 180 samples, 30 minutes
		flat  bool
	}{
		"level":                         {func(int) float64 { return 60 }, true},
		"a saw":                         {func(i int) float64 { return 60 + 3*float64(i%9) }, true},
		"a saw of two teeth":            {func(i int) float64 { return 60 + 0.08*float64(i%60) }, true},
		"a warm-up":                     {func(i int) float64 { return 60 * (1 - math.Exp(-float64(i)/20)) }, true},
		"one peak":                      {func(i int) float64 { return 60 + 400*b2f(i == 140) }, true},
		"a peak of three minutes":       {func(i int) float64 { return 60 + 400*b2f(i > 120 && i < 138) }, true},
		"it falls":                      {func(i int) float64 { return 200 - float64(i)/2 }, true},
		"a slow leak":                   {func(i int) float64 { return 60 + 0.2*float64(i) }, false},
		"a leak that begins late":       {func(i int) float64 { return 60 + 0.5*max(0, float64(i-120)) }, false},
		"a leak in steps":               {func(i int) float64 { return 60 + 6*float64(i/30) }, false},
		"one step":                      {func(i int) float64 { return 60 + 15*b2f(i > 140) }, false},
		"it doubles":                    {func(i int) float64 { return 20 * math.Exp2(float64(i)/40) }, false},
		"a saw that rises":              {func(i int) float64 { return 60 + 3*float64(i%9) + 0.25*float64(i) }, false},
		"a leak that restarts hide not": {func(i int) float64 { return 60 + 0.3*float64(i) - 20*b2f(i%60 == 0) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			points := minutes(30, func(i int) float64 { return c.value(i) * (0.95 + 0.1*r.Float64()) })
			if got := Judge(points, bound); got.Flat != c.flat || !got.Judged {
				t.Errorf("%+v, want flat %t", got, c.flat)
			}
		})
	}
}

// A leak of one goroutine or one file in ten seconds is found in eight minutes.
func TestJudgeFindsALeakOfOneByOne(t *testing.T) {
	for every, flat := range map[int]bool{1: false, 2: false, 1000: true} {
		if got := Judge(minutes(8, func(i int) float64 { return float64(150 + i/every) }), Bound{Least: 8, Share: 0.05}); got.Flat != flat {
			t.Errorf("one in %d samples: %+v", every, got)
		}
	}
}

func TestJudgeSaysNothingOfFewPoints(t *testing.T) {
	for n := range 2*Few - 2 {
		points := minutes(10, func(i int) float64 { return float64(1000 * i) })[:n]
		if got := Judge(points, Bound{Least: 1}); got.Judged || got.Flat {
			t.Errorf("%d points: %+v", n, got)
		}
	}
	if got := PerWork(minutes(1, func(int) float64 { return 1 }), 1, Bound{}); got.Judged || got.Within {
		t.Errorf("%+v", got)
	}
}

func TestPerWork(t *testing.T) {
	const seed = 9
	t.Logf("seed %d", seed)
	bound := Bound{Least: 100, Share: 1.5}
	for name, c := range map[string]struct {
		bytes  func(work float64) float64
		within bool
	}{
		"nothing":                   {func(float64) float64 { return 5000 }, true},
		"1 KiB each":                {func(w float64) float64 { return 1024 * w }, true},
		"with a compaction":         {func(w float64) float64 { return 1024*w + 2e6*b2f(w > 7000 && w < 8000) }, true},
		"pruned at the end":         {func(w float64) float64 { return 1024 * min(w, 5000) }, true},
		"more than is allowed":      {func(w float64) float64 { return 5000 * w }, false},
		"with the square":           {func(w float64) float64 { return w * w / 8 }, false},
		"nothing, then 1 KiB each":  {func(w float64) float64 { return 1024 * max(0, w-5000) }, false},
		"falls, then grows quickly": {func(w float64) float64 { return 1024 * math.Abs(w-5000) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			var points []Point
			for w := 0.0; w < 10_000; w += 50 + 50*r.Float64() {
				points = append(points, Point{w, c.bytes(w) + 20_000*r.Float64()})
			}
			if got := PerWork(points, 4096, bound); got.Within != c.within || !got.Judged {
				t.Errorf("%+v, want within %t", got, c.within)
			}
		})
	}
}

func TestSlope(t *testing.T) {
	line := func(n int) []Point {
		out := make([]Point, n)
		for i := range out {
			out[i] = Point{float64(i), 3*float64(i) + 1}
		}
		return out
	}
	for _, n := range []int{2, 3, 50, 10_000} {
		if got := Slope(line(n)); got != 3 {
			t.Errorf("%d points: %v", n, got)
		}
	}
	if got := Slope([]Point{{1, 1}, {1, 9}}); got != 0 {
		t.Errorf("one place: %v", got)
	}
	if got := Slope(nil); got != 0 {
		t.Errorf("none: %v", got)
	}
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]float64{0: 0, 1234.5: 1230, -0.012345: -0.0123, math.Inf(1): 0, math.NaN(): 0} {
		if got := Round(v); got != want {
			t.Errorf("%v: %v", v, got)
		}
	}
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
