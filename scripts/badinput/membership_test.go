package badinput

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
)

// testMembership: changes of who takes part that somebody may not make, or that
// cannot come into force. None of them changes the config.
func testMembership(t *testing.T, w *world) {
	admin := w.client(t, bank, "admin")
	before, err := admin.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("proposals", func(t *testing.T) { testProposals(t, w, before) })
	t.Run("approvals", func(t *testing.T) { testApprovals(t, w, before) })
	t.Run("preflight", func(t *testing.T) { testPreflight(t, w, admin, before) })
	w.commits(t)
	after, err := admin.Config(t.Context())
	if err != nil || after.Hash() != before.Hash() {
		t.Errorf("config %d is in force, it was %d: %v", after.Seq, before.Seq, err)
	}
	t.Run("two at once", func(t *testing.T) { testConcurrentChanges(t, w) })
	w.commits(t)
}

// edited is a config with a change, checked or not.
func edited(c *ledger.Config, change func(*ledger.Config)) *ledger.Config {
	d := *c
	d.Seq++
	d.Members, d.Validators = slices.Clone(c.Members), slices.Clone(c.Validators)
	change(&d)
	return &d
}

func observers(n uint64) func(*ledger.Config) {
	return func(c *ledger.Config) { c.Limits.ObserversPerMember = n }
}

// proposal is the argument of Propose, approved with a key.
func (w *world) proposal(t *testing.T, c *ledger.Config, chain ledger.Hash, named, signing ledger.Signer) string {
	t.Helper()
	a, err := sdk.SignConfig(chain, c, signing)
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, &record.ProposalSpec{Admin: named.Address(), Config: c.Encode(), Signature: record.Blob(a.Signature), Summary: []string{"a test"}})
}

func testProposals(t *testing.T, w *world, now *ledger.Config) {
	boss, rivals := w.as("bank/admin").key, w.as("rival/admin").key
	good := edited(now, observers(9))
	shared := func(f func(v []ledger.Validator)) *ledger.Config {
		return edited(now, func(c *ledger.Config) { f(c.Validators) })
	}
	bytes := func(config []byte) string {
		return encode(t, &record.ProposalSpec{Admin: boss.Address(), Config: config, Signature: make(record.Blob, 65), Summary: []string{"a test"}})
	}
	for name, c := range map[string]struct{ as, arg, code, says string }{
		"by an officer":            {"bank/officer", w.proposal(t, good, w.chain, boss, boss), "FORBIDDEN", "none of the roles [admin]"},
		"with another's admin key": {"bank/admin", w.proposal(t, good, w.chain, rivals, rivals), "FORBIDDEN", "no admin key of this member"},
		"with an officer's key":    {"bank/admin", w.proposal(t, good, w.chain, w.as("bank/officer").key, w.as("bank/officer").key), "FORBIDDEN", "no admin key of this member"},
		"signed by another":        {"bank/admin", w.proposal(t, good, w.chain, boss, rivals), "BAD_SIGNATURE", "approval of this config on this network"},
		"signed for another chain": {"bank/admin", w.proposal(t, good, ledger.Sum([]byte("x")), boss, boss), "BAD_SIGNATURE", ""},
		"of the config in force":   {"bank/admin", w.proposal(t, now, w.chain, boss, boss), "PROPOSAL_STALE", "does not follow config"},
		"of a config too far":      {"bank/admin", w.proposal(t, edited(edited(now, observers(9)), observers(8)), w.chain, boss, boss), "PROPOSAL_STALE", ""},
		"of an older protocol":     {"bank/admin", w.proposal(t, edited(now, func(c *ledger.Config) { c.Protocol = 0 }), w.chain, boss, boss), "PROTOCOL_DOWNGRADE", "version 1 is in force"},
		"a vote key twice":         {"bank/admin", w.proposal(t, shared(func(v []ledger.Validator) { v[1].VoteKey = v[0].VoteKey }), w.chain, boss, boss), "DUPLICATE_KEY", "share a vote key"},
		"a host key twice":         {"bank/admin", w.proposal(t, shared(func(v []ledger.Validator) { v[1].HostKey = v[0].HostKey }), w.chain, boss, boss), "DUPLICATE_KEY", ""},
		"a validator of nobody":    {"bank/admin", w.proposal(t, shared(func(v []ledger.Validator) { v[1].Member = "nobody" }), w.chain, boss, boss), "BAD_REQUEST", "of a member that is not in it"},
		"bytes that are no config": {"bank/admin", bytes([]byte("config")), "BAD_REQUEST", "not the encoding"},
		"bytes behind a config":    {"bank/admin", bytes(append(good.Encode(), 0)), "BAD_REQUEST", "not the encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.as(c.as)
			x := w.nodes[p.org]
			r, o := x.submit(t, w.bearer(t, p, x.node), sign(t, p, w.payload(p, "membership", "Propose", c.arg)).Encode())
			refused(t, r, o, c.code, c.says)
		})
	}
}

