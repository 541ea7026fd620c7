package sdk_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/google/go-cmp/cmp"

	"github.com/assent-network/assent/chaincode/record"
	"github.com/assent-network/assent/node/ledger"
	"github.com/assent-network/assent/sdk"
	"github.com/assent-network/assent/sdk/internal/fakenode"
)

// adminOf is a client of a member's admin.
func (w *world) adminOf(org sdk.OrgID) *sdk.Client {
	w.t.Helper()
	return w.dial("admin "+string(org), org, []*fakenode.Node{w.serve(string(org))})
}

// edited is the config in force with one change.
func (w *world) edited(c *sdk.Client, change func(*sdk.ConfigEditor)) *sdk.Config {
	w.t.Helper()
	e, err := c.Members().Edit(w.t.Context())
	w.must(err)
	change(e)
	next, err := e.Config()
	w.must(err)
	return next
}

func newMember(id string) sdk.ConfigMember {
	return sdk.ConfigMember{ID: id, Name: "The " + id, Roles: []string{"DATA_PROVIDER"}, Admins: []sdk.Address{fakenode.Signer("admin " + id).Address()}}
}

func newCard(member sdk.OrgID, name string) *sdk.NodeCard {
	return &sdk.NodeCard{
		Member: member, Kind: "validator", VoteKey: fakenode.Signer("vote " + name).Address(),
		HostKey: hostKey(name), Addrs: []string{"/ip4/10.0.0.9/tcp/7400"},
	}
}

func hostKey(name string) (k ledger.HostKey) {
	copy(k[:], crypto.CompressPubkey(&fakenode.Key("host "+name).PublicKey))
	return k
}

func TestProposedApprovedInForce(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	bank, lender, outside := w.adminOf(fakenode.Bank), w.adminOf(fakenode.Lender), w.adminOf(fakenode.Outside)
	next := w.edited(bank, func(e *sdk.ConfigEditor) {
		e.AddMember(newMember("lake")).AddValidator(newCard("lake", "5")).ReplaceAdmin(fakenode.Auditor,
			fakenode.Signer("admin auditor").Address(), fakenode.Signer("new admin auditor").Address())
	})
	p, err := bank.Members().Propose(ctx, next, sdk.Summarise(w.net.Genesis, next, "it joins"))
	w.must(err)
	if p.ConfigHash != next.Hash() || p.Needed != 3 || len(p.Approvals) != 1 || p.Status != record.ProposalOpen || p.Summary[len(p.Summary)-1] != "reason: it joins" {
		t.Fatalf("proposal is %+v", p)
	}
	if _, err := bank.Members().Propose(ctx, next, p.Summary); sdk.CodeOf(err) != "ALREADY_EXISTS" {
		t.Errorf("proposed twice: %v", err)
	}
	_, err = lender.Members().Approve(ctx, p.ConfigHash)
	w.must(err)
	if _, err := lender.Members().Approve(ctx, p.ConfigHash); sdk.CodeOf(err) != "ALREADY_EXISTS" {
		t.Errorf("approved twice: %v", err)
	}
	for got, err := range outside.Members().Proposals(ctx, 0) {
		w.must(err)
		if diff := cmp.Diff(record.ProposalOpen, got.Status); diff != "" || len(got.Approvals) != 2 {
			t.Errorf("listed as %+v", got)
		}
	}
	// The last approval was signed on another machine.
	proposed, err := outside.Members().ProposedConfig(ctx, p.ConfigHash)
	w.must(err)
	signed, err := sdk.SignConfig(w.net.ChainID(), proposed, fakenode.Signer("admin outside"))
	w.must(err)
	p, err = outside.Members().ApproveSigned(ctx, signed)
	w.must(err)
	if !p.Enough() {
		t.Fatalf("%d approvals of %d", len(p.Approvals), p.Needed)
	}
	current, err := outside.Members().AwaitInForce(ctx, p.ConfigHash)
	w.must(err)
	if current.Hash() != next.Hash() || len(current.Validators) != 5 || current.Validators[4].ID != 5 {
		t.Errorf("in force is %+v", current)
	}
	// The lost admin key is replaced: the new one registers client keys.
	recovered := w.dial("new admin auditor", fakenode.Auditor, []*fakenode.Node{w.serve(fakenode.Auditor)})
	_, err = recovered.Clients().Register(ctx, sdk.ClientSpec{Address: fakenode.Signer("x").Address(), Roles: []sdk.ClientRole{"auditor"}})
	w.must(err)
}

