package bft

import (
	"flag"
	"fmt"
	"log/slog"
	"testing"

	"github.com/assent-network/assent/consensus/consensustest"
)

var (
	chaosSeed  = flag.Uint64("chaos.seed", 1, "first seed of TestChaos")
	chaosRuns  = flag.Int("chaos.runs", 2, "number of seeds of TestChaos")
	chaosSteps = flag.Int("chaos.steps", 40, "steps per seed of TestChaos")
	chaosDebug = flag.Bool("chaos.debug", false, "write the engines' debug lines")
)

func TestChaos(t *testing.T) {
	if *chaosDebug {
		consensustest.LogLevel.Set(slog.LevelDebug)
	}
	for i := range *chaosRuns {
		seed := *chaosSeed + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			consensustest.Chaos(t, consensustest.Options{Open: open, Replicas: 4, BatchMaxCount: quick().BatchMaxCount}, seed, *chaosSteps)
		})
	}
}
