package node

import (
	"context"
	"errors"
	"time"

	"github.com/assent-network/assent/node/gateway"
)

// SubmitMany implements gateway.Transactions.
func (b *backend) SubmitMany(ctx context.Context, txs [][]byte, wait time.Duration, report func([]gateway.Submitted) error) error {
	begun := time.Now()
	w := b.chain.Watch(len(txs))
	defer w.Stop()
	ids := make([]gateway.Submitted, len(txs)) // what is known of each so far
	var told []gateway.Submitted
	for i, raw := range txs {
		r := &ids[i]
		r.Index = i
		if r.TxID, r.Outcome, r.Err = b.pass(ctx, raw, w, i); r.Outcome != nil || r.Err != nil {
			told = append(told, *r)
		}
	}
	open := make(map[int]bool, len(txs)-len(told))
	for i := range ids {
		if ids[i].Outcome == nil && ids[i].Err == nil {
			open[i] = true
		}
	}
	wctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		if len(told) > 0 {
			if err := report(told); err != nil {
				return err
			}
			told = told[:0]
		}
		if len(open) == 0 {
			return nil
		}
		settled, err := w.Next(wctx)
		switch {
		case err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
			for i := range open { // not known in time
				told = append(told, ids[i])
			}
			return report(told)
		case err != nil:
			return b.refusal(err)
		}
		for _, x := range settled {
			if !open[x.Index] { // known before it was submitted
				continue
			}
			delete(open, x.Index)
			r := ids[x.Index]
			if x.Err != nil {
				r.Err = b.refusal(x.Err)
			} else {
				r.Outcome = apiOutcome(x.Outcome)
				b.metrics.Committed(time.Since(begun))
			}
			told = append(told, r)
		}
	}
}
