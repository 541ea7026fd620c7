package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/assent-network/assent/scripts/faults/check"
	"github.com/assent-network/assent/scripts/faults/link"
	"github.com/assent-network/assent/scripts/testnet"
)

// liars are validators that say what no honest one would. Their own clients are
// part of the load: what a liar acknowledges must be true all the same, for only
// what it tells other nodes is changed.
var liars = []scenario{
	{name: "liar-silent", about: "the leader's ordering falls silent, its heartbeats too", tagged: true, prepare: lying(theLeader, "silent"), disturb: lieAndFall},
	{name: "liar-equivocates", about: "the leader proposes different blocks to different validators", tagged: true, prepare: lying(theLeader, "equivocate"), disturb: lie},
	{name: "liar-wrong-root", about: "the leader proposes blocks over another state root", tagged: true, prepare: lying(theLeader, "wrong-root"), disturb: lieAndFall},
	{name: "liar-bad-batch", about: "the leader's proposals hold requests with a wrong byte", tagged: true, prepare: lying(theLeader, "bad-batch"), disturb: lieAndFall},
	{name: "liar-double-votes", about: "a validator votes twice each time", tagged: true, prepare: lying("", "double-vote"), disturb: lieAndBeSeen("two-votes")},
	{name: "liar-two-faced", about: "the leader proposes one validator another block and votes for both: proven, kept, alarmed", tagged: true, prepare: twoFaced, disturb: lieAndProve},
	{name: "liar-cached-signature", about: "the leader proposes a transaction that everybody has checked, with another signature", tagged: true, prepare: lying(theLeader, "cached-sig"), disturb: lieAndFall},
	{name: "liar-forges-views", about: "the leader falls silent and sends accounts and new views that are not true", tagged: true, prepare: lying(theLeader, "forge-views"), disturb: lieAndFall},
	{name: "liar-two-views", about: "a validator that begins to lead shows one other another new view than the rest", tagged: true, prepare: lying("", "two-views"), disturb: lieAsItBegins},
	{name: "liar-expires", about: "a validator sends all but the leader transactions about to end: no view change follows", tagged: true, prepare: expiring, disturb: lieInVain, examine: noneNearItsEnd},
	{name: "liar-garbage", about: "a validator sends random bytes on every protocol, 200 messages a second to each", tagged: true, prepare: lying("", "garbage"), disturb: lie},
	{name: "liar-wrong-signatures", about: "a validator forwards every request with a wrong signature before the right one", tagged: true, prepare: lying("", "wrong-sig"), disturb: lie},
	{name: "liar-complains", about: "a validator asks for a new view, whatever the view, 200 times a second", tagged: true, prepare: lying("", "complain"), disturb: lie},
	{name: "liar-censors", about: "the leader takes nothing of one lender's node, whose clients are served all the same", tagged: true, prepare: censoring, disturb: lieAndServe},
	{name: "liar-forges-chain", about: "a validator gives false blocks to one that catches up", tagged: true, prepare: lying(neighbour, "forge"), disturb: lieToOneBehind},
	{name: "liar-withholds-chain", about: "a validator lets one that catches up wait for blocks", tagged: true, prepare: lying(neighbour, "withhold"), disturb: lieToOneBehind},
}

// controls show that the checker finds what is there.
var controls = []scenario{
	{name: "control-late", about: "the bank's node lets answers leave four seconds late: the checker must say so", tagged: true,
		prepare: lying(bank, "late"), disturb: lie, control: func(v *check.Verdict) bool {
			return v.LateAnswers > 0 && v.Lost == 0 && v.Duplicated == 0 && v.Forks == 0
		}},
}

func lying(who, kind string) func(context.Context, *play) error {
	return prepared(who, "byzantine="+kind)
}

// expiring: a follower sends everybody but the leader transactions about to end.
func expiring(ctx context.Context, p *play) error {
	first, err := p.net.Node(p.first)
	if err != nil {
		return err
	}
	rest := p.others(first)
	return prepared(rest[p.rng.IntN(len(rest))].Member, "byzantine=expiring,victim="+first.Card.NodeID)(ctx, p)
}

