package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/ledger/ledgertest"
)

// A retry sends the same transaction; those that nobody asks about again are
// forgotten when they have expired.
func TestOwnTransactionsThatExpiredAreForgotten(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	n := newNode(Options{Clock: func() time.Time { return now }})
	n.txKey = ledgertest.Signer("node")
	own := func(i int) *ledger.Transaction {
		t.Helper()
		tx, err := n.ownTx(fmt.Sprint("duty/", i), "consent", "Expire", nil)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	if own(0).ID() != own(0).ID() {
		t.Error("a retry signed another transaction")
	}
	for i := range leastOwnTxs {
		own(i)
	}
	now = now.Add(ledger.MaxValidityMillis * time.Millisecond)
	for i := range leastOwnTxs / 2 {
		own(leastOwnTxs + i)
	}
	if got := len(n.own.byID); got != leastOwnTxs/2 {
		t.Errorf("%d transactions are kept, %d are under way", got, leastOwnTxs/2)
	}
}
