package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/assent-network/assent/network"
	"github.com/assent-network/assent/node/ledger"
)

// Every validator is restarted while a proposal stands in its log and nothing of
// it is decided. Then the config changes; the next transaction must not have to
// wait for a time-out.
func TestAConfigChangeAfterARestartOnAProposal(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	silent := &rules{lose: func(class network.Class, msg []byte) bool {
		return class == network.ClassConsensus && (isPrepare(msg) || isCommit(msg) || isViewChange(msg))
	}}
	var before [4]int64
	for i, p := range c.nodes {
		p.rules(silent)
		before[i] = p.prepares.Load()
	}
	if _, err := c.nodes[0].node.chain.Submit(t.Context(), c.transaction(c.nodes[0])); err != nil {
		t.Fatal(err)
	}
	for i, p := range c.nodes {
		eventually(t, patience, func() error {
			if p.prepares.Load() == before[i] {
				return fmt.Errorf("%s has not logged the proposal", p.name)
			}
			return nil
		})
	}
	for _, p := range c.nodes {
		p.stop()
	}
	for _, p := range c.nodes {
		p.rules(nil)
	}
	c.start(c.nodes...)
	w := c.write(c.node(harbour))
	w.flows(2)
	for i := range 2 {
		views := c.node(lake).node.chain.EngineStatus().View
		c.reconfigure(func(c *ledger.Config) { c.Limits.ObserversPerMember = uint64(5 + i) }, c.nodes...)
		from := time.Now()
		w.flows(1)
		t.Logf("the next transaction after config %d took %s", i+1, time.Since(from).Round(time.Millisecond))
		if now := c.node(lake).node.chain.EngineStatus().View; now != views {
			t.Errorf("the view went from %d to %d", views, now)
		}
	}
	w.stop()
}

// A validator misses a config change, catches up with it, and is restarted: it
// votes again, also across the next change.
func TestAConfigChangeThatWasCaughtUpWithAndARestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	away, rest := c.node(lake), []*peer{c.node(regulator), c.node(lender), c.node(harbour)}
	w := c.write(c.node(harbour))
	w.flows(2)
	for _, p := range rest {
		c.cut(away, p)
	}
	w.flows(2)
	c.reconfigure(func(c *ledger.Config) { c.Limits.ObserversPerMember = 5 }, rest...)
	w.flows(2)
	c.healAll()
	eventually(t, patience, func() error {
		if away.config().Seq != 1 {
			return fmt.Errorf("it is at config %d", away.config().Seq)
		}
		return nil
	})
	away.restart()
	c.votes(away)
	c.reconfigure(func(c *ledger.Config) { c.Limits.ObserversPerMember = 6 }, c.nodes...)
	c.votes(away)
	w.flows(2)
	w.stop()
	c.calm(c.nodes...)
	w.kept(c.nodes...)
}

// A network of one validator grows: the engine for one gives way to the engine
// for many, and back.
func TestANetworkOfOneValidatorGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	c := newCluster(t, soloSeats[:1])
	first := c.nodes[0]
	w := c.write(first)
	w.flows(3)
	var fresh []*peer
	for range 3 {
		p := c.join(seat{lender, "validator", false})
		c.observe(p, first)
		fresh = append(fresh, p)
	}
	c.start(fresh...)
	c.reconfigure(both(addValidator(fresh[0]), addValidator(fresh[1]), addValidator(fresh[2])), first)
	c.orders(c.nodes...)
	w.flows(5)
	for _, p := range fresh {
		c.votes(p)
	}
	first.stop()
	w.stop() // its client has ended with the node
	c.start(first)
	c.orders(first)
	again := c.write(first)
	c.votes(first)
	c.reconfigure(func(conf *ledger.Config) { conf.Validators = conf.Validators[:1] }, first)
	again.flows(5)
	again.stop()
	c.calm(c.nodes...)
	w.kept(c.nodes...)
	again.kept(c.nodes...)
}
