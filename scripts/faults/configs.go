package main

import (
	"context"
	"fmt"

	"github.com/assent-network/assent/sdk"
)

// configAfterKill: a restart on a logged proposal once made every later change of
// the config wait.
func configAfterKill(ctx context.Context, p *play) error {
	x, err := p.leader(ctx)
	if err != nil {
		return err
	}
	if err := p.pause(ctx, p.duration/8); err != nil {
		return err
	}
	p.kill(x)
	if err := p.pause(ctx, p.duration/4); err != nil {
		return err
	}
	if err := p.again(ctx, x); err != nil {
		return err
	}
	return changeLimits(ctx, p)
}

// changeLimits puts a config in force that changes a figure, and waits until every
// node follows it and serves.
func changeLimits(ctx context.Context, p *play) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	c, err := p.net.Change(ctx, p.net.Nodes[0], func(e *sdk.ConfigEditor) { e.SetLimits(func(l *sdk.ConfigLimits) { l.MaxBlockRequests-- }) })
	if err != nil {
		return fmt.Errorf("change of the config: %w", err)
	}
	for _, x := range p.net.Nodes {
		err := p.within(ctx, settleLimit, x.Name+" follows the config", func() error {
			s, err := p.net.StatusOf(ctx, x)
			if err == nil && s.ConfigSeq < c.Config.Seq {
				err = fmt.Errorf("it is at config %d", s.ConfigSeq)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return p.flows(ctx, warm, p.net.Nodes...)
}
