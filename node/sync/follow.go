package sync

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// rotateAfter is how long Follow stays with a source that delivers: nobody can
// feed it late for longer.
const rotateAfter = 10 * time.Second

// farBehind is from how many missing blocks on Follow catches up with several peers
// at once.
const farBehind = 256

// penalty is how long a peer that lied or failed is asked only after all others.
const penalty = 30 * time.Second

// Follow keeps this node at the tip of the network until ctx ends (nil) or a
// fatal error as in CatchUp. It asks one peer at a time for the next block; the
// peer holds the request until there is one. A peer that has nothing, fails, lies or
// was the source for long is changed for the next.
func (c *Client) Follow(ctx context.Context, add Append) error {
	if err := c.CatchUp(ctx, add); err != nil {
		return err
	}
	f := follower{Client: c, gone: prunedBy{}, until: map[string]time.Time{}, turn: rand.IntN(1 << 20)}
	for ctx.Err() == nil {
		if err := f.poll(ctx, add); err != nil {
			return fmt.Errorf("follow from height %d: %w", c.cfg.Store.Tip().Height, err)
		}
		if !pause(ctx, f.gap) {
			break
		}
	}
	return nil
}

// follower is the state of one Follow.
type follower struct {
	*Client
	source  string // whom to ask next; "" to choose
	since   time.Time
	turn    int
	until   map[string]time.Time // penalties; only of peers that exist
	gone    prunedBy             // since the last block
	gap     time.Duration        // before the next request
	started time.Time            // of the last request
	arrived time.Time            // of the last block
}

// poll asks the source once. Errors are fatal.
func (f *follower) poll(ctx context.Context, add Append) error {
	f.choose()
	f.started = time.Now()
	if f.source == "" {
		f.slower()
		return nil
	}
	from := f.cfg.Store.Tip().Height + 1
	wait := f.cfg.PollWait
	if time.Since(f.arrived) < wait { // blocks are coming: silence is soon suspicious
		wait /= 8
	}
	a, err := f.fetch(ctx, f.source, from, wait, f.cfg.FetchTimeout/4)
	if err == nil {
		err = f.take(ctx, a, nil, from, add)
	}
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		if err := f.blame(f.source, err, !f.until[f.source].IsZero()); err != nil {
			return err
		}
		if err := f.pruned(err); err != nil {
			return err
		}
		f.until[f.source] = time.Now().Add(penalty)
		f.source = ""
		f.slower()
	case len(a.Blocks) == 0:
		f.source = "" // the next may know more
		// A peer that did not hold the request is not asked in a tight loop.
		if time.Since(f.started) < wait/2 {
			f.slower()
		} else {
			f.gap = f.cfg.PollGap
		}
	case a.Tip > f.cfg.Store.Tip().Height+farBehind:
		// CatchUp ended before its work was done, or the network went on without this
		// node. Asking one peer after the other would take much longer.
		f.source, f.arrived, f.gap = "", time.Now(), f.cfg.PollGap
		clear(f.gone)
		return f.CatchUp(ctx, add)
	default:
		f.arrived = time.Now()
		clear(f.gone)
		f.gap = max(0, f.cfg.PollGap-time.Since(f.started))
		height := f.cfg.Store.Tip().Height
		f.cfg.OnProgress(Progress{Height: height, Target: height})
	}
	return nil
}

// pruned takes note if the source said to keep the next block no more.
func (f *follower) pruned(err error) error {
	for _, p := range f.cfg.Peers() {
		if p.ID == f.source {
			return f.gone.add(p, err, f.cfg.Store.Tip())
		}
	}
	return nil
}

// slower doubles the pause before the next request, up to MaxBackoff.
func (f *follower) slower() {
	f.gap = min(max(2*f.gap, 2*f.cfg.PollGap), f.cfg.MaxBackoff)
}

// choose picks the next peer in turn, without penalty if there is one.
func (f *follower) choose() {
	now := time.Now()
	peers := f.cfg.Peers()
	known := func(id string) bool {
		return slices.ContainsFunc(peers, func(p Peer) bool { return p.ID == id })
	}
	if f.source != "" && known(f.source) && now.Sub(f.since) < rotateAfter {
		return
	}
	for id, until := range f.until {
		if !known(id) || until.Before(now) {
			delete(f.until, id)
		}
	}
	f.source, f.since = "", now
	for range peers {
		f.turn++
		p := peers[f.turn%len(peers)]
		if f.source == "" || f.until[p.ID].IsZero() {
			f.source = p.ID
		}
		if f.until[p.ID].IsZero() {
			return
		}
	}
}

// pause waits for d and reports whether ctx is alive still.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
