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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assent-network/assent/scripts/faults/link"
	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// soak is a long mixed load with a light fault now and then, during which every
// node is asked what it uses. Some nodes, the bank's among them, are never
// restarted: what leaks does so there.
type soak struct {
	steady  map[string]bool // by node
	watched map[string]*watched
	faults  map[string]int // how often each kind struck

	reads, events atomic.Int64
	work          float64 // transactions executed so far, as a steady node counts
	took          time.Duration
	rows          map[string]map[string]int64 // of private.db in the end, by node and table

	levels map[string]map[string]levelled // by node and figure
	growth map[string]map[string]growth   // by node and store
}

const (
	shortest   = time.Minute      // soak --duration
	mostOften  = 20 * time.Second // between two faults
	mostPoints = 180              // samples of a run
)

// soakCommand is `faults soak`.
func soakCommand(ctx context.Context, args []string, out io.Writer) (passed bool, err error) {
	var o options
	fs := flag.NewFlagSet("faults soak", flag.ExitOnError)
	fs.DurationVar(&o.duration, "duration", 30*time.Minute, "how long the network works")
	fs.Uint64Var(&o.seed, "seed", 0, "seed of every choice; 0: a random one")
	fs.BoolVar(&o.json, "json", false, "print one JSON object on standard output")
	fs.BoolVar(&o.keep, "keep", false, "keep the network's directory")
	_ = fs.Parse(args) // it exits by itself
	switch {
	case fs.NArg() > 0:
		return false, fmt.Errorf("soak: unknown argument %q: see soak --help", fs.Arg(0))
	case o.duration < shortest:
		return false, fmt.Errorf("soak: --duration must be at least %s, or nothing can be said about growth", shortest)
	}
	return withWorld(ctx, o, func(w *world) (bool, error) {
		s := &soak{}
		r := w.play(ctx, &scenario{
			name: "soak", about: "mixed load for " + o.duration.String() + " with a light fault now and then",
			disturb: s.disturb, examine: s.examine,
		})
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return r.Passed, s.print(out, r, o.json)
	})
}

func (s *soak) disturb(ctx context.Context, p *play) error {
	s.watched, s.faults, s.steady = make(map[string]*watched), make(map[string]int), make(map[string]bool)
	restless := p.others(p.net.First(bank))
	p.rng.Shuffle(len(restless), func(i, j int) { restless[i], restless[j] = restless[j], restless[i] })
	s.steady[p.net.First(bank).Name], s.steady[restless[2].Name] = true, true
	restless = restless[:2]
	p.spare(restless...)

	readers, end := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { end(); running.Wait() }()
	for i, m := range members {
		r := rand.New(rand.NewPCG(p.rng.Uint64(), uint64(i)))
		running.Go(func() { s.read(readers, r, p.load, p.load.people[m]) })
		running.Go(func() { s.follow(readers, p.load, p.load.people[m]) })
	}
	return s.watch(ctx, p, restless)
}

