package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/scripts/faults/check"
	"github.com/assent-network/assent/scripts/faults/packets"
	"github.com/assent-network/assent/scripts/testnet"
)

// scenario is one way to disturb a network.
type scenario struct {
	name, about string
	short       bool   // in the selection of scripts/test
	root        bool   // needs root
	next        bool   // by a harness that knows the next protocol version, built for it
	tool        string // program that must be installed; "": none
	packets     bool   // on the network in namespaces, which needs root and TUN devices
	tagged      bool   // runs a build with fault points on the nodes it disturbs
	// control says that something is really wrong, which the verdict must say: it
	// passes if control finds it, and is played only by name. nil: nothing is.
	control func(v *check.Verdict) bool
	// prepare changes how nodes are started, before the clients are; nil: nothing.
	prepare func(ctx context.Context, p *play) error
	// disturb lasts about as long as --duration. Whatever it leaves broken is mended
	// by the player.
	disturb func(ctx context.Context, p *play) error
	// examine looks at something more when all nodes have stopped; nil: nothing.
	examine func(ctx context.Context, p *play) error
}

func (s *scenario) needs() string {
	out := ""
	if s.root {
		out += " (needs root)"
	}
	if s.packets {
		out += " (needs root and /dev/net/tun)"
	}
	if s.next {
		out += " (build that knows the next protocol version)"
	}
	if s.tagged {
		out += " (build with fault points)"
	}
	if s.control != nil {
		out += " (control: not in all)"
	}
	return out
}

// missing says in one sentence what the machine lacks for a scenario; such a scenario
// is skipped, which is not passed.
func (s *scenario) missing() string {
	if s.root && os.Geteuid() != 0 {
		return "needs root"
	}
	if s.tool != "" {
		if _, err := exec.LookPath(s.tool); err != nil {
			return "needs " + s.tool + ", which is not installed here"
		}
	}
	if s.packets {
		if err := packets.Possible(); err != nil {
			return err.Error()
		}
	}
	return ""
}

// play is one scenario being played.
type play struct {
	*world
	s        *scenario
	rng      *rand.Rand
	load     *load
	duration time.Duration

	// starts says how a node is started while the scenario lasts, by name; absent:
	// as usual.
	starts  map[string]start
	frozen  map[*testnet.Node]bool
	small   *testnet.Node         // whose disk is small, or fails
	failing *failing              // that disk
	who     string                // whom the scenario with fault points is about
	doomed  *testnet.Node         // that node, once it was armed
	lies    bool                  // the scenario is about a liar
	liar    *testnet.Node         // whom others may accuse
	victim  *testnet.Node         // whom the liar treats otherwise than the rest
	armed   bool                  // its faults have begun since it was started last
	rules   [2]int64              // of links made, and met, before this play
	resumed []int64               // ms until others were served, of scenarios that count
	spared  func(via string) bool // whose clients pauseMs is about
	began   time.Duration         // of the disturbance, on the history's clock
	mended  time.Duration
	stopped []func() error // what the scenario has still running
}

// start is a program with additions to its environment.
type start struct {
	program string
	env     []string
}

const (
	warm        = 3                // acknowledgements for each member's clients before a disturbance
	settleLimit = 60 * time.Second // for recovery, and for one height on all nodes
)

// seedOf makes a seed of a scenario of its own from that of the command.
func seedOf(seed uint64, name string) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%s", seed, name)
	return h.Sum64()
}

