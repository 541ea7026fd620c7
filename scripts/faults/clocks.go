package main

import (
	"context"
	"fmt"

	"github.com/assent-network/assent/scripts/testnet"
)

// clocks and disks that are wrong.
var clocks = []scenario{
	{name: "clock-ahead", about: "one validator's clock jumps an hour ahead", tagged: true, prepare: prepared(aFollower, "clock=1h"), disturb: wrongFor},
	{name: "clock-behind", about: "one validator's clock jumps an hour back", tagged: true, prepare: prepared(aFollower, "clock=-1h"), disturb: wrongFor},
	{name: "clock-leader", about: "the leader's clock jumps ten years ahead", tagged: true, prepare: prepared(theLeader, "clock=87600h"), disturb: wrongFor},
	{name: "fsync-slow", about: "every sync of one validator's blocks takes 300 ms more", tagged: true, prepare: prepared(aFollower, "fsync=300ms"), disturb: wrongFor},
	{name: "fsync-slow-leader", about: "every sync of the leader's blocks takes 300 ms more", tagged: true, prepare: prepared(theLeader, "fsync=300ms"), disturb: wrongFor},
	{name: "fsync-fails", about: "a sync of one validator's blocks fails: it stops, and is started again", tagged: true, prepare: prepared(aFollower, "fsync=fail:5:blocks"), disturb: stops},
}

// wrongFor lets the fault begin. The node's own clients may be refused meanwhile.
func wrongFor(ctx context.Context, p *play) error {
	x, err := p.arm(ctx)
	if err != nil {
		return err
	}
	p.spare(x)
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	return p.within(ctx, settleLimit, "the fault takes effect", func() error { return p.tookEffect(x) })
}

// stops waits until the node has stopped by itself, as it must, and has said what
// to do.
func stops(ctx context.Context, p *play) error {
	x, err := p.arm(ctx)
	if err != nil {
		return err
	}
	p.spare(x)
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	return p.ends(ctx, x, "start the node again")
}

func errNotStopped(x *testnet.Node) error {
	return fmt.Errorf("%s goes on although its disk does not sync: %s", x.Name, x.LastLine())
}
