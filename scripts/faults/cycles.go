package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
)

// perBatch is how many kill cycles are played on one ledger before it is judged.
const perBatch = 25

// cycles is what --cycles prints, and what --resume keeps between two runs.
type cycles struct {
	Name        string   `json:"name"`
	Seed        uint64   `json:"seed"`
	Passed      bool     `json:"passed"`
	Cycles      int      `json:"cycles"`
	Killed      int      `json:"killed"` // processes
	Acked       int      `json:"acked"`
	Lost        int      `json:"lost"`
	Duplicated  int      `json:"duplicated"`
	Forks       int      `json:"forks"`
	LateAnswers int      `json:"lateAnswers"`
	RecoveryMs  quantile `json:"recoveryMs"` // from the last start of a cycle until clients of every node are served
	Problems    []string `json:"problems,omitempty"`

	Batches    int     `json:"batches"`           // played so far, each on a copy of the founded network
	Recoveries []int64 `json:"samples,omitempty"` // in the file only
}

type quantile struct {
	P50 int64 `json:"p50"`
	P99 int64 `json:"p99"`
	Max int64 `json:"max"`
}

// resume reads what an earlier run left, or begins.
func resume(path string, seed uint64) (*cycles, error) {
	c := &cycles{Name: "kill-cycles", Seed: seed, Passed: true}
	if path == "" {
		return c, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, c)
	}
	if err != nil {
		return nil, fmt.Errorf("resume kill cycles from %s: %w: name another file to begin anew", path, err)
	}
	return c, nil
}

func (c *cycles) save(path string) error {
	if path == "" {
		return nil
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// add takes in a batch.
func (c *cycles) add(r *report, killed int, recoveries []int64) {
	c.Batches++
	c.Cycles += len(recoveries)
	c.Killed += killed
	c.Acked += r.Acked
	c.Lost += r.Lost
	c.Duplicated += r.Duplicated
	c.Forks += r.Forks
	c.LateAnswers += r.LateAnswers
	c.Passed = c.Passed && r.Passed
	c.Problems = append(c.Problems, r.Problems...)
	c.Recoveries = append(c.Recoveries, recoveries...)
	sorted := slices.Sorted(slices.Values(c.Recoveries))
	if n := len(sorted); n > 0 {
		c.RecoveryMs = quantile{P50: sorted[n/2], P99: sorted[min(n-1, n*99/100)], Max: sorted[n-1]}
	}
}

// print writes one line of figures.
func (c *cycles) print(out io.Writer, asJSON bool) error {
	line := *c
	line.Recoveries = nil
	if asJSON {
		return json.NewEncoder(out).Encode(line)
	}
	word := "passed"
	if !c.Passed {
		word = "FAILED"
	}
	_, err := fmt.Fprintf(out, "%-26s %-7s seed %-10d cycles %d  killed %d  acked %5d  lost %d  duplicated %d  forks %d  late %d  recovery p50 %d ms, p99 %d ms, at most %d ms\n",
		c.Name, word, c.Seed, c.Cycles, c.Killed, c.Acked, c.Lost, c.Duplicated, c.Forks, c.LateAnswers, c.RecoveryMs.P50, c.RecoveryMs.P99, c.RecoveryMs.Max)
	for _, p := range c.Problems {
		if err == nil {
			_, err = fmt.Fprintln(out, "   ", p)
		}
	}
	return err
}

// runCycles plays batches of kill cycles until there are as many as asked for,
// counting those of the file, and prints one line.
func (w *world) runCycles(ctx context.Context, s *scenario, out io.Writer) (passed bool, err error) {
	c, err := resume(w.opts.resume, w.opts.seed)
	if err != nil {
		return false, err
	}
	first := c.Seed
	for c.Cycles < w.opts.cycles && ctx.Err() == nil {
		w.opts.seed = first + uint64(c.Batches)
		w.batch = &batch{want: min(perBatch, w.opts.cycles-c.Cycles)}
		r := w.play(ctx, s)
		if ctx.Err() != nil {
			break // a batch that was cut off counts for nothing
		}
		c.add(r, w.batch.killed, w.batch.recoveries)
		if err := c.save(w.opts.resume); err != nil {
			return false, err
		}
		fmt.Fprintf(os.Stderr, "  %d of %d cycles\n", c.Cycles, w.opts.cycles)
		if !r.Passed {
			fmt.Fprintf(os.Stderr, "  batch with seed %d failed: logs in %s\n", w.opts.seed, r.Logs)
			break
		}
	}
	return c.Passed && ctx.Err() == nil, errors.Join(ctx.Err(), c.print(out, w.opts.json))
}

// batch is the kill cycles of one play.
type batch struct {
	want, killed int
	recoveries   []int64
}

// play plays the cycles: one to all nodes die, come back at once or after a while, in
// a quarter of all cycles die once more while they do, and are then waited for.
func (b *batch) play(ctx context.Context, p *play) error {
	for len(b.recoveries) < b.want {
		victims := p.some(1 + p.rng.IntN(len(p.net.Nodes)))
		if err := b.strike(ctx, p, victims); err != nil {
			return err
		}
		if p.rng.IntN(4) == 0 {
			if err := p.pause(ctx, time.Duration(p.rng.IntN(1000))*time.Millisecond); err != nil {
				return err
			}
			if err := b.strike(ctx, p, victims[:1]); err != nil {
				return err
			}
		}
		back := p.load.history.Now()
		took := func() (longest time.Duration, err error) {
			for _, x := range p.net.Nodes {
				at, ok := p.load.history.Served(x.Name, back)
				if !ok {
					return 0, fmt.Errorf("clients of %s are not served", x.Name)
				}
				longest = max(longest, at-back)
			}
			return longest, nil
		}
		what := fmt.Sprintf("everybody is served after cycle %d", len(b.recoveries)+1)
		if err := p.within(ctx, settleLimit, what, func() error { _, err := took(); return err }); err != nil {
			return err
		}
		longest, err := took()
		if err != nil {
			return err
		}
		b.recoveries = append(b.recoveries, longest.Milliseconds())
		if err := p.pause(ctx, time.Duration(p.rng.IntN(1000))*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// strike kills nodes and starts them again.
func (b *batch) strike(ctx context.Context, p *play, victims []*testnet.Node) error {
	p.kill(victims...)
	b.killed += len(victims)
	if err := p.pause(ctx, time.Duration(p.rng.IntN(1500))*time.Millisecond); err != nil {
		return err
	}
	for _, x := range victims {
		if err := p.boot(ctx, x); err != nil {
			return err
		}
	}
	return nil
}
