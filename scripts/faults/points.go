package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
)

// points are deaths at places of the program that follow each other closely:
// between what is on disk and what leaves the node.
var points = []scenario{
	{name: "point-wal-preprepare", about: "death after a proposal is in the ordering log", tagged: true,
		prepare: dying("", "after-wal-preprepare"), disturb: dieAgain("after-wal-preprepare", 60)},
	{name: "point-wal-commit", about: "death after a vote is in the ordering log", tagged: true,
		prepare: dying("", "after-wal-commit"), disturb: dieAgain("after-wal-commit", 60)},
	{name: "point-block-write", about: "death in the middle of writing a block", tagged: true,
		prepare: dying("", "inside-block-write"), disturb: dieAgain("inside-block-write", 30)},
	{name: "point-block-sync", about: "death after a block is synced, before anything follows from it", tagged: true,
		prepare: dying("", "after-block-sync"), disturb: dieAgain("after-block-sync", 30)},
	{name: "point-state-flush", about: "death in the middle of flushing the state", tagged: true,
		prepare: dying("", "inside-state-flush"), disturb: dieAgain("inside-state-flush", 6)},
	{name: "point-outbox-write", about: "death of the bank inside a transaction of its outbox", tagged: true,
		prepare: dying(bank, "outbox-write"), disturb: dieAgain("outbox-write", 30)},
	{name: "point-before-answer", about: "death of the bank between PERMIT and answer: exactly one answer follows", tagged: true,
		prepare: dying(bank, "before-answer"), disturb: dieAgain("before-answer", 10)},
	{name: "point-after-answer", about: "death of the bank after an answer was taken, before it knows: exactly one answer", tagged: true,
		prepare: dying(bank, "after-answer"), disturb: dieAgain("after-answer", 10)},
	{name: "point-leader-config", about: "the leader dies with a proposal in its log, and a config change follows", tagged: true,
		prepare: dying(theLeader, "after-wal-preprepare"), disturb: dieThenChange},
}

// faulty starts a node from the program with fault points.
func (p *play) faulty(ctx context.Context, x *testnet.Node, settings string) error {
	program, err := p.withPoints(ctx)
	if err != nil {
		return err
	}
	p.starts[x.Name] = start{program, []string{"ASSENT_FAULTS=" + settings}}
	return nil
}

// theLeader as a name means: whoever leads when the disturbance begins, and
// aFollower: one who does not. All nodes are prepared then, and one is armed.
const (
	theLeader = "leader"
	aFollower = "follower"
)

// prepared starts a member's node, or all for theLeader, aFollower and "", from
// the program with fault points.
func prepared(who, settings string) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		p.who, p.lies = who, strings.HasPrefix(settings, "byzantine=")
		for _, x := range p.net.Nodes {
			if x.Member != who && slices.Contains(members, who) {
				continue
			}
			if err := p.faulty(ctx, x, settings); err != nil {
				return err
			}
		}
		return nil
	}
}

// arm chooses the node that a scenario with fault points is about, and lets its
// faults begin. It is armed again after each start.
func (p *play) arm(ctx context.Context) (x *testnet.Node, err error) {
	switch {
	case p.doomed != nil:
		x = p.doomed
	case p.who == theLeader:
		x, err = p.leader(ctx)
	case p.who == aFollower:
		x, err = p.follower(ctx)
	case p.who == "":
		x = p.some(1)[0]
	default:
		x = p.net.First(p.who)
	}
	if err != nil {
		return nil, err
	}
	p.doomed, p.armed = x, true
	if p.lies {
		p.liar = x
	}
	return x, x.Signal(syscall.SIGUSR1)
}

// dying prepares a node that will die at a point.
func dying(who, point string) func(context.Context, *play) error {
	return prepared(who, "kill="+point+":1")
}

// die lets the doomed node go until it dies at its point.
func (p *play) die(ctx context.Context, point string) error {
	x, err := p.arm(ctx)
	if err != nil {
		return err
	}
	return p.dies(ctx, x, point)
}

// dies waits until a node that was armed dies at its point.
func (p *play) dies(ctx context.Context, x *testnet.Node, point string) error {
	p.spare(x)
	limit := time.NewTimer(settleLimit)
	defer limit.Stop()
	select {
	case <-x.Ended():
	case <-limit.C:
		return fmt.Errorf("%s did not pass the point %s within %s", x.Name, point, settleLimit)
	case <-ctx.Done():
		return ctx.Err()
	}
	if want := "fault point " + point; x.LastLine() != want {
		return fmt.Errorf("%s ended by itself: %s", x.Name, x.LastLine())
	}
	return nil
}

// dieAgain lets the doomed node die again and again, each time at one of the
// first passages of the point after it serves.
func dieAgain(point string, passages int) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		for end := time.Now().Add(p.duration); time.Now().Before(end); {
			if err := p.die(ctx, point); err != nil {
				return err
			}
			x := p.doomed
			p.armed = false
			if err := p.faulty(ctx, x, fmt.Sprintf("kill=%s:%d", point, 1+p.rng.IntN(passages))); err != nil {
				return err
			}
			if err := p.again(ctx, x); err != nil {
				return err
			}
			if err := p.flows(ctx, 1, x); err != nil {
				return err
			}
		}
		// What a restart reads of the log once spoilt every later change.
		return changeLimits(ctx, p)
	}
}

func dieThenChange(ctx context.Context, p *play) error {
	if err := p.die(ctx, "after-wal-preprepare"); err != nil {
		return err
	}
	x := p.doomed
	delete(p.starts, x.Name)
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	if err := p.again(ctx, x); err != nil {
		return err
	}
	return changeLimits(ctx, p)
}
