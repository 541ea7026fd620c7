package node

import (
	"testing"

	"github.com/assent-network/assent/sdk"
)

func TestALoneValidatorServesAConsentedQuery(t *testing.T) {
	t.Parallel()
	c := newCluster(t, soloSeats)
	notice := c.publish(harbour)
	who := &c.customers[0]
	a := c.agree(harbour, notice, who.identity, true)
	if got := value(a.ask(incomeBand)); got != who.band() {
		t.Fatalf("the answer is %s, the bank's row says %s", got, who.band())
	}
	revoked := a.revoke(c.node(lender))
	if got := value(a.ask(incomeBand)); got != "DENY CONSENT_REVOKED" {
		t.Fatalf("after the revocation at height %d: %s", revoked, got)
	}
}

func TestALoneValidatorKeepsEverythingOverRestarts(t *testing.T) {
	t.Parallel()
	c := newCluster(t, soloSeats[:1])
	p := c.node(lender)
	ctx := t.Context()
	var registered []sdk.Address
	for range 3 {
		for range 3 {
			key := ledgerKey(t)
			if _, err := p.as("admin").Clients().Register(ctx, sdk.ClientSpec{Address: key, Roles: []sdk.ClientRole{"auditor"}, Label: "a"}); err != nil {
				t.Fatal(err)
			}
			registered = append(registered, key)
		}
		before := p.node.store.Tip()
		p.restart()
		if after := p.node.store.Tip(); after.Height < before.Height {
			t.Fatalf("height %d after the restart, %d before it", after.Height, before.Height)
		}
		for _, key := range registered {
			if _, err := p.as("auditor").Clients().Get(ctx, sdk.OrgID(lender), key); err != nil {
				t.Fatalf("a key registered before the restart: %v", err)
			}
		}
	}
}
