// Command flood measures what a greedy or hostile member can take from the
// others: a network of four validator processes serves two lenders that behave,
// while the third floods it with ten times what it can order.
//
//	go run ./scripts/flood [--json] [--seconds 4] [--repeats 3] [--forms valid,invalid,client,slow]
//
// What is measured, and how:
//
//   - capacity: committed access requests per second of the two lenders with many
//     in flight, and nobody else; measured anew before each flood, for what else a
//     machine does changes it.
//   - The lenders then offer a third of it, whatever happens, for turns of
//     --seconds without and with each flood. keeps is what they get committed
//     with the flood as a part of what they get without, turn by turn, the median
//     of --repeats.
//   - valid: a dishonest node of the greedy member sends its signed transactions
//     to all validators over the nodes' own protocol. invalid: the same with
//     wrong signatures. client: a client of the greedy member's honest node calls
//     without heed of refusals. slow: event streams, answers and connections at
//     the lenders' own nodes that nobody reads. Each is a process of its own and
//     of lower priority, for an attacker has machines of its own.
//   - CPU of the four nodes in a turn, and resident memory of the largest before,
//     at the peak of and after the flood; and the live memory of its heap before
//     and after. The flood is signed beforehand, but runs on the same cores.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/assent-network/assent/sdk"
)

type options struct {
	json    bool
	seconds int
	repeats int
	forms   string
	program string
}

// report is the JSON object.
type report struct {
	Capacity float64      `json:"capacity"` // requests per second
	Offered  float64      `json:"offered"`  // by the lenders that behave
	Forms    []formReport `json:"forms"`
}

type formReport struct {
	Form     string     `json:"form"`
	Keeps    float64    `json:"keeps"`
	Ratios   []float64  `json:"ratios"`
	Baseline float64    `json:"baseline"` // committed per second, medians
	Flooded  float64    `json:"flooded"`
	P50      [2]float64 `json:"p50Ms"` // of the lenders' requests, without and with the flood
	P99      [2]float64 `json:"p99Ms"`
	Offered  float64    `json:"floodOffered"` // by the flood, per second
	Passed   float64    `json:"floodPassed"`  // what some node took off its hands, per second
	CPU      [2]float64 `json:"nodesCores"`   // of all nodes, without and with
	RSS      [3]float64 `json:"rssMB"`        // of the largest node before, at the peak, after
	Live     [2]float64 `json:"liveMB"`       // of the largest node's heap, garbage collected, before and after
	Failed   int64      `json:"failed"`       // requests of the lenders that ended in an error
}

var forms = []struct {
	name  string
	run   flood
	signs bool    // it sends signed transactions
	times float64 // of the capacity
}{
	{"valid", valid, true, 10},
	{"invalid", invalid, true, 10},
	{"client", client, true, 10},
	{"slow", slow, false, 0},
}