func TestStaleAndWithdrawnProposals(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	bank, lender := w.adminOf(fakenode.Bank), w.adminOf(fakenode.Lender)
	limits := func(n uint64) func(*sdk.ConfigEditor) {
		return func(e *sdk.ConfigEditor) { e.SetLimits(func(l *sdk.ConfigLimits) { l.ObserversPerMember = n }) }
	}
	first, second := w.edited(bank, limits(5)), w.edited(lender, limits(6))
	p1, err := bank.Members().Propose(ctx, first, []string{"five"})
	w.must(err)
	p2, err := lender.Members().Propose(ctx, second, []string{"six"})
	w.must(err)
	if _, err := bank.Members().Withdraw(ctx, p2.ConfigHash); sdk.CodeOf(err) != "FORBIDDEN" {
		t.Errorf("another member's proposal withdrawn: %v", err)
	}
	p1, err = bank.Members().Withdraw(ctx, p1.ConfigHash)
	w.must(err)
	if _, err := lender.Members().Approve(ctx, p1.ConfigHash); sdk.CodeOf(err) != "WRONG_STATE" {
		t.Errorf("a withdrawn proposal approved: %v", err)
	}
	if _, err := lender.Members().AwaitInForce(ctx, p1.ConfigHash); sdk.CodeOf(err) != "WRONG_STATE" {
		t.Errorf("awaits what was withdrawn: %v", err)
	}
	w.net.Reconfigure(func(c *ledger.Config) { c.Limits.ObserversPerMember = 7 })
	if _, err := bank.Members().Approve(ctx, p2.ConfigHash); sdk.CodeOf(err) != "PROPOSAL_STALE" {
		t.Errorf("a stale proposal approved: %v", err)
	}
	if _, err := bank.Members().Propose(ctx, first, []string{"five"}); sdk.CodeOf(err) != "PROPOSAL_STALE" {
		t.Errorf("a stale config proposed: %v", err)
	}
	if _, err := bank.Members().AwaitInForce(ctx, p2.ConfigHash); sdk.CodeOf(err) != "PROPOSAL_STALE" {
		t.Errorf("awaits what is stale: %v", err)
	}
}

func TestAwaitingSaysHowFarAProposalIs(t *testing.T) {
	w := newWorld(t)
	bank := w.adminOf(fakenode.Bank)
	next := w.edited(bank, func(e *sdk.ConfigEditor) { e.RemoveValidator(4) })
	p, err := bank.Members().Propose(t.Context(), next, []string{"two"})
	w.must(err)
	ctx, cancel := contextFor(t, 300*time.Millisecond)
	defer cancel()
	if _, err := bank.Members().AwaitInForce(ctx, p.ConfigHash); err == nil || !strings.Contains(err.Error(), "1 of 3 approvals") && sdk.CodeOf(err) != "TIMEOUT" {
		t.Errorf("got %v", err)
	}
}

func TestApprovalsWithoutIdentityOrOfAnotherConfig(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	next := w.edited(w.adminOf(fakenode.Bank), func(e *sdk.ConfigEditor) { e.RemoveValidator(4) })
	nobody := w.dial("", "", []*fakenode.Node{w.node})
	var conf *sdk.ConfigError
	if _, err := nobody.Members().Propose(ctx, next, []string{"x"}); !errors.As(err, &conf) {
		t.Errorf("proposed by nobody: %v", err)
	}
	other := w.edited(w.adminOf(fakenode.Bank), func(e *sdk.ConfigEditor) { e.RemoveValidator(3) })
	signed, err := sdk.SignConfig(w.net.ChainID(), other, fakenode.Signer("admin bank"))
	w.must(err)
	if _, err := w.adminOf(fakenode.Bank).Members().ProposeSigned(ctx, next, []string{"x"}, signed); !errors.As(err, &conf) {
		t.Errorf("proposed with the approval of another config: %v", err)
	}
	elsewhere, err := sdk.SignConfig(hashOf("another network"), next, fakenode.Signer("admin bank"))
	w.must(err)
	if _, err := w.adminOf(fakenode.Bank).Members().ProposeSigned(ctx, next, []string{"x"}, elsewhere); sdk.CodeOf(err) != "BAD_SIGNATURE" {
		t.Errorf("an approval for another network: %v", err)
	}
}