// play plays one scenario and judges it.
func (w *world) play(ctx context.Context, s *scenario) *report {
	r := &report{Name: s.name, Seed: w.opts.seed}
	if r.Skipped = s.missing(); r.Skipped != "" {
		return r
	}
	if s.next && ledger.Protocol < nextProtocol {
		return w.playRebuilt(ctx, s)
	}
	if s.packets && w.lan == nil {
		in, err := w.openPackets(ctx)
		if err != nil {
			r.Problems = []string{err.Error()}
			return r
		}
		return in.play(ctx, s)
	}
	seed, began := seedOf(w.opts.seed, s.name), time.Now()
	p := &play{
		world: w, s: s, rng: rand.New(rand.NewPCG(seed, 0)), duration: w.opts.duration,
		starts: make(map[string]start), frozen: make(map[*testnet.Node]bool), spared: func(string) bool { return true },
	}
	p.rules[0], p.rules[1] = w.links.Effect()
	fmt.Fprintf(os.Stderr, "%s: %s\n", s.name, s.about)
	v, err := p.whole(ctx, seed, r)
	if v != nil {
		r.Acked, r.Lost, r.Duplicated, r.Forks, r.LateAnswers, r.Problems = v.Acked, v.Lost, v.Duplicated, v.Forks, v.LateAnswers, v.Problems
	}
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	r.Passed = err == nil && v != nil && v.Passed()
	if s.control != nil {
		r.Passed = err == nil && v != nil && s.control(v)
	}
	fmt.Fprintf(os.Stderr, "  %t after %s\n", r.Passed, time.Since(began).Round(time.Second))
	if !r.Passed && ctx.Err() == nil {
		if r.Logs, err = p.keepLogs(); err != nil {
			r.Problems = append(r.Problems, err.Error())
		}
	}
	return r
}

// whole goes from a fresh copy of the network to the judgement.
func (p *play) whole(ctx context.Context, seed uint64, r *report) (v *check.Verdict, err error) {
	if err := copyTree(ctx, p.baseDir(), p.netDir()); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.sweep()) }()
	if p.s.prepare != nil {
		if err := p.s.prepare(ctx, p); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
	}
	for _, x := range p.net.Nodes {
		if err := p.boot(ctx, x); err != nil {
			return nil, err
		}
	}
	if err := p.ready(ctx, p.net.Nodes...); err != nil {
		return nil, fmt.Errorf("before the disturbance: %w", err)
	}
	p.load, err = p.dial(ctx)
	defer func() { p.load.close() }()
	if err != nil {
		return nil, err
	}
	p.load.start(ctx, seed)
	if err := p.within(ctx, settleLimit, "the network serves before the disturbance", func() error { return p.served(0, warm) }); err != nil {
		return nil, err
	}
	p.began = p.load.history.Now()
	if err := p.s.disturb(ctx, p); err != nil {
		return nil, fmt.Errorf("disturb: %w", err)
	}
	if err := p.met(); err != nil {
		return nil, fmt.Errorf("disturb: %w", err)
	}
	if err := p.mend(ctx); err != nil {
		return nil, fmt.Errorf("mend: %w", err)
	}
	if err := p.within(ctx, settleLimit, "everybody is served again", func() error { return p.served(p.mended, 1) }); err != nil {
		return nil, err
	}
	p.measure(r)
	r.ResumedMs = p.resumed
	return p.judge(ctx)
}

// measure says how long the clients went without.
func (p *play) measure(r *report) {
	for _, m := range members {
		if at, ok := p.load.history.Served(p.net.First(m).Name, p.mended); ok {
			r.RecoveryMs = max(r.RecoveryMs, (at - p.mended).Milliseconds())
		}
	}
	r.PauseMs = p.load.history.Pause(p.began, p.load.history.Now(), p.spared).Milliseconds()
}

// served reports whether every member's clients were acknowledged n acts since.
func (p *play) served(since time.Duration, n int) error {
	for _, m := range members {
		if got := p.load.history.Acked(p.net.First(m).Name, since); got < n {
			return fmt.Errorf("clients of %s were acknowledged %d of %d", p.net.First(m).Name, got, n)
		}
	}
	return nil
}

// within waits until a claim holds, looks often, and fails with its last word.
func (p *play) within(ctx context.Context, limit time.Duration, what string, claim func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := claim()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %s: %w", what, limit, err)
		}
	}
}

// boot starts a node as the scenario wants it.
func (p *play) boot(ctx context.Context, x *testnet.Node) error {
	s, ok := p.starts[x.Name]
	if !ok {
		s.program = p.net.Program
	}
	return p.start(x, s.program, x.Home, s.env...)
}

