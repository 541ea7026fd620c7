package node

import (
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/metrics"
)

// Bounds of what a scrape reads of the ledger.
const (
	keysCounted    = 256
	overdueCounted = 1000
)

// dutyFigures are what this member must see to in time: keys that end, and what it
// owes. What cannot be read is left out: the state's own alarms say why.
func (n *Node) dutyFigures(f *metrics.Figures, now time.Time) {
	view, org := n.state.View(), record.OrgID(n.member)
	f.KeyEnds = make(map[metrics.Key]time.Duration)
	ends := func(kind, id string, until, revoked record.Millis) {
		if until != 0 && revoked == 0 {
			f.KeyEnds[metrics.Key{Kind: kind, ID: id}] = time.UnixMilli(until).Sub(now)
		}
	}
	prefix := record.ClientPrefix(org)
	if rows, err := view.Range(prefix, prefixEnd(prefix), keysCounted); err == nil {
		for _, row := range rows {
			if c, err := record.Load[record.Client](row.Value); err == nil {
				ends("client", record.FormatAddress(c.Address), c.ValidUntil, c.RevokedAt)
			}
		}
	}
	prefix = record.DataKeyPrefix(org)
	if rows, err := view.Range(prefix, prefixEnd(prefix), keysCounted); err == nil {
		for _, row := range rows {
			if k, err := record.Load[record.DataKey](row.Value); err == nil {
				ends("data", string(k.KeyID), k.ValidUntil, k.RevokedAt)
			}
		}
	}
	f.Overdue = make(map[string]int)
	until := record.TimeSegment(now.UnixMilli())
	for what, prefix := range map[string]string{
		"erasure": record.ErasureIndexPrefix(org), "deletion": record.DeletionIndexPrefix(org), "dispute": record.DisputeDueIndexPrefix(org),
	} {
		if rows, err := view.Range(prefix, prefix+until, overdueCounted); err == nil {
			f.Overdue[what] = len(rows)
		}
	}
}