func TestSuspension(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	authority := w.adminOf(fakenode.Auditor)
	_, err := authority.Members().Suspend(ctx, fakenode.Bank, record.SuspendedForMisuse)
	w.must(err)
	m, err := authority.Members().Get(ctx, fakenode.Bank)
	w.must(err)
	if m.Suspension == nil || m.Suspension.OrgID != fakenode.Auditor {
		t.Errorf("member is %+v", m)
	}
	if _, err := w.adminOf(fakenode.Lender).Members().Suspend(ctx, fakenode.Bank, record.SuspendedForMisuse); sdk.CodeOf(err) != "FORBIDDEN" {
		t.Errorf("suspended by a lender: %v", err)
	}
	_, err = authority.Members().Reinstate(ctx, fakenode.Bank)
	w.must(err)
}

// TestValidatorIdsAreNeverUsedAgain: the id of a validator that left before the
// config in force must not come back with another key.
func TestValidatorIdsAreNeverUsedAgain(t *testing.T) {
	w := newWorld(t)
	w.net.Reconfigure(func(c *ledger.Config) {
		c.Validators = append(c.Validators, ledger.Validator{
			ID: 9, Member: fakenode.Bank, VoteKey: fakenode.Signer("vote 9").Address(), HostKey: hostKey("9"), Addrs: []string{"/ip4/10.0.0.9/tcp/1"},
		})
	})
	w.net.Reconfigure(func(c *ledger.Config) { c.Validators = c.Validators[:4] })
	next := w.edited(w.adminOf(fakenode.Bank), func(e *sdk.ConfigEditor) { e.AddValidator(newCard(fakenode.Bank, "ten")) })
	if id := next.Validators[4].ID; id != 10 {
		t.Errorf("the new validator has id %d", id)
	}
}

func TestEditedConfigs(t *testing.T) {
	genesis := fakenode.New(time.Now).Genesis
	admin := genesis.Members[0].Admins[0]
	fresh := fakenode.Signer("fresh").Address()
	for _, tc := range []struct {
		name   string
		change func(*sdk.ConfigEditor)
		diff   []string // each a part of one line, in order
	}{
		{"add a member", func(e *sdk.ConfigEditor) { e.AddMember(newMember("lake")) },
			[]string{"adds member lake (The lake), DATA_PROVIDER, admin keys 0x", "members: 4 → 5; approvals that a later change needs: 3 → 4"}},
		{"remove a member", func(e *sdk.ConfigEditor) { e.RemoveMember(fakenode.Outside) },
			[]string{"removes member outside", "removes validator 4 of outside", "validators: 4 → 3; quorum 3 → 2; may fail at once: 1 → 0", "members: 4 → 3"}},
		{"rename", func(e *sdk.ConfigEditor) {
			e.SetMember(fakenode.Bank, "新名", []string{"DATA_PROVIDER", "AUDITOR"})
		},
			[]string{"renames member bank: The bank → 新名", "roles of member bank: DATA_PROVIDER → AUDITOR DATA_PROVIDER"}},
		{"admin keys", func(e *sdk.ConfigEditor) { e.ReplaceAdmin("auditor", admin, fresh) },
			[]string{"removes admin key " + strings.ToLower(admin.Hex()), "adds admin key " + strings.ToLower(fresh.Hex())}},
		{"vote key", func(e *sdk.ConfigEditor) { e.RotateVoteKey(2, fresh) },
			[]string{"removes validator 2 of bank", "adds validator 5 of bank at /ip4/127.0.0.1/tcp/2, vote key " + strings.ToLower(fresh.Hex()), "host key of validator 5"}},
		{"host key and address", func(e *sdk.ConfigEditor) {
			e.RotateHostKey(1, hostKey("h")).SetAddrs(1, []string{"/dns4/n.example/tcp/1"})
		}, []string{"host key of validator 1: 0x", "addresses of validator 1: /ip4/127.0.0.1/tcp/1 → /dns4/n.example/tcp/1"}},
		{"limits", func(e *sdk.ConfigEditor) {
			e.SetLimits(func(l *sdk.ConfigLimits) { l.MaxBlockRequests = 10 })
		}, []string{"limit maxBlockRequests: 2000 → 10"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := sdk.EditConfig(genesis)
			tc.change(e)
			next, err := e.Config()
			if err != nil {
				t.Fatal(err)
			}
			if err := next.Follows(genesis); err != nil {
				t.Error(err)
			}
			lines := sdk.DiffConfigs(genesis, next)
			if len(lines) != len(tc.diff) {
				t.Fatalf("diff is %q", lines)
			}
			for i, part := range tc.diff {
				if !strings.Contains(lines[i], part) {
					t.Errorf("line %d is %q, want %q in it", i, lines[i], part)
				}
			}
		})
	}
}

