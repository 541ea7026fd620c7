package node

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/doctor"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/state"
)

// restoredFacts says how far a node is that came from a backup, whether it runs or
// not; nil for any other.
func restoredFacts(ctx context.Context, m *mark, conf *ledger.Config, self network.PeerID, view *state.View, private *sql.DB) (*doctor.Restored, error) {
	if m == nil {
		return nil, nil
	}
	r := &doctor.Restored{Made: m.Made, On: m.Restored, CaughtUp: m.Height > 0, Erased: m.Erased}
	if len(m.VoteKeys) > 0 {
		r.VoteKey = m.VoteKeys[len(m.VoteKeys)-1] // the newest
	}
	for i := range conf.Validators {
		v := &conf.Validators[i]
		if id, err := network.PeerIDFromPublicKey(v.HostKey[:]); err == nil && id == self {
			r.Validator, r.Admitted = v.ID, slices.Contains(m.VoteKeys, strings.ToLower(v.VoteKey.Hex()))
		}
	}
	lost, err := query.Lost(ctx, private)
	if err != nil {
		return nil, err
	}
	for _, l := range lost {
		now, err := loadRecord[record.Epoch](view, record.EpochKey(l.Product))
		if errors.Is(err, errNoRecord) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if now.Epoch <= l.Epoch {
			r.Closed = append(r.Closed, doctor.ClosedEpoch{Product: string(l.Product), Epoch: now.Epoch})
		}
	}
	return r, nil
}
