package bft

import (
	"flag"
	"fmt"
	"log/slog"
	"testing"

	"github.com/assent-network/assent/consensus/consensustest"
)

// TestChaos runs in real time, or with
//
//	go test -tags simulation -ldflags=-checklinkname=0 ./consensus/bft -run TestChaos -chaos.runs 300
//
// in simulated time, where hundreds of seeds take seconds.
var (
	chaosSeed   = flag.Uint64("chaos.seed", 1, "first seed of TestChaos")
	chaosRuns   = flag.Int("chaos.runs", 2, "number of seeds of TestChaos")
	chaosSteps  = flag.Int("chaos.steps", 40, "steps per seed of TestChaos")
	chaosTangle = flag.Bool("chaos.tangle", false, "in TestChaos, break links too in ways that leave nobody a quorum")
	engineDebug = flag.Bool("engine.debug", false, "write the engines' debug lines")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *engineDebug {
		consensustest.LogLevel.Set(slog.LevelDebug)
	}
	m.Run()
}

func TestChaos(t *testing.T) {
	for i := range *chaosRuns {
		seed := *chaosSeed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			consensustest.InSimulatedTime(t, func(t *testing.T) {
				w := &witness{t: t}
				o := consensustest.Options{Open: open, Replicas: 4, BatchMaxCount: quick().BatchMaxCount}
				consensustest.Chaos(t, o, seed, *chaosSteps, *chaosTangle, w.watch)
			})
		})
	}
}
