package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/config"
	"github.com/assent-network/assent/node/keys"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// propose puts a proposal on the ledger, as the admin at a node.
func (c *cluster) propose(at *peer, change func(*ledger.Config)) *ledger.Config {
	c.t.Helper()
	u := c.update(at, change)
	if _, err := at.as("admin").Members().Propose(c.t.Context(), u.Config, []string{"a change for a test"}); err != nil {
		c.t.Fatalf("propose: %v", err)
	}
	return u.Config
}

func (c *cluster) approve(next *ledger.Config, by ...*peer) {
	c.t.Helper()
	for _, p := range by {
		eventually(c.t, patience, func() error { // its node may not have executed the proposal yet
			_, err := p.as("admin").Members().Approve(c.t.Context(), next.Hash())
			if err != nil && sdk.CodeOf(err) != record.CodeNotFound {
				c.t.Fatalf("approve by %s: %v", p.name, err)
			}
			return err
		})
	}
}

// inForce waits until nodes have taken a config over and executed it.
func (c *cluster) inForce(next *ledger.Config, on ...*peer) {
	c.t.Helper()
	for _, p := range on {
		eventually(c.t, patience, func() error {
			got, err := loadRecord[record.OrderingConfig](p.node.state.View(), record.ConfigKey)
			if err != nil {
				return err
			}
			if got.ConfigSeq < next.Seq {
				return fmt.Errorf("%s has executed config %d", p.name, got.ConfigSeq)
			}
			return nil
		})
		if got := p.config(); got.Seq == next.Seq && got.Hash() != next.Hash() {
			c.t.Fatalf("%s: another config %d came into force", p.name, got.Seq)
		}
	}
}

func TestAProposalComesIntoForceWithItsApprovals(t *testing.T) {
	t.Parallel()
	c := newCluster(t, withObserver(fourSeats))
	leader := c.node(regulator)
	next := c.propose(c.node(harbour), func(c *ledger.Config) { c.Limits.ObserversPerMember = 7 })
	c.approve(next, c.node(lake))
	if got := leader.config().Seq; got != 0 {
		t.Fatalf("config %d is in force with two approvals of four", got)
	}
	c.approve(next, c.node(lender))
	c.inForce(next, c.nodes...)
	p, err := c.node(harbour).as("admin").Members().Proposal(t.Context(), next.Hash())
	if err != nil || p.Status != record.ProposalApplied {
		t.Errorf("the proposal afterwards: %+v %v", p, err)
	}

	// Two proposals at once, both with their approvals: one comes into force, the
	// other is stale.
	a := c.propose(c.node(harbour), func(c *ledger.Config) { c.Limits.ObserversPerMember = 8 })
	b := c.propose(c.node(lake), func(c *ledger.Config) { c.Limits.ObserversPerMember = 9 })
	c.approve(b, c.node(harbour))
	c.approve(a, c.node(lake), c.node(lender))
	c.inForce(a, c.nodes...)
	if _, err := c.node(lender).as("admin").Members().ApproveSigned(t.Context(), c.signed(b)); sdk.CodeOf(err) != record.CodeProposalStale {
		t.Errorf("an approval of what another config has overtaken: %v", err)
	}
	if err := leader.node.chain.SubmitUpdate(t.Context(), c.updateTo(b)); err == nil || !strings.Contains(err.Error(), "propose it anew") {
		t.Errorf("the update of what another config has overtaken: %v", err)
	}

	// The leader leaves in the middle: another validator submits.
	d := c.propose(c.node(harbour), func(c *ledger.Config) { c.Limits.ObserversPerMember = 10 })
	c.approve(d, c.node(lake))
	leader.stop()
	c.approve(d, c.node(lender))
	c.inForce(d, c.node(harbour), c.node(lake), c.node(lender))
}

