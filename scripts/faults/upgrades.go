package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
	"github.com/assent-network/assent/sdk"
)

// upgrades are programs of two releases in one network. The later one is this
// program built to know one protocol version more (node/ledger, protocolnext), whose
// rules are the same: what is played is the way from one to the other. Clients must
// know the version that is in force, so the harness is built in that way, too.
var upgrades = []scenario{
	{name: "rolling-upgrade", about: "nodes are upgraded one after another, the next protocol version is activated when all know it, and nobody goes back", next: true, disturb: upgrade},
}

const (
	nextTag      = "protocolnext"
	nextProtocol = 2
)

// playRebuilt plays a scenario in a harness that knows the next protocol version.
func (w *world) playRebuilt(ctx context.Context, s *scenario) *report {
	r := &report{Name: s.name, Seed: w.opts.seed}
	program := filepath.Join(w.dir, "faults-next")
	fail := func(err error) *report {
		r.Problems = []string{err.Error()}
		return r
	}
	if b, err := exec.CommandContext(ctx, "go", "build", "-tags", nextTag, "-o", program, "github.com/assent-network/assent/scripts/faults").CombinedOutput(); err != nil {
		return fail(fmt.Errorf("build a harness that knows the next protocol: %w\n%s", err, b))
	}
	args := []string{"--scenario", s.name, "--seed", fmt.Sprint(w.opts.seed), "--duration", w.opts.duration.String(), "--json"}
	if w.opts.keep {
		args = append(args, "--keep")
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its nodes
	cmd.WaitDelay = 30 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	runErr := cmd.Run()
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		return fail(errors.Join(fmt.Errorf("harness that knows the next protocol: %w", err), runErr))
	}
	return r
}

// upgrade walks all nodes from one release to the next.
func upgrade(ctx context.Context, p *play) error {
	next, err := testnet.BuildTagged(ctx, filepath.Join(p.dir, "assentd-next"), nextTag)
	if err != nil {
		return err
	}
	order := p.some(len(p.net.Nodes))
	for i, x := range order {
		if i == len(order)-1 {
			if err := p.tooEarly(ctx, order[0], x); err != nil {
				return err
			}
		}
		if err := p.swap(ctx, x, next); err != nil {
			return fmt.Errorf("upgrade %s: %w", x.Name, err)
		}
	}
	changing, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	c, err := p.net.Change(changing, order[0], func(e *sdk.ConfigEditor) { e.SetProtocol(nextProtocol) })
	if err != nil {
		return fmt.Errorf("activate protocol %d: %w", nextProtocol, err)
	}
	if c.Config.Protocol != nextProtocol {
		return fmt.Errorf("protocol %d is in force after the activation", c.Config.Protocol)
	}
	if err := p.flows(ctx, warm, p.net.Nodes...); err != nil {
		return fmt.Errorf("after the activation: %w", err)
	}
	if err := p.noWayBack(ctx, order[0]); err != nil {
		return err
	}
	return p.oldProgram(ctx, order[1], next)
}

// swap restarts a node from another program, from then on too.
func (p *play) swap(ctx context.Context, x *testnet.Node, program string) error {
	if err := x.StopNode(); err != nil {
		return err
	}
	p.net.Program = program // of those that the player mends, which is then all of them
	p.starts[x.Name] = start{program: program}
	if err := p.again(ctx, x); err != nil {
		return err
	}
	return p.flows(ctx, warm, p.net.Nodes...)
}

// tooEarly: while one validator runs the earlier release, the preflight refuses the
// next version and names it.
func (p *play) tooEarly(ctx context.Context, via, old *testnet.Node) error {
	admin, err := p.net.DialAs(ctx, via, "admin")
	if err != nil {
		return err
	}
	defer admin.Close()
	e, err := admin.Members().Edit(ctx)
	if err != nil {
		return err
	}
	config, err := e.SetProtocol(nextProtocol).Config()
	if err != nil {
		return err
	}
	report, err := admin.Members().Preflight(ctx, config)
	if err != nil {
		return err
	}
	for _, r := range report.Of(sdk.RemarkRefusal) {
		if strings.Contains(r.What, "knows protocol versions up to 1") {
			fmt.Fprintf(os.Stderr, "  too early: %s: %s\n", r.Name, r.What)
			return nil
		}
	}
	return fmt.Errorf("the preflight lets protocol %d come into force while %s knows 1: %+v", nextProtocol, old.Name, report)
}

// noWayBack: the network refuses an earlier version.
func (p *play) noWayBack(ctx context.Context, via *testnet.Node) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	_, err := p.net.Change(ctx, via, func(e *sdk.ConfigEditor) { e.SetProtocol(1) })
	if err == nil {
		return errors.New("a config with an earlier protocol version came into force")
	}
	if !strings.Contains(err.Error(), "protocol") {
		return fmt.Errorf("an earlier protocol version was refused for another reason: %w", err)
	}
	fmt.Fprintf(os.Stderr, "  no way back: %v\n", err)
	return nil
}

// oldProgram: the earlier release does not start on a ledger that it does not
// understand, says so and changes nothing.
func (p *play) oldProgram(ctx context.Context, x *testnet.Node, next string) error {
	if err := x.StopNode(); err != nil {
		return err
	}
	p.starts[x.Name] = start{program: filepath.Join(p.dir, "assentd")}
	if err := p.boot(ctx, x); err != nil {
		return err
	}
	if err := p.ends(ctx, x, "update the program"); err != nil {
		return err
	}
	p.starts[x.Name] = start{program: next}
	if err := p.again(ctx, x); err != nil {
		return err
	}
	return p.flows(ctx, warm, p.net.Nodes...)
}
