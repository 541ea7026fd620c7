// Command faults breaks a network of real processes while clients use it, and
// checks afterwards that nothing was lost, executed twice, forked or answered late.
//
//	go run ./scripts/faults [--scenario NAME|all] [--list] [--seed N] [--duration D] [--json]
//	go run ./scripts/faults soak [--duration 30m] [--seed N] [--json]
//	go run ./scripts/faults --scenario kill-cycles --cycles 1000 [--resume FILE] [--json]
//
// Four validators, of a bank that answers from its own vault, of two lenders and
// of a second bank, run as processes of their own. Clients create, authorise, use
// and revoke consents and write other records through all of them. A scenario
// disturbs this for --duration; then everything is mended, and the checker waits
// until all nodes have one height, stops them, and holds what the clients were told
// against what each node keeps (scripts/faults/check).
//
// One line per scenario, with --json one object:
//
//	{"name":…,"seed":…,"passed":…,"acked":N,"lost":0,"duplicated":0,"forks":0,"lateAnswers":0,"recoveryMs":…,"pauseMs":…}
//
// acked counts acknowledged transactions; lateAnswers those that left a provider
// more than two seconds after the revocation was acknowledged, or without a PERMIT;
// recoveryMs is the time from mending until the clients of every node are served;
// pauseMs the longest time in which no client of an undisturbed node was. What went
// wrong is said in problems, and the nodes' logs are kept. Controls, which are not
// in "all", plant a wrong that the checker must find. What a machine lacks for a
// scenario stands in skipped; such a scenario has not passed, and fails nothing.
//
// With --cycles, kill cycles are played on copies of the network, each judged after
// 25, and one object says what became of all of them; --resume lets another run go on.
//
// soak lets the network work for long, with a light fault now and then, asks every
// node what it uses, and judges that goroutines, heap, file handles, logs and
// queues stay at their level and what grows with the ledger grows no faster (soak.go).
//
// What the links can do is the honest limit of a proxy between TCP sockets: cut,
// silence in one direction, delay, throttle, and stalls, short writes and resets in
// the place of lost packets (scripts/faults/link). Scenarios that need root or a
// build with fault points say so in --list.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	scenario string
	list     bool
	seed     uint64
	duration time.Duration
	json     bool
	keep     bool
	cycles   int
	resume   string
}

// report is the JSON object of one scenario.
type report struct {
	Name        string   `json:"name"`
	Seed        uint64   `json:"seed"`
	Passed      bool     `json:"passed"`
	Acked       int      `json:"acked"`
	Lost        int      `json:"lost"`
	Duplicated  int      `json:"duplicated"`
	Forks       int      `json:"forks"`
	LateAnswers int      `json:"lateAnswers"`
	RecoveryMs  int64    `json:"recoveryMs"`
	PauseMs     int64    `json:"pauseMs"`
	ResumedMs   []int64  `json:"resumedMs,omitempty"` // leader-series: how long writes stood still, ascending
	Skipped     string   `json:"skipped,omitempty"`   // why it was not run
	Problems    []string `json:"problems,omitempty"`
	Logs        string   `json:"logs,omitempty"` // where the nodes' logs are, if it failed
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "soak" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		end(stop, slices.Contains(os.Args, "--json"))(soakCommand(ctx, os.Args[2:], os.Stdout))
		return
	}
	flag.CommandLine = flag.NewFlagSet("faults", flag.ExitOnError) // the default one holds flags of libraries
	var o options
	flag.StringVar(&o.scenario, "scenario", "all", "scenarios to run: all, short, or names separated by commas")
	flag.BoolVar(&o.list, "list", false, "list the scenarios and end")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of every choice; 0: a random one")
	flag.DurationVar(&o.duration, "duration", 8*time.Second, "how long a scenario disturbs")
	flag.BoolVar(&o.json, "json", false, "print one JSON object per scenario and line on standard output")
	flag.BoolVar(&o.keep, "keep", false, "keep the network's directory")
	flag.IntVar(&o.cycles, "cycles", 0, "with --scenario kill-cycles: how many, judged every 25; prints one line of figures")
	flag.StringVar(&o.resume, "resume", "", "with --cycles: a file that keeps the figures, so that another run goes on")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "faults: unknown argument %q: see --help\n", flag.Arg(0))
		os.Exit(2)
	}
	if o.list {
		list(os.Stdout)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	end(stop, o.json)(run(ctx, o, os.Stdout))
}

