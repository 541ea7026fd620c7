package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/assent-network/assent/chaincode/access"
	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/query"
	"github.com/assent-network/assent/node/query/exposure"
	"github.com/assent-network/assent/node/query/total"
	"github.com/assent-network/assent/node/state"
)

// openTotals opens this bank's pledges; nil if it has no keys to make any.
func (n *Node) openTotals(ctx context.Context) (query.Shares, error) {
	dir := n.cfg.Answering.ExposureKeys
	if dir == "" {
		return nil, nil
	}
	proving, verifying, err := readRangeKeys(dir)
	if err != nil {
		return nil, fmt.Errorf("answering.exposureKeys: %w", err)
	}
	n.totals, err = total.Open(ctx, total.Config{
		Store: n.private, ChainID: n.chainID, Member: record.OrgID(n.member), Proving: proving, Verifying: verifying,
		DataKey: n.secrets.data.find, Shows: access.Shows, Clock: n.now, Logger: n.log,
	})
	if err != nil {
		return nil, err
	}
	n.log.Info("this node takes part in totals over several banks", "rangeKeyHash", record.Hash(verifying.Fingerprint()))
	return n.totals, nil
}

func readRangeKeys(dir string) (*exposure.ProvingKey, *exposure.VerifyingKey, error) {
	b, err := os.ReadFile(filepath.Join(dir, string(exposure.InRange)+".prove"))
	if err != nil {
		return nil, nil, err
	}
	proving, err := exposure.ReadProvingKey(exposure.InRange, b)
	if err != nil {
		return nil, nil, err
	}
	if b, err = os.ReadFile(filepath.Join(dir, string(exposure.InRange)+".verify")); err != nil {
		return nil, nil, err
	}
	verifying, err := exposure.ReadVerifyingKey(exposure.InRange, b)
	return proving, verifying, err
}

// requestedShare starts this bank's share of a permitted set, if it has a seat there.
func (n *Node) requestedShare(ctx context.Context, o *state.Outcome, payload []byte, at time.Time) error {
	if n.permits == nil {
		return nil
	}
	e, err := record.Load[record.Exposure](payload)
	if err != nil {
		return fmt.Errorf("exposure event at height %d: %w", o.Height, err)
	}
	for i := range e.Seats {
		seat := &e.Seats[i]
		if string(seat.Bank) != n.member {
			continue
		}
		if seat.Code == record.CodeConsentExpired {
			n.duties.ranOut(seat.ConsentID)
		}
		if e.Decision != record.Permit {
			return nil
		}
		view := n.state.View()
		r, err := loadRecord[record.Request](view, record.RequestKey(seat.RequestID))
		if err != nil {
			return fmt.Errorf("seat %d of exposure %s: %w", i, e.ExposureID, err)
		}
		p, err := n.permitOf(r, o, at)
		if err != nil {
			return fmt.Errorf("seat %d of exposure %s: %w", i, e.ExposureID, err)
		}
		p.Exposure = e
		if e.Recipient != e.Consumer {
			if p.Opener, err = openerOf(view, e.Recipient); err != nil {
				return err
			}
		}
		return n.permits.start(ctx, p)
	}
	return nil
}

// openerOf is an aggregator's public data key; nil if it has none in force, and then
// nothing can be sealed to it.
func openerOf(view *state.View, org record.OrgID) (record.Blob, error) {
	k, err := newestDataKey(view, org, func(*record.DataKey) bool { return true })
	if err != nil || k == nil {
		return nil, err
	}
	return k.PublicKey, nil
}

// newestDataKey is the member's data key in force that ends last, of those that serve.
func newestDataKey(view *state.View, org record.OrgID, serves func(*record.DataKey) bool) (*record.DataKey, error) {
	prefix := record.DataKeyPrefix(org)
	rows, err := view.Range(prefix, prefixEnd(prefix), maxDataKeys)
	if err != nil {
		return nil, err
	}
	var best *record.DataKey
	for _, row := range rows {
		k, err := record.Load[record.DataKey](row.Value)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", row.Key, err)
		}
		if k.Usable(record.Millis(view.Time())) && serves(k) && (best == nil || k.ValidUntil > best.ValidUntil) {
			best = k
		}
	}
	return best, nil
}

// maxDataKeys bounds the data keys of one member that are looked at.
const maxDataKeys = 256
