package main

import (
	"context"
	"time"

	"github.com/assent-network/assent/scripts/testnet"
)

// calm is what all others are compared with.
var calm = []scenario{
	{name: "calm", about: "nothing is disturbed", disturb: func(ctx context.Context, p *play) error {
		return p.pause(ctx, p.duration)
	}},
}

var kills = []scenario{
	{name: "kill-follower", about: "kill -9 of a validator that does not lead, which comes back", disturb: func(ctx context.Context, p *play) error {
		x, err := p.follower(ctx)
		if err != nil {
			return err
		}
		return killFor(ctx, p, x)
	}},
	{name: "kill-two", about: "kill -9 of f+1 validators at once: no quorum until they are back", disturb: func(ctx context.Context, p *play) error {
		return killFor(ctx, p, p.some(2)...)
	}},
	{name: "kill-all", about: "kill -9 of all validators at once", short: true, disturb: func(ctx context.Context, p *play) error {
		if err := p.pause(ctx, p.duration/4); err != nil {
			return err
		}
		p.kill(p.net.Nodes...)
		return nil
	}},
	{name: "kill-cycles", about: "kill -9 of one to four validators at random, again and again under load", disturb: killCycles},
	{name: "config-change-after-kill", about: "kill -9 of the leader, and a config change right after it is back", disturb: configAfterKill},
}

// killFor kills nodes, and leaves them down for most of the time.
func killFor(ctx context.Context, p *play, nodes ...*testnet.Node) error {
	if err := p.pause(ctx, p.duration/8); err != nil {
		return err
	}
	p.spare(nodes...)
	p.kill(nodes...)
	if left := len(p.net.Nodes) - len(nodes); left < quorum {
		return p.without(ctx, p.duration*7/8)
	}
	return p.pause(ctx, p.duration*7/8)
}

func killCycles(ctx context.Context, p *play) error {
	if p.batch != nil {
		return p.batch.play(ctx, p)
	}
	for end := time.Now().Add(2 * p.duration); time.Now().Before(end); {
		victims := p.some(1 + p.rng.IntN(4))
		p.kill(victims...)
		if err := p.pause(ctx, time.Duration(p.rng.IntN(1500))*time.Millisecond); err != nil {
			return err
		}
		for _, x := range victims {
			if err := p.boot(ctx, x); err != nil {
				return err
			}
		}
		// Sometimes before everybody is there again.
		if p.rng.IntN(2) == 0 {
			if err := p.ready(ctx, p.net.Nodes...); err != nil {
				return err
			}
		}
		if err := p.pause(ctx, time.Duration(p.rng.IntN(2000))*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
