package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/assent-network/assent/scripts/faults/link"
)

var lives = []scenario{
	{name: "catch-up-then-restart", about: "a validator misses many blocks, catches up, and is killed as soon as it has", disturb: catchUpThenRestart},
	{name: "rolling-restart", about: "every validator in turn is stopped by SIGTERM and started again", disturb: rollingRestart},
	{name: "vault-down", about: "the bank's database is away: answers wait, and come", disturb: vaultDown},
	{name: "slow-validator", about: "one validator's links carry 40 KB a second", disturb: func(ctx context.Context, p *play) error {
		x, err := p.follower(ctx)
		if err != nil {
			return err
		}
		p.spare(x)
		p.load.census.setBlind(true)
		p.from(x, link.Rule{Rate: 40_000})
		for _, y := range p.others(x) {
			p.links.Set(y.Name, x.Name, link.Rule{Rate: 40_000})
		}
		return p.pause(ctx, p.duration)
	}},
}

func catchUpThenRestart(ctx context.Context, p *play) error {
	x, err := p.follower(ctx)
	if err != nil {
		return err
	}
	p.spare(x)
	p.kill(x)
	down := p.load.history.Now()
	if err := p.pause(ctx, p.duration*3/4); err != nil {
		return err
	}
	if len(p.load.history.AckedOf(down)) == 0 {
		return fmt.Errorf("%s missed nothing: nothing was ordered while it was down", x.Name)
	}
	if err := p.again(ctx, x); err != nil { // it has caught up when it is ready
		return err
	}
	p.kill(x)
	if err := p.again(ctx, x); err != nil {
		return err
	}
	if err := p.flows(ctx, warm, x); err != nil {
		return err
	}
	p.kill(x)
	return nil
}

func rollingRestart(ctx context.Context, p *play) error {
	for _, x := range p.some(4) {
		if err := x.StopNode(); err != nil {
			return err
		}
		if err := p.again(ctx, x); err != nil {
			return err
		}
		if err := p.flows(ctx, warm, p.net.Nodes...); err != nil {
			return fmt.Errorf("after the restart of %s: %w", x.Name, err)
		}
	}
	return nil
}

func vaultDown(ctx context.Context, p *play) error {
	if err := p.pause(ctx, p.duration/8); err != nil {
		return err
	}
	away := p.vaultPath() + ".away"
	if err := os.Rename(p.vaultPath(), away); err != nil {
		return err
	}
	back := func() error {
		if _, err := os.Stat(away); err != nil {
			return nil // it is back
		}
		return os.Rename(away, p.vaultPath())
	}
	p.stopped = append(p.stopped, back)
	if err := p.pause(ctx, p.duration+2*time.Second); err != nil {
		return err
	}
	err := p.within(ctx, settleLimit, "answers wait for the database", func() error {
		n, err := waiting(ctx, p.net.First(bank))
		if err == nil && n == 0 {
			err = errors.New("none waits")
		}
		return err
	})
	return errors.Join(err, back())
}