func TestEditorComplains(t *testing.T) {
	genesis := fakenode.New(time.Now).Genesis
	admin := genesis.Members[0].Admins[0]
	observer := newCard(fakenode.Bank, "o")
	observer.VoteKey = sdk.Address{}
	twin := newCard(fakenode.Bank, "t")
	twin.VoteKey = genesis.Validators[0].VoteKey
	for name, tc := range map[string]struct {
		change func(*sdk.ConfigEditor)
		want   string
	}{
		"nothing":           {func(*sdk.ConfigEditor) {}, "changes nothing"},
		"member twice":      {func(e *sdk.ConfigEditor) { e.AddMember(genesis.Members[0]) }, "in the config already"},
		"unknown member":    {func(e *sdk.ConfigEditor) { e.RemoveMember("nobody") }, "no member"},
		"unknown validator": {func(e *sdk.ConfigEditor) { e.RemoveValidator(77) }, "no validator 77"},
		"observer's card":   {func(e *sdk.ConfigEditor) { e.AddValidator(observer) }, "of an observer"},
		"shared key":        {func(e *sdk.ConfigEditor) { e.AddValidator(twin) }, "validator 1 of auditor has the same vote key"},
		"validator of none": {func(e *sdk.ConfigEditor) { e.AddValidator(newCard("nobody", "n")) }, "is not in the config"},
		"last admin":        {func(e *sdk.ConfigEditor) { e.RemoveAdmin("auditor", admin) }, "0 admin keys"},
		"admin twice":       {func(e *sdk.ConfigEditor) { e.AddAdmin("auditor", admin) }, "is an admin key"},
		"no admin":          {func(e *sdk.ConfigEditor) { e.RemoveAdmin("bank", admin) }, "is no admin key"},
		"downgrade":         {func(e *sdk.ConfigEditor) { e.SetProtocol(0) }, "never falls"},
		"vote key as it is": {func(e *sdk.ConfigEditor) { e.RotateVoteKey(1, genesis.Validators[0].VoteKey) }, "never voted"},
		"two at once":       {func(e *sdk.ConfigEditor) { e.RemoveMember("nobody").RemoveValidator(77) }, "no validator 77"},
	} {
		e := sdk.EditConfig(genesis)
		tc.change(e)
		if _, err := e.Config(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSummariesAreBounded(t *testing.T) {
	genesis := fakenode.New(time.Now).Genesis
	e := sdk.EditConfig(genesis)
	for i := range 40 {
		m := newMember("m" + string(rune('A'+i)))
		if i >= 26 {
			m = newMember("n" + string(rune('A'+i-26)))
		}
		m.Name = strings.Repeat("名", 42)
		e.AddMember(m).AddValidator(newCard(sdk.OrgID(m.ID), m.ID))
	}
	next, err := e.Config()
	if err != nil {
		t.Fatal(err)
	}
	s := &record.ProposalSpec{Config: next.Encode(), Signature: make(sdk.Bytes, 65), Summary: sdk.Summarise(genesis, next, strings.Repeat("weil ", 100))}
	if _, err := record.Encode(s); err != nil {
		t.Error(err)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}