// end ends the command with its result.
func end(stop func(), asJSON bool) func(passed bool, err error) {
	return func(passed bool, err error) {
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, "faults:", err)
			if asJSON {
				_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"error": err.Error()}) // nobody is left to tell
			}
		}
		if err != nil || !passed {
			os.Exit(1)
		}
	}
}

func list(out io.Writer) {
	for _, s := range scenarios {
		fmt.Fprintf(out, "%-26s %s%s\n", s.name, s.about, s.needs())
	}
}

// choose returns the scenarios that --scenario names.
func choose(names string) ([]*scenario, error) {
	var out []*scenario
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for i := range scenarios {
			if s := &scenarios[i]; name == "all" && s.control == nil || name == s.name || name == "short" && s.short {
				out, found = append(out, s), true
			}
		}
		if !found {
			return nil, fmt.Errorf("no scenario %q: --list names them", name)
		}
	}
	return out, nil
}

// run runs the chosen scenarios one after the other on copies of one network.
func run(ctx context.Context, o options, out io.Writer) (passed bool, err error) {
	chosen, err := choose(o.scenario)
	if err != nil {
		return false, err
	}
	if o.cycles < 0 || (o.cycles > 0 || o.resume != "") && (len(chosen) != 1 || chosen[0].name != "kill-cycles") {
		return false, errors.New("--cycles and --resume belong to --scenario kill-cycles")
	}
	if o.duration < time.Second {
		return false, errors.New("--duration must be at least a second")
	}
	return withWorld(ctx, o, func(w *world) (bool, error) {
		if o.cycles > 0 {
			return w.runCycles(ctx, chosen[0], out)
		}
		passed := true
		for _, s := range chosen {
			r := w.play(ctx, s)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			passed = passed && (r.Passed || r.Skipped != "")
			if err := r.print(out, o.json); err != nil {
				return false, err
			}
		}
		return passed, nil
	})
}

// withWorld founds a network for a use of it and clears it away, but for the logs
// of what failed.
func withWorld(ctx context.Context, o options, use func(*world) (bool, error)) (passed bool, err error) {
	if o.seed == 0 {
		o.seed = rand.Uint64N(1 << 32)
	}
	if err := os.MkdirAll(".assent", 0o700); err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp(".assent", "faults-")
	if err != nil {
		return false, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return false, err
	}
	w, err := open(ctx, dir, o)
	if err != nil {
		return false, errors.Join(err, os.RemoveAll(dir))
	}
	passed, err = use(w)
	err = errors.Join(err, w.close())
	switch {
	case o.keep:
		fmt.Fprintln(os.Stderr, "  kept:", dir)
	case passed:
		err = errors.Join(err, os.RemoveAll(dir))
	default: // what failed has its logs there
		for _, x := range []*world{w, w.inPackets} {
			if x != nil {
				err = errors.Join(err, os.RemoveAll(x.netDir()), os.RemoveAll(x.baseDir()))
			}
		}
	}
	return passed, err
}

func (r *report) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(r)
	}
	word := "passed"
	switch {
	case r.Skipped != "":
		word = "skipped: " + r.Skipped
	case !r.Passed:
		word = "FAILED"
	}
	_, err := fmt.Fprintf(out, "%-26s %-7s seed %-10d acked %5d  lost %d  duplicated %d  forks %d  late %d  recovery %5d ms  pause %5d ms\n",
		r.Name, word, r.Seed, r.Acked, r.Lost, r.Duplicated, r.Forks, r.LateAnswers, r.RecoveryMs, r.PauseMs)
	for _, p := range slices.Concat(r.Problems, nonEmpty("logs: ", r.Logs)) {
		if err == nil {
			_, err = fmt.Fprintln(out, "   ", p)
		}
	}
	return err
}

func nonEmpty(prefix, s string) []string {
	if s == "" {
		return nil
	}
	return []string{prefix + s}
}