// watch samples and strikes until the time is over.
func (s *soak) watch(ctx context.Context, p *play, restless []*testnet.Node) error {
	every := max(p.duration/mostPoints, time.Second)
	between := max(p.duration/24, mostOften)
	began := time.Now()
	strike, say := began.Add(between), began
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		at := time.Since(began)
		if err := s.sample(ctx, p, at); err != nil {
			return err
		}
		if at >= p.duration {
			s.took = at
			return nil
		}
		if now := time.Now(); now.After(say) {
			s.progress(p, at)
			say = now.Add(max(p.duration/30, 10*time.Second))
		}
		// The last tenth is left alone, so that every life is long enough at the end.
		if time.Now().After(strike) && at < p.duration*9/10 {
			if err := s.strike(ctx, p, restless); err != nil {
				return err
			}
			strike = time.Now().Add(between/2 + time.Duration(p.rng.Int64N(int64(between))))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// strike is one light fault: a node that is not steady is stopped or killed and
// started again, or all connections between two nodes are cut for a second.
func (s *soak) strike(ctx context.Context, p *play, restless []*testnet.Node) error {
	x := restless[p.rng.IntN(len(restless))]
	switch p.rng.IntN(3) {
	case 0:
		s.faults["stop"]++
		if err := x.StopNode(); err != nil {
			return err
		}
		return p.again(ctx, x)
	case 1:
		s.faults["kill"]++
		p.kill(x)
		return p.again(ctx, x)
	}
	s.faults["cut"]++
	two := p.some(2)
	p.apart(two[:1], two[1:], link.Rule{Cut: true})
	err := p.pause(ctx, time.Second)
	p.links.Heal()
	return err
}

// read looks things up, as systems beside a ledger do all day.
func (s *soak) read(ctx context.Context, r *rand.Rand, l *load, p *person) {
	for rest(ctx, time.Duration(20+r.IntN(100))*time.Millisecond) {
		c := l.any(r)
		if c == nil {
			continue
		}
		var err error
		switch r.IntN(4) {
		case 0:
			_, err = p.integ.Uses(ctx, c.terms.ConsentID)
		case 1:
			_, _, err = p.integ.Consents().Proven(ctx, c.terms.ConsentID)
		case 2:
			_, err = p.integ.Status(ctx)
		default:
			_, err = p.integ.Consents().Get(ctx, c.terms.ConsentID)
		}
		if err == nil {
			s.reads.Add(1)
		} // else the node is away, or has not heard of the consent yet
	}
}

// any returns one of all consents, old ones too; nil while there is none.
func (l *load) any(r *rand.Rand) *agreed {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.consents) == 0 {
		return nil
	}
	return l.consents[r.IntN(len(l.consents))]
}

// follow reads the events of a node, cuts the stream now and then, and goes on
// where it was: never back.
func (s *soak) follow(ctx context.Context, l *load, p *person) {
	const most, life = 500, 15 * time.Second
	var at *sdk.Checkpoint
	for rest(ctx, 100*time.Millisecond) {
		stream, end := context.WithTimeout(ctx, life)
		n := 0
		for e, err := range p.integ.Events(stream, at, sdk.EventFilter{}) {
			if err != nil {
				break // its time is over, or the node is away
			}
			if at != nil && (e.Height < at.Height || e.Height == at.Height && e.Index < at.Index) {
				l.fail("the event stream via %s went back from %s to %d.%d", p.via, at, e.Height, e.Index)
			}
			next := e.Next
			at = &next
			s.events.Add(1)
			if n++; n == most {
				break
			}
		}
		end()
	}
}

// examine judges what was sampled, once all nodes have stopped.
func (s *soak) examine(ctx context.Context, p *play) error {
	s.rows = make(map[string]map[string]int64)
	for _, x := range p.net.Nodes {
		rows, err := rowsOf(ctx, x)
		if err != nil {
			return err
		}
		s.rows[x.Name] = rows
	}
	problems := s.judge()
	if s.reads.Load() == 0 || s.events.Load() == 0 {
		problems = append(problems, fmt.Sprintf("%d reads and %d events: nobody was served", s.reads.Load(), s.events.Load()))
	}
	var errs []error
	for _, w := range problems {
		errs = append(errs, errors.New(w))
	}
	return errors.Join(errs...)
}

// progress says on standard error how far it is.
func (s *soak) progress(p *play, at time.Duration) {
	heap, outbox := 0.0, 0.0
	for _, w := range s.watched {
		heap, outbox = heap+w.last("heap"), outbox+w.last("outbox")
	}
	fmt.Fprintf(os.Stderr, "  %7s of %s: %.0f transactions, %d reads, %d events, %d faults; live heap of all %.0f MiB, %.0f in outboxes\n",
		at.Round(time.Second), p.duration, s.work, s.reads.Load(), s.events.Load(), s.struck(), heap/(1<<20), outbox)
}

func (s *soak) struck() (n int) {
	for _, k := range s.faults {
		n += k
	}
	return n
}

// soakReport is the JSON object of a soak.
type soakReport struct {
	*report
	Seconds      float64        `json:"seconds"`
	Transactions float64        `json:"transactions"`
	Reads        int64          `json:"reads"`
	Events       int64          `json:"events"`
	Faults       map[string]int `json:"faults"`
	Nodes        []soakNode     `json:"nodes"`
}

type soakNode struct {
	Name   string              `json:"name"`
	Steady bool                `json:"steady"` // never restarted
	Lives  int                 `json:"lives"`
	Levels map[string]levelled `json:"levels"`
	Growth map[string]growth   `json:"growth"`
	Rows   map[string]int64    `json:"rows"`
}

func (s *soak) print(out io.Writer, r *report, asJSON bool) error {
	// What was found wrong with levels came as one error of many lines.
	r.Problems = strings.Split(strings.Join(r.Problems, "\n"), "\n")
	if r.Problems[0] == "" {
		r.Problems = nil
	}
	whole := soakReport{report: r, Seconds: s.took.Seconds(), Transactions: s.work, Reads: s.reads.Load(), Events: s.events.Load(), Faults: s.faults}
	for name, w := range s.watched {
		whole.Nodes = append(whole.Nodes, soakNode{
			Name: name, Steady: s.steady[name], Lives: len(w.lives), Levels: s.levels[name], Growth: s.growth[name], Rows: s.rows[name],
		})
	}
	slices.SortFunc(whole.Nodes, func(a, b soakNode) int { return strings.Compare(a.Name, b.Name) })
	if asJSON {
		return json.NewEncoder(out).Encode(whole)
	}
	if err := whole.table(out); err != nil {
		return err
	}
	return r.print(out, false)
}