// mend heals the links, thaws what is frozen, starts what is down, as usual, and
// waits until all nodes are ready.
func (p *play) mend(ctx context.Context) error {
	p.mended = p.load.history.Now()
	p.heal()
	for x := range p.frozen {
		if err := x.Thaw(); err != nil {
			return err
		}
	}
	clear(p.frozen)
	if x := p.doomed; x != nil && p.armed && x.Running() {
		if err := x.StopNode(); err != nil {
			return err
		}
	}
	clear(p.starts)
	for _, x := range p.net.Nodes {
		if !x.Running() {
			if err := p.boot(ctx, x); err != nil {
				return err
			}
		}
	}
	if err := p.ready(ctx, p.net.Nodes...); err != nil {
		return err
	}
	p.load.census.setBlind(false)
	return nil
}

// heal lets everything pass again.
func (p *play) heal() {
	p.links.Heal()
	if p.lan != nil {
		p.lan.Set(packets.Rule{})
	}
}

// judge ends the work, waits until the network is at rest, stops it and holds what
// clients were told against what each node keeps.
func (p *play) judge(ctx context.Context) (*check.Verdict, error) {
	p.load.stop()
	p.load.resolve(ctx)
	p.load.census.wait()
	if err := p.within(ctx, settleLimit, "everything is answered", func() error { return p.answered(ctx) }); err != nil {
		return nil, err
	}
	if err := p.within(ctx, settleLimit, "all nodes agree", func() error { return p.agree(ctx) }); err != nil {
		return nil, err
	}
	if err := p.noneAccused(ctx); err != nil {
		return nil, err
	}
	for _, x := range p.net.Nodes {
		if err := x.StopNode(); err != nil {
			return nil, err
		}
	}
	ledgers := make([]check.Ledger, len(p.net.Nodes))
	for i, x := range p.net.Nodes {
		var err error
		if ledgers[i], err = readLedger(ctx, p.net, x); err != nil {
			return nil, err
		}
	}
	answers, err := p.load.census.answers(ctx)
	if err != nil {
		return nil, err
	}
	v := check.Judge(p.load.history.Acts(), ledgers, answers)
	v.Problems = append(v.Problems, p.load.verdict()...)
	v.Problems = append(v.Problems, check.Unanswered(ledgers[0].Order)...)
	if p.s.examine != nil {
		err = p.s.examine(ctx, p)
	}
	return v, err
}

// answered: nobody has anything left to deliver.
func (p *play) answered(ctx context.Context) error {
	for _, x := range p.net.Nodes {
		n, err := waiting(ctx, x)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%s has %d answers, sealed parts or receipts to deliver", x.Name, n)
		}
	}
	return nil
}

// agree: all nodes certify the same newest header.
func (p *play) agree(ctx context.Context) error {
	var first *ledger.CertifiedHeader
	for _, x := range p.net.Nodes {
		c, err := p.net.DialAs(ctx, x, "auditor")
		if err != nil {
			return err
		}
		h, err := c.Proofs().Header(ctx)
		c.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", x.Name, err)
		}
		if first == nil {
			first = h
		}
		if h.Header.Height != first.Header.Height || h.Header.Hash() != first.Header.Hash() {
			return fmt.Errorf("%s is at height %d, %s at %d", p.net.Nodes[0].Name, first.Header.Height, x.Name, h.Header.Height)
		}
	}
	return nil
}

// sweep ends what is left of a play.
func (p *play) sweep() error {
	var errs []error
	for x := range p.frozen {
		errs = append(errs, x.Thaw())
	}
	var ends sync.WaitGroup
	for _, x := range p.net.Nodes {
		ends.Go(x.Kill)
	}
	ends.Wait()
	p.heal()
	for _, f := range slices.Backward(p.stopped) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// keepLogs puts the nodes' logs aside.
func (p *play) keepLogs() (string, error) {
	dir := filepath.Join(p.dir, "logs-"+p.s.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for _, x := range p.net.Nodes {
		b, err := os.ReadFile(x.LogPath())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, x.Name+".log"), b, 0o600)
		}
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}
