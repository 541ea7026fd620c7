package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/assent-network/assent/scripts/faults/link"
	"github.com/assent-network/assent/scripts/testnet"
)

var leaders = []scenario{
	{name: "leader-killed", about: "kill -9 of the leader, which comes back as a follower", short: true, disturb: deposing(func(ctx context.Context, p *play, x *testnet.Node) error {
		p.kill(x)
		return p.pause(ctx, p.duration)
	})},
	{name: "leader-frozen", about: "the leader's process is stopped (SIGSTOP) and goes on later as if nothing had been", disturb: deposing(func(ctx context.Context, p *play, x *testnet.Node) error {
		if err := p.freeze(x); err != nil {
			return err
		}
		return p.pause(ctx, p.duration)
	})},
	{name: "leader-series", about: "the leader is killed ten times and frozen ten times, in turn", disturb: leaderSeries},
	{name: "leader-slow", about: "everything that leaves the leader takes 300 to 700 ms", disturb: withLeader(func(ctx context.Context, p *play, x *testnet.Node) error {
		p.load.census.setBlind(true)
		p.from(x, link.Rule{Delay: 300e6, Jitter: 400e6})
		return p.pause(ctx, p.duration)
	})},
	{name: "leader-silent", about: "the leader hears everybody and nobody hears the leader", disturb: deposing(func(ctx context.Context, p *play, x *testnet.Node) error {
		p.from(x, link.Rule{Stall: true})
		return p.pause(ctx, p.duration)
	})},
}

// leaderSeries kills or freezes the leader of the moment twenty times, and notes
// how long the others' clients stood still each time. It takes as long as that
// takes, whatever --duration says.
func leaderSeries(ctx context.Context, p *play) error {
	const times = 20
	for i := range times {
		x, err := p.leader(ctx)
		if err != nil {
			return err
		}
		rest := p.others(x)
		struck := p.load.history.Now()
		if i%2 == 0 {
			p.kill(x)
		} else if err := p.freeze(x); err != nil {
			return err
		}
		if err := p.flows(ctx, warm, rest...); err != nil {
			return err
		}
		gap := p.load.history.Pause(struck, p.load.history.Now(), func(via string) bool { return via != x.Name })
		p.resumed = append(p.resumed, gap.Milliseconds())
		fmt.Fprintf(os.Stderr, "  %s struck %s: writes resumed after %d ms\n", time.Now().Format(time.TimeOnly), x.Name, gap.Milliseconds())
		if i%2 == 0 {
			err = p.again(ctx, x)
		} else if err = p.thaw(x); err == nil {
			err = p.ready(ctx, x)
		}
		if err == nil {
			err = p.flows(ctx, warm, p.net.Nodes...)
		}
		if err != nil {
			return err
		}
	}
	slices.Sort(p.resumed)
	fmt.Fprintf(os.Stderr, "  writes resumed after %d ms (p50), %d ms at most\n", p.resumed[times/2], p.resumed[times-1])
	return nil
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
