package node

import (
	"context"
	"errors"
	"time"

	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/chain"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
)

// certificates are the certified headers of this node as they come, and how far
// it has executed what they certify.
type certificates struct {
	tip      func() store.Tip
	grown    func(ctx context.Context, h ledger.Height) error                     // waits for a tip at h or above
	executed func(ctx context.Context, h ledger.Height, wait time.Duration) error // NOT_EXECUTED if h is not executed in time
}

// executionGrace is how long a proof waits for execution even if its caller does
// not want to wait for a certificate.
const executionGrace = time.Second

// first returns the height of the first header for which try succeeds: the newest,
// or one that comes within wait. What a header certifies may not be executed here
// yet, while receipts come in fast or after a pause of the machine: that is waited
// for as long as for the certificate itself.
func (c *certificates) first(ctx context.Context, wait time.Duration, try func(*ledger.Header) (bool, error)) (ledger.Height, error) {
	wctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	deadline := time.Now().Add(max(wait, executionGrace))
	for {
		tip := c.tip()
		if tip.Height > 0 {
			if err := c.executed(ctx, tip.Header.ExecHeight, time.Until(deadline)); err != nil {
				return 0, err
			}
			if ok, err := try(&tip.Header); ok || err != nil {
				return tip.Height, err
			}
		}
		if err := c.grown(wctx, tip.Height+1); err != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if errors.Is(err, store.ErrClosed) {
				return 0, refusal(chain.ErrStopped)
			}
			return 0, api.Refuse(pb.Code_CODE_NOT_CERTIFIED, "the newest certificate, of block %d, covers height %d", tip.Height, tip.Header.ExecHeight)
		}
	}
}
