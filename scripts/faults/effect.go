package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/assent-network/assent/scripts/faults/check"
	"github.com/assent-network/assent/scripts/testnet"
)

// What a scenario says that it did must have happened: a run in which nothing was
// broken passes, and shows nothing.

// onItsWay is how long what was sent before links broke may still arrive.
const onItsWay = time.Second

// met fails if rules were made for links and nothing met one.
func (p *play) met() error {
	made, met := p.links.Effect()
	if made > p.rules[0] && met == p.rules[1] {
		return errors.New("links had rules, and no byte met one: nothing was broken")
	}
	return nil
}

// silent fails if anything that was begun since then was acknowledged: nobody has
// had a quorum.
func (p *play) silent(since time.Duration) error {
	if got := p.load.history.AckedOf(since + onItsWay); len(got) > 0 {
		return fmt.Errorf("%d acts were acknowledged without a quorum, the first: %s", len(got), &got[0])
	}
	return nil
}

// deposed waits until others name another leader.
func (p *play) deposed(ctx context.Context, x *testnet.Node) error {
	return p.within(ctx, settleLimit, "another validator leads", func() error {
		lead, err := p.leader(ctx)
		if err == nil && lead == x {
			err = fmt.Errorf("%s still leads", x.Name)
		}
		return err
	})
}

// deposing is a disturbance of the leader after which another leads.
func deposing(f func(ctx context.Context, p *play, x *testnet.Node) error) func(context.Context, *play) error {
	return withLeader(func(ctx context.Context, p *play, x *testnet.Node) error {
		if err := f(ctx, p, x); err != nil {
			return err
		}
		return p.deposed(ctx, x)
	})
}

// without is a disturbance during which nobody has a quorum.
func (p *play) without(ctx context.Context, d time.Duration) error {
	since := p.load.history.Now()
	if err := p.pause(ctx, d); err != nil {
		return err
	}
	return p.silent(since)
}

// tookEffect fails unless the node's fault has done something since it was armed.
func (p *play) tookEffect(x *testnet.Node) error {
	b, err := os.ReadFile(x.LogPath())
	if err == nil && !strings.Contains(string(b), "\nfault took effect\n") {
		err = fmt.Errorf("the fault of %s had no occasion to take effect: play this scenario again, or longer", x.Name)
	}
	return err
}

// revokedSince counts consents whose revocation was asked for and acknowledged
// since a time.
func (p *play) revokedSince(since time.Duration) (n int) {
	for _, a := range p.load.history.AckedOf(since) {
		if a.What == check.Revoke {
			n++
		}
	}
	return n
}

// byManyWays counts transactions that more than one door acknowledged.
func (p *play) byManyWays() (n int) {
	doors := make(map[string]int)
	for _, a := range p.load.history.AckedOf(0) {
		if strings.HasPrefix(a.Via, everyDoor) {
			if doors[a.ID]++; doors[a.ID] == 2 {
				n++
			}
		}
	}
	return n
}