// lieInVain: nobody changes the view for it.
func lieInVain(ctx context.Context, p *play) error {
	before, err := p.views(ctx)
	if err != nil {
		return err
	}
	lead, err := p.leader(ctx) // to whom nothing is sent
	if err != nil {
		return err
	}
	x, err := p.arm(ctx)
	if err != nil {
		return err
	}
	p.spare(x)
	meant := p.others(x, lead)
	taken, err := refusedByTime(ctx, meant)
	if err != nil {
		return err
	}
	// What was sent last expires, and might be complained about, some seconds later.
	if err := p.pause(ctx, max(p.duration, complaintsLate)); err != nil {
		return err
	}
	after, err := p.views(ctx)
	if err != nil {
		return err
	}
	if before != after {
		return fmt.Errorf("the view went from %d to %d although the leader did its work", before, after)
	}
	now, err := refusedByTime(ctx, meant)
	if err != nil {
		return err
	}
	for i, y := range meant {
		if now[i] == taken[i] {
			return fmt.Errorf("%s refused nothing because of its time: what %s sent did not come, or was taken", y.Name, x.Name)
		}
		fmt.Fprintf(os.Stderr, "  %s refused %.0f because of their time\n", y.Name, now[i]-taken[i])
	}
	return p.tookEffect(x)
}

// complaintsLate is how long after a request was pooled its leader is surely
// complained about, and more.
const complaintsLate = 12 * time.Second

// views returns the highest view that a node is in.
func (p *play) views(ctx context.Context) (view uint64, err error) {
	for _, x := range p.net.Nodes {
		s, err := p.net.StatusOf(ctx, x)
		if err != nil {
			return 0, err
		}
		view = max(view, s.View)
	}
	return view, nil
}

// lie lets the liar begin.
func lie(ctx context.Context, p *play) error {
	x, err := p.arm(ctx)
	if err != nil {
		return err
	}
	p.spare(x)
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	return p.tookEffect(x)
}

// lieAsItBegins: nobody hears the leader, and the one who leads next is the liar. With
// both of them nothing may be ordered; when the leader is heard again, it must be.
func lieAsItBegins(ctx context.Context, p *play) error {
	lead, err := p.leader(ctx)
	if err != nil {
		return err
	}
	order := slices.SortedFunc(slices.Values(p.net.Nodes), func(a, b *testnet.Node) int { return cmp.Compare(p.number(a), p.number(b)) })
	p.doomed = order[(slices.Index(order, lead)+1)%len(order)]
	x, err := p.arm(ctx)
	if err != nil {
		return err
	}
	p.spare(x, lead)
	p.from(lead, link.Rule{Stall: true})
	if err := p.within(ctx, settleLimit, "a new view is told in two ways", func() error { return p.tookEffect(x) }); err != nil {
		return err
	}
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	p.heal()
	return p.flows(ctx, warm, p.others(x)...)
}

// lieAndFall: such a liar does not lead for long.
func lieAndFall(ctx context.Context, p *play) error {
	if err := lie(ctx, p); err != nil {
		return err
	}
	return p.deposed(ctx, p.doomed)
}

// censored is the lender's node that is not heard: one that does not lead at first.
func (p *play) censored() *testnet.Node {
	x := p.net.First(lenders[1])
	if x.Name == p.first {
		x = p.net.First(lenders[0])
	}
	return x
}

// censoring: whoever leads, a lender's node is not heard.
func censoring(ctx context.Context, p *play) error {
	return prepared(theLeader, "byzantine=censor,victim="+p.censored().Card.NodeID)(ctx, p)
}

// lieAndServe: the victim's clients are served while the lie lasts.
func lieAndServe(ctx context.Context, p *play) error {
	victim := p.censored()
	x, err := p.arm(ctx)
	if err != nil {
		return err
	}
	if x == victim {
		return fmt.Errorf("%s leads and would censor itself, which nobody can: play this scenario again", x.Name)
	}
	p.spare(x, victim)
	if err := p.pause(ctx, p.duration/2); err != nil {
		return err
	}
	if err := p.flows(ctx, warm, victim); err != nil {
		return err
	}
	if err := p.pause(ctx, p.duration/2); err != nil {
		return err
	}
	return p.tookEffect(x)
}

// lieToOneBehind: the others must suffice.
func lieToOneBehind(ctx context.Context, p *play) error {
	liar := p.net.First(neighbour)
	rest := p.others(liar)
	behind := rest[p.rng.IntN(len(rest))]
	p.spare(liar, behind)
	p.kill(behind)
	if err := p.pause(ctx, p.duration/2); err != nil {
		return err
	}
	if _, err := p.arm(ctx); err != nil {
		return err
	}
	if err := p.again(ctx, behind); err != nil {
		return err
	}
	if err := p.flows(ctx, warm, behind); err != nil {
		return err
	}
	return p.tookEffect(liar)
}