// signed is the lender's approval of a config.
func (c *cluster) signed(next *ledger.Config) *sdk.SignedApproval {
	c.t.Helper()
	s, err := sdk.SignConfig(c.genesis.Hash(), next, c.people[lender+"/admin"])
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// updateTo is an update to a config with everybody's approval.
func (c *cluster) updateTo(next *ledger.Config) *ledger.Update {
	return c.update(c.node(harbour), func(conf *ledger.Config) { *conf = *next })
}

// A validator's vote key is replaced while the node runs under the old one; then
// its host key and address, for which it is restarted.
func TestKeysRotateWithOverlap(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	p, rest := c.node(lake), []*peer{c.node(regulator), c.node(lender), c.node(harbour)}
	vote, err := NewVoteKey(p.cfg, "vote2", password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewVoteKey(p.cfg, "vote2", password); err == nil {
		t.Error("a vote key was made over another")
	}
	store, err := keys.Open(p.cfg.Identity.KeysDir)
	if err != nil {
		t.Fatal(err)
	}
	host, err := store.New("host2", keys.Host, password)
	if err != nil {
		t.Fatal(err)
	}
	p.cfg.Identity.NextVote, p.cfg.Identity.NextHost = "vote2", "host2"
	p.restart()
	c.orders(p)
	old := p.validator()
	w := c.write(c.node(harbour))
	next := c.propose(p, both(dropValidator(old), func(c *ledger.Config) {
		v := p.card.Validator(c.Validators[len(c.Validators)-1].ID + 2)
		v.VoteKey = vote.Address
		c.Validators = append(c.Validators, v)
	}))
	c.approve(next, rest[:2]...)
	c.inForce(next, c.nodes...)
	eventually(t, patience, func() error {
		if now := p.validator(); now == old || now == 0 {
			return fmt.Errorf("it is validator %d", now)
		}
		return nil
	})
	c.orders(p)
	c.votes(p)
	p.restart() // the key's log is found again
	c.orders(p)

	next = c.propose(p, func(c *ledger.Config) {
		v := c.Validator(p.validator())
		if err := v.HostKey.UnmarshalText([]byte(host.PublicKey)); err != nil {
			t.Error(err)
		}
		v.Addrs = []string{"/ip4/127.0.0.1/tcp/7999"}
	})
	c.approve(next, rest[:2]...)
	c.inForce(next, rest...)
	eventually(t, patience, func() error {
		if err := (&backend{Node: p.node}).Ready(); err == nil || !strings.Contains(err.Error(), "restart it") {
			return fmt.Errorf("under its old host key it says: %v", err)
		}
		return nil
	})
	p.stop()
	p.cfg.Identity.HostKey, p.cfg.Identity.NextHost = "host2", ""
	p.card.NodeID = nodeIDOf(t, p.cfg)
	c.start(p)
	c.orders(p)
	c.votes(p)
	w.stop()
	w.kept(rest...)
}

// nodeIDOf is the network identity under which a configuration starts.
func nodeIDOf(t *testing.T, cfg config.Config) string {
	t.Helper()
	store, err := keys.Open(cfg.Identity.KeysDir)
	if err != nil {
		t.Fatal(err)
	}
	card, err := makeCard(&cfg, store, Reach{})
	if err != nil {
		t.Fatal(err)
	}
	return card.NodeID
}

func TestAnUpdateThatMayNotBeIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, fourSeats)
	p := c.node(harbour)
	c.inForce(c.genesis, c.nodes...)
	good := func(conf *ledger.Config) { conf.Limits.ObserversPerMember = 5 }
	chainOf := func(u *ledger.Update, chain ledger.Hash) *ledger.Update { u.ChainID = chain; return u }
	early := c.update(p, good)
	next := c.propose(p, good)
	c.approve(next, c.node(lake), c.node(lender))
	c.inForce(next, c.nodes...)
	before := p.config().Hash()
	for name, x := range map[string]struct {
		u    *ledger.Update
		want string
	}{
		"approvals of the config before": {early, "propose it anew"},
		"approvals for another chain":    {chainOf(c.update(p, good), ledger.Sum(nil)), "another network"},
		"approvals moved to another config": {func() *ledger.Update {
			u, v := c.update(p, good), c.update(p, func(conf *ledger.Config) { conf.Limits.ObserversPerMember = 6 })
			u.Approvals = v.Approvals
			return u
		}(), ledger.ErrWrongSigner.Error()},
		"approvals of two members of four": {c.update(p, good, harbour, lake), "more than two thirds"},
		"a shared vote key":                {c.update(p, func(conf *ledger.Config) { conf.Validators[0].VoteKey = conf.Validators[1].VoteKey }), "shares a key"},
		"a falling protocol version":       {c.update(p, func(conf *ledger.Config) { conf.Protocol = 0 }), "protocol version 0"},
		"a protocol version to come":       {c.update(p, func(conf *ledger.Config) { conf.Protocol++ }), "update the program"},
		"blocks beyond the bound":          {c.update(p, func(conf *ledger.Config) { conf.Limits.MaxBlockBytes = ledger.MaxBlockBytes + 1 }), "maxBlockBytes"},
	} {
		if err := p.node.chain.SubmitUpdate(t.Context(), x.u); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
		if err := p.node.chain.Accept(t.Context(), 1, x.u.Encode()); err == nil {
			t.Errorf("%s, from another node: accepted", name)
		}
	}
	// What the ordering level would refuse in the end is no proposal at all.
	bad := c.update(p, func(conf *ledger.Config) { conf.Members[0].Name = "two\nlines" }).Config
	if err := c.proposeUnchecked(bad); sdk.CodeOf(err) != "BAD_REQUEST" || !strings.Contains(err.Error(), "control characters") {
		t.Errorf("a config that the ordering level refuses is proposed: %v", err)
	}
	if _, err := p.as("admin").Members().Proposal(t.Context(), bad.Hash()); sdk.CodeOf(err) != record.CodeNotFound {
		t.Errorf("it stands as a proposal: %v", err)
	}
	// What only programs to come may take ends with the reason, and can be proposed
	// again when they have come.
	later := c.update(p, func(conf *ledger.Config) { conf.Protocol++ }).Config
	for range 2 {
		if err := c.proposeUnchecked(later); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, func() error {
			got, err := p.as("admin").Members().Proposal(t.Context(), later.Hash())
			if err != nil {
				return err
			}
			if got.Status != record.ProposalRefused || len(got.Refusals) < 2 || got.RefusedAt == 0 || !strings.Contains(got.Refusals[0].Reason, "update the program") {
				return fmt.Errorf("the proposal is %s with %+v", got.Status, got.Refusals)
			}
			return nil
		})
		_, err := p.as("admin").Members().AwaitInForce(t.Context(), later.Hash())
		if sdk.CodeOf(err) != record.CodeWrongState || !strings.Contains(err.Error(), "update the program") {
			t.Errorf("waiting for it: %v", err)
		}
	}
	for _, q := range c.nodes {
		if q.config().Hash() != before {
			t.Errorf("%s has config %d", q.name, q.config().Seq)
		}
	}
}

// proposeUnchecked proposes and approves a config past the SDK's checks. Its error
// is the proposal's.
func (c *cluster) proposeUnchecked(next *ledger.Config) error {
	c.t.Helper()
	u := ledger.Update{ChainID: c.genesis.Hash(), Config: next}
	for i, m := range []string{harbour, lake, lender} {
		admin := c.people[m+"/admin"]
		sig, err := admin.Sign(u.ApprovalDigest())
		if err != nil {
			c.t.Fatal(err)
		}
		function, arg := "Approve", any(&record.ApprovalSpec{Admin: admin.Address(), ConfigHash: next.Hash(), Signature: sig[:]})
		if i == 0 {
			function, arg = "Propose", &record.ProposalSpec{Admin: admin.Address(), Config: next.Encode(), Signature: sig[:], Summary: []string{"x"}}
		}
		body, err := record.Encode(arg.(record.Record))
		if err != nil {
			c.t.Fatal(err)
		}
		_, err = c.node(m).as("admin").Invoke(c.t.Context(), record.ContractMembership, function, string(body))
		if i == 0 && err != nil {
			return err
		}
		if err != nil {
			c.t.Fatalf("%s by %s: %v", function, m, err)
		}
	}
	return nil
}
