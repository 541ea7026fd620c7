package node

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/api"
	pb "github.com/assent-network/assent/node/api/assent/v1"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/node/sync"
	"github.com/assent-network/assent/sdk"
)

// An observer whose peers have pruned the beginning begins with a snapshot of one
// of them, serves what happened before and after it, and its ledger verifies.
func TestAnObserverBeginsWithASnapshot(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withObserver(fourSeats))
	watch := c.find(regulator, "observer")
	notice := c.publish(harbour)
	who := &c.customers[0]
	a := c.agree(harbour, notice, who.identity, true)
	if got := value(a.ask(incomeBand)); got != who.band() {
		t.Fatalf("the answer is %s, the bank's row says %s", got, who.band())
	}
	c.converge(c.nodes...)
	watch.stop()
	if err := os.RemoveAll(watch.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	if err := JoinLedger(t.Context(), watch.cfg); err != nil {
		t.Fatal(err)
	}

	var at ledger.Height
	for _, p := range c.kind("validator")[:2] {
		m, err := p.node.writeSnapshot(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		at = max(at, m.Height())
	}
	b := c.agree(harbour, notice, who.identity, true) // after the snapshot
	c.converge(c.kind("validator")...)
	for _, p := range c.kind("validator") {
		if _, err := p.node.store.Prune(at-3, nil); err != nil {
			t.Fatal(err)
		}
	}

	// Block by block it cannot come any further than genesis.
	n, err := Open(t.Context(), watch.options())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Run(t.Context()); !errors.Is(err, sync.ErrBehind) {
		t.Fatalf("the node ended with %v", err)
	}
	if err := Join(t.Context(), watch.options()); err != nil {
		t.Fatal(err)
	}
	c.start(watch)
	c.converge(c.nodes...)
	if got := watch.node.state.BeganAt(); got != at {
		t.Errorf("it began with height %d, want %d", got, at)
	}
	for _, id := range []record.ConsentID{a.id, b.id} {
		got, proof, err := watch.as("auditor").Consents().Proven(t.Context(), id)
		if err != nil || got.Status != record.Authorised || proof == nil {
			t.Errorf("consent %s at the observer: %v, %v", id, got, err)
		}
	}
	// What happened before is there with its events, and in the lists.
	eventually(t, 10*time.Second, func() error {
		for i := range watch.node.state.View().Roots().ReceiptsSize {
			x, err := watch.node.state.View().OutcomeAt(i)
			if err != nil {
				return err
			}
			y, err := c.nodes[0].node.state.View().OutcomeAt(i)
			if err != nil {
				return err
			}
			if x.Receipt() != y.Receipt() || x.Time != y.Time {
				return fmt.Errorf("receipt %d is %+v, want %+v", i, x, y)
			}
		}
		return nil
	})
	// What no root commits to it does not know, nor the blocks, and it says who does.
	old, err := c.nodes[0].node.state.View().OutcomeAt(watch.node.state.View().Roots().ReceiptsSize / 4)
	if err != nil {
		t.Fatal(err)
	}
	_, err = watch.as("auditor").Outcome(t.Context(), old.TxID, 0)
	var refused *sdk.Error
	if !errors.As(err, &refused) || refused.Code != "PRUNED" {
		t.Errorf("an old outcome at the observer: %v", err)
	}
	_, _, err = (&backend{Node: watch.node}).Block(t.Context(), 1)
	if api.CodeOf(err) != pb.Code_CODE_PRUNED {
		t.Errorf("block 1 at the observer: %v", err)
	}
}