func testApprovals(t *testing.T, w *world, now *ledger.Config) {
	boss := w.client(t, bank, "admin")
	good, other := edited(now, observers(11)), edited(now, observers(12))
	p, err := boss.Members().Propose(t.Context(), good, []string{"eleven"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := boss.Members().Withdraw(t.Context(), p.ConfigHash); err != nil {
			t.Error(err)
		}
	}()
	rivals := w.as("rival/admin").key
	approval := func(over *ledger.Config, chain ledger.Hash, named, signing ledger.Signer) string {
		a, err := sdk.SignConfig(chain, over, signing)
		if err != nil {
			t.Fatal(err)
		}
		return encode(t, &record.ApprovalSpec{Admin: named.Address(), ConfigHash: good.Hash(), Signature: record.Blob(a.Signature)})
	}
	for name, c := range map[string]struct{ as, arg, code, says string }{
		"replayed from another config": {"rival/admin", approval(other, w.chain, rivals, rivals), "BAD_SIGNATURE", "approval of this config on this network"},
		"replayed from another chain":  {"rival/admin", approval(good, ledger.Sum([]byte("x")), rivals, rivals), "BAD_SIGNATURE", ""},
		"by an officer":                {"rival/officer", approval(good, w.chain, rivals, rivals), "FORBIDDEN", "none of the roles [admin operator]"},
		"with an officer's key":        {"rival/admin", approval(good, w.chain, w.as("rival/officer").key, w.as("rival/officer").key), "FORBIDDEN", "no admin key of this member"},
		"with another member's key":    {"rival/admin", approval(good, w.chain, w.as("bank/admin").key, w.as("bank/admin").key), "FORBIDDEN", "no admin key of this member"},
		"by a member twice":            {"bank/admin", approval(good, w.chain, w.as("bank/admin").key, w.as("bank/admin").key), "ALREADY_EXISTS", "has approved the proposal already"},
		"of what nobody proposed":      {"rival/admin", strings.Replace(approval(other, w.chain, rivals, rivals), good.Hash().Hex(), other.Hash().Hex(), 1), "NOT_FOUND", "no such proposal"},
	} {
		t.Run(name, func(t *testing.T) {
			q := w.as(c.as)
			x := w.nodes[q.org]
			w.read(t, q.org+"/auditor", height(t, w, bank), "membership", "GetConfig") // its node has executed the proposal
			r, o := x.submit(t, w.bearer(t, q, x.node), sign(t, q, w.payload(q, "membership", "Approve", c.arg)).Encode())
			refused(t, r, o, c.code, c.says)
		})
	}
	if got, err := boss.Members().Proposal(t.Context(), p.ConfigHash); err != nil || len(got.Approvals) != 1 {
		t.Errorf("the proposal has other approvals than its proposer's: %+v, %v", got, err)
	}
}

// height is how far a member's node has executed.
func height(t *testing.T, w *world, member string) uint64 {
	t.Helper()
	s, err := w.client(t, member, "auditor").Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Executed
}

// testPreflight: what the preflight turns down before anybody is asked.
func testPreflight(t *testing.T, w *world, admin *sdk.Client, now *ledger.Config) {
	unreachable := edited(now, func(c *ledger.Config) {
		v := c.Validators[0]
		v.ID, v.VoteKey = 77, ledger.Address{7}
		v.HostKey = ledger.HostKey{2, 0x79, 0xbe, 0x66, 0x7e, 0xf9, 0xdc, 0xbb, 0xac, 0x55, 0xa0, 0x62, 0x95, 0xce, 0x87, 0x0b, 0x07, 0x02, 0x9b, 0xfc, 0xdb, 0x2d, 0xce, 0x28, 0xd9, 0x59, 0xf2, 0x81, 0x5b, 0x16, 0xf8, 0x17, 0x98}
		v.Addrs = []string{"/ip4/127.0.0.1/tcp/9"}
		c.Validators = append(c.Validators, v)
	})
	impostor := edited(unreachable, func(c *ledger.Config) {
		c.Seq--
		c.Validators[4].Addrs = now.Validators[1].Addrs
	})
	noAddress := edited(unreachable, func(c *ledger.Config) {
		c.Seq--
		c.Validators[4].Addrs = []string{"10.0.0.1:7400"}
	})
	for name, c := range map[string]struct {
		next  *ledger.Config
		level sdk.RemarkLevel
		says  string
	}{
		"a validator that nobody reaches": {unreachable, sdk.RemarkRefusal, "cannot be reached at /ip4/127.0.0.1/tcp/9"},
		"another key at the address":      {impostor, sdk.RemarkRefusal, "another host key answers"},
		"an address that is none":         {noAddress, sdk.RemarkRefusal, "address"},
		"a stale config":                  {now, sdk.RemarkRefusal, "does not follow"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := admin.Members().Preflight(t.Context(), c.next)
			if err != nil {
				t.Fatal(err)
			}
			if p.Worst() != c.level || !slices.ContainsFunc(p.Of(c.level), func(r sdk.Remark) bool { return strings.Contains(r.What, c.says) && r.Remedy != "" }) {
				t.Errorf("worst is %s, want %s with %q: %+v", p.Worst(), c.level, c.says, p.Remarks)
			}
		})
	}
}

