package node

import (
	"fmt"
	"testing"

	"github.com/assent-network/assent/network"
)

// A node that has the genesis file alone begins, though nobody of whom it tells is
// a validator any more; so does one whose last block is as old.
func TestANodeBeginsThoughTheFoundersAreGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t, soloSeats[:1])
	founder := c.nodes[0]
	heir := c.join(seat{lender, "validator", false})
	c.observe(heir, founder)
	late := c.join(seat{lender, "observer", false})
	c.observe(late, founder)
	c.start(heir, late)
	c.reconfigure(addValidator(heir), founder, heir)
	c.orders(founder, heir)
	c.converge(c.nodes...)
	late.stop() // it knows both
	other := c.join(seat{lender, "validator", false})
	c.observe(other, heir)
	c.start(other)
	c.reconfigure(addValidator(other), founder, heir, other)
	c.orders(other)
	c.reconfigure(dropValidator(founder.validator()), heir, other)
	founder.stop()
	c.reconfigure(dropValidator(heir.validator()), heir, other)
	heir.stop()
	founder.left, heir.left = true, true

	fresh := c.join(seat{lender, "observer", false})
	c.observe(fresh, other)
	for _, p := range []*peer{fresh, late} {
		p.cfg.Network.Entry = []string{fmt.Sprintf("%s/p2p/%s", other.cfg.Network.Listen[0], other.id())}
		c.start(p)
	}
	c.converge(other, fresh, late)
	for _, p := range []*peer{fresh, late} {
		eventually(t, patience, func() error {
			if e := p.node.dir.current.Load(); len(e.strangers) != 0 || len(e.validators) != 1 {
				return fmt.Errorf("%s: %d validators and %d strangers, want the one validator", p.name, len(e.validators), len(e.strangers))
			}
			return nil
		})
	}

	// Once the ledger says that a validator was removed, its entry admits nobody.
	e, err := readDirectory(fresh.id(), fresh.config(), fresh.node.state.View())
	if err != nil {
		t.Fatal(err)
	}
	fresh.node.entry = append(fresh.node.entry, parsed(t, heir)...)
	if got, err := fresh.node.strangers(e); err != nil || len(got) != 0 {
		t.Errorf("strangers: %v, %v; want none: one is a validator, one was removed", got, err)
	}
}

func parsed(t *testing.T, p *peer) []network.Peer {
	out, err := parseEntry([]string{fmt.Sprintf("%s/p2p/%s", p.cfg.Network.Listen[0], p.id())})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
