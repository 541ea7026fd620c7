package chain

import (
	"context"
	"time"

	"github.com/assent-network/assent/consensus"
	"github.com/assent-network/assent/node/ledger"
)

// A root is certified by the header of a later block. While requests flow, the
// next block comes by itself; when they stop, a seal asks for one more. A block
// that holds nothing but a seal changes no root and needs none, so an idle
// network makes no blocks.

func needsSeal(b *ledger.Block) bool {
	for _, r := range b.Requests {
		if ledger.KindOf(r) != ledger.KindSeal {
			return true
		}
	}
	return false
}

// certifiedHeight is the executed height that the newest certified header
// names.
func (c *Chain) certifiedHeight() ledger.Height { return c.Tip().Header.ExecHeight }

func (c *Chain) sealUseful(req []byte) bool {
	s, err := ledger.DecodeSeal(req)
	t := c.Tip()
	return err == nil && s.Height > t.Header.ExecHeight && s.Height <= t.Height
}

// doneSeals names the seals that a header has made needless, of the heights
// above from up to to. A follower that kept one in its pool would blame the
// leader, who leaves it out.
func (c *Chain) doneSeals(from, to ledger.Height) []consensus.RequestInfo {
	var out []consensus.RequestInfo
	for h := from + 1; h <= to; h++ {
		s := ledger.Seal{ChainID: c.cfg.ChainID, Height: h}
		out = append(out, infoOf(s.ID()))
	}
	return out
}

// resumeSeal takes up the seal that a stop has prevented: a root that was
// executed before, and that no header names yet. It runs before any further block
// is appended.
func (c *Chain) resumeSeal() error {
	for h := c.Tip().Height; h > c.certifiedHeight(); h-- {
		b, err := c.cfg.Store.Block(h)
		if err != nil {
			return err
		}
		if needsSeal(b) {
			c.wakeSeal(h)
			return nil
		}
	}
	return nil
}

func (c *Chain) wakeSeal(h ledger.Height) {
	for old := c.unsealed.Load(); old < uint64(h) && !c.unsealed.CompareAndSwap(old, uint64(h)); old = c.unsealed.Load() {
	}
	select {
	case c.sealWake <- struct{}{}:
	default:
	}
}

// sealLoop submits a seal when the newest root stays uncertified: the leader
// after a short calm, the others when the leader's does not come. Every
// validator's seal of one height has the same request id.
func (c *Chain) sealLoop(ctx context.Context, r *role) {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	if ledger.Height(c.unsealed.Load()) > c.certifiedHeight() { // executed before this node took the role
		timer.Reset(c.sealDelay(r))
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.sealWake:
			timer.Reset(c.sealDelay(r))
		case <-timer.C:
			need := ledger.Height(c.unsealed.Load())
			if c.certifiedHeight() >= need {
				continue
			}
			if c.EngineStatus().Pool == 0 {
				c.submitSeal(ctx, need, r)
			}
			timer.Reset(c.cfg.SealFallback)
		}
	}
}

func (c *Chain) sealDelay(r *role) time.Duration {
	if c.EngineStatus().Leader == r.self {
		return c.cfg.SealDelay
	}
	return c.cfg.SealFallback
}

func (c *Chain) submitSeal(ctx context.Context, h ledger.Height, r *role) {
	s, err := ledger.NewSeal(c.cfg.ChainID, h, r.vote)
	if err != nil {
		c.log.Error("seal not signed: check the vote key", "height", h, "error", err)
		return
	}
	if err := c.toEngine(func(e consensus.Engine) error { return e.Submit(ctx, s.Encode()) }); err != nil && ctx.Err() == nil {
		c.log.Warn("seal not submitted, will try again", "height", h, "error", err)
	}
}
