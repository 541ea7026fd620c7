package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/assent-network/assent/scripts/faults/link"
	"github.com/assent-network/assent/scripts/testnet"
)

// What scenarios are made of.

// pause lets time pass; the error is the context's.
func (p *play) pause(ctx context.Context, d time.Duration) error {
	if !rest(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// leader is the node that most of the running ones name as theirs.
func (p *play) leader(ctx context.Context) (*testnet.Node, error) {
	var x *testnet.Node
	err := p.within(ctx, 20*time.Second, "the nodes name a leader", func() error {
		votes := make(map[*testnet.Node]int)
		for _, ask := range p.net.Nodes {
			if !ask.Running() || p.frozen[ask] {
				continue
			}
			s, err := p.net.StatusOf(ctx, ask)
			if err != nil {
				return err
			}
			v := p.net.Genesis().Validator(s.Leader)
			for _, o := range p.net.Nodes {
				if v != nil && v.VoteKey == o.Card.VoteKey {
					votes[o]++
				}
			}
		}
		for o, n := range votes {
			if n >= 2 {
				x = o
				return nil
			}
		}
		return fmt.Errorf("they name %d", len(votes))
	})
	return x, err
}

// others lists the nodes without some.
func (p *play) others(without ...*testnet.Node) []*testnet.Node {
	return slices.DeleteFunc(slices.Clone(p.net.Nodes), func(x *testnet.Node) bool { return slices.Contains(without, x) })
}

// some returns n nodes at random.
func (p *play) some(n int) []*testnet.Node {
	all := slices.Clone(p.net.Nodes)
	p.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

// follower returns a node at random that does not lead.
func (p *play) follower(ctx context.Context) (*testnet.Node, error) {
	lead, err := p.leader(ctx)
	if err != nil {
		return nil, err
	}
	rest := p.others(lead)
	return rest[p.rng.IntN(len(rest))], nil
}

// spare says that pauseMs is about the clients of all but some nodes.
func (p *play) spare(disturbed ...*testnet.Node) {
	p.spared = func(via string) bool {
		return !slices.ContainsFunc(disturbed, func(x *testnet.Node) bool { return x.Name == via })
	}
}

// kill ends nodes as a crash of their machines' power would end the processes,
// all at once.
func (p *play) kill(nodes ...*testnet.Node) {
	done := make(chan struct{})
	for _, x := range nodes {
		go func() { x.Kill(); done <- struct{}{} }()
	}
	for range nodes {
		<-done
	}
}

// again starts nodes as usual and waits until they are ready.
func (p *play) again(ctx context.Context, nodes ...*testnet.Node) error {
	for _, x := range nodes {
		if err := p.boot(ctx, x); err != nil {
			return err
		}
	}
	return p.ready(ctx, nodes...)
}

// freeze stops a node's process until the player mends. What it had on the way
// may arrive long after it was sent.
func (p *play) freeze(x *testnet.Node) error {
	p.load.census.setBlind(true)
	p.frozen[x] = true
	return x.Freeze()
}

// thaw undoes freeze.
func (p *play) thaw(x *testnet.Node) error {
	delete(p.frozen, x)
	if len(p.frozen) == 0 {
		p.load.census.setBlind(false)
	}
	return x.Thaw()
}

// apart makes a rule for every link between two groups, both ways.
func (p *play) apart(a, b []*testnet.Node, r link.Rule) {
	for _, x := range a {
		for _, y := range b {
			if x != y {
				p.links.Both(x.Name, y.Name, r)
			}
		}
	}
}

// from makes a rule for everything that leaves a node.
func (p *play) from(x *testnet.Node, r link.Rule) {
	for _, y := range p.others(x) {
		p.links.Set(x.Name, y.Name, r)
	}
}

// broken is how a scenario breaks links: half of the time connections are reset,
// half of the time nothing arrives any more and nobody is told.
func (p *play) broken() link.Rule {
	if p.rng.IntN(2) == 0 {
		return link.Rule{Cut: true}
	}
	return link.Rule{Stall: true}
}

// flows waits until the clients of some nodes have got n more acknowledgements.
func (p *play) flows(ctx context.Context, n int, nodes ...*testnet.Node) error {
	since := p.load.history.Now()
	return p.within(ctx, settleLimit, "clients are served", func() error {
		for _, x := range nodes {
			if got := p.load.history.Acked(x.Name, since); got < n {
				return fmt.Errorf("clients of %s were acknowledged %d of %d", x.Name, got, n)
			}
		}
		return nil
	})
}
