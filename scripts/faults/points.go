package main

import (
	"context"
	"errors"
	"fmt"
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
		prepare: dying("leader", "after-wal-preprepare"), disturb: dieThenChange},
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

// doomed is the node that a scenario with fault points is about.
func (p *play) doomed() (*testnet.Node, error) {
	for _, x := range p.net.Nodes {
		if _, ok := p.starts[x.Name]; ok {
			return x, nil
		}
	}
	return nil, errors.New("no node was prepared")
}

// named returns a member's node, the first leader, or a random node for "".
func (p *play) named(who string) (*testnet.Node, error) {
	switch who {
	case "":
		return p.some(1)[0], nil
	case "leader":
		return p.net.Node(p.first)
	}
	return p.net.First(who), nil
}

// dying prepares a node, of a member or any, that will die at a point.
func dying(who, point string) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		x, err := p.named(who)
		if err != nil {
			return err
		}
		p.spare(x)
		return p.faulty(ctx, x, "kill="+point+":1")
	}
}

// die lets the doomed node go until it dies at its point.
func (p *play) die(ctx context.Context, x *testnet.Node, point string) error {
	if err := x.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
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
		x, err := p.doomed()
		if err != nil {
			return err
		}
		for end := time.Now().Add(p.duration); time.Now().Before(end); {
			if err := p.die(ctx, x, point); err != nil {
				return err
			}
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
		return nil
	}
}

func dieThenChange(ctx context.Context, p *play) error {
	x, err := p.doomed()
	if err != nil {
		return err
	}
	if err := p.die(ctx, x, "after-wal-preprepare"); err != nil {
		return err
	}
	delete(p.starts, x.Name)
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	if err := p.again(ctx, x); err != nil {
		return err
	}
	return changeLimits(ctx, p)
}
