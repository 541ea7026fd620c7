package main

import (
	"context"
	"fmt"
	"syscall"

	"github.com/assent-network/assent/scripts/testnet"
)

// clocks and disks that are wrong.
var clocks = []scenario{
	{name: "clock-ahead", about: "one validator's clock jumps an hour ahead", tagged: true, prepare: wrong(follower, "clock=1h"), disturb: wrongFor},
	{name: "clock-behind", about: "one validator's clock jumps an hour back", tagged: true, prepare: wrong(follower, "clock=-1h"), disturb: wrongFor},
	{name: "clock-leader", about: "the leader's clock jumps ten years ahead", tagged: true, prepare: wrong(leading, "clock=87600h"), disturb: wrongFor},
	{name: "fsync-slow", about: "every sync of one validator's blocks takes 300 ms more", tagged: true, prepare: wrong(follower, "fsync=300ms"), disturb: wrongFor},
	{name: "fsync-slow-leader", about: "every sync of the leader's blocks takes 300 ms more", tagged: true, prepare: wrong(leading, "fsync=300ms"), disturb: wrongFor},
	{name: "fsync-fails", about: "a sync of one validator's blocks fails: it stops, and is started again", tagged: true, prepare: wrong(follower, "fsync=fail:5"), disturb: stops},
}

func leading(p *play) (*testnet.Node, error) { return p.net.Node(p.first) }

func follower(p *play) (*testnet.Node, error) {
	lead, err := leading(p)
	if err != nil {
		return nil, err
	}
	rest := p.others(lead)
	return rest[p.rng.IntN(len(rest))], nil
}

func wrong(who func(*play) (*testnet.Node, error), settings string) func(context.Context, *play) error {
	return func(ctx context.Context, p *play) error {
		x, err := who(p)
		if err != nil {
			return err
		}
		p.spare(x)
		return p.faulty(ctx, x, settings)
	}
}

// wrongFor lets the fault begin. Its own clients may be refused meanwhile.
func wrongFor(ctx context.Context, p *play) error {
	x, err := p.doomed()
	if err != nil {
		return err
	}
	if err := x.Signal(syscall.SIGUSR1); err != nil {
		return err
	}
	return p.pause(ctx, p.duration)
}

// stops waits until the node has stopped by itself, as it must.
func stops(ctx context.Context, p *play) error {
	x, err := p.doomed()
	if err != nil {
		return err
	}
	if err := wrongFor(ctx, p); err != nil {
		return err
	}
	select {
	case <-x.Ended():
		return nil
	default:
		return errNotStopped(x)
	}
}

func errNotStopped(x *testnet.Node) error {
	return fmt.Errorf("%s goes on although its disk does not sync: %s", x.Name, x.LastLine())
}
