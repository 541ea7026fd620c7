package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/sdk"
)

func TestAnObserverFollowsServesReadsAndForwards(t *testing.T) {
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

	// It serves its member's reads and proofs from its own copy.
	ctx := t.Context()
	got, proof, err := watch.as("auditor").Consents().Proven(ctx, a.id)
	if err != nil || got.Status != record.Authorised || proof.Header.Header.StateRoot != c.nodes[0].node.store.Tip().Header.StateRoot {
		t.Errorf("the consent at the observer: %v, %v", got, err)
	}
	// It forwards its clients' transactions and knows their outcome.
	key := ledgerKey(t)
	o, err := watch.as("admin").Clients().Register(ctx, sdk.ClientSpec{Address: key, Roles: []sdk.ClientRole{"auditor"}, Label: "a"})
	if err != nil {
		t.Fatalf("register through the observer: %v", err)
	}
	eventually(t, 10*time.Second, func() error {
		for _, p := range c.nodes {
			if x, err := p.node.state.View().Find(o.TxID); err != nil || uint64(x.Height) != o.Height {
				return fmt.Errorf("%s: %v", p.name, err)
			}
		}
		return nil
	})

	// One validator is enough to follow, whoever it is.
	for _, p := range c.kind("validator")[1:] {
		c.cut(watch, p)
	}
	a.revoke(c.node(lake))
	c.converge(c.nodes...)
	c.healAll() // to know that nobody hides newer blocks from it, it asks a quorum
	// Stopped for a while and started again it catches up.
	watch.stop()
	b := c.agree(harbour, notice, who.identity, true)
	c.start(watch)
	eventually(t, 10*time.Second, func() error {
		_, err := loadRecord[record.Consent](watch.node.state.View(), record.ConsentKey(b.id))
		return err
	})
}

// Any node, one after the other, the leader included, stops while the others go
// on, and comes back.
func TestEveryNodeMayRestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withObserver(fourSeats))
	for i := range c.nodes {
		p := c.nodes[len(c.nodes)-1-i] // the leader last
		other := c.nodes[(len(c.nodes)-i)%len(c.nodes)]
		if other.cfg.Identity.Node != "validator" {
			other = c.nodes[1]
		}
		p.stop()
		key := ledgerKey(t)
		o, err := other.as("admin").Clients().Register(t.Context(), sdk.ClientSpec{Address: key, Roles: []sdk.ClientRole{"auditor"}, Label: "a"})
		if err != nil {
			t.Fatalf("with %s stopped: %v", p.name, err)
		}
		c.start(p)
		got, err := p.as("auditor").Clients().Get(t.Context(), sdk.OrgID(other.cfg.Identity.Member), key)
		if err != nil || got.Address != key {
			t.Fatalf("%s, restarted, does not know of height %d: %v", p.name, o.Height, err)
		}
	}
}
