package node

import (
	"testing"
	"time"

	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/state"
)

// What is destroyed because its time is over is destroyed by the slower of two clocks.
func TestAClockAheadOfTheLedgerDestroysNothingEarly(t *testing.T) {
	var now time.Time
	n := newNode(Options{Clock: func() time.Time { return now }})
	var err error
	if n.state, err = state.Create(t.Context(), state.Config{Dir: t.TempDir() + "/state", ChainID: ledger.Hash{1}}); err != nil {
		t.Fatal(err)
	}
	defer n.state.Close()
	executed := n.ledgerTime() // nothing is executed: 1970
	now = executed.AddDate(10, 0, 0)
	if got := n.over(); !got.Equal(executed) {
		t.Errorf("ten years ahead of the ledger: %s", got)
	}
	now = executed.Add(-time.Hour)
	if got := n.over(); !got.Equal(now) {
		t.Errorf("an hour behind it: %s", got)
	}
}
