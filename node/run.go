package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// part is something a running node consists of.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// Run runs the node until ctx ends, and returns after everything it started,
// with the files closed. An error means that a part failed; the rest was then
// stopped in order.
func (n *Node) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, n.Close()) }()
	// In the order of starting. Stopping goes backwards:
	parts := []part{
		// … and the network last: until here peers are served with blocks.
		{"network", n.host.Run},
		{"roster", n.runRoster},
		{"operators' address", n.runOps},
		{"control socket", n.runControl},
		// … what a halted node wants to know of them comes before that;
		{"difference", n.runDifference},
		// … then ordering and execution, which end with a flush;
		{"chain", n.runChain},
		{"first view", n.firstView},
		{"config updates", n.runAssembler},
		{"snapshots", n.runSnapshots},
		{"pruning", n.runPruning},
		// … then what is on its way to others, so that nothing more leaves;
		{"outbox", n.outbox.Run},
		// … then the loop that starts answers, and those under way;
		{"follower", n.runFollower},
		{"inbox sweep", n.sweepInbox},
		{"restore", n.runRestored},
		// before all of these what the node submits by itself;
		{"duties", n.runDuties},
		// clients first: nobody is promised anything any more;
		{"api", n.runAPI},
	}
	if n.answerer != nil {
		parts = slices.Insert(parts, slices.IndexFunc(parts, func(p part) bool { return p.name == "api" }), part{"pledges", n.runPledger})
		parts = slices.Insert(parts, slices.IndexFunc(parts, func(p part) bool { return p.name == "follower" }), part{"answerer", n.answerer.Run}, part{"statistics sweep", n.sweepSurvey})
	}
	return runParts(ctx, parts, func(name string, err error) {
		n.log.Error("a part of the node failed: the node stops", "part", name, "error", err)
	})
}

// runParts starts parts in order and, when ctx ends or one of them does, stops
// them in reverse order, each before the one it rests on.
func runParts(ctx context.Context, parts []part, failed func(string, error)) error {
	type ending struct {
		name string
		err  error
	}
	ended := make(chan ending, len(parts))
	stops := make([]context.CancelFunc, len(parts))
	dones := make([]chan struct{}, len(parts))
	for i, p := range parts {
		// Not derived from ctx: a part must not end before those that rest on it.
		pctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stops[i], dones[i] = cancel, make(chan struct{})
		go func() {
			err := p.run(pctx)
			close(dones[i])
			ended <- ending{p.name, err}
		}()
	}
	var errs []error
	left := len(parts)
	note := func(e ending) {
		left--
		if e.err != nil {
			failed(e.name, e.err)
			errs = append(errs, fmt.Errorf("%s: %w", e.name, e.err))
		}
	}
	select {
	case <-ctx.Done():
	case e := <-ended:
		note(e)
		if e.err == nil {
			errs = append(errs, fmt.Errorf("%s ended by itself", e.name))
		}
	}
	for i := len(parts) - 1; i >= 0; i-- {
		stops[i]()
		<-dones[i]
	}
	for left > 0 {
		note(<-ended)
	}
	return errors.Join(errs...)
}

// firstView finds out when this node has executed all that the network had
// certified when it started. Until then it is not ready: a client would read an
// old ledger, in which it may not even be registered.
func (n *Node) firstView(ctx context.Context) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
		if _, err := n.view.Fresh(ctx, maxViewAge); err == nil {
			n.caughtUp.Store(true)
			<-ctx.Done()
			return nil
		}
		pause.Reset(50 * time.Millisecond)
	}
}

func (n *Node) runFollower(ctx context.Context) error {
	err := n.follower.run(ctx)
	if n.permits != nil {
		n.permits.running.Wait()
		// What was taken care of need not be delivered again after a restart.
		err = errors.Join(err, n.permits.save(context.WithoutCancel(ctx)))
	}
	return err
}

// sweepInbox forgets answers that nobody fetched.
func (n *Node) sweepInbox(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if _, err := n.inbox.Sweep(ctx, n.over()); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
