package main

import (
	"context"

	"github.com/assent-network/assent/scripts/faults/link"
	"github.com/assent-network/assent/scripts/testnet"
)

var leaders = []scenario{
	{name: "leader-killed", about: "kill -9 of the leader, which comes back as a follower", short: true, disturb: withLeader(func(ctx context.Context, p *play, x *testnet.Node) error {
		p.kill(x)
		return p.pause(ctx, p.duration)
	})},
	{name: "leader-frozen", about: "the leader's process is stopped (SIGSTOP) and goes on later as if nothing had been", disturb: withLeader(func(ctx context.Context, p *play, x *testnet.Node) error {
		if err := p.freeze(x); err != nil {
			return err
		}
		return p.pause(ctx, p.duration)
	})},
	{name: "leader-slow", about: "everything that leaves the leader takes 300 to 700 ms", disturb: withLeader(func(ctx context.Context, p *play, x *testnet.Node) error {
		p.load.census.setBlind(true)
		p.from(x, link.Rule{Delay: 300e6, Jitter: 400e6})
		return p.pause(ctx, p.duration)
	})},
	{name: "leader-silent", about: "the leader hears everybody and nobody hears the leader", disturb: withLeader(func(ctx context.Context, p *play, x *testnet.Node) error {
		p.from(x, link.Rule{Stall: true})
		return p.pause(ctx, p.duration)
	})},
}

// withLeader lets a scenario begin with the leader of the moment, whose clients
// pauseMs leaves out.
func withLeader(f func(ctx context.Context, p *play, x *testnet.Node) error) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		x, err := p.leader(ctx)
		if err != nil {
			return err
		}
		p.spare(x)
		if err := p.pause(ctx, p.duration/8); err != nil {
			return err
		}
		return f(ctx, p, x)
	}
}
