package node

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/store"
)

// lagging is a node whose newest header, at height 10, certifies height 9, which
// it executes later.
func lagging(executedAfter time.Duration) *certificates {
	begun := time.Now()
	return &certificates{
		tip: func() store.Tip { return store.Tip{Height: 10, Header: ledger.Header{Height: 10, ExecHeight: 9}} },
		grown: func(ctx context.Context, h ledger.Height) error {
			<-ctx.Done() // no further block comes
			return ctx.Err()
		},
		executed: func(ctx context.Context, h ledger.Height, wait time.Duration) error {
			if left := executedAfter - time.Since(begun); left > wait {
				time.Sleep(wait)
				return api.Refuse(pb.Code_CODE_NOT_EXECUTED, "height %d is not executed here yet", h)
			} else if left > 0 {
				time.Sleep(left)
			}
			return nil
		},
	}
}

// A proof that is asked for before the node has executed what its newest header
// certifies is waited for as long as the caller said, and no longer.
func TestAProofWaitsForExecution(t *testing.T) {
	for _, tc := range []struct {
		name          string
		wait          time.Duration
		executedAfter time.Duration
		found         bool // by try, once it is asked
		want          pb.Code
		within        time.Duration
	}{
		{"executed already", 0, 0, true, 0, 0},
		{"executed soon, the caller does not wait", 0, 900 * time.Millisecond, true, 0, 900 * time.Millisecond},
		{"executed late, the caller does not wait", 0, 5 * time.Second, true, pb.Code_CODE_NOT_EXECUTED, time.Second},
		{"executed late, the caller waits", 10 * time.Second, 5 * time.Second, true, 0, 5 * time.Second},
		{"executed too late", 10 * time.Second, time.Minute, true, pb.Code_CODE_NOT_EXECUTED, 10 * time.Second},
		{"not certified in time", 10 * time.Second, 5 * time.Second, false, pb.Code_CODE_NOT_CERTIFIED, 10 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				h, err := lagging(tc.executedAfter).first(t.Context(), tc.wait, func(*ledger.Header) (bool, error) { return tc.found, nil })
				if tc.want == 0 && (err != nil || h != 10) || tc.want != 0 && api.CodeOf(err) != tc.want {
					t.Errorf("height %d, %v", h, err)
				}
				if took := time.Since(begun); took != tc.within {
					t.Errorf("it took %s, want %s", took, tc.within)
				}
			})
		})
	}
}
