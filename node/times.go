package node

import "time"

// ledgerTime is the time of the newest executed block.
func (n *Node) ledgerTime() time.Time { return time.UnixMilli(int64(n.state.View().Time())) }

// over is the time by which this node destroys what it keeps for a while: the earlier
// of its own clock and the ledger's time. A clock that runs ahead must not destroy what
// somebody was promised; on an idle network, where the ledger's time stands still, it
// is kept longer, which harms nobody.
func (n *Node) over() time.Time {
	now, ledger := n.now(), n.ledgerTime()
	if ledger.Before(now) {
		return ledger
	}
	return now
}