// testConcurrentChanges: of two proposals that follow one config, the first to
// have its approvals comes into force; the other can get no more.
func testConcurrentChanges(t *testing.T, w *world) {
	ctx := t.Context()
	people := map[string]*sdk.Client{}
	for _, m := range []string{bank, lender, rival} {
		people[m] = w.client(t, m, "admin")
	}
	propose := func(who string, n uint64) sdk.Hash {
		e, err := people[who].Members().Edit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		next, err := e.SetLimits(func(l *sdk.ConfigLimits) { l.ObserversPerMember = n }).Config()
		if err != nil {
			t.Fatal(err)
		}
		p, err := people[who].Members().Propose(ctx, next, []string{"a test"})
		if err != nil {
			t.Fatal(err)
		}
		return p.ConfigHash
	}
	first, second := propose(bank, 21), propose(lender, 22)
	approve := func(who, proposer string, hash sdk.Hash) error {
		w.read(t, who+"/auditor", height(t, w, proposer), "membership", "GetConfig")
		_, err := people[who].Members().Approve(ctx, hash)
		return err
	}
	for _, who := range []string{lender, rival} {
		if err := approve(who, bank, first); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := people[bank].Members().AwaitInForce(ctx, first); err != nil {
		t.Fatal(err)
	}
	if err := approve(rival, bank, second); sdk.CodeOf(err) != "PROPOSAL_STALE" {
		t.Errorf("an approval of the other: %v", err)
	}
	if _, err := people[lender].Members().AwaitInForce(ctx, second); sdk.CodeOf(err) != "PROPOSAL_STALE" {
		t.Errorf("waiting for the other: %v", err)
	}

	// Two that get their last approvals at the same time: one comes into force,
	// whichever, and the other one ends.
	w.read(t, lender+"/auditor", height(t, w, bank), "membership", "GetConfig")
	third, fourth := propose(bank, 31), propose(lender, 32)
	var voting sync.WaitGroup
	for _, v := range []struct {
		who, proposer string
		hash          sdk.Hash
	}{{rival, bank, third}, {lender, bank, third}, {rival, lender, fourth}, {bank, lender, fourth}} {
		w.read(t, v.who+"/auditor", height(t, w, v.proposer), "membership", "GetConfig")
		voting.Go(func() {
			if _, err := people[v.who].Members().Approve(ctx, v.hash); err != nil && sdk.CodeOf(err) != "PROPOSAL_STALE" {
				t.Errorf("%s approves in a race: %v", v.who, err)
			}
		})
	}
	voting.Wait()
	inForce := 0
	for _, hash := range []sdk.Hash{third, fourth} {
		switch _, err := people[bank].Members().AwaitInForce(ctx, hash); {
		case err == nil:
			inForce++
		case sdk.CodeOf(err) != "PROPOSAL_STALE":
			t.Errorf("after the race: %v", err)
		}
	}
	if inForce != 1 {
		t.Errorf("%d of two configs with one number are in force", inForce)
	}
}
