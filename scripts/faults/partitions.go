package main

import (
	"context"
	"errors"
	"time"

	"github.com/assent-network/assent/scripts/faults/link"
	"github.com/assent-network/assent/scripts/testnet"
)

var partitions = []scenario{
	{name: "partition-leader", about: "the leader alone is cut off", disturb: deposing(func(ctx context.Context, p *play, x *testnet.Node) error {
		p.apart([]*testnet.Node{x}, p.others(x), p.broken())
		return p.pause(ctx, p.duration)
	})},
	{name: "partition-leader-f", about: "the leader with f others is cut off from the rest: nobody has a quorum", disturb: withLeader(func(ctx context.Context, p *play, x *testnet.Node) error {
		rest := p.others(x)
		with := p.rng.IntN(len(rest))
		side := []*testnet.Node{x, rest[with]}
		p.apart(side, p.others(side...), p.broken())
		return p.without(ctx, p.duration)
	})},
	{name: "partition-ring", about: "each validator reaches its two neighbours in a ring only", disturb: func(ctx context.Context, p *play) error {
		n := p.some(4)
		r := p.broken()
		p.links.Both(n[0].Name, n[2].Name, r)
		p.links.Both(n[1].Name, n[3].Name, r)
		return p.pause(ctx, p.duration)
	}},
	{name: "partition-one-way", about: "some links carry nothing in one direction", disturb: func(ctx context.Context, p *play) error {
		n := p.some(4)
		p.links.Set(n[0].Name, n[1].Name, link.Rule{Stall: true})
		p.links.Set(n[1].Name, n[2].Name, link.Rule{Stall: true})
		p.links.Set(n[2].Name, n[0].Name, link.Rule{Stall: true})
		return p.pause(ctx, p.duration)
	}},
	{name: "partition-flapping", about: "partitions that come and go faster than leaders change", disturb: flapping},
	{name: "no-quorum", about: "every validator alone, then healed", disturb: func(ctx context.Context, p *play) error {
		p.apart(p.net.Nodes, p.net.Nodes, p.broken())
		return p.without(ctx, p.duration)
	}},
	{name: "provider-cut-off", about: "the bank is cut off while consents are revoked, except from one lender: no answer leaves late", short: true, disturb: providerCutOff},
	{name: "rough-links", about: "a fifth of all pieces on all links stall for up to a second, some connections are reset", disturb: func(ctx context.Context, p *play) error {
		p.load.census.setBlind(true)
		p.apart(p.net.Nodes, p.net.Nodes, link.Rule{Rough: 0.2})
		return p.pause(ctx, p.duration)
	}},
	{name: "jitter", about: "every piece on every link takes up to 200 ms", disturb: func(ctx context.Context, p *play) error {
		p.load.census.setBlind(true)
		p.apart(p.net.Nodes, p.net.Nodes, link.Rule{Jitter: 200 * time.Millisecond})
		return p.pause(ctx, p.duration)
	}},
}

func flapping(ctx context.Context, p *play) error {
	for end := time.Now().Add(p.duration); time.Now().Before(end); {
		side := p.some(1 + p.rng.IntN(2))
		p.apart(side, p.others(side...), p.broken())
		if err := p.pause(ctx, time.Duration(200+p.rng.IntN(1800))*time.Millisecond); err != nil {
			return err
		}
		p.links.Heal()
		if err := p.pause(ctx, time.Duration(200+p.rng.IntN(1300))*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// providerCutOff leaves the bank one link, to a lender that would take answers
// and passes on no news: what the bank hears of it is silence.
func providerCutOff(ctx context.Context, p *play) error {
	provider, lender := p.net.First(bank), p.net.First(lenders[p.rng.IntN(len(lenders))])
	p.spare(provider)
	if err := p.pause(ctx, p.duration/8); err != nil {
		return err
	}
	p.apart([]*testnet.Node{provider}, p.others(provider, lender), p.broken())
	if p.rng.IntN(2) == 0 { // the lender's own messages do not arrive, the bank's do
		p.links.Set(lender.Name, provider.Name, link.Rule{Stall: true})
	}
	cut := p.load.history.Now()
	if err := p.pause(ctx, p.duration); err != nil {
		return err
	}
	return p.within(ctx, settleLimit, "consents are revoked meanwhile", func() error {
		if p.revokedSince(cut) == 0 {
			return errors.New("none yet")
		}
		return nil
	})
}