func main() {
	if os.Getenv(otherEnv) != "" {
		if err := beOther(); err != nil {
			fmt.Fprintln(os.Stderr, "flooding process:", err)
			os.Exit(1)
		}
		return
	}
	flag.CommandLine = flag.NewFlagSet("flood", flag.ExitOnError) // the default one holds flags of libraries
	var o options
	flag.BoolVar(&o.json, "json", false, "print exactly one JSON object on standard output")
	flag.IntVar(&o.seconds, "seconds", 4, "length of one turn")
	flag.IntVar(&o.repeats, "repeats", 3, "turns of which the median counts")
	flag.StringVar(&o.forms, "forms", "valid,invalid,client,slow", "floods to measure")
	flag.StringVar(&o.program, "assentd", "", "the node program; default: it is built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "flood:", err)
		if o.json {
			_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"error": err.Error()}) // nobody is left to tell
		}
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	if o.seconds < 1 || o.repeats < 1 {
		return errors.New("--seconds and --repeats must be at least 1")
	}
	if err := os.MkdirAll(".assent", 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(".assent", "flood-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	w, err := open(ctx, dir, o.program)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	r, err := w.measure(ctx, o, func(line string) { fmt.Fprintln(os.Stderr, line) })
	if err != nil {
		return err
	}
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	r.print()
	return nil
}

func (r *report) print() {
	fmt.Printf("Four validators; two lenders offer %.0f requests a second of the %.0f that the network orders.\n\n", r.Offered, r.Capacity)
	for i := range r.Forms {
		fmt.Println(r.Forms[i].line())
	}
}

func (f *formReport) line() string {
	return fmt.Sprintf("%-8s keeps %.2f %.2v  %4.0f → %4.0f /s  p50 %.0f → %.0f ms  p99 %.0f → %.0f ms  flood %.0f /s offered, %.0f taken  nodes %.2f → %.2f cores  largest %.0f, %.0f, %.0f MB, live %.0f, %.0f MB  failed %d",
		f.Form, f.Keeps, f.Ratios, f.Baseline, f.Flooded, f.P50[0], f.P50[1], f.P99[0], f.P99[1], f.Offered, f.Passed, f.CPU[0], f.CPU[1], f.RSS[0], f.RSS[1], f.RSS[2], f.Live[0], f.Live[1], f.Failed)
}

// capacity measures what the lenders get with as many in flight as they may have.
// The lenders are to offer a third of it.
func (w *world) capacity(ctx context.Context, d time.Duration) (full, offer float64, err error) {
	l := w.startLoad(ctx, 0)
	defer l.stop()
	if _, err := w.window(ctx, l, 2*time.Second); err != nil { // warm up
		return 0, 0, err
	}
	seen, err := w.window(ctx, l, d)
	if err != nil {
		return 0, 0, err
	}
	if err := l.stop(); err != nil {
		return 0, 0, err
	}
	if len(seen.waits) == 0 {
		return 0, 0, errors.New("nothing was committed without a flood")
	}
	return seen.perSecond(), seen.perSecond() / 3, nil
}

func (w *world) measure(ctx context.Context, o options, say func(string)) (*report, error) {
	d := time.Duration(o.seconds) * time.Second
	r := &report{}
	var err error
	for _, f := range forms {
		if !slices.Contains(strings.Split(o.forms, ","), f.name) {
			continue
		}
		x := formReport{Form: f.name}
		if r.Capacity, r.Offered, err = w.capacity(ctx, d); err != nil {
			return r, err
		}
		say(fmt.Sprintf("capacity %.0f requests a second", r.Capacity))
		var base, under []float64
		for range o.repeats {
			before, after, err := w.turn(ctx, d, r, f.run, f.signs, f.times, &x)
			if err != nil {
				return r, fmt.Errorf("%s: %w", f.name, err)
			}
			base, under = append(base, before), append(under, after)
			x.Ratios = append(x.Ratios, after/before)
		}
		x.Keeps, x.Baseline, x.Flooded = median(x.Ratios), median(base), median(under)
		r.Forms = append(r.Forms, x)
		say(x.line())
	}
	return r, nil
}

// turn measures once without and once with a flood, under one load.
func (w *world) turn(ctx context.Context, d time.Duration, r *report, f flood, signs bool, times float64, x *formReport) (without, with float64, err error) {
	perSecond := int(r.Capacity * times)
	s := &stock{}
	if signs {
		if s.reqs, err = w.heap(min(perSecond, 12_000) * (int(d.Seconds()) + 1)); err != nil {
			return 0, 0, err
		}
		if x.Form == "invalid" {
			if s.reqs, err = spoil(s.reqs); err != nil {
				return 0, 0, err
			}
		}
	}
	live, err := w.liveHeap(ctx)
	if err != nil {
		return 0, 0, err
	}
	l := w.startLoad(ctx, r.Offered)
	defer l.stop()
	const settle = time.Second
	if _, err := w.window(ctx, l, settle); err != nil {
		return 0, 0, err
	}
	before, err := w.window(ctx, l, d)
	if err != nil {
		return 0, 0, err
	}
	fctx, stop := context.WithCancel(context.WithValue(ctx, stockKey{}, s))
	defer stop()
	t := newTally()
	ended := make(chan error, 1)
	go func() { ended <- f(fctx, w, perSecond, t) }()
	select {
	case <-t.begun:
	case err := <-ended:
		return 0, 0, errors.Join(errors.New("the flood ended before it began"), err)
	case <-time.After(time.Minute):
		stop()
		return 0, 0, errors.Join(errors.New("the flooding process has offered nothing for a minute: is the machine busy with something else?"), <-ended)
	}
	setIn := settle
	if !signs {
		setIn = 4 * settle // until its hundreds of connections stand
	}
	if _, err := w.window(ctx, l, setIn); err != nil { // the flood sets in
		return 0, 0, err
	}
	began := [2]int64{t.offered.Load(), t.passed.Load()}
	under, err := w.window(ctx, l, d)
	x.Offered = float64(t.offered.Load()-began[0]) / d.Seconds()
	x.Passed = float64(t.passed.Load()-began[1]) / d.Seconds()
	stop()
	if ferr := <-ended; err == nil {
		err = ferr
	}
	if err != nil {
		return 0, 0, err
	}
	after, err := w.window(ctx, l, 2*settle) // and is over
	if err != nil {
		return 0, 0, err
	}
	if err := l.stop(); err != nil {
		return 0, 0, err
	}
	x.P50 = [2]float64{before.quantile(0.5), under.quantile(0.5)}
	x.P99 = [2]float64{before.quantile(0.99), under.quantile(0.99)}
	x.CPU = [2]float64{before.cores, under.cores}
	x.RSS = [3]float64{before.rss, under.rss, after.rss}
	x.Live[0] = live
	if x.Live[1], err = w.liveHeap(ctx); err != nil {
		return 0, 0, err
	}
	x.Failed += under.failed
	return before.perSecond(), under.perSecond(), nil
}

// inFlight is how many requests of one lender wait at most.
const inFlight = 96

// load is the lenders asking, as often as they were told and as far as no more
// than inFlight of theirs wait.
type load struct {
	end  context.CancelFunc
	wait func() error

	mu     sync.Mutex
	waits  []time.Duration // of those committed since the last look
	failed int64
}

// startLoad lets the lenders ask perSecond times together; 0: as fast as answers
// come back.
func (w *world) startLoad(ctx context.Context, perSecond float64) *load {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	l := &load{end: cancel, wait: g.Wait}
	for _, member := range lenders {
		limit := rate.Inf
		if perSecond > 0 {
			limit = rate.Limit(perSecond / float64(len(lenders)))
		}
		pace := rate.NewLimiter(limit, 1+int(perSecond/100))
		for range inFlight {
			g.Go(func() error {
				for pace.Wait(ctx) == nil {
					if err := w.ask(ctx, l, member); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	return l
}

func (w *world) ask(ctx context.Context, l *load, member string) error {
	asked := time.Now()
	tx, err := w.request(member)
	if err != nil {
		return err
	}
	_, err = w.clients[member].Submit(ctx, tx)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.waits = append(l.waits, time.Since(asked))
	case ctx.Err() != nil:
	case !sdk.Retryable(err):
		return err
	default:
		l.failed++
	}
	return nil
}

// stop ends the load; the error is the first that no retry could have helped.
func (l *load) stop() error {
	l.end()
	return l.wait()
}

// take returns what was committed since the last call.
func (l *load) take() (waits []time.Duration, failed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waits, failed = l.waits, l.failed
	l.waits, l.failed = nil, 0
	return waits, failed
}

// offered is what became of the lenders' requests in some time.
type offered struct {
	took   time.Duration
	waits  []time.Duration // of the committed ones
	failed int64
	cores  float64
	rss    float64 // MB of the largest node, at the peak
}

func (o *offered) perSecond() float64 { return float64(len(o.waits)) / o.took.Seconds() }

func (o *offered) quantile(q float64) float64 {
	if len(o.waits) == 0 {
		return 0
	}
	slices.Sort(o.waits)
	return float64(o.waits[min(int(q*float64(len(o.waits))), len(o.waits)-1)].Microseconds()) / 1000
}

// window measures a load for d.
func (w *world) window(ctx context.Context, l *load, d time.Duration) (*offered, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	watch, err := w.watch(ctx)
	if err != nil {
		return nil, err
	}
	l.take()
	began := time.Now()
	<-ctx.Done()
	out := &offered{took: time.Since(began)}
	out.waits, out.failed = l.take()
	out.cores, out.rss, err = watch()
	out.cores /= out.took.Seconds()
	return out, err
}

// watch follows the nodes' processes until ctx ends, and then returns the CPU
// seconds of all and the most memory of one.
func (w *world) watch(ctx context.Context) (result func() (cpu, rss float64, err error), err error) {
	var start time.Duration
	for _, x := range w.validators() {
		u, err := x.Usage()
		if err != nil {
			return nil, err
		}
		start += u.CPU
	}
	type seen struct {
		cpu, rss float64
		err      error
	}
	done := make(chan seen, 1)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		var s seen
		for {
			var cpu time.Duration
			for _, x := range w.validators() {
				u, err := x.Usage()
				if err != nil {
					done <- seen{err: err}
					return
				}
				cpu += u.CPU
				s.rss = max(s.rss, float64(u.RSS)/(1<<20))
			}
			s.cpu = (cpu - start).Seconds()
			select {
			case <-tick.C:
			case <-ctx.Done():
				done <- s
				return
			}
		}
	}()
	return func() (float64, float64, error) { s := <-done; return s.cpu, s.rss, s.err }, nil
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}
