package node

import (
	"context"
	"fmt"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/state"
)

// requestedBatch starts the permits of a batch that are this provider's. Each is
// answered like a request of its own, with its own receipt. The permits of a batch
// share a height, so the checkpoint stays below it until all are taken care of, and
// a crash in between finds those again that were not.
func (n *Node) requestedBatch(ctx context.Context, o *state.Outcome, payload []byte, at time.Time) error {
	b, err := record.Load[record.Batch](payload)
	if err != nil {
		return fmt.Errorf("batch event at height %d: %w", o.Height, err)
	}
	if n.permits == nil {
		return nil
	}
	view := n.state.View()
	// All are read before any is started, which may have to wait for a slot: while
	// the rows are in memory reading them is cheap.
	var ours []*record.Request
	for i := range b.Results {
		if b.Results[i].Decision != record.Permit {
			continue
		}
		r, err := loadRecord[record.Request](view, record.RequestKey(b.Results[i].RequestID))
		if err != nil {
			return fmt.Errorf("item %d of batch %s: %w", i, b.BatchID, err)
		}
		if string(r.Provider) == n.member {
			ours = append(ours, r)
		}
	}
	for _, r := range ours {
		p, err := n.permitOf(r, o, at)
		if err != nil {
			return fmt.Errorf("request %s of batch %s: %w", r.RequestID, b.BatchID, err)
		}
		if err := n.permits.start(ctx, p); err != nil {
			return err
		}
	}
	return nil
}
